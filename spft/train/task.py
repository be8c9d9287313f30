"""The ESPnet task that trains a :class:`spft.model.SpeechLLM`, on speech or on text.

Parts are chosen in YAML from the registries of ``spft/build.py``; every other key is
ESPnet's own (optimiser, scheduler, batches, checkpoints, distribution).
"""

import argparse
import logging
from collections.abc import Callable, Collection

import numpy as np
import torch
from espnet2.tasks.abs_task import AbsTask, optim_classes
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.preprocessor import AbsPreprocessor
from espnet2.utils.nested_dict_action import NestedDictAction

from spft.build import CHOICES, build_model
from spft.checkpoint import made_here
from spft.errors import UserError
from spft.llm import IGNORED, LLM
from spft.model import SpeechLLM
from spft.train.trainer import ProgressTrainer

# One of the paper's three for step 1, and not among ESPnet's.
optim_classes["adafactor"] = torch.optim.Adafactor


class Preprocessor(AbsPreprocessor):
    """Turn transcripts into the LLM's token ids."""

    def __init__(self, train: bool, llm: LLM):
        super().__init__(train)
        # The tokenizer alone: data-loading workers must not copy the model.
        self.tokenizer = llm.tokenizer

    def __call__(self, uid: str, data: dict) -> dict[str, np.ndarray]:
        """Replace strings (``text``, ``first_pass``) by token ids."""
        data = dict(data)
        for name in {"text", "first_pass"} & data.keys():
            tokens = self.tokenizer(data[name], add_special_tokens=False)["input_ids"]
            data[name] = np.array(tokens, dtype=np.int64)
        return data


def keep_untrained(model: SpeechLLM) -> None:
    """Let a recogniser's checkpoint hold its LoRA, also where that is not trained yet.

    Raises:
        UserError: a part that begins at random would stay so.
    """
    untrained = made_here(model) - model.saved
    if random := sorted(name for name in untrained if "lora_" not in name):
        raise UserError(
            f"trainable: nothing matches {random[0]}, which begins at random; add a "
            'pattern such as "^projector\\\\."'
        )
    model.saved |= untrained


class SpeechLLMTask(AbsTask):
    """Paired and text-only training of the speech LLM are this one task."""

    num_optimizers = 1
    class_choices_list = CHOICES
    trainer = ProgressTrainer
    _llm: LLM | None = None

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the keys that ESPnet does not know."""
        group = parser.add_argument_group("Speech LLM")
        group.add_argument("--llm_conf", action=NestedDictAction, default={})
        group.add_argument("--model_conf", action=NestedDictAction, default={})
        group.add_argument(
            "--trainable",
            nargs="*",
            default=[],
            help="regular expressions of the parameters to train; others are frozen",
        )
        group.add_argument(
            "--init", nargs="*", default=[], help="folders of stages to start from"
        )
        group.add_argument(
            "--strength",
            type=float,
            default=1.0,
            help="of the change that training makes to --init's weights, the share "
            "that is kept: less than 1 gains less and forgets less (arXiv 2109.01903)",
        )
        for choices in cls.class_choices_list:
            choices.add_arguments(group)

    @classmethod
    def build_collate_fn(cls, args, train: bool) -> Callable[[Collection], tuple]:
        """Pad token ids with -1."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=IGNORED)

    @classmethod
    def build_preprocess_fn(cls, args, train: bool) -> Preprocessor:
        """Tokenise with the LLM's tokenizer."""
        assert cls._llm is not None, "the model is built before its data"
        return Preprocessor(train, cls._llm)

    @classmethod
    def required_data_names(cls, train=True, inference=False) -> tuple[str, ...]:
        """Text is all that adaptation needs."""
        return ("text",)

    @classmethod
    def optional_data_names(cls, train=True, inference=False) -> tuple[str, ...]:
        """Speech makes a batch paired; its first pass may come with it."""
        return ("speech", "first_pass")

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SpeechLLM:
        """Build the model; ``--init`` gives architecture and weights."""
        model = build_model(args)
        read = {name for _, name, _ in args.train_data_path_and_name_and_type}
        if "speech" in read and model.llm_weight:
            keep_untrained(model)
        cls._llm = model.llm
        logging.info(f"training {model.trained_parameters:,} parameters")
        return model
