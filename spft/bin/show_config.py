"""Print one value of a YAML file, for the shell: … conf/model.yaml llm_conf.name."""

import argparse
from pathlib import Path

from spft.errors import UserError, run
from spft.files import read_yaml


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description="Print one value of a YAML file.")
    parser.add_argument("config", type=Path)
    parser.add_argument("key", help="nested keys are joined by dots")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    value = read_yaml(args.config)
    for key in args.key.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UserError(f"{args.config}: no key {args.key}")
        value = value[key]
    print(value)


if __name__ == "__main__":
    run(main)
