"""Views to a textured surface of free topology: whatever the views show, hair, hats and collars included."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
import xatlas
from torch import Tensor

from gen3dface.errors import AssetError, ReconstructionError
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.agreement import check_agreement
from gen3dface.recon.bake import Picture, bake
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.extraction import Mesh, extract_mesh
from gen3dface.recon.fit_field import FieldConfig, fit_field, snapshot
from gen3dface.recon.found_face import find_face, with_face
from gen3dface.recon.sdf_field import SDFField
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface

logger = logging.getLogger(__name__)

_LEAST_VIEWS = 3
_EXPLAINED = 0.5  # share of the colours' variance that a surface of matching views explains, at least
_CHUNK = 1 << 16
_BLOCK = 0.04  # metres: xatlas charts cubes of this size each for itself, five times as fast as all at once


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
    device: torch.device | str | None = None,
) -> TexturedHead:
    """A closed, textured mesh of what the views show; it has no expressions and no skeleton.

    Args:
        views: at least three, with masks. Where they know their head, the surface starts from it, else from what the
            masks carve, with the head model's face and ears where the pictures show a face. model: that `views.head`
            belongs to, or that is fitted (default: OpenHead).
        device: where the field is fitted and the texture baked (default: the CPU). The same seed gives the same bytes
            on the CPU alone.

    Raises:
        ReconstructionError: too few views, empty masks, numbers that are none, or views that do not fit together.
    """
    field, rough = fit_surface(views, config, model=model, progress=progress, device=device)
    mesh = extract_mesh(snapshot(field, rough, config.resolution), config.faces)
    return textured(mesh, field, views, config.texture_size)


def fit_surface(
    views: MultiViewOutput,
    config: SurfaceConfig,
    *,
    model: HeadModel | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> tuple[SDFField, DistanceGrid]:
    """The fitted field, and the distances that tell where it is worth asking, both on the device.

    Raises as `reconstruct_surface`.
    """
    device = torch.device(device or "cpu")
    views = _on_device(views, device)
    images = views.tensor().float()
    _check(images, views)
    trusted = check_agreement(views.masks, views.cameras).trusted
    for view in (~trusted).nonzero()[:, 0].tolist():
        logger.warning("view %d does not fit the others and is left out", view)
    start = _start(views, trusted, model or load_head_model())
    fitted = fit_field(images, views.masks, views.cameras, start, config.field, trusted.float(), progress, device)
    if fitted.explained < _EXPLAINED:
        raise ReconstructionError(
            f"No surface explains the views: their colours agree by {max(fitted.explained, 0):.0%} only. Are they "
            "paired with each other's cameras, mirrored, or the cameras in another convention?"
        )
    return fitted.field, start


def textured(mesh: Mesh, field: SDFField, views: MultiViewOutput, size: int) -> TexturedHead:
    """A mesh with an atlas of its own (xatlas), its texture blended from the views; the rest is the field's colour.

    The mesh is on the CPU; the texture is made where the field is.
    """
    device, (faces, uvs, uv_faces) = field.gain.device, _charts(mesh)
    surface = Surface(*(t.to(device) for t in (mesh.vertices, faces, uvs, uv_faces)))
    views = _on_device(views, device)
    pictures = [
        Picture(image, mask[0], camera)
        for image, mask, camera in zip(views.tensor(), views.masks, views.cameras, strict=True)
    ]
    baked = bake(surface, pictures, _field_texture(surface, field, size))
    texture = (baked.colour * 255).round().to(torch.uint8).permute(1, 2, 0).cpu()
    return TexturedHead(mesh.vertices.numpy(), faces.numpy(), uvs.numpy(), uv_faces.numpy(), texture.numpy())


def _charts(mesh: Mesh) -> tuple[Tensor, Tensor, Tensor]:
    """The faces [F, 3] in the atlas's order, its coordinates [T, 2] in 0..1, and their faces [F, 3]."""
    vertices, faces = mesh.vertices.numpy(), mesh.faces.numpy()
    blocks = np.unique(np.floor(vertices[faces].mean(1) / _BLOCK), axis=0, return_inverse=True)[1].reshape(-1)
    atlas, members = xatlas.Atlas(), []
    for block in range(blocks.max() + 1):
        used, corners = np.unique(faces[blocks == block], return_inverse=True)
        atlas.add_mesh(vertices[used], corners.reshape(-1, 3).astype(np.uint32))
        members.append(used)
    atlas.generate()
    charted = [atlas[block] for block in range(len(members))]  # (mapping [T], faces [F, 3], coordinates [T, 2]) each
    first = np.cumsum([0, *(len(mapping) for mapping, _, _ in charted)])
    owner = np.concatenate([used[mapping] for used, (mapping, _, _) in zip(members, charted, strict=True)])
    uv_faces = np.concatenate([corners + before for before, (_, corners, _) in zip(first, charted, strict=False)])
    uv_faces = uv_faces.astype(np.int64)
    uvs = np.concatenate([part for _, _, part in charted])
    return torch.from_numpy(owner[uv_faces]), torch.from_numpy(uvs), torch.from_numpy(uv_faces)


@torch.no_grad()
def _field_texture(surface: Surface, field: SDFField, size: int) -> Tensor:
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    points = texels.gather(surface.vertices, surface.faces)
    colours = torch.cat([field.colours(field.measured(part)[1]) for part in points.split(_CHUNK)])
    return texels.scatter(colours).permute(2, 0, 1)


def _on_device(views: MultiViewOutput, device: torch.device) -> MultiViewOutput:
    """Views as tensors; the head that they belong to stays."""
    images, masks = views.tensor().to(device), views.masks.to(device)
    return replace(views, images=images, masks=masks, cameras=views.cameras.to(device), latents=None)


def _start(views: MultiViewOutput, trusted: Tensor, model: HeadModel) -> DistanceGrid:
    """From the estimated head, or from what the masks carve and the face that the pictures show."""
    if views.head is not None:
        surface = views.head.surface(model)
        device = views.masks.device
        return DistanceGrid.from_mesh(surface.vertices.to(device), surface.faces.to(device), views.cameras)
    kept = trusted.nonzero()[:, 0]
    images, masks, cameras = views.tensor()[kept].float(), views.masks[kept], views.cameras[kept]
    hull = DistanceGrid.from_masks(masks, cameras)
    try:
        face = find_face(images.cpu(), masks.cpu(), cameras.to("cpu"), model)
    except AssetError as error:
        logger.warning("no face is looked for in the views, eyes and ears will be flat: %s", error)
        return hull
    return hull if face is None else with_face(hull.to("cpu"), face, cameras.to("cpu")).to(masks.device)


def _check(images: Tensor, views: MultiViewOutput) -> None:
    if len(views) < _LEAST_VIEWS:
        raise ReconstructionError(
            f"A surface needs at least {_LEAST_VIEWS} views from different sides, got {len(views)}."
        )
    views.cameras.check_finite()
    for name, values in (("images", images), ("masks", views.masks)):
        if not bool(torch.isfinite(values).all()):
            raise ReconstructionError(f"The {name} of the views hold NaN or infinite values.")
