"""The texture of a reconstructed surface, blended from its views, and the atlas of a mesh that has none."""

from __future__ import annotations

import numpy as np
import torch
import xatlas
from torch import Tensor

from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.bake import Picture, bake
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.sdf_field import SDFField
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface

_CHUNK = 1 << 16
_BLOCK = 0.04  # metres: xatlas charts cubes of this size each for itself, five times as fast as all at once
_WHOLE = 0.9  # coverage from which a pixel shows the head alone, and no white


def textured(mesh: Mesh, field: SDFField, views: MultiViewOutput, size: int) -> TexturedHead:
    """A mesh with an atlas of its own (xatlas), its texture blended from the views; the rest is the field's colour.

    The mesh is on the CPU; the texture is made where the field is.
    """
    device, (faces, uvs, uv_faces) = field.gain.device, _charts(mesh)
    surface = Surface(*(t.to(device) for t in (mesh.vertices, faces, uvs, uv_faces)))
    baked = bake(surface, pictures_of(views, device), field_texture(surface, field, size))
    return TexturedHead(
        mesh.vertices.numpy(),
        faces.numpy(),
        uvs.numpy(),
        uv_faces.numpy(),
        baked.pixels(),
        confidence=baked.confidences(),
    )


def pictures_of(views: MultiViewOutput, device: torch.device) -> list[Picture]:
    """The views as what a texture is blended from."""
    images, masks, cameras = views.tensor().to(device), views.masks.to(device), views.cameras.to(device)
    alphas = ((masks[:, 0] - _WHOLE) / (1 - _WHOLE)).clamp(0, 1)
    return [Picture(image, alpha, camera) for image, alpha, camera in zip(images, alphas, cameras, strict=True)]


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
def field_texture(surface: Surface, field: SDFField, size: int) -> Tensor:
    """[3, S, S] what the field shows at a surface's texels."""
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    points = texels.gather(surface.vertices, surface.faces)
    colours = torch.cat([field.colours(field.measured(part)[1]) for part in points.split(_CHUNK)])
    return texels.scatter(colours).permute(2, 0, 1)
