"""Check configurations before anything is trained, which may take hours.

python -m spft.bin.check_config --stages conf/prompt.yaml --lm conf/lm.yaml \
    --decode conf/decode.yaml
"""

import argparse

from spft.errors import UserError, run
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
        keys = read_yaml(path)
        check_keys(keys, parser, path)
        check_lm(keys, path)


def check_lm(keys: dict, path: str) -> None:
    """Refuse what would be trained, and then could not be fused.

    Raises:
        UserError: naming ``path`` and the key.
    """
    if keys.get("lm", "seq_rnn") not in ("seq_rnn", "transformer"):
        raise UserError(
            f"{path}: lm: {keys['lm']} cannot be fused; seq_rnn or transformer can"
        )
    if "seed" in keys:
        raise UserError(f"{path}: seed: is given by --seed of run.sh; remove the line")
    wanted = ["valid", "loss", "min"]
    if wanted not in [list(c) for c in keys.get("best_model_criterion", [wanted])]:
        raise UserError(
            f"{path}: best_model_criterion: lacks {wanted}, of which stage 7 takes the "
            "best epoch"
        )


if __name__ == "__main__":
    run(main)
