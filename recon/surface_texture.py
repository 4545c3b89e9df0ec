"""The texture of a reconstructed surface, blended from its views, and the atlas of a mesh that has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xatlas
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.bake import Picture, bake
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.sdf_field import SDFField
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface, ramp

ColourAt = Callable[[Tensor], Tensor]  # what a surface shows at points [P, 3] on it: [P, 3] in 0..1

_CHUNK = 1 << 16
_NEAREST = 3  # vertices between which colours are blended
_BLOCK = 0.04  # metres: xatlas charts cubes of this size each for itself, five times as fast as all at once
_WHOLE = 0.9  # coverage from which a pixel shows the head alone, and no white


def textured(
    mesh: Mesh, colour_at: ColourAt, views: MultiViewOutput, size: int, weights: Tensor | None = None
) -> TexturedHead:
    """A mesh with an atlas of its own (xatlas), its texture blended from the views; `colour_at` tells the rest.

    The mesh is on the CPU; the texture is made where the views are. weights: [N] of the views (default: all alike).
    """
    device, (faces, uvs, uv_faces) = views.masks.device, _charts(mesh)
    surface = Surface(*(t.to(device) for t in (mesh.vertices, faces, uvs, uv_faces)))
    baked = bake(surface, pictures_of(views, weights), plain_texture(surface, colour_at, size))
    return TexturedHead(
        mesh.vertices.numpy(),
        faces.numpy(),
        uvs.numpy(),
        uv_faces.numpy(),
        baked.pixels(),
        confidence=baked.confidences(),
    )


def pictures_of(views: MultiViewOutput, weights: Tensor | None = None) -> list[Picture]:
    """The views as what a texture is blended from. weights: [N] (default: all alike)."""
    alphas = ramp(views.masks[:, 0], (_WHOLE, 1))
    counts = [1.0] * len(views) if weights is None else (weights / weights.mean()).tolist()
    return [Picture(*parts) for parts in zip(views.tensor(), alphas, views.cameras, counts, strict=True)]


def _charts(mesh: Mesh) -> tuple[Tensor, Tensor, Tensor]:
    """The faces [F, 3], their atlas's coordinates [T, 2] in 0..1, and their faces [F, 3].

    The cubes are moved apart and handed over as one mesh: with several, xatlas 0.0.11 sometimes crashes, since its
    thread reads from the list of what was added while that list grows.
    """
    vertices, faces = mesh.vertices.numpy(), mesh.faces.numpy()
    cubes, cube = np.unique(np.floor(vertices[faces].mean(1) / _BLOCK), axis=0, return_inverse=True)
    corners = np.stack([np.broadcast_to(cube.reshape(-1, 1), faces.shape), faces], axis=-1).reshape(-1, 2)
    used, apart = np.unique(corners, axis=0, return_inverse=True)  # a vertex once for each cube that uses it
    atlas = xatlas.Atlas()
    atlas.add_mesh(
        (vertices[used[:, 1]] + cubes[used[:, 0]] * _BLOCK).astype(np.float32),
        apart.reshape(-1, 3).astype(np.uint32),
    )
    atlas.generate()
    _, uv_faces, uvs = atlas[0]
    return mesh.faces, torch.from_numpy(uvs), torch.from_numpy(uv_faces.astype(np.int64))


@torch.no_grad()
def plain_texture(surface: Surface, colour_at: ColourAt, size: int) -> Tensor:
    """[3, S, S] a surface's own colours."""
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    points = texels.gather(surface.vertices, surface.faces)
    colours = torch.cat([colour_at(part) for part in points.split(_CHUNK)])
    return texels.scatter(colours).permute(2, 0, 1)


def colours_of_field(field: SDFField) -> ColourAt:
    """What the field shows."""
    return lambda points: field.colours(field.measured(points)[1])


def colours_of_mesh(mesh: Mesh, colours: Tensor) -> ColourAt:
    """What the nearest vertices [V, 3] show, by inverse distance."""
    tree = cKDTree(mesh.vertices.numpy())

    def colour_at(points: Tensor) -> Tensor:
        apart, rows = (torch.from_numpy(found) for found in tree.query(points.cpu().numpy(), _NEAREST))
        weight = 1 / (apart.float() + 1e-6)
        weight = (weight / weight.sum(1, keepdim=True)).to(points)
        return (weight[..., None] * colours.to(points)[rows.to(points.device)]).sum(1)

    return colour_at
