"""One of the processes that train a stage by spft.bin.train --launcher."""

import os
import sys
from pathlib import Path

from spft.errors import run
from spft.log import log_to


def main() -> None:
    """Run ESPnet's trainer with the arguments of the command line."""
    arguments = sys.argv[1:]
    if os.environ.get("RANK", "0") == "0" and "--output_dir" in arguments:
        out = Path(arguments[arguments.index("--output_dir") + 1])
        log_to(out / "train.log")

    from spft.train.task import SpeechLLMTask

    SpeechLLMTask.main()
    # A process that ends while the group has threads running may be aborted.
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    run(main)
