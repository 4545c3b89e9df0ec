"""A face in views from all around: its landmarks in space, and the head model's face fitted to them.

Outlines say nothing of what lies between them: eye sockets, the sides of the nose, the corners of the mouth. Colours
say little where skin is even. A landmark network knows where these are, and several views of it give them depth.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import NoFaceError
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.priors import far_side_factor
from gen3dface.heads import HeadModel
from gen3dface.photo.landmarks import REGION_SCALE, FaceRegion
from gen3dface.photo.portrait import PRESENCE_MIN, default_models, find_faces
from gen3dface.recon.distance_grid import DistanceGrid, corner_points
from gen3dface.recon.fit_in_space import Placed, ear_basis, fit_in_space
from gen3dface.recon.posed_model import PosedModel

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_LEAST = 2  # views with a face
_FACING = np.cos(np.radians(60))  # views that are asked again, once it is known where the face looks
_UNLIKE = 0.008  # metres between landmarks and head from which it is no head
_NEAR, _FAR = 0.015, 0.035  # metres around the face within which the head model rules, and beyond which it is silent


@dataclass(frozen=True)
class FoundFace:
    """A head model's surface where the views show a face."""

    pose: PosedModel
    faces: Tensor  # [F, 3]
    known: Tensor  # [V] bool: vertices of face and ears; the rest of the head is the model's guess
    skull: Tensor  # [V] bool: vertices above the neck, which lie within the head whatever its hair
    residual: float  # metres, median distance of the landmarks in space from the model's


def find_face(images: Tensor, masks: Tensor, cameras: Cameras, model: HeadModel) -> FoundFace | None:
    """The face that views [N, 3, H, W] with masks [N, 1, H, W] show; None where fewer than two of them show one."""
    pictures = (images.permute(0, 2, 3, 1).clamp(0, 1) * 255).byte().cpu().numpy()
    seen = {view: found for view, picture in enumerate(pictures) if (found := _largest_face(picture)) is not None}
    if len(seen) < _LEAST:
        return None
    landmarks = LandmarkModel.from_head(model)
    fit = _fit(_triangulated(seen, cameras, landmarks, None), masks[:0], cameras[:0], model, landmarks)
    for view in _facing_views(fit, cameras):
        seen.setdefault(view, _looked_for(pictures[view], fit.points, cameras[view]))
    fit = _fit(_triangulated(seen, cameras, landmarks, fit), masks, cameras, model, landmarks)
    if fit.residual > _UNLIKE:
        logger.info("the landmarks of %d views fit no head (%.1f mm apart)", len(seen), 1e3 * fit.residual)
        return None
    known = model.regions["face"] | model.regions["ears"]
    skull = known | model.regions["skull"] | model.regions["scalp"]
    return FoundFace(fit.pose, model.faces, known, skull, fit.residual)


@dataclass(frozen=True)
class _Fit:
    points: Array  # [L, 3] the model's landmarks in the world
    normals: Array  # [L, 3]
    pose: PosedModel
    residual: float


def _largest_face(picture: NDArray[np.uint8]) -> Array | None:
    """[478, 2] px."""
    try:
        return find_faces(picture)[0][1].points[:, :2].astype(np.float64)
    except NoFaceError:
        return None


def _looked_for(picture: NDArray[np.uint8], expected: Array, camera: Cameras) -> Array:
    """[478, 2] px of an upright face where its landmarks [L, 3] are expected; NaN when it is not there."""
    models, where = default_models(), camera.project(torch.from_numpy(expected).float())[0][0].numpy()
    low, high = where.min(0), where.max(0)
    region = FaceRegion(tuple(((low + high) / 2).tolist()), REGION_SCALE * float((high - low).max()), 0.0)
    with models.lock:
        found = models.landmarker(picture, region)
    points: Array = found.points[:, :2].astype(np.float64)
    return points if found.presence >= PRESENCE_MIN else np.full_like(points, np.nan)


