"""A head whose photo, shape and texture are all known: ground truth for views and textures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras, orbit
from gen3dface.estimators import HeadFit
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import Portrait
from gen3dface.raster import rasterize_uv
from gen3dface.render import Surface, render
from gen3dface.texture import fill_gutters

SIZE = 384


@dataclass(frozen=True)
class SyntheticHead:
    """A photo and everything that an estimator could know of it."""

    portrait: Portrait
    fit: HeadFit
    model: HeadModel
    surface: Surface
    texture: Tensor  # [3, S, S], the same on both sides of the face


@lru_cache(maxsize=4)
def synthetic_head(azimuth: float = 0.0) -> SyntheticHead:
    """A random person with a smooth symmetric pattern for skin, photographed from `azimuth` degrees."""
    model = load_head_model()
    identity = model.sample(torch.Generator().manual_seed(1), scale=0.5)
    camera = orbit(torch.tensor([azimuth]), torch.zeros(1), radius=1.2, focal=2.8, size=SIZE)
    fit = _fit(model, identity, camera)
    mesh = fit.mesh(model)
    surface = Surface(mesh.vertices, mesh.faces, mesh.uvs, mesh.uv_faces)
    texture = _pattern(model, surface)
    images, masks = render(surface, texture, camera)
    return SyntheticHead(_portrait(images[0], masks[0, 0], mesh.landmarks(), camera), fit, model, surface, texture)


def _fit(model: HeadModel, identity: Tensor, camera: Cameras) -> HeadFit:
    vertices = len(model.template)
    return HeadFit(
        model.name,
        model.version,
        identity,
        torch.zeros(len(model.expression_names)),
        torch.zeros(len(model.joint_names), 3),
        offsets=torch.zeros(vertices, 3),
        camera=camera,
        visibility=torch.ones(vertices),
        residual=torch.zeros(478),
        confidence=1.0,
    )


def _pattern(model: HeadModel, surface: Surface) -> Tensor:
    """Waves of a few centimetres over the template's position, even in x."""
    x, y, z = model.template.unbind(-1)
    waves = torch.stack([(70 * y).sin(), (60 * x.abs() + 20 * y).cos(), (50 * z + 30 * y).sin()], -1)
    texels = rasterize_uv(surface.uvs, surface.uv_faces, 512)
    colour = texels.interpolate(0.55 + 0.25 * waves, surface.faces).permute(2, 0, 1)
    return fill_gutters(colour, texels.mask)


def _portrait(image: Tensor, mask: Tensor, landmarks: Tensor, camera: Cameras) -> Portrait:
    xy, _ = camera.project(landmarks)
    points = np.concatenate([xy[0].numpy(), np.zeros((478, 1), np.float32)], 1)
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    return Portrait(
        image=(image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy(),
        box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        score=1.0,
        landmarks=points.astype(np.float32),
        blendshapes=np.zeros(52, np.float32),
        matte=mask.numpy(),
        parts=np.where(mask.numpy() > 0.5, 3, 0).astype(np.uint8),
    )
