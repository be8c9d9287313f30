"""Check configurations before anything is trained, which may take hours.

python -m spft.bin.check_config --stages conf/prompt.yaml --lm conf/lm.yaml \
    --decode conf/decode.yaml
"""

import argparse

from spft.errors import run
from spft.files import read_yaml


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("stages", "lm", "decode"):
        parser.add_argument(f"--{name}", nargs="+", action="extend", default=[])
    return parser


def main() -> None:
    """Run the command."""
    from spft.search.config import DecodeConfig

    args = get_parser().parse_args()
    for path in dict.fromkeys(args.decode):
        DecodeConfig.read(path)
    if not args.stages + args.lm:
        return
    from espnet2.tasks.lm import LMTask

    from spft.stage_config import check_keys, check_stage
    from spft.task import SpeechLLMTask

    parser = SpeechLLMTask.get_parser()
    for path in dict.fromkeys(args.stages):
        check_stage(read_yaml(path), parser, path)
    parser = LMTask.get_parser()
    for path in dict.fromkeys(args.lm):
        check_keys(read_yaml(path), parser, path)


if __name__ == "__main__":
    run(main)
