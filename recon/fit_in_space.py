"""The head model's shape and place that landmarks in space and the views' outlines ask for together.

Gauss-Newton over a similarity and the model's coefficients z, which have unit-normal priors:

    n sum_l |p_l - x_l|^2 / s^2  +  m sum_c w_c (g_c . (y_c - q_c))^2 / s^2  +  |z|^2,

with landmarks p_l in space, and points q_c of the model that lie on its outline in some view. They are drawn to the
mask's outline y_c along its normal g_c. Hair hides ears and skull: what lies well inside a mask is hardly drawn, what
lies outside always is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.heads import HeadModel
from gen3dface.raster import rasterize
from gen3dface.similarity import best_similarity

Array = NDArray[np.float64]

_ERROR = 1.5e-3  # metres: standard deviation of a landmark in space, and of an outline
_SHARED = 0.1  # n: errors come in patches, the landmarks count as so many times as many independent ones
_OUTLINES = 0.3  # m: neighbours and views share their errors
_EXPRESSION = 0.2  # standard deviation of an expression's weight
_INSIDE = 2.5e-3  # metres inside a mask from which an outline is doubted
_ALONE, _ROUNDS = 5, 12  # rounds of the landmarks alone, and in all
_OUTER = ("face", "ears", "scalp", "skull")  # regions whose outlines count
_EAR_SHIFT, _EAR_FLARE, _EAR_SIZE = 0.01, 0.4, 0.1  # standard deviations: metres, radians, share
_EAR_ROOT = 0.012  # metres over which what moves an ear fades into the head
_POSE = 7  # unknowns before the coefficients: a turn, a shift, a logarithm of scale


@dataclass(frozen=True)
class Placed:
    """A head model in the world: y = scale turn x(coefficients) + shift."""

    scale: float
    turn: Array  # [3, 3]
    shift: Array  # [3] metres
    coefficients: Array  # [K + E + A] identity, expression, and what moves the ears (`ear_basis`)

    def __call__(self, points: Array) -> Array:
        """Model points [P, 3] in the world."""
        return self.scale * points @ self.turn.T + self.shift


def fit_in_space(points: Array, masks: Tensor, cameras: Cameras, model: HeadModel, landmarks: LandmarkModel) -> Placed:
    """The most probable head for landmarks [L, 3] in the world and masks [N, 1, H, W]."""
    ears = ear_basis(model)
    size = landmarks.identity_size + landmarks.expression_size + len(ears)
    found = _start(landmarks.template, points, size)
    outlines = [_Outline(mask[0], camera) for mask, camera in zip(masks, cameras, strict=True)]
    whole = np.concatenate([model.identity_basis.numpy(), model.expression_basis.numpy(), ears]).astype(np.float64)
    still = np.zeros((len(ears), *landmarks.template.shape))
    basis = np.concatenate([landmarks.identity_basis, landmarks.expression_basis, still])
    for turn in range(_ROUNDS):
        at = landmarks.template + np.tensordot(found.coefficients, basis, 1)
        jacobian = _jacobian(found, at, basis).reshape(-1, _POSE + size)
        normal, right = _equations(jacobian, (points - found(at)).ravel(), _SHARED)
        if turn >= _ALONE:
            vertices = model.template.numpy() + np.tensordot(found.coefficients, whole, 1)
            for rows, wanted in _outline_rows(outlines, found, vertices, whole, model):
                more = _equations(rows, wanted, _OUTLINES)
                normal, right = normal + more[0], right + more[1]
        found = _stepped(found, normal, right, landmarks)
    return found


def _start(template: Array, points: Array, size: int) -> Placed:
    """The average head where its landmarks [L, 3] lie best."""
    whole = best_similarity(torch.from_numpy(template), torch.from_numpy(points), torch.ones(len(points)))
    turn, shift = (t.double().numpy() for t in (whole.rotation, whole.translation))
    return Placed(whole.scale, turn, shift, np.zeros(size))


def ear_basis(model: HeadModel) -> Array:
    """[10, V, 3] metres a standard deviation: each ear's shift, flare and size, which no face tells.

    The model's identities move the ears with the rest of the head; outlines say where they really are.
    """
    vertices, ears = model.template.double().numpy(), model.regions["ears"].numpy()
    out = []
    for side in (1, -1):
        ear = ears & (side * vertices[:, 0] > 0)
        root = vertices[ear][np.abs(vertices[ear, 0]).argsort()[: ear.sum() // 4]].mean(0)
        distance, _ = cKDTree(vertices[ear]).query(vertices)
        arm, weight = vertices - root, np.clip(1 - distance / _EAR_ROOT, 0, 1)[:, None]
        flared = np.cross([0.0, side, 0.0], arm)
        moves = [*(_EAR_SHIFT * np.eye(3)[:, None] + 0 * arm), _EAR_FLARE * flared, _EAR_SIZE * arm]
        out += [weight * move for move in moves]
    return np.stack(out)


class _Outline:
    """A view's mask as signed distances in pixels, positive outside."""

    def __init__(self, mask: Tensor, camera: Cameras) -> None:
        solid = mask.numpy() > 0.5
        outside = ndimage.distance_transform_edt(~solid)
        signed = np.where(solid, 0.5 - ndimage.distance_transform_edt(solid), outside - 0.5)
        self.distance = ndimage.gaussian_filter(signed, 1.0)
        self.slope = np.stack(np.gradient(self.distance)[::-1], -1)  # [H, W, 2] by x, y
        self.camera = camera

    def touched(self, vertices: Tensor, faces: Tensor) -> tuple[NDArray[np.int64], Array, Array]:
        """Vertices on the model's own outline, their distances to the mask's [C] px and its slopes there [C, 2]."""
        seen = rasterize(vertices, faces, self.camera)
        covered = seen.mask.numpy()
        edge = covered & ~ndimage.binary_erosion(covered, border_value=1)
        chosen = np.unique(faces[seen.face[torch.from_numpy(edge)]].numpy())
        pixels = self.camera.project(vertices[chosen])[0][0].double().numpy()
        column, row = np.floor(pixels).astype(int).T
        height, width = self.distance.shape
        inside = (column >= 1) & (row >= 1) & (column < width - 1) & (row < height - 1)
        return chosen[inside], self.distance[row[inside], column[inside]], self.slope[row[inside], column[inside]]


