"""Write docs/configuration.md out of the docstrings of what reads the configurations.

python -m spft.bin.document --out docs/configuration.md
"""

import argparse
import inspect
import re
from pathlib import Path

from spft.errors import run
from spft.files import atomic_write

INTRODUCTION = """# Configuration

Written by `python -m spft.bin.document --out docs/configuration.md`; do not edit.

A stage's YAML holds the keys below and ESPnet's own (optimiser, scheduler, batches,
checkpoints, distribution: `python -m espnet2.bin.asr_train --help`). A key that nothing
reads is an error. A file is taken from `conf/presets/<preset>/`, else, of stages 4 to
7 alone, from the recipe's `conf/`, else from `conf/`: always as a whole, so copy
one and change it. The architecture (encoder, projector, LLM) is given once, in
`conf/model.yaml` for the baseline; later stages inherit it.

| file | stage | what it is of |
|---|---|---|
| `model.yaml` | 3 | the architecture |
| `baseline{_ctc,_text,}.yaml` | 3 | the parts of `--baseline train` |
| `prompt.yaml` | 4 | the soft prompt |
| `<method>.yaml` | 5 | a method of `--methods` |
| `decoder.yaml` | 5 | methods that have none of their own |
| `lm.yaml` | 6 | the external LM: keys of ESPnet's `lm_train` |
| `decode.yaml` | 7 | search, second pass, and what their weights are chosen from |

`strength`, over 0 and at most 1 (the default), keeps that share of the way from the
weights that a stage began with (`--init`) to those that it trained: less gains less and
forgets less (WiSE-FT, arXiv 2109.01903). Losses, in logs and reports, are those of the
whole way.
"""


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/configuration.md"))
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    with atomic_write(args.out) as stream:
        stream.write(reference())


def reference() -> str:
    """The page."""
    from spft.build import CHOICES
    from spft.llm import LLM
    from spft.model import SpeechLLM
    from spft.search.config import DecodeConfig

    parts = [INTRODUCTION, "## The stage: `model_conf`, `trainable`", keys(SpeechLLM)]
    parts += ["## `llm_conf`", keys(LLM)]
    for choices in CHOICES:
        for name, part in choices.classes.items():
            parts.append(f"## `{choices.name}: {name}` with `{choices.name}_conf`")
            parts.append(keys(part))
    parts += ["## Search: `conf/decode.yaml`", keys(DecodeConfig)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def keys(part: type) -> str:
    """What a class is, and a table of what its configuration may hold."""
    documentation = re.sub(r":\w+:`", "`", inspect.cleandoc(part.__doc__ or ""))
    documentation = documentation.replace("``", "`")
    about = documentation.split("\n\n")[0].replace("\n", " ")
    described = descriptions(documentation)
    rows = []
    for parameter in inspect.signature(part).parameters.values():
        given = parameter.name in ("encoder", "projector", "llm", "adapt", "input_size")
        if given and parameter.default is inspect.Parameter.empty:
            continue  # by the program, not by the user
        default = parameter.default
        if default is inspect.Parameter.empty:
            default = "" if parameter.kind is parameter.VAR_KEYWORD else "needed"
        elif default is None:
            default = "none"
        elif "factory" in repr(default):  # of a dataclass
            default = f"`{getattr(part(), parameter.name)}`"
        else:
            default = f"`{default}`"
        meaning = described.get(parameter.name, "").replace("|", "\\|")
        any_other = parameter.kind is parameter.VAR_KEYWORD
        name = "all others" if any_other else f"`{parameter.name}`"
        rows.append(f"| {name} | {default} | {meaning} |")
    if not rows:
        return f"{about}\n\nNothing to set."
    return "\n".join([about, "", "| key | default | |", "|---|---|---|", *rows])


def descriptions(documentation: str) -> dict[str, str]:
    """Name to text in the Args or Attributes of a docstring in Google's style."""
    texts: dict[str, str] = {}
    name = None
    inside = False
    for line in documentation.splitlines():
        if re.fullmatch(r"(Args|Attributes):", line):
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside and (match := re.match(r" {4}\*{0,2}(\w+): (.*)", line)):
            name = match[1]
            texts[name] = match[2]
        elif inside and name and line.strip():
            texts[name] += " " + line.strip()
    return texts


if __name__ == "__main__":
    run(main)
