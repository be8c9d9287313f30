"""Prepare a corpus: python -m spft.bin.prepare_data librispeech --source DIR.

Writes Kaldi data directories: ``data/<domain>_{train,dev,test}`` and, for adaptation
text, ``data/<domain>_text/{train,dev}``. Test sentences in the adaptation text are an
error for the embedded corpora; for the others such lines have been dropped and counted.
"""

import argparse
import logging
import os
import shutil
from pathlib import Path

from spft.errors import UserError, run

EVALUATION = ("dev", "test")
MAX_SPOKEN = 20  # words of a sentence that is to be synthesised
# Corpus: variable of tools/db.sh, default domain.
CORPORA = {
    "mini": (None, None),
    "librispeech": ("LIBRISPEECH", "librispeech"),
    "snips": ("SNIPS", "music"),
    "sgd": ("SGD", "chatbot"),
    "slurp": ("SLURP", "slurp"),
    "speech_to_intent": ("SPEECH_TO_INTENT", "barista"),
    "general_text": ("WORDNET", "general"),
}


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
    sized = argparse.ArgumentParser(add_help=False)
    sized.add_argument(
        "--sizes",
        type=int,
        nargs=2,
        metavar=("DEV", "TEST"),
        help="of dev and test; default: what the corpus has for them",
    )
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    corpora.add_parser("mini", parents=[common], help="embedded corpus (downloads/)")
    libri = corpora.add_parser("librispeech", parents=[common], help="paired speech")
    for name in EVALUATION:
        libri.add_argument(
            f"--{name}_speakers",
            nargs="+",
            metavar="ID",
            help=f"held out for {name}; default: two readers of dev-clean",
        )
    snips = corpora.add_parser(
        "snips", parents=[common, sized], help="music, weather text"
    )
    snips.add_argument("--intents", nargs="+", help="default: music intents")
    snips.add_argument("--keep_rude", action="store_true", help="keep rude sentences")
    sgd = corpora.add_parser("sgd", parents=[common, sized], help="chatbot text")
    sgd.add_argument(
        "--services", nargs="+", default=[], help="beginnings of names; default: all"
    )
    slurp = corpora.add_parser("slurp", parents=[common, sized], help="assistant")
    slurp.add_argument(
        "--audio", help="folder of slurp_real; default: SLURP_AUDIO; neither: text only"
    )
    corpora.add_parser("speech_to_intent", parents=[common], help="coffee orders")
    general = corpora.add_parser(
        "general_text",
        parents=[common],
        help="text that teaches the baseline's decoder",
    )
    general.add_argument(
        "--paired", type=Path, required=True, help="its transcripts are used too"
    )
    general.add_argument(
        "--spoken",
        type=int,
        default=0,
        help="so many of WordNet's sentences, those with the most different words, "
        "also into a set to be synthesised",
    )
    return parser


def find_source(given: str | None, variable: str | None) -> Path:
    """The corpus folder, from the command line or the environment."""
    path = given or (os.environ.get(variable) if variable else None)
    hint = f"set {variable} (tools/db.sh names the official source)"
    hint = hint if variable else "give its folder with --source"
    if not path:
        raise UserError(f"no corpus path; {hint}")
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such corpus folder; {hint}")
    return Path(path)


def read_general_text(args: argparse.Namespace) -> dict[str, list]:
    """WordNet's examples, where there are any, and the transcripts of paired data."""
    from spft.data.corpora.wordnet import read_wordnet
    from spft.data.split import cover, hold_out, unique
    from spft.data.table import read_table
    from spft.data.utterance import Utterance

    texts = read_table(args.paired / "text")
    utterances = [Utterance(f"paired-{key}", text) for key, text in texts.items()]
    if args.source or os.environ.get("WORDNET"):
        utterances += read_wordnet(find_source(args.source, "WORDNET"))
    elif args.spoken:
        raise UserError(
            "--spoken speaks WordNet's sentences; set WORDNET (tools/db.sh)"
        )
    else:
        logging.info("WORDNET (tools/db.sh) is not set: transcripts are all the text")
    train, dev = hold_out(unique(utterances), 0.02)
    sets = {"text/train": train, "text/dev": dev}
    if args.spoken:
        short = [
            sentence
            for sentence in train
            if sentence.id.startswith("wordnet-")
            and len(sentence.text.split()) <= MAX_SPOKEN
        ]
        sets["spoken"] = cover(short, args.spoken)
    return sets


def read_corpus(args: argparse.Namespace) -> dict[str, list]:
    """Set name (``train``, ``text/dev``, …) -> utterances."""
    if args.corpus == "general_text":
        return read_general_text(args)
    source = find_source(args.source, CORPORA[args.corpus][0])
    from spft.data.corpora import librispeech, mini, sgd, slurp, snips, speech_to_intent

    if args.corpus == "librispeech":
        return librispeech.split_speakers(
            librispeech.read_librispeech(source),
            args.dev_speakers or librispeech.DEV_SPEAKERS,
            args.test_speakers or librispeech.TEST_SPEAKERS,
        )
    if args.corpus == "snips":
        intents = args.intents or snips.INTENTS
        return snips.read_snips(
            source, intents, keep_rude=args.keep_rude, sizes=args.sizes
        )
    if args.corpus == "sgd":
        return sgd.read_sgd(source, args.services, args.sizes or (None, None))
    if args.corpus == "slurp":
        folder = args.audio or os.environ.get("SLURP_AUDIO")
        audio = find_source(folder, "SLURP_AUDIO") if folder else None
        return slurp.read_slurp(source, audio, args.sizes or (None, None))
    if args.corpus == "speech_to_intent":
        return speech_to_intent.read_speech_to_intent(source)
    return mini.read_mini(source)


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
    domain = args.domain or CORPORA[args.corpus][1]
    if domain is None:
        raise UserError("the mini corpora need --domain, e.g. --domain music")
    listed = args.names is not None and args.names.exists()
    if listed:
        list(read_lexicon(args.names))  # now: its faults would show in stage 7
    sets = read_corpus(args)
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
