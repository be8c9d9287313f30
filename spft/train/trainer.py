"""ESPnet's trainer with a progress bar."""

from espnet2.train.trainer import Trainer
from tqdm import tqdm


class ProgressTrainer(Trainer):
    """ESPnet's trainer with a progress bar over the iterations of an epoch."""

    @classmethod
    def train_one_epoch(cls, model, iterator, reporter, options, **kwargs) -> bool:
        """Train an epoch as ESPnet does, from no gradients.

        Those that ``accum_grad`` left of the epoch before belong to no batch of this.
        """
        for optimizer in kwargs["optimizers"]:
            optimizer.zero_grad()
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
