"""What is known of a head and its views before any network runs: the costly half of a call's conditions.

Nothing here is learned, so training computes it once a head and keeps it on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.models.build import ViewCondition
from gen3dface.models.photo_projection import PhotoProjection
from gen3dface.pipelines import scene
from gen3dface.pipelines.preview import Preview, preview
from gen3dface.pipelines.subjects import Subject


@dataclass(frozen=True)
class Wanted:
    """What a model asks of the head and the photo beside the crop."""

    view_condition: ViewCondition | None = None  # what each view is told; None: nothing
    shells: tuple[float, ...] = (0.0,)  # of the photo's projection
    vertex_features: tuple[str, ...] = ()

    @classmethod
    def by(cls, unet: Mapping[str, Any], pipeline: Mapping[str, Any]) -> Wanted:
        """By the configurations of a `MultiViewUNet` and of its pipeline."""
        told = pipeline["view_condition"] if unet["condition_channels"] or unet["gate_channels"] else None
        return cls(told, tuple(pipeline["shells"]), tuple(pipeline["vertex_features"]))


@dataclass(frozen=True)
class Prepared:
    """One head, its photo and N views of it."""

    image: Tensor  # [3, S, S] in 0..1, the photo's crop over white
    alpha: Tensor  # [1, S, S] in 0..1
    photo: Cameras  # N = 1, of the crop
    views: Cameras  # N
    vertices: Tensor  # [V, 3] metres
    told: PhotoProjection | Preview | None = None  # what the N views are told of the photo
    vertex_features: Tensor | None = None  # [V, C]

    def to(self, device: torch.device | str) -> Prepared:
        """The same on another device."""
        told = self.told
        if told is not None:
            told = type(told)(**{f.name: getattr(told, f.name).to(device) for f in fields(told)})
        features = None if self.vertex_features is None else self.vertex_features.to(device)
        return replace(
            self,
            image=self.image.to(device),
            alpha=self.alpha.to(device),
            photo=self.photo.to(device),
            views=self.views.to(device),
            vertices=self.vertices.to(device),
            told=told,
            vertex_features=features,
        )


def prepare(subject: Subject, views: Cameras, wanted: Wanted) -> Prepared:
    """Rasterise what the model asks for, on the CPU."""
    names = wanted.vertex_features
    return Prepared(
        subject.crop.image,
        subject.crop.alpha,
        subject.crop.camera,
        views,
        subject.vertices.float(),
        _told(subject, views, wanted),
        scene.vertex_features(names, subject) if names else None,
    )


def _told(subject: Subject, views: Cameras, wanted: Wanted) -> PhotoProjection | Preview | None:
    if wanted.view_condition == "preview":
        return preview(subject, views)
    return scene.projection(subject, views, wanted.shells) if wanted.view_condition == "photo" else None


def stacked_cameras(cameras: Sequence[Cameras]) -> tuple[Tensor, Tensor]:
    """Transforms [B, N, 4, 4] and intrinsics [B, N, 3, 3] of B times N cameras."""
    return torch.stack([c.world_to_camera for c in cameras]), torch.stack([c.intrinsics for c in cameras])
