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
    parser.add_argument("--default", help="if the key is not there")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    value = read_yaml(args.config)
    for key in args.key.split("."):
        if not isinstance(value, dict) or key not in value:
            if args.default is None:
                raise UserError(f"{args.config}: no key {args.key}")
            value = args.default
            break
        value = value[key]
    print(value)


if __name__ == "__main__":
    run(main)
