"""Make the recipe of a new domain: egs2/<name>/asr1 (see tools/new_domain.sh).

    python -m spft.bin.new_domain medical --text notes.txt --entities drugs.txt \
        --test recordings/

Copies the template and writes ``downloads/``: ``adapt.jsonl``, ``dev.jsonl``,
``test.jsonl`` and audio. Sentences of dev and test are taken out of the adaptation
text. Without recordings, ``--synthesize N`` holds N sentences out, to be spoken.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from spft.errors import UserError, run

# Folders of exp/ and data/ beside those of domains; presets have one each as well.
RESERVED = {"base", "baseline", "general", "librispeech", "log", "real", "report"}
RESERVED |= {"baseline_ctc", "baseline_text", "routes", "studies"}
MAX_SPOKEN = 40  # words of a sentence that is to be spoken: Kokoro takes 510 phonemes
DEV_SHARE = 0.3  # of the recordings, where --dev names no others
MANY = 20_000  # sentences whose every run of words is too much to look for
# Every tenth word of English, or more, is one of these.
COMMON = {"the", "to", "a", "and", "of", "i", "in", "is", "it", "for", "my", "you"}


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    # tools/new_domain.sh looks at some options too, by their whole names.
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("name", help="of the domain: lower-case letters, digits and _")
    add(
        "--text",
        type=Path,
        required=True,
        help="English: plain lines, .jsonl or a Kaldi folder",
    )
    add("--entities", type=Path, help="list: one a line, with a tab before its type")
    add("--test", type=Path, help="recordings: Kaldi folder, or audio with .txt beside")
    add("--dev", type=Path, help="the same; default: three tenths of --test")
    add("--synthesize", type=int, metavar="N", help="speak N sentences of the text")
    add("--egs", type=Path, default=Path("egs2"), help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    folder = args.egs / args.name
    check_options(args, folder)

    from spft.data.leak import find_leaks
    from spft.data.own_domain import Lexicon, read_lexicon, read_sentences

    lexicon = Lexicon(read_lexicon(args.entities) if args.entities else ())
    sentences = read_sentences(args.text, lexicon)
    args.egs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.egs) as temporary:
        recipe = Path(temporary) / "asr1"
        shutil.copytree(Path(__file__).parents[2] / "egs2/TEMPLATE/asr1", recipe)
        downloads = recipe / "downloads"
        downloads.mkdir()
        if args.test:
            sets = recorded(args.test, args.dev, downloads / "audio")
        else:
            sets = held_out(args.name, sentences, args.synthesize)
        rows = [row for name in sets for row in sets[name]]
        leaks = find_leaks(
            dict(zip(sentences, sentences, strict=True)), [row["text"] for row in rows]
        )
        kept = [sentence for sentence in sentences if sentence not in leaks]
        if len(kept) < 2:
            raise UserError(f"{args.text}: no text left beside the test sentences")
        sets["adapt"] = [
            {"id": f"{args.name}-adapt-{i:06d}"} | text_row(text, sentences)
            for i, text in enumerate(kept, 1)
        ]
        if args.entities:  # the second pass knows those too that no sentence has
            shutil.copyfile(args.entities, downloads / "names.txt")
        for name, found in sets.items():
            with open(downloads / f"{name}.jsonl", "w", encoding="utf-8") as stream:
                for row in found:
                    row["entities"] = lexicon.find(row["text"])
                    print(json.dumps(row, ensure_ascii=False), file=stream)
        folder.mkdir()
        recipe.rename(folder / "asr1")
    warn_of_text(kept, bool(lexicon.types))
    entities = sum(len(row["entities"]) for row in rows)
    if args.entities and not any(row["entities"] for row in [*rows, *sets["adapt"]]):
        print(f"warning: no sentence holds a name of {args.entities}; is there one a "
              "line, perhaps with a tab and its type?", file=sys.stderr)  # fmt: skip
    print(f"{folder}/asr1: {len(kept)} sentences to adapt on ({len(leaks)} taken out, "
          f"for they are in dev or test), {len(sets['dev'])} dev, {len(sets['test'])} "
          f"test; {entities} entities in these")  # fmt: skip
    print("the text is read so: " + " / ".join(f"'{text[:60]}'" for text in kept[:3]))


def check_options(args: argparse.Namespace, folder: Path) -> None:
    """Refuse names and options that do not go together.

    Raises:
        UserError: naming them.
    """
    if args.name in RESERVED or Path("conf/presets", args.name).exists():
        raise UserError(f"{args.name!r} means something else to run.sh; take another")
    if args.name.endswith("_tts"):  # data/medical_tts_dev is medical's text spoken
        raise UserError(f"{args.name!r}: ends in _tts; take another")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", args.name):
        raise UserError(f"{args.name!r}: a name of lower-case letters, digits and _")
    if folder.exists():
        raise UserError(f"{folder} is there already; remove it or take another name")
    if args.test and args.synthesize is not None:
        raise UserError("--test and --synthesize: recordings or synthesis, not both")
    if not args.test and args.synthesize is None:
        raise UserError(
            "nothing to test on: give recordings (--test DIR), or have sentences of "
            "the text held out and spoken (--synthesize 100)"
        )
    if args.synthesize is not None and args.synthesize < 1:
        raise UserError(f"--synthesize {args.synthesize}: a number from 1")
    if args.dev and not args.test:
        raise UserError("--dev needs --test")


def warn_of_text(sentences: list[str], named: bool) -> None:
    """Say what will be slow or wrong with normalised text, ``named``: with names."""
    if not named and len(sentences) > MANY:
        print(f"warning: without --entities the second pass looks for the commonest "
              f"phrases of {len(sentences)} sentences, for a second an utterance",
              file=sys.stderr)  # fmt: skip
    words = [word for sentence in sentences for word in sentence.split()]
    if sum(word in COMMON for word in words) < 0.02 * len(words):
        print("warning: the text hardly reads like English, which is all that the "
              "models that come with this know", file=sys.stderr)  # fmt: skip


def recorded(test: Path, dev: Path | None, audio: Path) -> dict[str, list[dict]]:
    """Dev and test rows of recordings, which are copied to ``audio``."""
    from spft.data.own_domain import read_recordings
    from spft.data.split import fraction
    from spft.files import sha256

    parts = {"test": read_recordings(test)}
    if dev:
        parts["dev"] = read_recordings(dev)
    else:
        # One sentence by several speakers stays on one side.
        ranked = sorted(parts["test"], key=lambda item: (fraction(item.text), item.id))
        cut = max(1, round(DEV_SHARE * len(ranked)))
        while cut < len(ranked) and ranked[cut - 1].text == ranked[cut].text:
            cut += 1
        parts = {"dev": ranked[:cut], "test": ranked[cut:]}
    if not parts["test"]:
        raise UserError(f"{test}: one sentence makes no dev and test set")
    check_recordings([item.audio for items in parts.values() for item in items])
    audio.mkdir()
    sets, known, heard = {}, set(), {}
    for name, items in parts.items():
        sets[name] = []
        for item in sorted(items, key=lambda item: item.id):
            key = item.id.casefold()  # sclite does not tell apart what differs by case
            if key in known:
                raise UserError(f"{item.audio}: a second recording {item.id!r}; rename")
            part, other = heard.setdefault(sha256(item.audio), (name, item.audio))
            if dev and part != name:
                raise UserError(f"{item.audio}: in dev and test ({other}); remove one")
            known.add(key)
            target = audio / f"{item.id}{item.audio.suffix.lower()}"
            shutil.copyfile(item.audio, target)
            row = {"id": item.id, "text": item.text, "speaker": item.speaker}
            sets[name].append(row)
    return sets


def check_recordings(paths: list[Path]) -> None:
    """Read all, so that none stops stage 2.

    Raises:
        UserError: it names each that cannot be used.
    """
    from spft.data.audio import LONG_SECONDS, SAMPLE_RATE, read_audio

    faults, long = {}, []
    for path in paths:
        try:
            if len(read_audio(path)) > LONG_SECONDS * SAMPLE_RATE:
                long.append(path)
        except UserError as error:
            faults[path.name] = str(error)
    if faults:
        _, first = faults.popitem()
        others = f" (nor can {', '.join(faults)} be used)" if faults else ""
        raise UserError(first + others)
    if long:
        print(f"warning: {len(long)} recordings of over {LONG_SECONDS} s, such as "
              f"{long[0]}: the encoder hears little of what is so long; cut them at "
              "pauses", file=sys.stderr)  # fmt: skip


def text_row(text: str, sentences: dict[str, str]) -> dict[str, str]:
    """The text, and how a voice is to read it where that differs.

    Args:
        text: normalised.
        sentences: normalised ones, and how they were written.
    """
    from spft.data.normalize import spell_out

    spoken = spell_out(sentences[text], text)
    return {"text": text} if spoken == text else {"text": text, "spoken": spoken}


def held_out(
    domain: str, sentences: dict[str, str], size: int
) -> dict[str, list[dict]]:
    """``size`` test and half as many dev sentences, for different voices to speak."""
    from spft.data.split import fraction
    from spft.synth import KokoroEngine

    wanted = {"test": size, "dev": max(1, size // 2)}
    if sum(wanted.values()) > len(sentences) // 2:
        raise UserError(
            f"--synthesize {size}: holds out {sum(wanted.values())} sentences, more "
            f"than half of the {len(sentences)} there are; ask for fewer"
        )
    short = [text for text in sentences if len(text.split()) <= MAX_SPOKEN]
    if sum(wanted.values()) > len(short):
        raise UserError(f"--synthesize {size}: {len(short)} sentences have at most "
                        f"{MAX_SPOKEN} words; ask for fewer")  # fmt: skip
    ranked = sorted(short, key=lambda text: fraction(domain + text))
    voices = KokoroEngine("kokoro").voices
    speakers = {"dev": voices[::3], "test": [v for v in voices if v not in voices[::3]]}
    sets = {}
    for name, number in wanted.items():
        chosen, ranked = ranked[:number], ranked[number:]
        rows = []
        for i, text in enumerate(chosen, 1):
            voice = speakers[name][i % len(speakers[name])]
            rate = round(0.9 + 0.25 * fraction(f"rate {text}"), 2)
            row = {"id": f"{voice}-{domain}-{name}-{i:04d}"}
            row |= text_row(text, sentences)
            rows.append(row | {"speaker": voice, "rate": rate})
        sets[name] = sorted(rows, key=lambda row: row["id"])
    return sets


if __name__ == "__main__":
    run(main)
