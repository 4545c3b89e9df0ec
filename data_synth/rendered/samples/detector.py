"""What a landmark and expression network would say of a face whose truth is known.

Its errors are no white noise: whole brows and jaws move together, the outline slides, the far side wanders, and the
face is drawn toward the average one. Their relative sizes are those that the estimator believes in
(`estimators.priors.landmark_spread`); the overall size was chosen so that fits leave residuals like those of real
photos (about 1 % of the distance between the eyes, docs/estimator.md), not measured on a detector.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.cameras import Cameras
from gen3dface.estimators.priors import far_side_factor, landmark_spread
from gen3dface.heads import HeadMesh, HeadModel
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES, LEFT_EYE_OUTER, RIGHT_EYE_OUTER

Array = NDArray[np.float64]

_PATCHES = ((0.8, 0.035), (0.5, 0.008))  # strength and length scale (metres) of the errors that landmarks share
_ALONE = 0.15  # strength of what each landmark errs by itself
_SHARE = 0.6  # of `landmark_spread`, which also has to cover the head model's own misfit
_TOWARD_MEAN = (0.0, 0.2)  # how far the network draws a face to the average one
_SLACK, _FALSE_ALARM = 0.12, 0.03  # of expression weights: relative error, and what is seen where nothing is


def detected_landmarks(
    mesh: HeadMesh, average: HeadMesh, camera: Cameras, model: HeadModel, generator: np.random.Generator
) -> NDArray[np.float32]:
    """[478, 3] px as in `Portrait.landmarks`: x, y and z, which is smaller nearer the camera.

    mesh: the true head, posed. average: the average head in the same expression and place. camera: N = 1.
    """
    truth, depth = _projected(mesh, camera)
    mean, _ = _projected(average, camera)
    mean += (truth - mean).mean(0)
    eyes = mesh.landmarks()[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]]
    scale = camera.intrinsics[0, 0, 0].item() / depth.mean()  # px a metre
    interocular = (eyes[1] - eyes[0]).norm().item() * scale
    spread = landmark_spread() * far_side_factor(_facing(mesh, camera)) * interocular * _SHARE
    error = _correlated(model.name, generator) * spread[:, None]
    drawn = truth + generator.uniform(*_TOWARD_MEAN) * (mean - truth) + error[:, :2]
    z = (depth - depth.mean()) * scale * generator.uniform(0.85, 1.1) + 2 * error[:, 2]
    return np.column_stack([drawn, z]).astype(np.float32)


def read_blendshapes(expression: torch.Tensor, model: HeadModel, generator: np.random.Generator) -> NDArray[np.float32]:
    """[52] weights in the order of BLENDSHAPE_NAMES, near the true ones [E] of the model."""
    known = dict(zip(model.expression_names, expression.tolist(), strict=True))
    truth = np.array([known.get(name, 0.0) for name in BLENDSHAPE_NAMES])
    noise = np.exp(generator.normal(0, _SLACK, len(truth))), np.abs(generator.normal(0, _FALSE_ALARM, len(truth)))
    read = np.clip(truth * noise[0] + noise[1], 0, 1)
    read[BLENDSHAPE_NAMES.index("tongueOut")] = 0
    return read.astype(np.float32)


def _projected(mesh: HeadMesh, camera: Cameras) -> tuple[Array, Array]:
    """[478, 2] px and depths [478]."""
    xy, depth = camera.project(mesh.landmarks())
    return xy[0].double().numpy(), depth[0].double().numpy()


def _facing(mesh: HeadMesh, camera: Cameras) -> Array:
    """[478] cosines between the surface's normal and the way to the camera."""
    a, b, c = mesh.vertices[mesh.faces[mesh.landmark_faces.clamp(min=0)]].unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    toward = torch.nn.functional.normalize(camera.centers[0] - mesh.landmarks(), dim=-1)
    return (normals * toward).sum(-1).double().numpy()


def _correlated(name: str, generator: np.random.Generator) -> Array:
    """[478, 3] of unit variance: errors that neighbours share."""
    factor = _factor(name)
    alone = generator.normal(size=(478, 3))
    return np.asarray((factor @ generator.normal(size=(478, 3)) + _ALONE * alone) / np.hypot(1, _ALONE))


@cache
def _factor(name: str) -> Array:
    """[478, 478] whose square is the correlation of the shared errors."""
    from gen3dface.heads import load_head_model

    points = load_head_model(name).mesh().landmarks().double()
    distance = torch.cdist(points, points).numpy()
    total = sum(s**2 for s, _ in _PATCHES)
    kernel = sum(s**2 / total * np.exp(-((distance / reach) ** 2) / 2) for s, reach in _PATCHES)
    return np.asarray(np.linalg.cholesky(kernel + 1e-6 * np.eye(len(points))))
