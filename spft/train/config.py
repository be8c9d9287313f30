"""A training's configuration: what is wrong in it is said before it begins."""

import argparse
import inspect
from importlib.util import find_spec

from spft.errors import UserError

# Keys of ESPnet's that the commands set, so that a YAML cannot.
GIVEN = ("config", "init", "multiple_iterator", "output_dir", "resume", "seed",
         "train_dtype")  # fmt: skip
NEEDED = ("trainable", "batch_type")
AT_LEAST_1 = ("batch_size", "batch_bins", "max_epoch", "accum_grad")


def check_stage(stage: dict, parser: argparse.ArgumentParser, file: str) -> None:
    """Refuse a stage's configuration that cannot be trained.

    Args:
        stage: its keys.
        parser: of ESPnet's task.
        file: where they stand.

    Raises:
        UserError: a key is missing, unknown or given otherwise, or its value is wrong.
    """
    if missing := [key for key in NEEDED if key not in stage]:
        raise UserError(
            f"{file}: no {' and no '.join(missing)}; such a file takes the place of "
            "the one in conf/ as a whole: copy that and change it"
        )
    for key in stage:
        if key in GIVEN or key.endswith(("_name_and_type", "_shape_file")):
            raise UserError(
                f"{file}: {key}: not read; it is given by the options of "
                "spft.bin.train (--help)"
            )
    check_keys(stage, parser, file)


def check_keys(conf: dict, parser: argparse.ArgumentParser, file: str) -> None:
    """Refuse keys and values that ESPnet's task does not know.

    Raises:
        UserError: it names ``file``, where they stand.
    """
    actions = {action.dest: action for action in parser._actions}
    if unknown := sorted(conf.keys() - actions.keys()):
        raise UserError(
            f"{file}: unknown keys {unknown}; docs/configuration.md lists this "
            "project's, ESPnet's documentation the trainer's"
        )
    for key, value in conf.items():
        choices = [str(choice).lower() for choice in actions[key].choices or ()]
        if choices and isinstance(value, str) and value.lower() not in choices:
            raise UserError(f"{file}: {key}: {value!r} is none of {', '.join(choices)}")
        convert = actions[key].type
        if convert and isinstance(value, str | int | float):
            try:
                convert(str(value))
            except (ValueError, TypeError, argparse.ArgumentTypeError):
                raise UserError(f"{file}: {key}: {value!r} makes no sense") from None
        if key in AT_LEAST_1 and isinstance(value, int) and value < 1:
            raise UserError(f"{file}: {key}: {value} is less than 1")
    check_optimiser(conf, file)


def check_optimiser(conf: dict, file: str) -> None:
    """Refuse arguments that optimiser and scheduler do not take.

    Raises:
        UserError: as :func:`check_keys`.
    """
    from espnet2.tasks.abs_task import optim_classes, scheduler_classes

    for key, classes in (("optim", optim_classes), ("scheduler", scheduler_classes)):
        if part := classes.get(str(conf.get(key)).lower()):
            given = conf.get(f"{key}_conf") or {}
            check_arguments(part, given, f"{file}: {key}_conf", 1)


def check_arguments(part: type, conf: dict, where: str, others: int) -> None:
    """Refuse what a class does not take.

    Args:
        part: the class.
        conf: keyword arguments for it.
        where: they stand.
        others: arguments that the program gives before them.

    Raises:
        UserError: one is unknown, missing or of another type.
    """
    from typeguard import TypeCheckError, check_type

    signature = inspect.signature(part)
    try:
        # What is unknown is said before what is missing.
        signature.bind_partial(*[None] * others, **conf)
        signature.bind(*[None] * others, **conf)
    except TypeError as error:
        raise UserError(f"{where}: {part.__name__}: {error}") from error
    for name, value in conf.items():
        parameter = signature.parameters.get(name)
        if parameter is None or isinstance(parameter.annotation, str):
            continue  # one of **kwargs
        if isinstance(value, list):
            continue  # of YAML, where a tuple may be asked for
        if parameter.annotation is not inspect.Parameter.empty:
            try:
                check_type(value, parameter.annotation)
            except TypeCheckError:
                raise UserError(f"{where}: {name}: {value!r} makes no sense") from None


def figure_names(stage: dict, speech: dict, init: list[str]) -> dict[str, list[str]]:
    """What an epoch of training and of validation tells, by phase.

    Args:
        stage: keys of the configuration.
        speech: of the sets ``train`` and ``valid``, None of text alone.
        init: stages that the architecture may come from.
    """
    from spft.checkpoint import read_config

    projector = stage.get("projector") or init and read_config(init[0])["projector"]
    found = {}
    for phase, audio in speech.items():
        names = ["loss"]
        if audio and (stage.get("model_conf") or {}).get("llm_weight", 1):
            names.append("loss_llm")
        if audio and projector == "ctc":
            names += ["loss_ctc", "cer"] if phase == "valid" else ["loss_ctc"]
        found[phase] = names
    return found


def check_criterion(stage: dict, known: dict[str, list[str]], file: str) -> None:
    """Refuse a figure to choose the epoch by that this training does not have.

    Raises:
        UserError: now, for after the last epoch it would cost all of them.
    """
    criterion = stage["best_model_criterion"]
    try:
        phase, name, mode = criterion[0]
        right = name in known[phase] and mode in ("min", "max")
    except (TypeError, ValueError, IndexError, KeyError):
        right = False
    if not right:
        choices = [f"{p}, {name}" for p, names in known.items() for name in names]
        raise UserError(
            f"{file}: best_model_criterion: {criterion} does not begin with one of "
            f"{'; '.join(choices)}, each with min or max behind it"
        )


def check_engine(options: argparse.Namespace, launcher: str | None) -> None:
    """Refuse ways to distribute a training that do not work here.

    Args:
        options: of ESPnet's trainer.
        launcher: of several processes.

    Raises:
        UserError: it says what does.
    """
    if options.use_deepspeed:
        raise UserError(
            "use_deepspeed: ESPnet's DeepSpeed trainer scales losses wrongly here and "
            "leaves checkpoints that this command cannot read; use sharded_ddp"
        )
    if options.ngpu > 1 and not launcher:
        raise UserError("--ngpu: one a process; for several GPUs add --launcher")
    if options.sharded_ddp and not launcher:
        raise UserError("sharded_ddp: of several processes; add --launcher")
    if options.sharded_ddp and not find_spec("fairscale"):
        raise UserError("sharded_ddp: needs fairscale: pip install fairscale")
