"""Check Kaldi data directories: python -m spft.bin.validate_data data/music_test."""

import argparse
from pathlib import Path

from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Check Kaldi data directories; the first fault is named with its "
        "file and line."
    )
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument(
        "--no_audio", action="store_true", help="text-only directories (text, entities)"
    )
    parser.add_argument(
        "--not_in",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="adaptation text, checked too, that must hold none of their sentences",
    )
    parser.add_argument(
        "--check_audio", action="store_true", help="decode every audio file (slow)"
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="first sort, normalise the text and rebuild spk2utt",
    )
    return parser


def main() -> None:
    """Check each directory in turn."""
    from spft.data.fix import fix_data_dir
    from spft.data.kaldi import validate_data_dir
    from spft.data.leak import check_leak
    from spft.data.own_domain import read_lexicon
    from spft.data.stats import count

    args = get_parser().parse_args()
    heard: dict[Path, Path] = {}
    for directory in args.directories:
        if args.fix:
            fix_data_dir(directory, audio=not args.no_audio)
        utterances = validate_data_dir(
            directory, audio=not args.no_audio, check_audio=args.check_audio
        )
        if (directory / "names.txt").exists():
            list(read_lexicon(directory / "names.txt"))
        for utterance in utterances:
            if utterance.audio is None:
                continue
            other = heard.setdefault(utterance.audio.resolve(), directory)
            if other != directory:
                raise UserError(
                    f"{directory}/wav.scp: {utterance.audio} is in {other} too; keep "
                    "the sets apart"
                )
        print(f"{directory}: valid, {count(utterances)}")
    for directory in args.not_in:
        utterances = validate_data_dir(directory, audio=False)
        print(f"{directory}: valid, {count(utterances)}")
    texts = [directory / "text" for directory in args.directories]
    for text in args.not_in:
        check_leak(text / "text", [path for path in texts if path.exists()])


if __name__ == "__main__":
    run(main)
