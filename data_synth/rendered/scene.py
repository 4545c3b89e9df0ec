"""What is drawn: opaque surfaces, strands and the light on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.strands import Strands
from gen3dface.errors import ConfigError
from gen3dface.render import vertex_normals


@dataclass(frozen=True)
class LitSurface:
    """An opaque mesh of one material. Its albedo is either a texture (with `uvs`, `uv_faces`) or a colour a vertex.

    Diffuse light wraps around the terminator by `wrap` a channel, as in skin; the highlight is Blinn and Phong's with
    reflectance `specular` at normal incidence and exponent `shininess`.
    """

    vertices: Tensor  # [V, 3] world, metres
    faces: Tensor  # [F, 3] int64, counter-clockwise from outside
    albedo: Tensor  # [3, T, T] linear 0..1 with uvs, else [V, 3] linear 0..1
    uvs: Tensor | None = None  # [U, 2] in 0..1, v up
    uv_faces: Tensor | None = None  # [F, 3] int64
    normals: Tensor | None = None  # [V, 3] unit; from the mesh where None
    specular: float = 0.04
    shininess: float = 25.0
    wrap: tuple[float, float, float] = (0.0, 0.0, 0.0)
    occlusion: Tensor | None = None  # [V] in 0..1, more ambient shadow than the grid finds (inside the mouth)
    two_sided: bool = False  # drawn from behind too: glasses, cloth

    def __post_init__(self) -> None:
        textured = self.uvs is not None
        if textured != (self.uv_faces is not None):
            raise ConfigError("A textured surface needs both uvs and uv_faces.")
        wanted = self.albedo.dim() == 3 if textured else self.albedo.shape == self.vertices.shape
        if not wanted:
            raise ConfigError(
                f"albedo must be [3,T,T] with uvs or one colour a vertex without, got {tuple(self.albedo.shape)} "
                f"for {len(self.vertices)} vertices."
            )

    def unit_normals(self) -> Tensor:
        """[V, 3]"""
        return vertex_normals(self.vertices, self.faces) if self.normals is None else self.normals


@dataclass(frozen=True)
class Scene:
    """Everything in a picture."""

    surfaces: tuple[LitSurface, ...]
    light: Light
    strands: Strands | None = None

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.surfaces[0].vertices.device
