"""ESPnet's trainer with a progress bar, and its log in a file."""

import logging
from pathlib import Path

from espnet2.train.trainer import Trainer
from tqdm import tqdm


class ProgressTrainer(Trainer):
    """ESPnet's trainer with a progress bar over the iterations of an epoch."""

    @classmethod
    def train_one_epoch(cls, model, iterator, reporter, options, **kwargs) -> bool:
        """Train an epoch as ESPnet does."""
        bar = tqdm(
            iterator,
            total=len(iterator) if hasattr(iterator, "__len__") else None,
            desc=f"epoch {reporter.epoch}/{options.max_epoch}",
            unit="batch",
            leave=False,
        )
        return super().train_one_epoch(
            model=model, iterator=bar, reporter=reporter, options=options, **kwargs
        )


def log_to(path: Path) -> None:
    """Send ESPnet's log to a file; show its line per epoch on the terminal."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(form)
    console = logging.StreamHandler()
    console.addFilter(lambda record: "epoch results" in record.getMessage())
    logging.basicConfig(level=logging.INFO, handlers=[to_file, console])
