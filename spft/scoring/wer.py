"""Word error rate: sclite's reports, or our own in its format where it is missing."""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

from spft.errors import UserError
from spft.files import atomic_write
from spft.scoring.align import AlignedWord, WordCounts, align, count
from spft.scoring.inputs import Transcripts

# Debian's package keeps sctk's commands out of PATH.
DEBIAN_SCTK = "/usr/lib/sctk/bin"
REPORTS = ("sys", "raw", "pra", "dtl", "sgml")
# In result.raw: sentences, words, right, the three kinds of errors, (all), sentences.
SUMS = re.compile(r"^ *\| *Sum *\|" + r"[ |]+(\d+)" * 6 + r" +\d+ +(\d+)", re.M)
# sclite takes what stands behind the last bracket of a line as the id.
NO_BRACKETS = str.maketrans("()", "[]")
COLUMNS = "Corr    Sub    Del    Ins    Err  S.Err"


def find_tool(name: str) -> str | None:
    """The path of one of sctk's commands, or None."""
    return shutil.which(name) or shutil.which(name, path=DEBIAN_SCTK)


def write_trn(
    path: Path, transcripts: Transcripts, speakers: Mapping[str, str]
) -> None:
    """Write sclite's ``words (speaker-utterance)`` lines, brackets of ids as [ ]."""
    with atomic_write(path) as stream:
        for utt, words in transcripts.items():
            # sclite takes what stands before the first hyphen as the speaker.
            speaker = speakers[utt].replace("-", "_")
            name = f"{speaker}-{utt}".translate(NO_BRACKETS)
            stream.write(f"{' '.join(words)} ({name})\n")


def read_trn(path: Path) -> Transcripts:
    """Read what :func:`write_trn` wrote: utterance -> words."""
    transcripts = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        words, found, tail = line.rpartition(" (")
        if not found or "-" not in tail or not tail.endswith(")"):
            raise UserError(f"{path}:{number}: no (speaker-utterance) id; score again")
        transcripts[tail[:-1].partition("-")[2]] = tuple(words.split())
    return transcripts


def score_wer(
    refs: Transcripts, hyps: Transcripts, speakers: Mapping[str, str], out: Path
) -> WordCounts:
    """Score ``hyps`` and fill the folder ``out``.

    ``ref.trn`` and ``hyp.trn`` are what was scored. ``result.txt`` holds the tables of
    percentages and of counts by speaker, then the alignments and, from sclite, the
    confusions; sclite's own files ``result.{sys,raw,pra,dtl,sgml}`` stand beside it.

    Returns:
        The counts over the whole set.
    """
    if not any(refs.values()):
        raise UserError(
            f"{out}: the references hold no words; check the data directory"
        )
    write_trn(out / "ref.trn", refs, speakers)
    write_trn(out / "hyp.trn", hyps, speakers)
    if sclite := find_tool("sclite"):
        text, counts = _run_sclite(sclite, out)
    else:
        print("sclite not found: result.txt is by our own aligner", file=sys.stderr)
        paths = {utt: align(refs[utt], hyps[utt]) for utt in refs}
        text = _own_report(paths, speakers)
        counts = sum((count(path) for path in paths.values()), WordCounts())
    with atomic_write(out / "result.txt") as stream:
        stream.write(text)
    return counts


