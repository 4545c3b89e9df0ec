"""Do two sets of pictures look alike as sets? FID (Heusel et al. 2017) and KID (Binkowski et al. 2018)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.assets import fetch

Array = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
_SIDE = 299  # px that the network looks at
_BATCH = 16
_SUBSET = 1000  # the KID authors' choice


class Inception:
    """The Inception v3 of 2015 that FID is defined by: features [B, 2048] of its last pooling.

    The asset "fid_inception" (a TorchScript program, hence the pinned file alone and none of the user's).
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._network = torch.jit.load(str(fetch("fid_inception")), map_location=device).eval()
        self._device = device

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Array:
        """Pictures [B, 3, H, W] sRGB: uint8, or floating in 0..1, which are rounded to bytes as saved pictures are."""
        if pictures.dtype != torch.uint8:
            pictures = pictures.clamp(0, 1).mul(255).round().byte()
        parts = [self._network(_prepared(part.to(self._device))).cpu() for part in pictures.split(_BATCH)]
        return np.asarray(torch.cat(parts).double().numpy()) if parts else np.zeros((0, 2048))


def _prepared(pictures: Tensor) -> Tensor:
    """Bytes as the network saw them in TensorFlow 1: enlarged or reduced bilinearly with output pixel i at place
    i * in / out (no half pixels, no smoothing), then (x - 128) / 128."""
    x = pictures.float()
    for axis in (2, 3):
        count = x.shape[axis]
        place = torch.arange(_SIDE, device=x.device) * (count / _SIDE)
        low = place.long()
        high = (low + 1).clamp(max=count - 1)
        share = (place - low).view(-1, 1) if axis == 2 else place - low
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return (x - 128) / 128


def frechet_distance(a: Floats, b: Floats) -> float:
    """FID of features a [N, D] and b [M, D]: |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

    With A the centred features over sqrt(N - 1), S_a = A'A, so the root's trace is the sum of the singular values of
    A B': no matrix root, and no trouble where there are fewer pictures than features.
    The value is biased upward, more so for few pictures: compare only sets of one size, and say which.

    Raises:
        ValueError: fewer than two pictures in a set, or other numbers of features.
    """
    a, b = _checked(a, b)
    first, second = _root(a), _root(b)
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + (first**2).sum() + (second**2).sum() - 2 * shared)


def kernel_distance(
    a: Floats, b: Floats, subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> tuple[float, float]:
    """KID of features a [N, D] and b [M, D]: mean and standard deviation of the unbiased squared maximum mean
    discrepancy with k(x, y) = (x . y / D + 1)^3 over random subsets.

    subset_size: pictures of each set in a subset, by default 1000 or as many as the smaller set has.

    Raises:
        ValueError: a set has fewer pictures than a subset, or other numbers of features.
    """
    a, b = _checked(a, b)
    size = min(_SUBSET, len(a), len(b)) if subset_size is None else subset_size
    if not 2 <= size <= min(len(a), len(b)):
        raise ValueError(f"Subsets of {size} pictures cannot be drawn from sets of {len(a)} and {len(b)}.")
    random = np.random.default_rng(seed)
    values = [_discrepancy(*(x[random.permutation(len(x))[:size]] for x in (a, b))) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


def _root(features: Array) -> Array:
    """R [min(N, D), D] with R'R the covariance."""
    centred = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    return cast(Array, np.linalg.qr(centred, mode="r"))


def _discrepancy(a: Array, b: Array) -> float:
    """Unbiased: a picture is not compared with itself."""
    kernels = [_kernel(x, x) for x in (a, b)]
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(x: Array, y: Array) -> Array:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _checked(a: Floats, b: Floats) -> tuple[Array, Array]:
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(f"Two sets of features, two pictures or more in each, are needed: got {a.shape}, {b.shape}.")
    return a.astype(np.float64), b.astype(np.float64)
