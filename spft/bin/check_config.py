"""Check configurations before anything is trained, which may take hours.

python -m spft.bin.check_config --model conf/presets/large/model.yaml \
    --stages conf/prompt.yaml --lm conf/lm.yaml --decode conf/decode.yaml
"""

import argparse

from spft.errors import UserError, run
from spft.files import read_yaml


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("stages", "lm", "decode"):
        parser.add_argument(f"--{name}", nargs="+", action="extend", default=[])
    parser.add_argument("--model", help="YAML of the architecture")
    return parser


def main() -> None:
    """Run the command."""
    from spft.search.config import DecodeConfig

    args = get_parser().parse_args()
    for path in dict.fromkeys(args.decode):
        DecodeConfig.read(path)
    lora = True
    if args.model:
        keys = read_yaml(args.model)
        check_model(keys, args.model)
        lora = keys["llm_conf"].get("lora")
    if not args.stages + args.lm:
        return
    from espnet2.tasks.lm import LMTask

    from spft.build import adapt_choices
    from spft.train.config import check_arguments, check_keys, check_stage
    from spft.train.task import SpeechLLMTask

    parser = SpeechLLMTask.get_parser()
    for path in dict.fromkeys(args.stages):
        keys = read_yaml(path)
        check_stage(keys, parser, path)
        if adapt := keys.get("adapt"):
            where, conf = f"{path}: adapt_conf", keys.get("adapt_conf") or {}
            check_arguments(adapt_choices.get_class(adapt), conf, where, 1)
        if not lora and any("lora_" in str(name) for name in keys["trainable"]):
            raise UserError(
                f"{path}: trainable: lora_, which {args.model} has not; to tune all of "
                f"the LLM, put a copy of the file with '^llm\\.' in its place beside "
                f"{args.model}"
            )
    parser = LMTask.get_parser()
    for path in dict.fromkeys(args.lm):
        keys = read_yaml(path)
        check_keys(keys, parser, path)
        check_lm(keys, path)


def check_model(keys: dict, path: str) -> None:
    """Refuse pretrained models that are not there, or that this project cannot use.

    Raises:
        UserError: naming the key, before the hours that the stages before may take.
    """
    from transformers import AutoConfig, AutoTokenizer

    from spft.encoder.encoders import longest_speech
    from spft.llm import lora_config, refuse_scaled_logits
    from spft.pretrained import MODELS, loading

    llm = keys.get("llm_conf") or {}
    if missing := [k for k in ("encoder", "projector", "llm_conf") if not keys.get(k)]:
        raise UserError(f"{path}: no {missing[0]}")
    if not llm.get("name"):
        raise UserError(f"{path}: llm_conf: no name; a hub's or a folder's is needed")
    if llm.get("lora"):
        lora_config(llm["lora"])
    longest_speech(keys["encoder"], keys.get("encoder_conf") or {})
    if (name := llm["name"]) not in MODELS:
        with loading(f"LLM {name!r}", f"{path}: llm_conf"):
            AutoTokenizer.from_pretrained(name)
            config = AutoConfig.from_pretrained(name)
        refuse_scaled_logits(config, name)


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
