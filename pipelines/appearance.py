"""A whole head's texture from one photo, without learning.

What the photo shows is taken as it is; where only the other side of the face is seen, its mirror image, brought to
the brightness around it; where neither is, colours run on smoothly over the surface: hair into hair, skin into skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.heads import HeadModel
from gen3dface.photo import Portrait
from gen3dface.photo.trust import trusted_matte
from gen3dface.raster import Fragments, rasterize_uv
from gen3dface.render import Surface
from gen3dface.texture import Observation, diffuse, edge_laplacian, edges, fill_gutters, observe, texels_to_vertices

_HAIR = 1  # in Portrait.parts
_SURE = 0.35  # weight from which an observation counts as known
_PARTS = ("eyes", "hair", "clothes", "skin")


@dataclass(frozen=True)
class PhotoTexture:
    """A texture and how it came about."""

    colour: Tensor  # [3, S, S] in 0..1
    confidence: Tensor  # [S, S] in 0..1: 1 seen in the photo, about a half mirrored, 0 made up


def photo_texture(
    portrait: Portrait, camera: Cameras, surface: Surface, model: HeadModel, size: int = 1024
) -> PhotoTexture:
    """Texture of a fitted head from its photo.

    Args:
        camera: the photo's (N = 1). surface: the head in the photo's pose and expression, topology of `model`.
        size: texels a side.
    """
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    image = torch.from_numpy(portrait.image).permute(2, 0, 1).float() / 255
    alpha = trusted_matte(portrait)
    seen = _observe_texels(image, alpha, camera, surface, texels, None)
    mirrored = _observe_texels(image, alpha, camera, surface, texels, model.mirror)
    mirrored = _match_brightness(seen, mirrored, texels, surface)
    known, sure = _merge(seen, mirrored)
    part = vertex_parts(portrait, camera, surface, model)
    smooth = _complete(known, sure, texels, surface, part)
    colour = known * sure[:, None] + smooth * (1 - sure[:, None])
    texture = torch.zeros(3, size, size)
    texture[:, texels.mask] = colour.T
    confidence = torch.zeros(size, size)
    confidence[texels.mask] = torch.maximum(seen.weight, 0.5 * mirrored.weight)
    return PhotoTexture(fill_gutters(texture, texels.mask).clamp(0, 1), confidence)


def vertex_parts(portrait: Portrait, camera: Cameras, surface: Surface, model: HeadModel) -> np.ndarray:
    """What each vertex [V] belongs to, as an index into ("eyes", "hair", "clothes", "skin").

    Seen vertices ask the photo; unseen ones their mirror image, then their neighbours. The back of the scalp is hair
    when the part of it that shows is.
    """
    labels = torch.from_numpy(portrait.parts.astype(np.int64))
    one_hot = torch.stack([labels == _HAIR, labels == 4, (labels == 2) | (labels == 3)]).float()
    matte = torch.from_numpy(portrait.matte)
    normals = surface.normals()
    seen = observe(one_hot, matte, camera, surface, surface.vertices, normals)
    other = Observation(seen.colour[model.mirror], 0.5 * seen.weight[model.mirror])
    first = seen.weight >= other.weight
    colour, weight = (
        torch.where(first[:, None], seen.colour, other.colour),
        torch.where(first, seen.weight, other.weight),
    )
    scalp = model.regions["scalp"]
    hairy = (colour[scalp, 0] * weight[scalp]).sum() > 0.35 * weight[scalp].sum()
    prior = torch.tensor([1.0, 0, 0]) if hairy else torch.tensor([0.0, 0, 1])
    guess = scalp & (weight < 0.1)
    colour = torch.where(guess[:, None], prior, colour)
    weight = torch.where(guess, torch.full_like(weight, 0.3), weight)
    spread = diffuse(colour, weight, edge_laplacian(surface.faces, len(surface.vertices)), torch.tensor([0.0, 0, 1]))
    part = spread.argmax(1).numpy() + 1
    part[(model.regions["left_eye"] | model.regions["right_eye"]).numpy()] = 0
    return part


def _observe_texels(
    image: Tensor, alpha: Tensor, camera: Cameras, surface: Surface, texels: Fragments, mirror: Tensor | None
) -> Observation:
    """What the photo shows of each filled texel [P], or of the texel's mirror image."""
    vertices, normals = surface.vertices, surface.normals()
    if mirror is not None:
        vertices, normals = vertices[mirror], normals[mirror]
    points = texels.interpolate(vertices, surface.faces)[texels.mask]
    directions = torch.nn.functional.normalize(texels.interpolate(normals, surface.faces)[texels.mask], dim=-1)
    return observe(image, alpha, camera, surface, points, directions)


def _match_brightness(seen: Observation, mirrored: Observation, texels: Fragments, surface: Surface) -> Observation:
    """Scale the mirrored colours so that they meet the seen ones without a step: light is rarely symmetric."""
    both = torch.minimum(seen.weight, mirrored.weight)
    ratio = (seen.colour + 0.02).log() - (mirrored.colour + 0.02).log()
    at_vertices, weight = texels_to_vertices(ratio, both, texels, surface)
    laplacian = edge_laplacian(surface.faces, len(surface.vertices))
    # a soft pull, so that the correction is the light's, not a detail's
    spread = diffuse(at_vertices, 0.1 * weight, laplacian, torch.zeros(3)).clamp(-0.7, 0.7)
    gain = texels.interpolate(spread, surface.faces)[texels.mask].exp()
    return Observation((mirrored.colour * gain).clamp(0, 1), mirrored.weight)


def _merge(seen: Observation, mirrored: Observation) -> tuple[Tensor, Tensor]:
    """The photo first, its mirror image where the photo fades: colours [P, 3] and how sure they are [P]."""
    first = (seen.weight / _SURE).clamp(0, 1)
    second = (mirrored.weight / _SURE).clamp(0, 1) * (1 - first)
    sure = first + second
    colour = seen.colour * first[:, None] + mirrored.colour * second[:, None]
    return colour / sure.clamp(min=1e-6)[:, None], sure


def _complete(known: Tensor, sure: Tensor, texels: Fragments, surface: Surface, part: np.ndarray) -> Tensor:
    """Smooth colours [P, 3] for every texel, each part from itself alone."""
    values, confidence = texels_to_vertices(known, sure, texels, surface)
    out = torch.empty_like(values)
    pairs = edges(surface.faces)
    within = part[pairs[:, 0]] == part[pairs[:, 1]]
    laplacian = edge_laplacian(surface.faces, len(values), within)
    skin = _typical(values, confidence, np.ones_like(part, bool))
    for index in range(len(_PARTS)):
        mine = torch.from_numpy(part == index)
        default = _typical(values, confidence, part == index) if mine.any() else skin
        trust = torch.where(mine, confidence, torch.zeros(()))
        out[mine] = diffuse(values, trust, laplacian, default)[mine]
    return texels.interpolate(out, surface.faces)[texels.mask]


def _typical(values: Tensor, confidence: Tensor, among: np.ndarray) -> Tensor:
    """Median colour [3] of the sure vertices."""
    chosen = values[torch.from_numpy(among) & (confidence > 0.5)]
    return chosen.median(0).values if len(chosen) else values[confidence > 0.5].median(0).values
