"""Shards and a population -> the regressor's data file."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimator_training.population import Population
from estimator_training.transport import Transport
from gen3dface.estimators.priors import LIPS
from gen3dface.estimators.regression import (
    KNOWN_WEIGHTS,
    Regressor,
    frontalise,
    model_digest,
    read_regressor,
    stack_features,
)
from gen3dface.heads import HeadModel
from gen3dface.photo.landmarks import FACE_OVAL

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
COMPONENTS = 80
PENALTIES = (0.1, 0.3, 1.0)  # candidates, times the number of pictures; less would suit these pictures and not others
HELD_OUT = 0.15
RANGE_QUANTILE = 0.999
SHRINKAGE = 0.1  # of the residual covariance toward the population's
DOUBT = 0.1  # variance of every coefficient for people unlike those of the learned population
SEED = 0  # of the identities that the pictures are carried over to


def train(samples: dict[str, NDArray], model: HeadModel, population: Population) -> tuple[Regressor, dict[str, Any]]:
    """The regressor with the penalty that is best on the held-out part; also what was measured there."""
    kept = int(len(samples["identity"]) * (1 - HELD_OUT))
    frame = _frame(model, population)
    identity, view, offsets, blendshapes = _carried(samples, frame, kept)
    frame = _with_components(frame, offsets[:kept])
    components = (offsets - frame.centre) @ frame.components
    features = stack_features(components, view, blendshapes)
    frame = replace(frame, feature_mean=features.mean(0), feature_scale=features.std(0) + 0.03)
    scaled = (features - frame.feature_mean) / frame.feature_scale
    metric = face_metric(model)
    errors = {p: _held_out(scaled, identity, kept, p) for p in PENALTIES}
    best = min(errors, key=lambda p: float(np.einsum("nk,kl,nl->", errors[p], metric, errors[p])))
    weights, intercept = _ridge(scaled, identity, best)
    covariance = (1 - SHRINKAGE) * np.cov(errors[best].T) + SHRINKAGE * population.covariance
    covariance += DOUBT * np.eye(len(covariance))
    range_precision, range_limit = _training_range(np.column_stack([components, view]))
    regressor = replace(
        frame, weights=weights, intercept=intercept, covariance=covariance,
        range_precision=range_precision, range_limit=range_limit,
    )  # fmt: skip
    return regressor, report(errors[best], identity[kept:] - population.mean, metric, len(identity), best)


def _carried(samples: dict[str, NDArray], frame: Regressor, kept: int) -> tuple[Array, Array, Array, Array]:
    """The pictures, each carried over to a person drawn from the population.

    Returns:
        identity [N, K], view [N, 2], aligned landmarks' offsets from the reference [N, 1434], expression weights.
    """
    aligned, rotations = frontalise(samples["landmarks"].astype(np.float64), frame.reference, frame.trust)
    drawn, view = samples["identity"].astype(np.float64), rotations[:, :2, 2]
    offsets = (aligned - frame.reference).reshape(len(aligned), -1)
    seen = np.concatenate([offsets, samples["blendshapes"][:, :KNOWN_WEIGHTS].astype(np.float64)], 1)
    root = np.linalg.cholesky(frame.population_covariance)
    identity = frame.population_mean + np.random.default_rng(SEED).normal(size=drawn.shape) @ root.T
    seen = Transport.learn(drawn[:kept], view[:kept], seen[:kept])(seen, view, drawn, identity)
    return identity, view, seen[:, : offsets.shape[1]], seen[:, offsets.shape[1] :]


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


def load(path: Path) -> tuple[Regressor, dict[str, Any]]:
    """What `save` wrote, and its provenance."""
    with np.load(path, allow_pickle=False) as data:
        return read_regressor(data), json.loads(data["provenance"].tobytes())


def _frame(model: HeadModel, population: Population) -> Regressor:
    """A regressor that knows the population and the alignment, nothing more."""
    reference = model.mesh().landmarks().numpy().astype(np.float64)
    trust = np.ones(len(reference))
    trust[list(FACE_OVAL)], trust[list(LIPS)] = 0.3, 0.5
    none = np.zeros(0)
    return Regressor(
        model_digest(model), population.mean, population.covariance, reference, trust / trust.sum(),
        none, none, none, none, none, none, none, none, 0.0,
    )  # fmt: skip


def _with_components(frame: Regressor, offsets: Array) -> Regressor:
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


def face_metric(model: HeadModel) -> Array:
    """[K, K]: mean squared displacement of the face's vertices, square metres, by pairs of coefficients."""
    face = model.identity_basis[:, model.regions["face"]].numpy().astype(np.float64)
    face = face - face.mean(1, keepdims=True)
    return np.tensordot(face, face, ([1, 2], [1, 2])) / face.shape[1]


def _training_range(place: Array) -> tuple[Array, float]:
    centred = place - place.mean(0)
    precision = np.linalg.inv(np.cov(centred.T))
    distance = np.einsum("ni,ij,nj->n", centred, precision, centred)
    return precision, float(np.quantile(distance, RANGE_QUANTILE) * 1.5)


def report(residual: Array, identity: Array, metric: Array, count: int, penalty: float) -> dict[str, Any]:
    def rms(offsets: Array) -> float:
        return float(np.sqrt(np.einsum("nk,kl,nl->n", offsets, metric, offsets)).mean() * 1000)

    return {
        "pictures": count,
        "penalty": penalty,
        "held_out": len(identity),
        "held_out_rms_mm": round(rms(residual), 3),
        "mean_head_rms_mm": round(rms(identity), 3),
    }
