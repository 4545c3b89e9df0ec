"""People of another statistical model in OpenHead's topology.

ICT-FaceKit Light (MIT) is made from scans of real people. Its mean and each of its identity shapes are carried over to
OpenHead's vertices: by OpenHead's own coefficients as far as these go, and by the smoothest displacement for the rest
of the face. So the training pictures show the features of people and not OpenHead's sliders, drawn with all that
OpenHead has (texture layout, regions, expressions, eyes), while the regression learns the coefficients.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from correspondence import Correspondence, register
from direct_fit import DirectFit
from ict_heads import FACE, load_ict

from gen3dface.estimators.landmark_model import EYE_JOINTS
from gen3dface.evaluation.shape.alignment import align
from gen3dface.heads import HeadModel
from gen3dface.texture import edge_laplacian

Array = NDArray[np.float64]
_SMOOTH, _HOLD = 0.05, 1e-5  # against a compared point's weight of 1: of the bilaplacian, of staying where it is


@dataclass(frozen=True)
class People:
    """How the other model's coefficients [N] ~ N(0, 1) look on OpenHead."""

    model: HeadModel  # its identity is the other model's coefficients
    mean: Array  # [K] OpenHead's coefficients of its mean
    slopes: Array  # [N, K] and their change by each coefficient

    def coefficients(self, identity: Array) -> Array:
        """OpenHead's coefficients [.., K] nearest to people [.., N]."""
        return self.mean + identity @ self.slopes


def load_people(path: Path, model: HeadModel) -> People:
    """Read ICT-FaceKit Light (see benchmarks/ict_heads.py) and carry it over to `model` (OpenHead)."""
    ict = load_ict(path)
    return carry(ict, model, register(ict, model, np.arange(*FACE)))


def carry(other: HeadModel, model: HeadModel, pairs: Correspondence) -> People:
    """`other`'s mean and identity shapes on the vertices of `model`, at their true size."""
    fit = DirectFit(model, pairs)
    ours = pairs.gather(model.template.numpy().astype(np.float64), model.faces.numpy())
    theirs = other.template.numpy().astype(np.float64)[pairs.vertices]
    motion = align(theirs, ours, with_scale=False)
    shapes = other.identity_basis.numpy().astype(np.float64)[:, pairs.vertices] @ motion.rotation.T
    coefficients, rest = fit.linear(np.concatenate([motion(theirs)[None] - ours, shapes]))
    basis, joints = (v.numpy().astype(np.float64) for v in (model.identity_basis, model.joint_basis))
    offsets, eyes = _smoothest(rest, model, pairs)
    shown = np.tensordot(coefficients, basis, 1) + offsets
    pivots = np.tensordot(coefficients, joints, 1)
    pivots[:, [model.joint_names.index(name) for name in EYE_JOINTS]] += eyes
    carried = replace(
        model,
        name=f"{other.name} on {model.name}",
        licence=other.licence,
        template=model.template + torch.from_numpy(shown[0]).float(),
        identity_basis=torch.from_numpy(shown[1:]).float(),
        joints=model.joints + torch.from_numpy(pivots[0]).float(),
        joint_basis=torch.from_numpy(pivots[1:]).float(),
    )
    return People(carried, coefficients[0], coefficients[1:])


def _smoothest(rest: Array, model: HeadModel, pairs: Correspondence) -> tuple[Array, Array]:
    """Displacements [N, V, 3] that carry the compared points by `rest` [N, M, 3]; those of the two eyes [N, 2, 3]."""
    count = len(model.template)
    rows = np.repeat(np.arange(len(pairs.faces)), 3)
    corners = model.faces.numpy()[pairs.faces].ravel()
    gather = sparse.csr_matrix((pairs.weights.ravel(), (rows, corners)), (len(pairs.faces), count))
    laplacian = edge_laplacian(model.faces, count)
    system = gather.T @ gather + _SMOOTH * (laplacian.T @ laplacian) + _HOLD * sparse.eye(count)
    right = gather.T @ rest.transpose(1, 0, 2).reshape(len(pairs.faces), -1)
    solved = splu(sparse.csc_matrix(system)).solve(right)
    offsets = solved.reshape(count, len(rest), 3).transpose(1, 0, 2).copy()
    eyes = np.zeros((len(rest), len(EYE_JOINTS), 3))
    for eye, name in enumerate(EYE_JOINTS):
        side = (model.template[:, 0] * model.joints[model.joint_names.index(name), 0] > 0).numpy()
        eyes[:, eye] = offsets[:, model.regions["eyelids"].numpy() & side].mean(1)
        offsets[:, model.regions[name].numpy()] = eyes[:, eye, None]
    return offsets, eyes