def _outline_rows(
    outlines: list[_Outline], found: Placed, vertices: Array, basis: Array, model: HeadModel
) -> list[tuple[Array, Array]]:
    """Weighted rows [C, 7 + K + E] and wanted moves [C] in metres, of each view."""
    outer = torch.stack([model.regions[name] for name in _OUTER]).any(0).numpy()
    world = torch.from_numpy(found(vertices)).float()
    out = []
    for outline in outlines:
        chosen, distance, slope = outline.touched(world, model.faces)
        kept = outer[chosen]
        chosen, distance, slope = chosen[kept], distance[kept], slope[kept]
        camera = outline.camera
        depth = camera.to_camera(world[chosen])[0, :, 2].double().numpy()
        metre = float(camera.intrinsics[0, 0, 0]) / depth  # px
        across = slope @ camera.rotations[0, :2].double().numpy()  # [C, 3] where the mask's distance grows
        moved = -distance / metre
        weight = np.where(moved > 0, 1 / (1 + (moved / _INSIDE) ** 2), 1.0)  # its square is Geman and McClure's
        rows = np.einsum("ci,cij->cj", across, _jacobian(found, vertices[chosen], basis[:, chosen]))
        out.append((weight[:, None] * rows, weight * moved))
    return out


def _jacobian(found: Placed, points: Array, basis: Array) -> Array:
    """Of P placed points [P, 3] by turn, shift, scale and coefficients: [P, 3, 7 + K + E]."""
    turned = found.scale * points @ found.turn.T
    x, y, z = turned.T
    none = np.zeros_like(x)
    about = np.stack([none, z, -y, -z, none, x, y, -x, none], -1).reshape(-1, 3, 3)
    shift = np.broadcast_to(np.eye(3), about.shape)
    by_weight = found.scale * np.einsum("ij,kpj->pik", found.turn, basis)
    return np.concatenate([about, shift, turned[:, :, None], by_weight], -1)


def _equations(rows: Array, wanted: Array, share: float) -> tuple[Array, Array]:
    weight = share / _ERROR**2
    return weight * rows.T @ rows, weight * rows.T @ wanted


def _stepped(found: Placed, normal: Array, right: Array, landmarks: LandmarkModel) -> Placed:
    """A Gauss-Newton step; expressions stay in 0..1."""
    spread, first = np.ones(len(found.coefficients)), landmarks.identity_size
    expression = slice(first, first + landmarks.expression_size)
    spread[expression] = _EXPRESSION
    prior = np.concatenate([np.zeros(_POSE), spread**-2.0])
    right = right - prior * np.concatenate([np.zeros(_POSE), found.coefficients])
    step = np.linalg.solve(normal + np.diag(prior), right)
    weights = found.coefficients + step[_POSE:]
    weights[expression] = weights[expression].clip(0, 1)
    turn = Rotation.from_rotvec(step[:3]).as_matrix() @ found.turn
    return replace(
        found, turn=turn, shift=found.shift + step[3:6], scale=found.scale * np.exp(step[6]), coefficients=weights
    )
