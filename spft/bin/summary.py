"""Put the error rates of several reports side by side into a page.

    python -m spft.bin.summary egs2/{music,chatbot,barista}/asr1/RESULTS.md

The reports are those of ``spft.bin.report``. One table of their systems goes into
README.md (``--out``), between its lines ``<!-- results -->`` and
``<!-- end of results -->``; without those whose names hold a word of ``--without``.
"""

import argparse
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write

MARKS = ("<!-- results -->", "<!-- end of results -->")
MEASURES = ("WER", "EER")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="RESULTS.md files")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("README.md"),
        help="page to rewrite between its marks (default: README.md)",
    )
    parser.add_argument("--without", nargs="+", default=[], help="such as LM")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    reports: dict[str, dict[str, dict[str, str]]] = {}
    for path in args.reports:
        for domain, rows in read_report(path).items():
            if domain in reports:
                raise UserError(f"{path}: another report has {domain}, too; leave one")
            reports[domain] = {
                name: cells
                for name, cells in rows.items()
                if not any(word in name for word in args.without)
            }
    page = args.out.read_text("utf-8") if args.out.is_file() else ""
    start, end = (page.find(mark) for mark in MARKS)
    if not 0 <= start < end:
        raise UserError(f"{args.out}: has no lines {' … '.join(MARKS)}; add them")
    with atomic_write(args.out) as stream:
        stream.write("\n\n".join([page[:start] + MARKS[0], table(reports), page[end:]]))


def read_report(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Domain to system to the cells of its row, by the column's name."""
    from spft.scoring.table import HEADER

    if not path.is_file():
        raise UserError(f"{path}: no such report")
    tables: dict[str, dict[str, dict[str, str]]] = {}
    domain, inside = "", False
    for line in path.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            domain = line.removeprefix("## ").strip()
        elif cells == list(HEADER):
            inside, tables[domain] = True, {}
        elif not line.startswith("|"):
            inside = False
        elif inside and cells[0].strip("-"):
            tables[domain][cells[0]] = dict(zip(HEADER, cells, strict=True))
    if not tables:
        raise UserError(f"{path}: no table of spft.bin.report in it")
    return tables


def table(reports: dict[str, dict[str, dict[str, str]]]) -> str:
    """One row a system, two columns a domain, and the general WER of all domains.

    Columns without a figure are left out. Behind a figure stands its change against the
    first system's, in percent, as the report has it: rounding that again would be wrong
    by up to one.
    """
    from spft.scoring.table import HEADER, NOTHING, format_table

    columns = [
        (domain, measure)
        for domain, rows in reports.items()
        for measure in MEASURES
        if any(row[measure] != NOTHING for row in rows.values())
    ]
    systems = dict.fromkeys(system for rows in reports.values() for system in rows)
    missing = dict.fromkeys(HEADER, NOTHING)
    cells = []
    for system in systems:
        rows = {domain: reports[domain].get(system, missing) for domain in reports}
        line = [
            rows[domain][measure] + change(rows[domain], measure)
            for domain, measure in columns
        ]
        general = " / ".join(row["general WER"] for row in rows.values())
        cells.append([system, *line, general])
    names = [f"{domain} {measure} (Δ %)" for domain, measure in columns]
    return format_table(
        ["system", *names, f"general WER ({' / '.join(reports)})"], cells
    )


def change(row: dict[str, str], measure: str) -> str:
    """Relative change of a figure, in brackets; empty where the report has none."""
    from spft.scoring.table import NOTHING

    cell = row[f"Δ {measure}"]
    return "" if cell == NOTHING else f" ({cell})"


if __name__ == "__main__":
    run(main)
