"""Dense correspondence between ICT's face and OpenHead, found once by registering the two mean heads.

OpenHead's mean is moved onto ICT's by a similarity on the landmarks of eyelids, lips and nose, which mean the same spot
on every head (brows, cheeks and outline do not: the detector slides along them), and then deformed: each round pulls
every skin vertex to its nearest point on the other surface (where the normals agree) and every landmark to its
partner, against a Laplacian penalty on the displacement that weakens from round to round (Amberg et al. 2007, with
translations). Each ICT face vertex then takes the nearest point of the deformed OpenHead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from gen3dface.estimators.priors import EYES, LIPS
from gen3dface.evaluation.shape.alignment import align
from gen3dface.evaluation.shape.closest import Surface
from gen3dface.heads import HeadModel, vertex_normals

Array = NDArray[np.float64]
_STIFFNESS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.5, 0.5, 0.5)
_LANDMARK_WEIGHT = 5.0
_NOSE = (1, 2, 4, 19, 94, 98, 327, 97, 326, 64, 294)  # tip, base, wings
_PINNED = (*EYES, *LIPS, *_NOSE)
_INSIDE = ("mouth_interior", "teeth", "tongue", "left_eye", "right_eye", "eye_sockets")


@dataclass(frozen=True)
class Correspondence:
    """For M vertices of one head, the places on the other's triangles."""

    vertices: NDArray[np.int64]  # [M] of the first head
    faces: NDArray[np.int64]  # [M] of the second head
    weights: Array  # [M, 3]
    gap: float  # metres, median distance left between the registered surfaces

    def gather(self, vertices: Array, faces: NDArray[np.int64]) -> Array:
        """The second head's points [M, 3] that belong to `self.vertices`."""
        return (vertices[faces[self.faces]] * self.weights[..., None]).sum(1)


def outer_faces(model: HeadModel) -> NDArray[np.int64]:
    """Indices of OpenHead's triangles on the outside of the skin."""
    hidden = torch.zeros(len(model.template), dtype=torch.bool)
    for name in _INSIDE:
        hidden |= model.regions[name]
    return (~hidden[model.faces].any(1)).nonzero()[:, 0].numpy()


def register(scan: HeadModel, model: HeadModel, part: NDArray[np.int64], limit: float = 0.004) -> Correspondence:
    """Correspondence of the scan model's vertices `part` with `model`, both at their means.

    Vertices whose partner stays farther than `limit` (metres), or is not on the model's face (ears, neck, scalp), are
    left out.
    """
    target, source = scan.template.numpy().astype(np.float64), model.template.numpy().astype(np.float64)
    theirs, ours = _landmarks(scan), _landmarks(model)
    shared = np.isfinite(theirs).all(1) & np.isfinite(ours).all(1) & np.isin(np.arange(len(ours)), _PINNED)
    source = align(ours[shared], theirs[shared], with_scale=True)(source)
    keep = outer_faces(model)
    moved = _deform(source, model, keep, scan, part, theirs, shared)
    found = Surface(moved, model.faces.numpy()[keep]).closest(target[part])
    face = model.regions["face"].numpy()[model.faces.numpy()].all(1)
    good = (found.distances < limit) & face[keep[found.faces]]
    return Correspondence(part[good], keep[found.faces[good]], found.weights[good], float(np.median(found.distances)))


def _landmarks(model: HeadModel) -> Array:
    return model.mesh().landmarks().numpy().astype(np.float64)


def _deform(
    source: Array,
    model: HeadModel,
    keep: NDArray[np.int64],
    scan: HeadModel,
    part: NDArray[np.int64],
    landmarks: Array,
    shared: NDArray[np.bool_],
) -> Array:
    inside = np.isin(scan.faces.numpy(), part).all(1)
    faces = scan.faces.numpy()[inside]
    surface = Surface(scan.template.numpy(), faces)
    normals = vertex_normals(scan.template, scan.faces).numpy().astype(np.float64)
    used = np.unique(model.faces.numpy()[keep])
    laplacian = _laplacian(model)
    pins = _landmark_rows(model, shared)
    moved = source.copy()
    for stiffness in _STIFFNESS:
        found = surface.closest(moved[used])
        facing = (normals[faces[found.faces]] * found.weights[..., None]).sum(1)
        ours = vertex_normals(torch.from_numpy(moved), model.faces).numpy()[used]
        good = ((facing * ours).sum(1) > 0.6) & (found.distances < 0.02) & (found.weights > 1e-3).all(1)
        moved = _solve(source, moved, laplacian * stiffness, used[good], found.points[good], pins, landmarks[shared])
    return moved


def _solve(
    source: Array, moved: Array, laplacian: sparse.csr_matrix, rows: NDArray[np.int64], targets: Array,
    pins: sparse.csr_matrix, landmarks: Array,
) -> Array:  # fmt: skip
    count = len(source)
    pick = sparse.csr_matrix((np.ones(len(rows)), (np.arange(len(rows)), rows)), (len(rows), count))
    system = sparse.vstack([laplacian, pick, pins * _LANDMARK_WEIGHT, sparse.eye(count) * 1e-3]).tocsr()
    right = np.vstack(
        [
            np.zeros((count, 3)),
            targets - source[rows],
            (landmarks - pins @ source) * _LANDMARK_WEIGHT,
            1e-3 * (moved - source),
        ]
    )
    return source + splu((system.T @ system).tocsc()).solve(system.T @ right)


def _laplacian(model: HeadModel) -> sparse.csr_matrix:
    """Uniform graph Laplacian of displacements, rows normalised."""
    faces, count = model.faces.numpy(), len(model.template)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), (count, count)).tocsr()
    graph = ((graph + graph.T) > 0).astype(np.float64)
    degree = np.asarray(graph.sum(1)).ravel().clip(1)
    return (sparse.eye(count) - sparse.diags(1 / degree) @ graph).tocsr()


def _landmark_rows(model: HeadModel, shared: NDArray[np.bool_]) -> sparse.csr_matrix:
    corners = model.faces.numpy()[model.landmark_faces.numpy()[shared]]
    weights = model.landmark_barycentric.numpy()[shared].astype(np.float64)
    rows = np.repeat(np.arange(len(corners)), 3)
    return sparse.csr_matrix((weights.ravel(), (rows, corners.ravel())), (len(corners), len(model.template)))
