"""Formatting collected scores as a table: cells, markdown and plain text."""

from collections.abc import Sequence

from spft.scoring.collect import SYSTEMS, UPPER, RowScores
from spft.scoring.significance import DRAWS, mapsswe_tool

HEADER = (
    "system",
    "WER",
    "Δ WER",
    "EER",
    "Δ EER",
    "EER seen",
    "EER unseen",
    "general WER",
    "weights (dev)",
)
NOTHING = "–"  # a cell without a figure


def marks(p: float | None, sign: str) -> str:
    """One to three of ``sign`` at p < 0.05, 0.01 and 0.001."""
    return "" if p is None else sign * sum(p < level for level in (0.05, 0.01, 0.001))


def footnotes(results: Sequence[RowScores]) -> str:
    """What the columns and marks of the table mean, in markdown."""
    rows = {result.row.key: result.row for result in results}
    pairs = dict.fromkeys(
        f"{row.label} from {other.label}"
        if row.tag != other.tag
        else f"others from {rows.get(other.system, other).label}, the decoding the same"
        for row in rows.values()
        if (other := rows.get(row.versus))
    )
    lines = [
        "WER, EER (entity error rate) and changes are in percent; Δ: relative to "
        f"{results[0].row.label}. EER seen and unseen: of entities that do and do not "
        "occur in the adaptation text.",
        "",
        f"\\* differs from {results[0].row.label}: \\* p < 0.05, \\*\\* p < 0.01, "
        "\\*\\*\\* p < 0.001.",
        *([f"† likewise, {', '.join(pairs)}."] if pairs else []),
        "Tests are two-tailed and not corrected for their number: for WER the "
        f"matched-pair sentence-segment test ({mapsswe_tool()}), for EER a paired "
        f"permutation test over utterances ({DRAWS:,} draws).",
        *against_untuned(results),
        *gap_closed(results),
    ]
    return "\n".join(lines)


def against_untuned(results: Sequence[RowScores]) -> list[str]:
    """A line on what tuning adds where LMs or a second pass help the base too."""
    compared = [
        f"{result.row.label} {probability(result.untuned.wer)}, "
        f"{probability(result.untuned.eer)}"
        for result in results
        if (result.untuned.wer, result.untuned.eer) != (None, None)
    ]
    if not compared:
        return []
    text = "Against base with the same decoding, p for WER, for EER: "
    return ["", text + "; ".join(compared) + "."]


def gap_closed(results: Sequence[RowScores]) -> list[str]:
    """A line on how far text alone goes towards adaptation with audio, if that helps.

    Of each decoding in which tuning on audio is significantly ahead of the base.
    """
    found = {(r.row.system, r.row.tag): r for r in results if r.scores}
    shares = []
    for (system, tag), result in found.items():
        base, upper = found.get(("base", tag)), found.get((UPPER, tag))
        if base is None or upper is None or system in ("base", "first_pass", UPPER):
            continue
        wer, start, best = (r.scores["wer"] for r in (result, base, upper))
        p = upper.base.wer if tag == "plain" else upper.untuned.wer
        if p is not None and p < 0.05 and best < start:
            shares.append(
                f"{result.row.label} {100 * (start - wer) / (start - best):.0f} %"
            )
    if not shares:
        return []
    text = f"Share of what {SYSTEMS[UPPER]} wins from base decoded in the same way"
    return ["", f"{text}, where that is significant: {', '.join(shares)}."]


def number(value: float | None, form: str = ".2f") -> str:
    """``value``, or a dash where there is none."""
    return NOTHING if value is None else f"{value:{form}}"


def probability(p: float | None) -> str:
    """``p`` to three decimals, or that it is smaller."""
    return "< 0.001" if p is not None and p < 0.001 else number(p, ".3f")


def table_cells(results: Sequence[RowScores]) -> list[list[str]]:
    """One list of cells, in the order of ``HEADER``, for each row."""
    return [_cells(result) for result in results]


def _cells(result: RowScores) -> list[str]:
    scores, general = result.scores or {}, result.general or {}
    wer_marks = marks(result.base.wer, "*") + marks(result.versus.wer, "†")
    eer_marks = marks(result.base.eer, "*") + marks(result.versus.eer, "†")
    return [
        result.row.label,
        number(scores.get("wer")) + wer_marks,
        number(result.wer_change, "+.1f"),
        number(scores.get("eer")) + eer_marks,
        number(result.eer_change, "+.1f"),
        number(scores.get("eer_seen")),
        number(scores.get("eer_unseen")),
        number(general.get("wer")),
        ", ".join(f"{k} {_short(v)}" for k, v in result.weights.items()) or NOTHING,
    ]


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, padded so that it also reads well as plain text."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = (f"{c:<{w}}" for c, w in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = line(["-" * width for width in widths])
    return "\n".join([line(header), rule, *map(line, rows)])


def espnet_table(scores: dict[str, dict]) -> str:
    """ESPnet's table of word and sentence errors; keys of ``scores`` name the rows."""
    names = ("corr", "sub", "del", "ins")
    rows = []
    for dataset, score in scores.items():
        shares = [100 * score[name] / score["words"] for name in names]
        cells = [*shares, score["wer"], score["ser"]]
        rows.append(
            [dataset, str(score["utterances"]), str(score["words"])]
            + [f"{cell:.1f}" for cell in cells]
        )
    header = ["dataset", "Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err"]
    return "\n".join(f"|{'|'.join(row)}|" for row in [header, ["---"] * 9, *rows])
