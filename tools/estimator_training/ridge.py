"""Shards -> the regressor's data file."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dface.estimators.priors import FACE_OVAL, LIPS
from gen3dface.estimators.regression import Regressor, model_digest, stack_features
from gen3dface.heads import HeadModel

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
COMPONENTS = 80
PENALTIES = (
    0.3,
    0.5,
    1.0,
    2.0,
)  # candidates, times the number of pictures; less would suit these pictures and not others
HELD_OUT = 0.15
RANGE_QUANTILE = 0.999
SHRINKAGE = 0.1  # of the residual covariance toward the population's


def train(samples: dict[str, NDArray], model: HeadModel) -> tuple[Regressor, dict[str, Any]]:
    """Fit on all samples with the penalty that is best on the held-out part; also what was measured there."""
    count = len(samples["identity"])
    kept = int(count * (1 - HELD_OUT))
    landmarks, blendshapes = samples["landmarks"].astype(np.float64), samples["blendshapes"].astype(np.float64)
    identity = samples["identity"].astype(np.float64)
    frame = _frame(landmarks[:kept], model)
    components, view = frame.components_of(landmarks)
    features = stack_features(components, view, blendshapes)
    frame = replace(frame, feature_mean=features.mean(0), feature_scale=features.std(0) + 0.03)
    scaled = (features - frame.feature_mean) / frame.feature_scale
    metric = _face_metric(model)
    errors = {p: _held_out(scaled, identity, kept, p) for p in PENALTIES}
    best = min(errors, key=lambda p: float(np.einsum("nk,kl,nl->", errors[p], metric, errors[p])))
    weights, intercept = _ridge(scaled, identity, best)
    residual = errors[best]
    covariance = (1 - SHRINKAGE) * np.cov(residual.T) + SHRINKAGE * np.eye(identity.shape[1])
    range_precision, range_limit = _training_range(np.column_stack([components, view]))
    regressor = replace(
        frame, weights=weights, intercept=intercept, covariance=covariance,
        range_precision=range_precision, range_limit=range_limit,
    )  # fmt: skip
    return regressor, _report(residual, identity[kept:], metric, count, best)


def save(regressor: Regressor, provenance: dict[str, Any], path: Path) -> None:
    """Write the npz: large matrices in half precision, the rest in single."""
    arrays: dict[str, Any] = {}
    for name, value in vars(regressor).items():
        small = name in ("components", "weights")
        arrays[name] = value if isinstance(value, str) else np.asarray(value, np.float16 if small else np.float32)
    arrays["provenance"] = np.frombuffer(json.dumps(provenance, sort_keys=True).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    logger.info("%s: %d bytes", path, path.stat().st_size)


def _frame(landmarks: Array, model: HeadModel) -> Regressor:
    """A regressor that knows the alignment and the components, nothing more."""
    reference = model.mesh().landmarks().numpy().astype(np.float64)
    trust = np.ones(len(reference))
    trust[list(FACE_OVAL)], trust[list(LIPS)] = 0.3, 0.5
    none = np.zeros(0)
    frame = Regressor(
        model_digest(model), reference, trust / trust.sum(), np.zeros(reference.size), np.eye(reference.size),
        none, none, none, none, none, none, 0.0,
    )  # fmt: skip
    offsets, _ = frame.components_of(landmarks)
    centre = offsets.mean(0)
    _, values, right = np.linalg.svd(offsets - centre, full_matrices=False)
    scale = values[:COMPONENTS] / np.sqrt(len(offsets))
    # the components are kept in half precision, in which 1 / scale would overflow nothing but lose small numbers
    components = (right[:COMPONENTS].T / scale).astype(np.float16).astype(np.float64)
    return replace(frame, centre=centre, components=components)


def _ridge(features: Array, identity: Array, penalty: float) -> tuple[Array, Array]:
    offset, target = features.mean(0), identity.mean(0)
    x = features - offset
    gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (identity - target))
    return weights, target - offset @ weights


def _held_out(features: Array, identity: Array, kept: int, penalty: float) -> Array:
    weights, intercept = _ridge(features[:kept], identity[:kept], penalty)
    return identity[kept:] - features[kept:] @ weights - intercept


def _face_metric(model: HeadModel) -> Array:
    """[K, K]: mean squared displacement of the face's vertices, square metres, by pairs of coefficients."""
    face = model.identity_basis[:, model.regions["face"]].numpy().astype(np.float64)
    face = face - face.mean(1, keepdims=True)
    return np.tensordot(face, face, ([1, 2], [1, 2])) / face.shape[1]


def _training_range(place: Array) -> tuple[Array, float]:
    centred = place - place.mean(0)
    precision = np.linalg.inv(np.cov(centred.T))
    distance = np.einsum("ni,ij,nj->n", centred, precision, centred)
    return precision, float(np.quantile(distance, RANGE_QUANTILE) * 1.5)


def _report(residual: Array, identity: Array, metric: Array, count: int, penalty: float) -> dict[str, Any]:
    def rms(offsets: Array) -> float:
        return float(np.sqrt(np.einsum("nk,kl,nl->n", offsets, metric, offsets)).mean() * 1000)

    return {
        "pictures": count,
        "penalty": penalty,
        "held_out": len(identity),
        "held_out_rms_mm": round(rms(residual), 3),
        "mean_head_rms_mm": round(rms(identity), 3),
    }
