"""Collecting the scores of one domain's systems from the files of their decodes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from spft.errors import UserError
from spft.scoring.lineage import changed
from spft.scoring.significance import mapsswe, sign_flips
from spft.scoring.wer import read_trn


@dataclass(frozen=True)
class SystemRow:
    """One row of the report.

    Attributes:
        key: its name in ``table.json`` and in ``versus``.
        label: its name in the table.
        system: folder under ``exp/<domain>``.
        tag: of the decode, ``decode_<tag>``.
        versus: key of a second row that it is compared with, marked †.
        untuned: key of the base with the same decoding, which is compared below the
            table.
    """

    key: str
    label: str
    system: str
    tag: str
    versus: str | None = None
    untuned: str | None = None

    def folder(self, exp: Path, domain: str) -> Path:
        return exp / domain / self.system / f"decode_{self.tag}"


# Folder of a system, its label. The first is what the others are compared with.
SYSTEMS = {
    "base": "base",
    "first_pass": "first pass alone",
    "no_prompt": "no prompt",
    "pre_fine_tune": "pre-fine-tune",
    "empty_prompt": "empty prompt",
    "upsample_mask": "upsample + mask",
    "soft_prompt": "soft prompt",
    "noisy_text": "text denoising",
    "tts": "text spoken (TTS)",
}
UPPER = "tts"  # adapted with audio, which text alone tries to do without
SEARCH = ("config", "fixed_weights", "tune")  # of decode.json: alike in all rows
REFERENCE = "no_prompt"  # what other text tuning is compared with too


def _rows() -> tuple[SystemRow, ...]:
    """Each system alone, with fused LMs, and these with the second pass.

    What the first pass found is not searched, so it has the first of these alone.
    """
    rows = []
    for system, label in SYSTEMS.items():
        other = None if system in ("base", "first_pass", REFERENCE) else REFERENCE
        rows.append(SystemRow(system, label, system, "plain", other))
        if system == "first_pass":
            continue
        for tag, name in (("lm", "LM"), ("second", "second pass")):
            alone = f"{system}_lm" if tag == "second" else None
            versus = f"{other}_{tag}" if other else alone
            untuned = None if system == "base" else f"base_{tag}"
            row = f"{system}_{tag}", f"{label} + {name}", system, tag, versus, untuned
            rows.append(SystemRow(*row))
    return tuple(rows)


DEFAULT_ROWS = _rows()


@dataclass(frozen=True)
class PValues:
    """Of the difference of two rows in WER and in EER; None: not compared."""

    wer: float | None = None
    eer: float | None = None


@dataclass(frozen=True)
class RowScores:
    """Scores of one row; None where something is missing.

    Attributes:
        row: which system.
        scores: ``score.json`` of the domain's test set.
        general: ``score.json`` of the general-domain test set.
        weights: chosen on the development set.
        wer_change, eer_change: relative to the base row, in percent.
        base: p of the difference from the base row.
        versus: of that from the row ``row.versus``.
        untuned: of that from the row ``row.untuned``.
    """

    row: SystemRow
    scores: dict | None = None
    general: dict | None = None
    weights: dict = field(default_factory=dict)
    wer_change: float | None = None
    eer_change: float | None = None
    base: PValues = PValues()
    versus: PValues = PValues()
    untuned: PValues = PValues()


def collect(
    exp: Path, domain: str, general: str, rows: Sequence[SystemRow] = DEFAULT_ROWS
) -> list[RowScores]:
    """Collect the scores of ``rows`` on ``<domain>_test`` and on the set ``general``.

    Rows that were not decoded are left out, but for the first; so are those that
    :func:`left_out` finds, which are named.

    Raises:
        UserError: no row has scores, or two rows were scored on different references.
    """
    test = f"{domain}_test"
    by_key = {row.key: row for row in rows}
    for row in rows:
        if reason := left_out(exp, domain, row):
            del by_key[row.key]
            print(f"{domain}: without {row.label}: {reason}")
    if rows[0].key not in by_key:
        raise UserError(
            f"{exp / domain / rows[0].system}: of another baseline or other data; run "
            "stage 7 of run.sh (decode and score) again"
        )
    results = [
        _collect_row(exp, domain, test, general, row, by_key)
        if row.key in by_key
        else RowScores(row)
        for row in rows
    ]
    if all(result.scores is None for result in results):
        raise UserError(
            f"{exp / domain}: no system has scores of {test}; run stage 7 of run.sh "
            "(decode and score) first"
        )
    # What a run went without has no row; the base always has, for it is compared with.
    results = results[:1] + [r for r in results[1:] if r.scores is not None]
    base = results[0].scores or {}
    return results[:1] + [_with_changes(result, base) for result in results[1:]]


def left_out(exp: Path, domain: str, row: SystemRow) -> str | None:
    """Why a row that was decoded cannot stand beside the others, if it cannot."""
    folder, of_base = row.folder(exp, domain), replace(row, system="base")
    of_base = of_base.folder(exp, domain)
    if other := outdated(folder / "decode.json"):
        return f"made from an earlier {other}"
    ours, base = (read_json(path / "decode.json") for path in (folder, of_base))
    references = [
        path / f"{domain}_test" / "score_wer" / "ref.trn" for path in (folder, of_base)
    ]
    scored = all(path.is_file() for path in references)
    if scored and read_trn(references[0]) != read_trn(references[1]):
        return "scored on other references than base (run stage 7 with it again)"
    if ours and base and any(ours.get(key) != base.get(key) for key in SEARCH):
        return "searched with other settings than base"
    return None


def outdated(report: Path) -> str | None:
    """What has changed since ``decode.json`` or ``settings.json`` was written."""
    return changed((read_json(report) or {}).get("sha256", {}))


def trained_stages(folder: Path) -> list[Path]:
    """The stages in ``folder``, sorted, that are not outdated.

    Nor what ``spft.bin.train`` puts aside, as ``<stage>.old``, until it has finished.
    """
    return [
        path
        for path in sorted(folder.glob("*"))
        if path.suffix != ".old" and not outdated(path / "settings.json")
    ]


def _collect_row(
    exp: Path,
    domain: str,
    test: str,
    general: str,
    row: SystemRow,
    by_key: dict[str, SystemRow],
) -> RowScores:
    folder = row.folder(exp, domain)
    scores = read_json(folder / test / "score.json")

    def compare(other: SystemRow | None) -> PValues:
        if scores is None or other is None or other is row:
            return PValues()
        theirs, ours = other.folder(exp, domain) / test, folder / test
        if not (theirs / "score.json").is_file():
            return PValues()
        return PValues(compare_wer(theirs, ours), compare_eer(theirs, ours))

    return RowScores(
        row,
        scores=scores,
        general=read_json(folder / general / "score.json"),
        weights=(read_json(folder / "decode.json") or {}).get("weights", {}),
        base=compare(next(iter(by_key.values()))),
        versus=compare(by_key.get(row.versus)),
        untuned=compare(by_key.get(row.untuned)),
    )


def _with_changes(result: RowScores, base: dict) -> RowScores:
    changes = {}
    for name in ("wer", "eer"):
        rate, start = result.scores.get(name), base.get(name)
        if rate is not None and start:
            changes[f"{name}_change"] = 100 * (rate - start) / start
    return replace(result, **changes)


def compare_wer(a: Path, b: Path) -> float | None:
    """Whether two decodes differ in WER: p, None where there are no words."""
    refs = [folder / "score_wer" / "ref.trn" for folder in (a, b)]
    if not all(path.is_file() for path in refs):
        return None
    ref_a, ref_b = (read_trn(path) for path in refs)
    if ref_a != ref_b:
        raise UserError(f"{b}: scored on other references than {a}; score both again")
    return mapsswe(ref_a, *(read_trn(f / "score_wer" / "hyp.trn") for f in (a, b)))


def compare_eer(a: Path, b: Path) -> float | None:
    """Whether two decodes differ in EER: p, None where there are no entities."""
    results = [read_json(f / "score_entity" / "result.json") for f in (a, b)]
    if None in results:
        return None
    counts = [result["utterances"] for result in results]
    totals = [{utt: total for utt, (_, total) in c.items()} for c in counts]
    if totals[0] != totals[1]:
        raise UserError(f"{b}: scored on other entities than {a}; score both again")
    if not totals[0]:
        return None
    errors = [{utt: wrong for utt, (wrong, _) in c.items()} for c in counts]
    return sign_flips(*errors)


def read_json(path: Path) -> dict | None:
    """The object in ``path``, None if there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: not JSON ({error.msg}); remove it and run again"
        ) from None
