"""A head model seen through its 478 landmarks alone: positions and derivatives, float64.

A landmark on the eyeball turns with its eye's joint: x = J + R(gaze) (x0 - J), with x0 and J linear in identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import HeadModelError

if TYPE_CHECKING:
    from gen3dface.heads import HeadModel

Array = NDArray[np.float64]
EYE_JOINTS = ("left_eye", "right_eye")
LANDMARKS = 478
_SCALE = (33, 263)  # the eyes' outer corners: their distance is the measure of every residual


@dataclass(frozen=True)
class LandmarkModel:
    """The L landmarks that a head model carries, as functions of identity [K], expression [E] and gaze [2,2]."""

    index: NDArray[np.int64]  # [L] which of the 478
    template: Array  # [L, 3] metres
    identity_basis: Array  # [K, L, 3]
    expression_basis: Array  # [E, L, 3]
    eye_weights: Array  # [2, L] how far each landmark follows the left, right eye's joint
    eye_joints: Array  # [2, 3]
    eye_joint_basis: Array  # [K, 2, 3]
    normals: Array  # [L, 3] outward unit normals on the template

    @classmethod
    def from_head(cls, model: HeadModel) -> LandmarkModel:
        """Gather the landmarks' rows from a head model."""
        faces = model.landmark_faces.numpy()
        if faces.shape != (LANDMARKS,):
            raise HeadModelError(f"{model.name}: landmark_faces is [478], got {faces.shape}.")
        index = np.flatnonzero(faces >= 0)
        if not set(EYE_JOINTS) <= set(model.joint_names) or not set(_SCALE) <= set(index.tolist()):
            raise HeadModelError(
                f"{model.name} cannot be fitted to landmarks: it needs joints named {' and '.join(EYE_JOINTS)} and the "
                "eyes' outer corners among its landmarks."
            )
        corners = model.faces.numpy()[faces[index]]  # [L, 3]
        weights = model.landmark_barycentric.numpy().astype(np.float64)[index]

        def gather(values: NDArray[np.float32]) -> Array:
            """[.., V, C] -> [.., L, C]"""
            return (values[..., corners, :].astype(np.float64) * weights[..., None]).sum(-2)

        template = model.template.numpy()
        joints = [model.joint_names.index(name) for name in EYE_JOINTS]
        return cls(
            index,
            gather(template),
            gather(model.identity_basis.numpy()),
            gather(model.expression_basis.numpy()),
            gather(model.skinning_weights.numpy()[:, joints]).T,
            model.joints.numpy().astype(np.float64)[joints],
            model.joint_basis.numpy().astype(np.float64)[:, joints],
            _triangle_normals(template, corners),
        )

    @property
    def identity_size(self) -> int:
        return len(self.identity_basis)

    @property
    def expression_size(self) -> int:
        return len(self.expression_basis)

    def size_slope(self) -> Array:
        """[K] relative change of the landmarks' scale (their best similarity to the mean's) by each coefficient."""
        centred = self.template - self.template.mean(0)
        return np.tensordot(self.identity_basis, centred, 2) / (centred**2).sum()

    def positions(self, identity: Array, expression: Array, gaze: Array) -> Array:
        """[L, 3] metres. gaze [2, 2]: yaw (positive to the subject's left) and pitch (positive down) of each eye."""
        points, _ = self._unrotated(identity, expression)
        return points + sum(self._eye_offsets(eye, points, identity, gaze[eye]) for eye in range(2))

    def derivatives(self, identity: Array, expression: Array, gaze: Array) -> tuple[Array, Array]:
        """Positions [L, 3] and their derivatives [K + E + 4, L, 3]."""
        points, linear = self._unrotated(identity, expression)
        out, gaze_rows = points.copy(), np.zeros((4, *points.shape))
        for eye in range(2):
            out += self._eye_offsets(eye, points, identity, gaze[eye])
            weight = self.eye_weights[eye][:, None]
            centre = self.eye_joints[eye] + identity @ self.eye_joint_basis[:, eye]
            rotation, by_yaw, by_pitch = gaze_rotation(*gaze[eye])
            gaze_rows[2 * eye] = weight * ((points - centre) @ by_yaw.T)
            gaze_rows[2 * eye + 1] = weight * ((points - centre) @ by_pitch.T)
            centre_rows = np.zeros((len(linear), 1, 3))
            centre_rows[: self.identity_size, 0] = self.eye_joint_basis[:, eye]
            follows = np.flatnonzero(self.eye_weights[eye])
            arm = self._linear_rows(follows) - centre_rows
            linear[:, follows] += weight[follows] * (arm @ (rotation - np.eye(3)).T)
        return out, np.concatenate([linear, gaze_rows])

    def _linear_rows(self, landmarks: NDArray[np.int64]) -> Array:
        return np.concatenate([self.identity_basis[:, landmarks], self.expression_basis[:, landmarks]])

    def _unrotated(self, identity: Array, expression: Array) -> tuple[Array, Array]:
        linear = np.concatenate([self.identity_basis, self.expression_basis])
        return self.template + np.tensordot(np.concatenate([identity, expression]), linear, 1), linear

    def _eye_offsets(self, eye: int, points: Array, identity: Array, gaze: Array) -> Array:
        centre = self.eye_joints[eye] + identity @ self.eye_joint_basis[:, eye]
        rotation, _, _ = gaze_rotation(*gaze)
        return self.eye_weights[eye][:, None] * ((points - centre) @ (rotation - np.eye(3)).T)


def gaze_rotation(yaw: float, pitch: float) -> tuple[Array, Array, Array]:
    """R = Ry(yaw) Rx(pitch) and its derivatives by yaw and pitch, [3, 3] each."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y_slope = np.array([[-sy, 0, cy], [0, 0, 0], [-cy, 0, -sy]])
    about_x_slope = np.array([[0, 0, 0], [0, -sp, -cp], [0, cp, -sp]])
    return about_y @ about_x, about_y_slope @ about_x, about_y @ about_x_slope


def _triangle_normals(template: NDArray[np.float32], corners: NDArray[np.int64]) -> Array:
    a, b, c = (template[corners[:, k]].astype(np.float64) for k in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)
