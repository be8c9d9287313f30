"""Prepare a corpus: python -m spft.bin.prepare_data librispeech --source DIR.

Writes Kaldi data directories: ``data/<domain>_{train,dev,test}`` and, for adaptation
text, ``data/<domain>_text/{train,dev}``. Test sentences in the adaptation text are an
error for the embedded corpora; for the others such lines have been dropped and counted.
"""

import argparse
import logging
import shutil
from importlib import import_module
from pathlib import Path

from spft.data.corpora import READERS
from spft.errors import UserError, run

EVALUATION = ("dev", "test")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--source", help="the corpus; default: its variable of db.sh")
    common.add_argument("--out", type=Path, default=Path("data"), help="default: data")
    common.add_argument("--domain", help="names the sets; default: by corpus")
    common.add_argument(
        "--names",
        type=Path,
        help="list of names for the second pass, one a line, with a tab before its "
        "type; none if there is no such file",
    )
    common.add_argument(
        "--text_only",
        action="store_true",
        help="write only the adaptation text, without lines that hold a sentence of "
        "the domain's dev and test sets already there",
    )
    common.add_argument(
        "--limit",
        type=int,
        help="for trying out: at most so many utterances a set, ten times that of text",
    )
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    for name in READERS:
        reader = import_module(f"spft.data.corpora.{name}")
        own = corpora.add_parser(name, parents=[common], help=reader.HELP)
        reader.add_options(own)
        own.set_defaults(reader=reader)
    return parser


def only_text(sets: dict[str, list], evaluation: list[Path]) -> dict[str, list]:
    """The adaptation text without what the directories ``evaluation`` hold."""
    from spft.data.leak import find_leaks
    from spft.data.table import read_table

    texts = [path / "text" for path in evaluation if (path / "text").exists()]
    sentences = [line for path in texts for line in read_table(path).values()]
    kept = {}
    for name in [name for name in sets if name.startswith("text/")]:
        leaks = find_leaks({u.id: u.text for u in sets[name]}, sentences)
        kept[name] = [u for u in sets[name] if u.id not in leaks]
        logging.info("%s: dropped %d lines that hold a sentence of %s",
                     name, len(leaks), " or ".join(map(str, texts)))  # fmt: skip
    if not kept:
        raise UserError("--text_only: this corpus has no adaptation text; leave it out")
    return kept


def write_set(folder: Path, utterances: list) -> Path:
    """Write a data directory; say so if that undoes a change of its text."""
    from spft.data.kaldi import write_data_dir

    text = folder / "text"
    before = text.read_bytes() if text.exists() else None
    write_data_dir(folder, utterances)
    if before and text.exists() and text.read_bytes() != before:
        logging.warning("%s: was another, and is made anew of the corpus", text)
    return folder


def main() -> None:
    """Read, write, check for leaks, count."""
    from spft.data.leak import refuse_leaks
    from spft.data.own_domain import read_lexicon
    from spft.data.split import sample
    from spft.data.stats import count

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = get_parser().parse_args()
    domain = args.domain or args.reader.DOMAIN
    if domain is None:
        raise UserError("the mini corpora need --domain, e.g. --domain music")
    listed = args.names is not None and args.names.exists()
    if listed:
        list(read_lexicon(args.names))  # now: its faults would show in stage 7
    sets = args.reader.read(args)
    if args.limit:
        sets = {
            name: sample(u, args.limit * (10 if name.startswith("text/") else 1))
            for name, u in sets.items()
        }
    if args.text_only:
        sets = only_text(sets, [args.out / f"{domain}_{name}" for name in EVALUATION])
    adaptation = sets.get("text/train")
    evaluation = [u for part in EVALUATION for u in sets.get(part, ())]
    for name in ("text/train", "text/dev"):
        refuse_leaks(sets.get(name, ()), evaluation)
    folders = {
        name: write_set(args.out / f"{domain}_{name}", utterances)
        for name, utterances in sets.items()
    }
    if "text/train" in folders:  # for the second pass of stage 7
        names = folders["text/train"] / "names.txt"
        if listed:
            shutil.copyfile(args.names, names)
        else:  # of an earlier preparation
            names.unlink(missing_ok=True)
    for name, utterances in sets.items():
        against = adaptation if not name.startswith("text/") else None
        print(f"{folders[name]}: {count(utterances, against)}")


if __name__ == "__main__":
    run(main)
