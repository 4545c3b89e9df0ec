"""A head that is built like FLAME 2020, on the bundled head's mesh, and FLAME's equation written out on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import Portrait

Array = NDArray[np.float64]
ORIGIN = (0.003, -0.021, -0.034)  # metres
JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")


@cache
def fake_flame(version: str = "2020", identities: int = 300, expressions: int = 100) -> HeadModel:
    """Smooth random bases of a millimetre, joints that follow them, and correctives, everything off its origin."""
    head = load_head_model()
    template, rng = head.template.double().numpy(), np.random.default_rng(0)

    def waves(count: int) -> Array:
        """[count, V, 3] metres."""
        frequency, phase = rng.normal(0, 15, (count, 3)), rng.uniform(0, 6, (count, 1))
        height = np.sin(frequency @ template.T + phase)
        return 0.001 * height[..., None] * rng.normal(size=(count, 1, 3))

    def float32(values: Array) -> torch.Tensor:
        return torch.from_numpy(values).float()

    eyes = [head.joints[head.joint_names.index(name)].double().numpy() for name in JOINTS[3:]]
    joints = np.array([[0.001, -0.12, -0.02], [0, -0.08, -0.015], [0, -0.02, 0.01], *eyes])
    return replace(
        head,
        name="flame",
        version=version,
        identity_basis=float32(waves(identities)),
        expression_basis=float32(waves(expressions)),
        expression_names=tuple(f"expression_{k}" for k in range(expressions)),
        joint_names=JOINTS,
        joint_parents=(-1, 0, 1, 1, 1),
        joints=float32(joints),
        joint_basis=float32(rng.normal(0, 0.0005, (identities, 5, 3))),
        skinning_weights=float32(_weights(head, template)),
        expression_joint_basis=float32(rng.normal(0, 0.0005, (expressions, 5, 3))),
        pose_correctives=float32(waves(36)),
        origin=ORIGIN,
    )


def _weights(head: HeadModel, template: Array) -> Array:
    """The chin to the jaw, eyeballs to their joints, the rest to neck and root."""
    weights = np.zeros((len(template), 5))
    _, y, z = template.T
    weights[:, 2] = np.clip(-y / 0.03 - 0.5, 0, 1) * np.clip(z / 0.02, 0, 1)
    weights[:, 0] = np.clip(-y / 0.05 - 2, 0, 1) * (1 - weights[:, 2])
    weights[:, 1] = 1 - weights[:, 0] - weights[:, 2]
    for joint, name in ((3, "left_eye"), (4, "right_eye")):
        weights[head.regions[name].numpy()] = np.eye(5)[joint]
    return weights


def flame_vertices(model: HeadModel, identity: Array, expression: Array, pose: Array) -> Array:
    """[V, 3] in FLAME's own frame; pose [5, 3] axis-angle, the root's included (Li et al., 2017, eqs. 1-5).

    T = template + shape + expression + correctives; v = sum_j w_j G_j (T, 1), where G_j is the product of
    [R | J - J_parent] from the root down, less the joint's place at rest.
    """

    def array(values: torch.Tensor | None) -> Array:
        assert values is not None
        return values.double().numpy()

    rotations = Rotation.from_rotvec(pose).as_matrix()
    shaped = array(model.template) + np.array(model.origin)
    joints = array(model.joints) + np.array(model.origin)
    for k, weight in enumerate(identity):
        shaped = shaped + weight * array(model.identity_basis[k])
        joints = joints + weight * array(model.joint_basis[k])
    for k, weight in enumerate(expression):
        shaped = shaped + weight * array(model.expression_basis[k])
        joints = joints + weight * array(model.expression_joint_basis)[k]
    for k, weight in enumerate((rotations[1:] - np.eye(3)).ravel()):
        shaped = shaped + weight * array(model.pose_correctives)[k]
    out = np.zeros_like(shaped)
    transforms: list[Array] = []
    for j, parent in enumerate(model.joint_parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        transforms.append(local if parent < 0 else transforms[parent] @ local)
        moved = (shaped - joints[j]) @ transforms[j][:3, :3].T + transforms[j][:3, 3]
        out += array(model.skinning_weights)[:, j : j + 1] * moved
    return out


@dataclass(frozen=True)
class Sight:
    """A head of known coefficients, and where each vertex falls in the photo."""

    identity: Array
    expression: Array
    pose: Array  # [5, 3]
    scale: float  # px of the photo a metre
    middle: Array  # [2] px at which FLAME's own origin falls
    pixels: Array  # [V, 2]
    landmarks: NDArray[np.float32]  # [478, 3]


def sight(
    model: HeadModel,
    identities: int,
    expressions: int,
    *,
    turn: tuple[float, float, float] = (0.15, 0.3, -0.1),
    jaw: tuple[float, float, float] = (0.12, 0.02, -0.03),
    middle: tuple[float, float] = (310.0, 250.0),
    scale: float = 1500.0,
) -> Sight:
    """A random head in weak perspective: pixel = middle + scale (x, -y)."""
    rng = np.random.default_rng(3)
    identity, expression = rng.normal(size=identities), rng.normal(size=expressions)
    pose = np.array([turn, (0, 0, 0), jaw, (0, 0, 0), (0, 0, 0)])
    vertices = flame_vertices(model, identity, expression, pose)
    pixels = np.array(middle) + scale * vertices[:, :2] * [1, -1]
    points = surface_points(model, np.c_[pixels, -scale * vertices[:, 2]])
    return Sight(identity, expression, pose, scale, np.array(middle), pixels, points.astype(np.float32))


def surface_points(model: HeadModel, vertices: Array) -> Array:
    """[478, 3] the landmarks on vertices [V, 3]; some place on the head where there is none."""
    corners = model.faces[model.landmark_faces.clamp(min=0)].numpy()
    points: Array = (vertices[corners] * model.landmark_barycentric.double().numpy()[..., None]).sum(1)
    return points


def portrait_of(seen: Sight, height: int = 512, width: int = 640, focal: float | None = None) -> Portrait:
    """A photo with these landmarks: a picture of its own coordinates, and no hair."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) * 255 // width
    image[..., 1] = (np.arange(height) * 255 // height)[:, None]
    low, high = seen.landmarks.min(0), seen.landmarks.max(0)
    return Portrait(
        image,
        (float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        1.0,
        seen.landmarks,
        np.zeros(52, np.float32),
        np.ones((height, width), np.float32),
        np.zeros((height, width), np.uint8),
        "drawn",
        focal=focal,
    )
