"""How sure is a mean over heads? The percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FEWEST = 5  # heads under which there is no interval, and a table says "too few"


def interval(
    values: Array,
    groups: NDArray | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Lower and upper end of the interval of the mean of values [N]; NaN values are left out.

    The views of one head are alike, so heads are drawn, each with all its views: drawing views would feign certainty.

    Args:
        groups: [N], which head each value is of; by default each value is its own head.
        level: how often the interval should hold the true mean, 0..1.

    Returns:
        (NaN, NaN) for fewer than `FEWEST` heads.
    """
    sums, counts = _by_head(values, groups)
    if len(sums) < FEWEST:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _by_head(values: Array, groups: NDArray | None) -> tuple[Array, Array]:
    """Sum and number of the values of each head that has any."""
    known = np.isfinite(values)
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    _, index = np.unique(names[known], return_inverse=True)
    return np.bincount(index, values[known]).astype(np.float64), np.bincount(index).astype(np.float64)
