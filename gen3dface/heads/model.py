"""The interface of every parametric head: shape as a linear model, pose by linear blend skinning."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.normals import vertex_normals
from gen3dface.heads.skinning import joint_transforms, rotation_matrices, skin


@dataclass(frozen=True)
class HeadMesh:
    """A posed head, or a batch of them with leading dimensions."""

    vertices: Tensor  # [..., V, 3] metres
    faces: Tensor  # [F, 3] int64, counter-clockwise from outside
    uvs: Tensor  # [T, 2] in 0..1, v up
    uv_faces: Tensor  # [F, 3] int64
    joints: Tensor  # [..., J, 3] posed, metres
    landmark_faces: Tensor  # [L] int64, -1 where the head has no such point
    landmark_barycentric: Tensor  # [L, 3]

    def normals(self) -> Tensor:
        """Unit vertex normals [..., V, 3]."""
        return vertex_normals(self.vertices, self.faces)

    def landmarks(self) -> Tensor:
        """Surface points [..., L, 3] in metres; NaN where the head has no such point."""
        corners = self.vertices[..., self.faces[self.landmark_faces.clamp(min=0)], :]
        points = (corners * self.landmark_barycentric[..., None]).sum(-2)
        missing = (self.landmark_faces < 0)[:, None]
        return torch.where(missing, torch.full_like(points, torch.nan), points)


@dataclass(frozen=True)
class HeadModel:
    """A linear head: v = LBS(template + identity . basis + expression . basis + correctives(rotations); rotations).

    Identity coefficients have a unit-normal prior. Expression coefficients lie in 0..1 where `expression_names` are
    ARKit's; those of other models (FLAME) have a unit-normal prior too.
    """

    name: str
    version: str
    licence: str
    template: Tensor  # [V, 3] metres
    faces: Tensor  # [F, 3] int64
    identity_basis: Tensor  # [K, V, 3] metres a standard deviation
    expression_basis: Tensor  # [E, V, 3] metres at coefficient 1
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    joint_parents: tuple[int, ...]  # -1 for the root
    joints: Tensor  # [J, 3] metres
    joint_basis: Tensor  # [K, J, 3]
    skinning_weights: Tensor  # [V, J], rows sum to 1
    uvs: Tensor  # [T, 2] in 0..1, v up
    uv_faces: Tensor  # [F, 3] int64
    landmark_faces: Tensor  # [478] int64, -1 where none
    landmark_barycentric: Tensor  # [478, 3]
    regions: dict[str, Tensor]  # [V] bool each
    mirror: Tensor  # [V] int64: the vertex on the other side
    collar: Tensor  # [R] int64: the boundary loop at the bottom, in order
    expression_joint_basis: Tensor | None = None  # [E, J, 3]; None: expressions move no joint
    pose_correctives: Tensor | None = None  # [9 (J - 1), V, 3] metres a unit of R - I of all joints but the first
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)  # metres: our origin in the frame of the file it came from

    def __post_init__(self) -> None:
        v, k, j = len(self.template), len(self.identity_basis), len(self.joint_names)
        expected = {
            "template": (v, 3),
            "identity_basis": (k, v, 3),
            "expression_basis": (len(self.expression_names), v, 3),
            "joints": (j, 3),
            "joint_basis": (k, j, 3),
            "skinning_weights": (v, j),
            "uv_faces": tuple(self.faces.shape),
            "mirror": (v,),
        }
        if self.expression_joint_basis is not None:
            expected["expression_joint_basis"] = (len(self.expression_names), j, 3)
        if self.pose_correctives is not None:
            expected["pose_correctives"] = (9 * (j - 1), v, 3)
        for field, shape in expected.items():
            actual = tuple(getattr(self, field).shape)
            if actual != shape:
                raise HeadModelError(f"{self.name}: {field} has shape {actual}, expected {shape}.")

    @property
    def identity_size(self) -> int:
        """Number of identity coefficients K."""
        return len(self.identity_basis)

    def mesh(
        self,
        identity: Tensor | None = None,  # [..., K]
        expression: Tensor | None = None,  # [..., E]
        rotations: Tensor | None = None,  # [..., J, 3] axis-angle, radians
    ) -> HeadMesh:
        """The head of given coefficients; leading dimensions broadcast, None means zero."""
        vertices, joints = self.template, self.joints
        if identity is not None:
            self._check("identity", identity, (self.identity_size,))
            vertices = vertices + torch.einsum("...k,kvc->...vc", identity, self.identity_basis)
            joints = joints + torch.einsum("...k,kjc->...jc", identity, self.joint_basis)
        if expression is not None:
            self._check("expression", expression, (len(self.expression_names),))
            vertices = vertices + torch.einsum("...e,evc->...vc", expression, self.expression_basis)
            if self.expression_joint_basis is not None:
                joints = joints + torch.einsum("...e,ejc->...jc", expression, self.expression_joint_basis)
        if rotations is not None:
            self._check("rotations", rotations, (len(self.joint_names), 3))
            turned, joints = self._broadcast(rotations, joints)
            if self.pose_correctives is not None:  # SMPL (Loper et al., 2015), eq. 9
                away = (turned[..., 1:, :, :] - torch.eye(3).to(turned)).flatten(-3)
                vertices = vertices + torch.einsum("...p,pvc->...vc", away, self.pose_correctives)
            transforms = joint_transforms(turned, joints, self.joint_parents)
            vertices = skin(vertices, self.skinning_weights, transforms)
            joints = (transforms[..., :3] @ joints[..., None])[..., 0] + transforms[..., 3]
        return HeadMesh(
            vertices,
            self.faces,
            self.uvs,
            self.uv_faces,
            joints,
            self.landmark_faces,
            self.landmark_barycentric,
        )

    def sample(self, generator: torch.Generator, scale: float = 1.0) -> Tensor:
        """Identity coefficients [K] of a random person; `scale` 0 is the mean, 1 the population."""
        drawn = torch.randn(self.identity_size, generator=generator, device=generator.device)
        return drawn.to(self.template) * scale

    def to(self, device: torch.device | str) -> HeadModel:
        """The same model on another device."""
        moved: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        moved["regions"] = {name: mask.to(device) for name, mask in self.regions.items()}
        return replace(self, **moved)

    @staticmethod
    def _broadcast(rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        batch = np.broadcast_shapes(rotations.shape[:-2], joints.shape[:-2])  # torch's imports sympy, half a second
        return rotation_matrices(rotations.expand(*batch, -1, -1)), joints.expand(*batch, -1, -1)

    def _check(self, what: str, value: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(value.shape[-len(shape) :]) != shape:
            wanted = ", ".join(map(str, shape))
            raise HeadModelError(f"{self.name} takes {what} [..., {wanted}], got {list(value.shape)}.")
