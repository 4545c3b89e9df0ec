"""A regressor learned from OpenHead's sliders, refined on pictures of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimator_training.people import People
from estimator_training.ridge import HELD_OUT, face_metric, report
from gen3dface.estimators.regression import Regressor, mirrored
from gen3dface.heads import HeadModel

Array = NDArray[np.float64]
Samples = dict[str, NDArray]
PENALTIES = (0.3, 1.0, 3.0, 10.0)  # candidates, times the pictures' total weight


def refine(
    before: Regressor, kinds: Sequence[Samples], model: HeadModel, people: People
) -> tuple[Regressor, dict[str, Any]]:
    """Ridge regression that is drawn to what `before` says rather than to nothing; also what was measured.

    The covariance stays: these people are less varied than photos', where the landmark fit must keep its say.
    Every kind of pictures counts the same, however many there are; the penalty is best on the last 15 % of each.
    """
    weights = [np.full(len(samples["identity"]), 1 / len(samples["identity"])) for samples in kinds]
    held = np.concatenate([np.arange(len(w)) >= len(w) * (1 - HELD_OUT) for w in weights])
    samples = {
        name: np.concatenate([kind[name] for kind in kinds]) for name in ("identity", "landmarks", "blendshapes")
    }
    weight, identity = np.concatenate(weights), people.coefficients(samples["identity"].astype(np.float64))
    features = before.features(samples["landmarks"], samples["blendshapes"])
    other = before.features(*mirrored(samples["landmarks"], samples["blendshapes"], before.reference))
    residual = identity - features @ before.weights - before.intercept
    other_residual = identity @ mirror_map(model) - other @ before.weights - before.intercept

    def solve(kept: NDArray[np.bool_], penalty: float) -> tuple[Array, Array]:
        x, y = np.concatenate([features[kept], other[kept]]), np.concatenate([residual[kept], other_residual[kept]])
        return _weighted_ridge(x, y, np.tile(weight[kept], 2), penalty)

    def errors(penalty: float) -> Array:
        slopes, offset = solve(~held, penalty)
        return residual[held] - features[held] @ slopes - offset

    metric, shares = face_metric(model), weight[held] / weight[held].sum()
    tried = {p: errors(p) for p in PENALTIES}
    best = min(tried, key=lambda p: float(np.einsum("n,nk,kl,nl->", shares, tried[p], metric, tried[p])))
    slopes, offset = solve(np.ones(len(weight), bool), best)
    refined = replace(before, weights=before.weights + slopes, intercept=before.intercept + offset)
    measured = report(tried[best], identity[held] - people.mean, metric, len(weight), best)
    return refined, {
        **measured,
        "before_rms_mm": report(residual[held], residual[held], metric, 0, 0)["held_out_rms_mm"],
    }


def mirror_map(model: HeadModel) -> Array:
    """[K, K]: identity @ it is the head turned over, left for right."""
    basis = model.identity_basis.numpy().astype(np.float64)
    turned = basis[:, model.mirror.numpy()] * [-1, 1, 1]
    return np.linalg.lstsq(basis.reshape(len(basis), -1).T, turned.reshape(len(basis), -1).T, rcond=None)[0].T


def _weighted_ridge(x: Array, y: Array, weight: Array, penalty: float) -> tuple[Array, Array]:
    share = weight / weight.sum()
    middle, target = share @ x, share @ y
    centred = x - middle
    slopes = np.linalg.solve(
        (centred * share[:, None]).T @ centred + penalty * np.eye(x.shape[1]),
        (centred * share[:, None]).T @ (y - target),
    )
    return slopes, target - middle @ slopes
