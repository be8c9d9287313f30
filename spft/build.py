"""A :class:`spft.model.SpeechLLM` of its configuration, to train it or to recognise.

Without ESPnet's trainer, whose import takes as long as torch's and transformers'
together, so that recognition begins without it.
"""

import argparse

from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.train.class_choices import ClassChoices

from spft.adapt.abs_adapt import AbsAdapt, NoPrompt
from spft.adapt.empty_prompt import EmptyPrompt
from spft.adapt.noisy_text import NoisyText
from spft.adapt.soft_prompt import SoftPrompt
from spft.adapt.upsample_mask import UpsampleMask
from spft.checkpoint import ARCHITECTURE, read_config, read_weights
from spft.encoder.encoders import (
    CachedEncoder,
    FbankConformerEncoder,
    TransformersEncoder,
)
from spft.errors import UserError
from spft.llm import LLM
from spft.model import SpeechLLM
from spft.projector.abs_projector import AbsProjector
from spft.projector.ctc import CTCProjector
from spft.projector.stack import StackProjector
from spft.train.config import check_arguments
from spft.train.settings import DEVICE_KEYS

encoder_choices = ClassChoices(
    "encoder",
    classes=dict(
        cached=CachedEncoder,
        transformers=TransformersEncoder,
        conformer=FbankConformerEncoder,
    ),
    type_check=AbsEncoder,
    default=None,
)
projector_choices = ClassChoices(
    "projector",
    classes=dict(ctc=CTCProjector, stack=StackProjector),
    type_check=AbsProjector,
    default=None,
)
adapt_choices = ClassChoices(
    "adapt",
    classes=dict(
        no_prompt=NoPrompt,
        empty_prompt=EmptyPrompt,
        upsample_mask=UpsampleMask,
        soft_prompt=SoftPrompt,
        noisy_text=NoisyText,
    ),
    type_check=AbsAdapt,
    default=None,
)
CHOICES = [encoder_choices, projector_choices, adapt_choices]

# Keys that the model is made of, and what they are where they are left out.
DEFAULTS = {
    "llm_conf": {},
    "model_conf": {},
    "trainable": [],
    "init": [],
    "strength": 1.0,
}
for choices in CHOICES:
    DEFAULTS |= {choices.name: None, f"{choices.name}_conf": {}}

MAY_DIFFER = {"dtype", *DEVICE_KEYS}  # of llm_conf, from stage to stage


def build_model(args: argparse.Namespace) -> SpeechLLM:
    """Build the model; what ``args.init`` gives of its architecture joins ``args``.

    Args:
        args: all keys of :data:`DEFAULTS`; ESPnet's others may stand beside them.

    Raises:
        UserError: a key does not fit its part, or an earlier stage.
    """
    for folder in args.init:
        inherit_architecture(args, folder, read_config(folder))
    if args.encoder is None or args.projector is None:
        raise UserError("the configuration names no encoder or projector")
    llm = _construct(LLM, "llm_conf", args.llm_conf)
    encoder_class = encoder_choices.get_class(args.encoder)
    encoder = _construct(encoder_class, "encoder_conf", args.encoder_conf)
    projector = _construct(
        projector_choices.get_class(args.projector),
        "projector_conf",
        args.projector_conf,
        encoder.output_size(),
        llm,
    )
    adapt_class = adapt_choices.get_class(args.adapt or "no_prompt")
    adapt = _construct(adapt_class, "adapt_conf", args.adapt_conf, llm)
    model = _construct(
        SpeechLLM,
        "model_conf",
        args.model_conf,
        encoder,
        projector,
        llm,
        adapt,
        args.trainable,
    )
    begun: set[str] = set()
    for folder in args.init:
        weights = read_weights(folder)
        model.load_stage(weights)
        begun |= weights.keys()
    check_strength(args.strength, model, begun)
    frozen = not any(parameter.requires_grad for parameter in llm.parameters())
    # Faster. Not where the LLM itself was trained: its weights go into this stage's
    # file too, and LoRA's share would be in them.
    if args.init and frozen and not any(".base_layer." in n for n in model.saved):
        llm.merge()
    return model


def check_strength(strength: float, model: SpeechLLM, begun: set[str]) -> None:
    """Refuse to interpolate where some of the weights did not come from ``--init``.

    Args:
        strength: share of the change that is kept.
        model: of which some parameters will be trained.
        begun: names of those that ``--init`` gives.

    Raises:
        UserError: it is no share, or what is trained does not begin at ``--init``.
    """
    if not 0 < strength <= 1:
        raise UserError(f"strength: over 0 and at most 1, not {strength}")
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    if strength < 1 and (lacking := [n for n in trained if n not in begun]):
        raise UserError(
            f"strength: {lacking[0]} is trained and in no --init: there is no way from "
            "there; leave strength out"
        )


def inherit_architecture(args: argparse.Namespace, folder: str, earlier: dict) -> None:
    """Take what ``args`` leaves open from an earlier stage; refuse what contradicts it.

    Raises:
        UserError: a key of the architecture is given with another value.
    """
    for key in ARCHITECTURE:
        ours, theirs, free = getattr(args, key), earlier.get(key), {}
        if key == "llm_conf":
            both = theirs | ours
            free = {name: both[name] for name in MAY_DIFFER & both.keys()}
            ours, theirs = (
                {name: conf[name] for name in conf if name not in MAY_DIFFER}
                for conf in (ours, theirs)
            )
        if ours in (None, {}):
            ours = theirs
        elif ours != theirs:
            raise UserError(
                f"{folder} was trained with {key} = {theirs}, "
                f"this configuration says {ours}: leave {key} out or train again"
            )
        setattr(args, key, ours | free if free else ours)
    # A soft prompt has weights, which the folder gives; another method is to be named.
    if args.adapt is None and earlier.get("adapt") == "soft_prompt":
        args.adapt = "soft_prompt"
    if args.adapt == earlier.get("adapt"):
        args.adapt_conf = args.adapt_conf or earlier.get("adapt_conf") or {}


def _construct(part: type, key: str, conf: dict, *args):
    """Make a part of its configuration; a key it does not take is the user's error."""
    check_arguments(part, conf, key, len(args))
    return part(*args, **conf)
