"""SSIM against its own formula, written out, and against what must hold of it."""

import numpy as np
import pytest
import torch

from gen3dface.evaluation.ssim import ssim


def _by_hand(first: np.ndarray, second: np.ndarray) -> float:
    """Equation 13 of the paper over all 7 x 7 windows of one channel of bytes, sample covariances."""
    windows = np.lib.stride_tricks.sliding_window_view
    x, y = (windows(p.astype(float), (7, 7)).reshape(-1, 49) for p in (first, second))
    covariance = ((x - x.mean(1, keepdims=True)) * (y - y.mean(1, keepdims=True))).sum(1) / 48
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    over = (2 * x.mean(1) * y.mean(1) + c1) * (2 * covariance + c2)
    under = (x.mean(1) ** 2 + y.mean(1) ** 2 + c1) * (x.var(1, ddof=1) + y.var(1, ddof=1) + c2)
    return float((over / under).mean())


def test_it_is_the_papers_formula_over_the_colours() -> None:
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (2, 3, 24, 31))
    second = np.clip(first + random.normal(0, 40, first.shape).round().astype(int), 0, 255)
    expected = [
        np.mean([_by_hand(a, b) for a, b in zip(*pair, strict=True)]) for pair in zip(first, second, strict=True)
    ]
    found = ssim(torch.from_numpy(first) / 255, torch.from_numpy(second) / 255)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_picture_is_itself_and_other_sizes_are_refused() -> None:
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert ssim(picture, picture).tolist() == [1.0]
    assert ssim(picture, picture + 0.4 / 255).item() > 0.99  # less than a byte's step
    with pytest.raises(ValueError, match="one size"):
        ssim(picture, picture[..., 1:])
    with pytest.raises(ValueError, match="7 px"):
        ssim(picture[..., :6], picture[..., :6])
