"""A Gaussian identity basis from sampled people: rigid alignment on the skull, then a mirror-aware PCA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from open_head.makehuman import FloatArray, IntArray


@dataclass(frozen=True)
class IdentityBasis:
    """x = mean + sum_k c_k basis_k with independent unit-normal c_k."""

    mean: FloatArray  # [P, 3]
    basis: FloatArray  # [K, P, 3] scaled by standard deviations, largest first
    explained: float  # share of the samples' variance


def rigid_align(points: FloatArray, target: FloatArray, weights: FloatArray) -> FloatArray:
    """Moves each [N, P, 3] rigidly (no scale) onto target [P, 3] by weighted Procrustes (Kabsch 1976)."""
    w = weights / weights.sum()
    centres = np.einsum("p,npc->nc", w, points)
    goal = w @ target
    centred = points - centres[:, None]
    covariance = np.einsum("p,npc,pd->ncd", w, centred, target - goal)
    return centred @ best_rotation(covariance) + goal


def best_rotation(covariance: FloatArray) -> FloatArray:
    """Rotations R [N, 3, 3] that maximise trace(R^T C): row vectors x R come nearest to their targets."""
    u, _, vt = np.linalg.svd(covariance)
    vt[:, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return u @ vt


def align_to_mean(points: FloatArray, weights: FloatArray, mirror: IntArray, rounds: int = 3) -> FloatArray:
    """Generalised Procrustes analysis without scale toward a symmetric mean."""
    target = symmetric(points.mean(0), mirror)
    anchor = weights @ target / weights.sum()
    for _ in range(rounds):
        points = rigid_align(points, target, weights)
        target = symmetric(points.mean(0), mirror)
        target = target + anchor - weights @ target / weights.sum()
    return rigid_align(points, target, weights)


def fit_basis(points: FloatArray, weights: FloatArray, mirror: IntArray, count: int) -> IdentityBasis:
    """PCA of the samples together with their mirror images.

    A set closed under mirroring has eigenvectors that are symmetric or antisymmetric, so both kinds are found apart
    and the ``count`` largest kept. ``weights`` [P] say how much each vertex counts in the choice of directions.
    """
    mean = symmetric(points.mean(0), mirror)
    residual = points - mean
    flipped = flip(residual, mirror)
    parts = [_principal(half, weights) for half in ((residual + flipped) / 2, (residual - flipped) / 2)]
    variances = np.concatenate([v for v, _ in parts])
    order = np.argsort(-variances, kind="stable")[:count]
    basis = np.concatenate([b for _, b in parts])[order]
    return IdentityBasis(mean, basis, float(variances[order].sum() / variances.sum()))


def _principal(samples: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variances [M] and directions scaled by standard deviation [M, P, 3] of zero-mean samples [N, P, 3]."""
    n = len(samples)
    flat = (samples * np.sqrt(weights)[:, None]).reshape(n, -1)
    values, vectors = np.linalg.eigh(flat @ flat.T / n)
    top = np.argsort(-values)[:150]
    values, vectors = np.maximum(values[top], 1e-12), vectors[:, top]
    # Directions of the unweighted samples with unit-normal scores: X^T u / sqrt(n).
    basis = np.einsum("nm,npc->mpc", vectors, samples, optimize=True) / np.sqrt(n)
    rows = basis.reshape(len(top), -1)
    sign = np.sign(np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1))
    return values, (sign * rows).reshape(basis.shape)


def flip(points: FloatArray, mirror: IntArray) -> FloatArray:
    """Reflects [..., P, 3] in the sagittal plane, each point landing on its mirror vertex."""
    return points[..., mirror, :] * np.array([-1.0, 1.0, 1.0])


def symmetric(points: FloatArray, mirror: IntArray) -> FloatArray:
    """The mirror-symmetric part of [..., P, 3]."""
    return (points + flip(points, mirror)) / 2
