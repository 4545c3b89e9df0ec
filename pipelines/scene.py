"""All that the views of a call are made from. It does not depend on the denoising step and is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import ConfigError
from gen3dface.heads.normals import vertex_normals
from gen3dface.models.photo_projection import Photo, PhotoProjection, project_photo
from gen3dface.pipelines.appearance import vertex_parts
from gen3dface.pipelines.subjects import Subject
from gen3dface.raster import rasterize
from gen3dface.texture import observe

if TYPE_CHECKING:
    from gen3dface.models.conditioner import SceneGeometry

_UNIT = 0.2  # metres: half the side of the volume

# features of the mesh's vertices and their channels
VERTEX_FEATURES = {"position": 3, "normal": 3, "colour": 3, "visibility": 1, "part": 4}


@dataclass(frozen=True)
class Scene:
    """Conditions of N target views of B heads; F frames are the views, or the views and the input view."""

    tokens: Tensor  # [B, T, E], or [B, F, T, E] where the tokens know their view
    input_latent: Tensor  # [B, C, h, w] scaled
    view: Tensor  # [B, N, 4], or [B, N + 1, 4] where the photo has a frustum too
    geometry: SceneGeometry | None = None  # None: a model without volumes
    vertex_features: Tensor | None = None  # [B, P, vertex_channels]
    photo_volume: Tensor | None = None  # [B, photo_channels, V, V, V]
    conditions: Tensor | None = None  # [B, N, condition_channels, h, w] the photo projected into each view
    copy: tuple[Tensor, Tensor] | None = None  # clean latents [B, N, C, h, w], visibility [B, N, gate_channels, h, w]

    def guided(self) -> Scene:
        """The same with an unconditional half behind it, as the UNet takes it: [2B, ...].

        Tokens, the input latent and the projected photo are zero there; the volumes are left out, which the UNet reads
        as zeros. The copy is no guess that guidance could sharpen, so both halves have it.
        """
        conditions = None if self.conditions is None else _then_zeros(self.conditions)
        both = None if self.copy is None else (torch.cat([self.copy[0]] * 2), torch.cat([self.copy[1]] * 2))
        return replace(
            self,
            tokens=_then_zeros(self.tokens),
            input_latent=_then_zeros(self.input_latent),
            conditions=conditions,
            copy=both,
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> Scene:
        """The same on a device, with all but the geometry in a dtype."""
        moved: dict[str, Any] = {
            field.name: value.to(device, dtype)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        if self.geometry is not None:
            moved["geometry"] = self.geometry.to(device)
        if self.copy is not None:
            moved["copy"] = tuple(t.to(device, dtype) for t in self.copy)
        return replace(self, **moved)


def projection(subject: Subject, views: Cameras, shells: Sequence[float]) -> PhotoProjection:
    """The subject's photo as the target views see it on the mesh."""
    count = len(subject.model.mirror)
    hair = torch.arange(count, len(subject.surface.vertices))  # hanging hair is its own mirror image
    fine = subject.fine
    photo = Photo(fine.image, fine.trusted[0], fine.camera)
    return project_photo(photo, subject.surface, views, torch.cat([subject.model.mirror, hair]), shells)


def gate_visibility(trust: Tensor, gate_channels: int, factor: int) -> Tensor:
    """Trust [N, 1, S, S] as [N, gate_channels, h, w]: of each pixel of a latent, or their mean for a single gate.

    Raises:
        ConfigError: neither one gate nor one for each pixel.
    """
    if gate_channels == factor**2:
        return F.pixel_unshuffle(trust, factor)
    if gate_channels == 1:
        return F.avg_pool2d(trust, factor)
    raise ConfigError(f"The copy gate has {gate_channels} channels; it may have 1 or {factor**2}.")


def silhouettes(subject: Subject, views: Cameras) -> Tensor:
    """[N, 1, S, S] float, 1 where a pixel sees the head."""
    surface = subject.surface
    seen = [rasterize(surface.vertices, surface.faces, view, cull_back=True).mask for view in views]
    return torch.stack(seen)[:, None].float()


def vertex_feature_channels(names: Sequence[str]) -> int:
    """Channels of the named features together. Raises `ConfigError` on an unknown name."""
    unknown = [name for name in names if name not in VERTEX_FEATURES]
    if unknown:
        raise ConfigError(f"Unknown vertex features {unknown}; choose from {', '.join(VERTEX_FEATURES)}.")
    return sum(VERTEX_FEATURES[name] for name in names)


def vertex_features(names: Sequence[str], subject: Subject) -> Tensor:
    """Features [P, channels] of a head's vertices, in the order of `names`.

    `position` in -1..1 of the volume, `normal` in the world, `colour` -1..1 in the photo (0 where unseen),
    `visibility` 0..1, `part` shares of inner parts, hair, clothes and skin.
    """
    count, surface = len(subject.vertices), subject.surface
    normals = vertex_normals(subject.vertices, surface.faces[: _own_faces(subject)])
    found = {"position": subject.vertices / _UNIT, "normal": normals}
    if {"colour", "visibility"} & set(names):
        crop = subject.fine
        seen = observe(crop.image, crop.trusted[0], crop.camera, surface, subject.vertices, normals)
        found["colour"] = (2 * seen.colour - 1) * (seen.weight > 0)[:, None]
        found["visibility"] = seen.weight[:, None]
    if "part" in names:
        found["part"] = vertex_parts(subject.portrait, subject.fit.camera, surface, subject.model)[:count]
    return torch.cat([found[name] for name in names], 1)


def _own_faces(subject: Subject) -> int:
    """Faces of the head itself; hanging hair comes after them."""
    return len(subject.model.faces)


def _then_zeros(values: Tensor) -> Tensor:
    return torch.cat([values, torch.zeros_like(values)])
