"""Choosing weights on a development set."""

from collections.abc import Callable, Mapping, Sequence


def coordinate_descent(
    grids: Mapping[str, Sequence[float]],
    start: Mapping[str, float],
    error_rate: Callable[[dict[str, float]], float],
    rounds: int | None = None,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Find weights of few errors, one after the other; of equals the first tried.

    Args:
        grids: values to try, by weight.
        start: weights to begin with; one that is not there is 0.
        error_rate: of weights; each are asked once.
        rounds: how often each weight is looked at; None: until none gets better.

    Returns:
        The weights, and what was tried with its error rate, under "error".
    """
    weights = {name: start.get(name, 0.0) for name in grids}
    tried: dict[tuple, float] = {}

    def rate(weights: dict[str, float]) -> float:
        key = tuple(weights.values())
        if key not in tried:
            tried[key] = error_rate(weights)
        return tried[key]

    best, before, done = rate(weights), float("inf"), 0
    while best < before and done != rounds:
        before, done = best, done + 1
        for name, grid in grids.items():
            for value in grid:
                changed = {**weights, name: value}
                if rate(changed) < best:
                    best, weights = rate(changed), changed
    sweep = [
        dict(zip(weights, key, strict=True)) | {"error": round(error, 2)}
        for key, error in tried.items()
    ]
    return weights, sweep
