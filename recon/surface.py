"""Views to a textured surface of free topology: whatever the views show, hair, hats and collars included."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np
import torch
import xatlas
from torch import Tensor

from gen3dface.errors import ReconstructionError
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.agreement import check_agreement
from gen3dface.recon.bake import Picture, bake
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.extraction import Mesh, extract_mesh
from gen3dface.recon.fit_field import FieldConfig, fit_field, snapshot
from gen3dface.recon.sdf_field import SDFField
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface

logger = logging.getLogger(__name__)

_LEAST_VIEWS = 3
_EXPLAINED = 0.5  # share of the colours' variance that a surface of matching views explains, at least
_CHUNK = 1 << 16


@dataclass(frozen=True)
class SurfaceConfig:
    """What is made of the field.

    Args:
        field: how it is fitted. resolution: corners a side of the grid that the mesh is taken from.
        faces: triangles. texture_size: texels a side.
    """

    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    resolution: int = 192
    faces: int = 30_000
    texture_size: int = 1024


def reconstruct_surface(
    views: MultiViewOutput,
    config: SurfaceConfig = SurfaceConfig(),
    *,
    model: HeadModel | None = None,
    progress: bool = True,
) -> TexturedHead:
    """A closed, textured mesh of what the views show; it has no expressions and no skeleton.

    Args:
        views: at least three, with masks. Where they know their head, the surface starts from it, else from what the
            masks carve. model: the head model that `views.head` belongs to (default: OpenHead).

    Raises:
        ReconstructionError: too few views, empty masks, numbers that are none, or views that do not fit together.
    """
    field, rough = fit_surface(views, config, model=model, progress=progress)
    mesh = extract_mesh(snapshot(field, rough, config.resolution), config.faces)
    return textured(mesh, field, views, config.texture_size)


def fit_surface(
    views: MultiViewOutput, config: SurfaceConfig, *, model: HeadModel | None = None, progress: bool = True
) -> tuple[SDFField, DistanceGrid]:
    """The fitted field, and the distances that tell where it is worth asking. Raises as `reconstruct_surface`."""
    images = views.tensor().float()
    _check(images, views)
    trusted = check_agreement(views.masks, views.cameras).trusted
    for view in (~trusted).nonzero()[:, 0].tolist():
        logger.warning("view %d does not fit the others and is left out", view)
    start = _start(views, trusted, model)
    fitted = fit_field(images, views.masks, views.cameras, start, config.field, trusted.float(), progress)
    if fitted.explained < _EXPLAINED:
        raise ReconstructionError(
            f"No surface explains the views: their colours agree by {max(fitted.explained, 0):.0%} only. Are they "
            "paired with each other's cameras, mirrored, or the cameras in another convention?"
        )
    return fitted.field, start


def textured(mesh: Mesh, field: SDFField, views: MultiViewOutput, size: int) -> TexturedHead:
    """A mesh with an atlas of its own (xatlas), its texture blended from the views; the rest is the field's colour."""
    mapping, corners, uvs = xatlas.parametrize(mesh.vertices.numpy(), mesh.faces.numpy().astype(np.uint32))
    uv_faces = torch.from_numpy(corners.astype(np.int64))
    faces = torch.from_numpy(mapping.astype(np.int64))[uv_faces]
    surface = Surface(mesh.vertices, faces, torch.from_numpy(uvs), uv_faces)
    pictures = [
        Picture(image, mask[0], camera)
        for image, mask, camera in zip(views.tensor(), views.masks, views.cameras, strict=True)
    ]
    baked = bake(surface, pictures, _field_texture(surface, field, size))
    texture = (baked.colour * 255).round().to(torch.uint8).permute(1, 2, 0)
    return TexturedHead(surface.vertices.numpy(), faces.numpy(), uvs, uv_faces.numpy(), texture.numpy())


@torch.no_grad()
def _field_texture(surface: Surface, field: SDFField, size: int) -> Tensor:
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    points = texels.gather(surface.vertices, surface.faces)
    colours = torch.cat([field.colours(field.measured(part)[1]) for part in points.split(_CHUNK)])
    return texels.scatter(colours).permute(2, 0, 1)


def _start(views: MultiViewOutput, trusted: Tensor, model: HeadModel | None) -> DistanceGrid:
    """From the estimated head, or the visual hull."""
    if views.head is not None:
        surface = views.head.surface(model or load_head_model())
        return DistanceGrid.from_mesh(surface.vertices, surface.faces, views.cameras)
    kept = trusted.nonzero()[:, 0]
    return DistanceGrid.from_masks(views.masks[kept], views.cameras[kept])


def _check(images: Tensor, views: MultiViewOutput) -> None:
    if len(views) < _LEAST_VIEWS:
        raise ReconstructionError(
            f"A surface needs at least {_LEAST_VIEWS} views from different sides, got {len(views)}."
        )
    views.cameras.check_finite()
    for name, values in (("images", images), ("masks", views.masks)):
        if not bool(torch.isfinite(values).all()):
            raise ReconstructionError(f"The {name} of the views hold NaN or infinite values.")