def _run_sclite(sclite: str, out: Path) -> tuple[str, WordCounts]:
    """Have sclite write its files; return what they say, and the sums of its counts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sclite, "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-i", "rm"]
        command += ["-o", "all", "dtl", "sgml", "-O", folder, "-n", "result"]
        done = subprocess.run(
            command, cwd=out, capture_output=True, text=True, errors="replace"
        )
        made = [Path(folder, f"result.{suffix}") for suffix in REPORTS]
        if done.returncode or not all(path.is_file() for path in made):
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise UserError(f"{out}/hyp.trn: sclite failed: {lines[-1]}")
        for path in made:
            with atomic_write(out / path.name, "wb") as stream:
                stream.write(path.read_bytes())
        texts = [path.read_text("utf-8", "replace") for path in made[:4]]
        sums = SUMS.findall(texts[REPORTS.index("raw")])[-1]
        return "".join(texts), WordCounts(*map(int, sums))


def _own_report(
    paths: Mapping[str, list[AlignedWord]], speakers: Mapping[str, str]
) -> str:
    by_speaker: dict[str, WordCounts] = {}
    for utt, path in paths.items():
        speaker = speakers[utt].replace("-", "_")
        by_speaker[speaker] = by_speaker.get(speaker, WordCounts()) + count(path)
    blocks = [summary_table(by_speaker, percent) for percent in (True, False)]
    blocks += [_aligned_listing(utt, path) for utt, path in paths.items()]
    return "\n".join(blocks)


def summary_table(by_speaker: Mapping[str, WordCounts], percent: bool) -> str:
    """The table by speaker of sclite: percentages (``sys``) or counts (``raw``)."""
    total = sum(by_speaker.values(), WordCounts())
    label = "Sum/Avg" if percent else "Sum"
    width = max(len(name) for name in (*by_speaker, label, "Median"))
    rows = {name: _cells(counts, percent) for name, counts in by_speaker.items()}
    columns = list(zip(*rows.values(), strict=True))
    averages = {
        "Mean": [statistics.mean(column) for column in columns],
        "S.D.": [statistics.stdev(c) if len(rows) > 1 else 0.0 for c in columns],
        "Median": [statistics.median(column) for column in columns],
    }
    rule = "-" * (width + 2) + "+" + "-" * 13 + "+" + "-" * 41
    double = "=" * len(rule)
    lines = ["SYSTEM SUMMARY PERCENTAGES by SPEAKER", "", f",{'-' * len(rule)}."]
    lines += [f"| {'SPKR':<{width}} | # Snt # Wrd | {COLUMNS} |"]
    for name, cells in rows.items():
        lines += [f"|{rule}|", _line(name, cells, width, percent, False)]
    lines += [
        f"|{double}|",
        _line(label, _cells(total, percent), width, percent, False),
    ]
    lines += [f"|{double}|"]
    lines += [_line(name, cells, width, True, True) for name, cells in averages.items()]
    return "\n".join([*lines, f"`{'-' * len(rule)}'", "", ""])


def _cells(counts: WordCounts, percent: bool) -> list[float]:
    sentences, words, correct, subs, dels, ins, wrong = astuple(counts)
    cells = [correct, subs, dels, ins, counts.errors, wrong]
    if percent:
        of = [words] * 5 + [sentences]
        cells = [100 * n / d if d else 0.0 for n, d in zip(cells, of, strict=True)]
    return [sentences, words, *cells]


def _line(
    name: str, cells: list[float], width: int, fractions: bool, mean: bool
) -> str:
    sentences, words = (f"{c:.1f}" if mean else str(c) for c in cells[:2])
    sizes = f"{sentences:>6} {words:>5}"
    rest = " ".join(f"{c:6.1f}" if fractions else f"{c:6d}" for c in cells[2:])
    return f"| {name:<{width}} |{sizes} | {rest[2:]} |"


def _aligned_listing(utt: str, path: list[AlignedWord]) -> str:
    """One utterance as in sclite's ``pra``: errors in capitals, gaps as asterisks."""
    rows = ["REF: ", "HYP: ", "Eval:"]
    for word in path:
        width = max(len(word.ref or ""), len(word.hyp or ""))
        for i, text in enumerate((word.ref, word.hyp)):
            text = "*" * width if text is None else text
            rows[i] += f" {(text if word.op == 'C' else text.upper()):<{width}}"
        rows[2] += f" {'' if word.op == 'C' else word.op:<{width}}"
    counts = count(path)
    scores = (counts.correct, counts.substitutions, counts.deletions, counts.insertions)
    head = [f"id: ({utt})", "Scores: (#C #S #D #I) " + " ".join(map(str, scores))]
    return "\n".join(head + [row.rstrip() for row in rows] + ["", ""])
