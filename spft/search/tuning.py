"""Choosing weights on a development set."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spft.search.candidates import GATE, LANGUAGE_MODELS, MIN_LOG_PROB, Candidates


def one_by_one(
    grids: Mapping[str, Sequence[float]], errors: Callable[[dict[str, float]], float]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Choose one weight after the other, where each trial is a search.

    Args:
        grids: values to try, by weight; 0 is tried too.
        errors: of weights; asked once each.

    Returns:
        The weights of fewest errors, and all that was tried, its errors under "error".
    """
    best = dict.fromkeys(grids, 0.0)
    tried = {tuple(best.values()): errors(best)}
    for name, grid in grids.items():
        for value in grid:
            weights = {**best, name: value}
            key = tuple(weights.values())
            if key not in tried:
                tried[key] = errors(weights)
        best = dict(zip(grids, min(tried, key=tried.get), strict=True))
    return best, [_row(grids, key, count) for key, count in tried.items()]


def grid_search(
    grids: Mapping[str, Sequence[float]],
    gates: Sequence[float],
    candidates: Mapping[str, Candidates],
    errors: Mapping[str, Sequence[float]],
    length_bonus: float,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Choose all weights of judges, and the gate of language models, together.

    Where the lowest of some thousand counts lies is half chance. So what counts is the
    mean over a combination and its neighbours on the grid (1 : 2 : 1 on each axis); of
    equals, the one in their middle.

    Args:
        grids: values to try, by judge.
        gates: those to try, see :meth:`Candidates.ranked`.
        candidates: of the utterances of a development set.
        errors: of each utterance's texts.
        length_bonus: see :meth:`Candidates.ranked`.

    Returns:
        The weights with the gate; and for each of them its other values beside the
        others' chosen ones, with the errors that they leave under "error".
    """
    names, axes = [*grids, GATE], [*grids.values(), gates]
    weights = np.stack(np.meshgrid(*grids.values(), indexing="ij"), -1)
    weights = weights.reshape(-1, len(grids))
    of_lms = np.array([name in LANGUAGE_MODELS for name in grids])
    counts = np.zeros((len(weights), len(gates)))
    for utterance, found in candidates.items():
        said = np.array([found.log_probs[name] for name in ["llm", *grids]])
        lengths = np.array([len(row) + 1 for row in found.tokens])
        said = np.maximum(said, MIN_LOG_PROB)
        closed = found.ratio < np.array(gates)
        for columns, used in ((~closed, weights), (closed, weights * ~of_lms)):
            scores = said[0] + used @ said[1:]
            scores += length_bonus * np.outer(used @ of_lms, lengths)
            best = np.array(errors[utterance])[scores.argmax(1)]
            counts[:, columns] += best[:, None]
    counts = counts.reshape([len(axis) for axis in axes])
    smoothed = _smoothed(counts)
    # Of equals (a small dev set may leave many) the one in their middle.
    equals = np.argwhere(smoothed <= smoothed.min() + 1e-9)
    offsets = ((equals - equals.mean(0)) ** 2).sum(1)
    chosen = equals[offsets.argmin()].tolist()
    sweep = []
    for axis, grid in enumerate(axes):
        for n in range(len(grid)):
            at = (*chosen[:axis], n, *chosen[axis + 1 :])
            key = [values[i] for values, i in zip(axes, at, strict=True)]
            if (row := _row(names, key, counts[at])) not in sweep:
                sweep.append(row)
    return {n: axes[i][chosen[i]] for i, n in enumerate(names)}, sweep


def _smoothed(counts: np.ndarray) -> np.ndarray:
    """Means with the neighbours on each axis; an edge is its own outer neighbour."""
    from scipy.ndimage import correlate1d

    for axis in range(counts.ndim):
        counts = correlate1d(counts, [0.25, 0.5, 0.25], axis, mode="nearest")
    return counts


def _row(names, values, count: float) -> dict[str, float]:
    return dict(zip(names, values, strict=True)) | {"error": round(float(count), 2)}
