"""Put WER and EER of several reports side by side into a page.

    python -m spft.bin.summary egs2/{music,chatbot,barista}/asr1/RESULTS.md

The reports are those of ``spft.bin.report``. One table of their systems goes into
README.md (``--out``), between its lines ``<!-- results -->`` and
``<!-- end of results -->``.
"""

import argparse
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write

MARKS = ("<!-- results -->", "<!-- end of results -->")
MEASURES = ("WER", "EER")
NOTHING = "–"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="RESULTS.md files")
    parser.add_argument("--out", type=Path, default=Path("README.md"), help="the page")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    found: dict[str, dict[str, dict[str, str]]] = {}
    for path in args.reports:
        found |= read_report(path)
    page = args.out.read_text("utf-8") if args.out.is_file() else ""
    start, end = (page.find(mark) for mark in MARKS)
    if not 0 <= start < end:
        raise UserError(f"{args.out}: has no lines {' … '.join(MARKS)}; add them")
    with atomic_write(args.out) as stream:
        stream.write("\n\n".join([page[:start] + MARKS[0], table(found), page[end:]]))


def read_report(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Domain to system to the cells of its row, by the column's name."""
    from spft.scoring.table import HEADER

    if not path.is_file():
        raise UserError(f"{path}: no such report")
    found: dict[str, dict[str, dict[str, str]]] = {}
    domain, inside = "", False
    for line in path.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            domain = line.removeprefix("## ").strip()
        elif cells == list(HEADER):
            inside, found[domain] = True, {}
        elif not line.startswith("|"):
            inside = False
        elif inside and cells[0].strip("-"):
            found[domain][cells[0]] = dict(zip(HEADER, cells, strict=True))
    if not found:
        raise UserError(f"{path}: no table of spft.bin.report in it")
    return found


def table(found: dict[str, dict[str, dict[str, str]]]) -> str:
    """One row a system, two columns a domain; columns without a figure are left out."""
    from spft.scoring.table import format_table

    columns = [
        (domain, measure)
        for domain, rows in found.items()
        for measure in MEASURES
        if any(row[measure] != NOTHING for row in rows.values())
    ]
    systems = dict.fromkeys(system for rows in found.values() for system in rows)
    cells = [
        [
            system,
            *(found[domain].get(system, {}).get(m, NOTHING) for domain, m in columns),
        ]
        for system in systems
    ]
    return format_table(["system", *map(" ".join, columns)], cells)


if __name__ == "__main__":
    run(main)