def _facing_views(fit: _Fit, cameras: Cameras) -> list[int]:
    forward = fit.normals.mean(0) / np.linalg.norm(fit.normals.mean(0))
    toward = cameras.centers.double().numpy() - fit.points.mean(0)
    return np.flatnonzero(toward @ forward > _FACING * np.linalg.norm(toward, axis=1)).tolist()


def _triangulated(seen: dict[int, Array], cameras: Cameras, model: LandmarkModel, fit: _Fit | None) -> Array:
    """[L, 3] the points nearest to the rays of all views, those that face a landmark counting most.

    argmin_p sum_i w_i |(I - d_i d_i^T) (p - o_i)|^2.
    """
    total, right = np.zeros((len(model.index), 3, 3)), np.zeros((len(model.index), 3))
    for view, pixels in seen.items():
        camera = cameras[view]
        at = torch.from_numpy(pixels[model.index])[None].float()
        ends = camera.unproject(at, torch.ones(1, len(model.index)))[0].double().numpy()
        origin = camera.centers[0].double().numpy()
        rays = ends - origin
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        weight = np.ones(len(rays)) if fit is None else far_side_factor(-(fit.normals * rays).sum(1)) ** -2.0
        weight = np.where(np.isfinite(rays).all(1), weight, 0.0)
        across = weight[:, None, None] * (np.eye(3) - np.nan_to_num(rays[:, :, None] * rays[:, None]))
        total += across
        right += across @ origin
    points: Array = np.asarray(np.linalg.solve(total, right[..., None])[..., 0], np.float64)
    return points


def _fit(points: Array, masks: Tensor, cameras: Cameras, model: HeadModel, landmarks: LandmarkModel) -> _Fit:
    placed = fit_in_space(points, masks, cameras, model, landmarks)
    sizes = [landmarks.identity_size, landmarks.identity_size + landmarks.expression_size]
    identity, expression, ears = np.split(placed.coefficients, sizes)
    found = placed(landmarks.positions(identity, expression, np.zeros((2, 2))))
    apart = float(np.median(np.linalg.norm(found - points, axis=1)))
    return _Fit(found, landmarks.normals @ placed.turn.T, _posed(placed, model, identity, expression, ears), apart)


def _posed(placed: Placed, model: HeadModel, identity: Array, expression: Array, ears: Array) -> PosedModel:
    """The model in the world, with ears of its own."""
    shape, weights = (torch.from_numpy(c).float() for c in (identity, expression))
    moved = np.tensordot(ears, ear_basis(model), 1)
    neutral = model.mesh(shape)
    rest, posed, joints = (
        torch.from_numpy(placed(points)).float()
        for points in (
            neutral.vertices.double().numpy() + moved,
            model.mesh(shape, weights).vertices.double().numpy() + moved,
            neutral.joints.double().numpy(),
        )
    )
    return PosedModel(rest, posed, joints, torch.from_numpy(placed.scale * placed.turn).float(), weights)


def with_face(hull: DistanceGrid, found: FoundFace, cameras: Cameras) -> DistanceGrid:
    """What outlines leave, with the found face and ears in their place, and filled up to the found skull.

    A mask that misses a part carves it away for all views; the head was fitted to all of them. On the CPU.
    """
    head = DistanceGrid.from_mesh(found.pose.posed, found.faces, cameras, len(hull.values), hull.side)
    near = (torch.minimum(hull.values, head.values).abs() < _FAR).flatten().nonzero()[:, 0]
    at = corner_points(len(hull.values), hull.side)[near].numpy()
    values, model = hull.values.flatten().clone(), head.values.flatten()[near]
    missed = (model < values[near]).nonzero()[:, 0]
    _, nearest = cKDTree(found.pose.posed.numpy()).query(at[missed], workers=-1)
    missed = missed[found.skull[torch.from_numpy(nearest)]]
    values[near[missed]] = model[missed]
    known = cKDTree(found.pose.posed[found.known].numpy())
    distance, _ = known.query(at, distance_upper_bound=_FAR, workers=-1)
    share = torch.from_numpy((_FAR - distance) / (_FAR - _NEAR)).float().clamp(0, 1)
    values[near] = values[near].lerp(model, share)
    return DistanceGrid(values.reshape(hull.values.shape), hull.side)
