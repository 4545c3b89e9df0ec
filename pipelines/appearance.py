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
from gen3dface.heads.anatomy import inner_colours, inner_parts
from gen3dface.photo import Portrait
from gen3dface.photo.parts import BODY_SKIN, CLOTHES, FACE_SKIN, HAIR
from gen3dface.photo.trust import trusted_matte
from gen3dface.pipelines.hair_detail import hair_detail
from gen3dface.raster import Fragments, rasterize, rasterize_uv
from gen3dface.render import Surface, box_max, sample_image
from gen3dface.texture import Observation, diffuse, edge_laplacian, fill_gutters, observe, texels_to_vertices

_SURE = 0.35  # weight from which an observation counts as known
_BARELY = 0.1  # weight under which the photo says nothing of a vertex's part
_EDGE_SHARPNESS = 6  # power that turns shares of parts into an edge between them
_BESIDE = 0.015  # metres outside the neck where hanging hair is looked for
_PULL = 1e-2  # how strongly a made-up colour is drawn to its part's median
_ENOUGH = 0.3  # share of hair in the seen scalp from which the unseen one is hair
_COLLAR = 0.85  # quantile of the heights of seen clothes that is their upper edge
_LID = 0.0005  # metres beside the lids in which eyes are not trusted
_REFERENCE_SKIN = 0.62  # mean brightness of skin in the light that `inner_colours` are given for
PARTS = ("inner", "hair", "clothes", "skin")


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
        camera: the photo's (N = 1). surface: the head in the photo's pose and expression, in the topology of `model`,
            with hanging hair after it.
        size: texels a side.
    """
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    image = torch.from_numpy(portrait.image.copy()).permute(2, 0, 1).float() / 255
    alpha = trusted_matte(portrait)
    seen, mirrored = _observe_texels(image, alpha, camera, surface, texels, _mirror(model, surface))
    eyes = padded(model.regions["left_eye"] | model.regions["right_eye"], surface)
    seen = _without_lids(seen, camera, surface, texels, eyes)
    mirrored = _outside(mirrored, surface, texels, padded(inner_parts(model), surface))
    mirrored = _match_brightness(seen, mirrored, texels, surface)
    known, sure = _merge(seen, mirrored)
    parts = vertex_parts(portrait, camera, surface, model)
    smooth = _complete(known, sure, texels, surface, parts, model)
    points = texels.gather(surface.vertices, surface.faces)
    hair = texels.gather(parts, surface.faces)[:, 1, None] ** 2
    smooth = smooth * (1 - hair + hair * hair_detail(portrait, camera, points))
    colour = known * sure[:, None] + smooth * (1 - sure[:, None])
    texture = fill_gutters(texels.scatter(colour).permute(2, 0, 1), texels.mask).clamp(0, 1)
    return PhotoTexture(texture, texels.scatter(torch.maximum(seen.weight, 0.5 * mirrored.weight)))


def vertex_parts(portrait: Portrait, camera: Cameras, surface: Surface, model: HeadModel) -> Tensor:
    """How much each vertex belongs to ("inner", "hair", "clothes", "skin"): [V, 4], rows sum to 1.

    Seen vertices ask the photo; unseen ones their mirror image, then what the rest of their region shows, then their
    neighbours.
    """
    labels = torch.from_numpy(portrait.parts.astype(np.int64))
    one_hot = torch.stack([labels == HAIR, labels == CLOTHES, (labels == BODY_SKIN) | (labels == FACE_SKIN)]).float()
    seen = observe(one_hot, torch.from_numpy(portrait.matte), camera, surface, surface.vertices, surface.normals())
    mirror = _mirror(model, surface)
    other = Observation(seen.colour[mirror], 0.5 * seen.weight[mirror])
    first = seen.weight >= other.weight
    colour, weight = (
        torch.where(first[:, None], seen.colour, other.colour),
        torch.where(first, seen.weight, other.weight),
    )
    long_hair = _hair_beside_neck(one_hot[0], camera, surface, model)
    for inside, part in _guesses(colour, weight, surface, model, long_hair):
        guess = inside & (weight < _BARELY)
        colour = torch.where(guess[:, None], torch.eye(3)[part], colour)
        weight = torch.where(guess, torch.full_like(weight, _BARELY), weight)
    laplacian = edge_laplacian(surface.faces, len(surface.vertices))
    spread = diffuse(colour, weight, laplacian, torch.eye(3)[2]).clamp(min=1e-3)
    inner = padded(inner_parts(model), surface).float()[:, None]
    shares = torch.cat([inner, (1 - inner) * spread / spread.sum(1, keepdim=True)], 1)
    shares[len(model.template) :] = torch.eye(len(PARTS))[PARTS.index("hair")]
    return shares


def _guesses(
    colour: Tensor, weight: Tensor, surface: Surface, model: HeadModel, long_hair: bool
) -> list[tuple[Tensor, int]]:
    """What the unseen part of a region is taken to be: (mask [V], 0 hair, 1 clothes or 2 skin).

    The scalp is what most of its seen part is; clothes reach as high behind as they are seen to before.
    """
    scalp, neck, shoulders = (padded(model.regions[r], surface) for r in ("scalp", "neck", "shoulders"))
    hairy = (colour[scalp, 0] * weight[scalp]).sum() > _ENOUGH * weight[scalp].sum()
    height = surface.vertices[:, 1]
    dressed = (neck | shoulders) & (colour[:, 1] > 0.5) & (weight > _BARELY)
    collar = height[dressed].quantile(_COLLAR) if dressed.any() else height.min() - 1
    body = neck | shoulders
    nape = 0 if long_hair else 2
    return [(scalp, 0 if hairy else 2), (body & (height <= collar), 1), (body & (height > collar), nape)]


def _mirror(model: HeadModel, surface: Surface) -> Tensor:
    """The head's mirror map, with hanging hair its own mirror image."""
    return torch.cat([model.mirror, torch.arange(len(model.template), len(surface.vertices))])


def padded(values: Tensor, surface: Surface, beyond: float = 0.0) -> Tensor:
    """The head's values [V, ...] over the whole surface, `beyond` on hanging hair."""
    rest = len(surface.vertices) - len(values)
    return torch.cat([values, values.new_full((rest, *values.shape[1:]), beyond)])


def _hair_beside_neck(hair: Tensor, camera: Cameras, surface: Surface, model: HeadModel) -> bool:
    """Does hair [H, W] hang beside the neck? Then it hangs behind it too."""
    normals = surface.normals()
    facing = (normals * torch.nn.functional.normalize(camera.centers - surface.vertices, dim=-1)).sum(-1)
    rim = padded(model.regions["neck"], surface) & (facing.abs() < 0.4) & (normals[:, 0].abs() > 0.6)
    xy, _ = camera.project(surface.vertices[rim] + _BESIDE * normals[rim])
    return bool(rim.any()) and sample_image(hair[None], xy[0]).mean().item() > 0.5


def _observe_texels(
    image: Tensor, alpha: Tensor, camera: Cameras, surface: Surface, texels: Fragments, mirror: Tensor
) -> tuple[Observation, Observation]:
    """What the photo shows of each filled texel [P], and of the texel's mirror image."""
    both = torch.cat([surface.vertices, surface.normals()], 1)
    looks = torch.cat([texels.gather(values, surface.faces) for values in (both, both[mirror])])
    directions = torch.nn.functional.normalize(looks[:, 3:], dim=-1)
    found = observe(image, alpha, camera, surface, looks[:, :3], directions)
    colours, weights = found.colour.chunk(2), found.weight.chunk(2)
    return Observation(colours[0], weights[0]), Observation(colours[1], weights[1])


def _without_lids(seen: Observation, camera: Cameras, surface: Surface, texels: Fragments, eyes: Tensor) -> Observation:
    """Eyes only where the photo shows them clear of the lids."""
    scale = min(1.0, 1024 / max(camera.height, camera.width))
    small = camera.resized(max(1, round(camera.height * scale)), max(1, round(camera.width * scale)))
    shown = rasterize(surface.vertices, surface.faces, small, cull_back=True)
    open_ = shown.interpolate(eyes.float()[:, None], surface.faces)[..., 0] > 0.99
    per_metre = (small.intrinsics[0, 0, 0] / camera.centers[0].norm()).item()
    window = 1 - box_max((~open_).float(), max(1, round(_LID * per_metre)))
    points = texels.gather(surface.vertices, surface.faces)
    clear = sample_image(window[None], small.project(points)[0][0])[:, 0]
    return Observation(seen.colour, torch.where(_within(eyes, surface, texels), seen.weight * clear, seen.weight))


def _outside(observation: Observation, surface: Surface, texels: Fragments, inner: Tensor) -> Observation:
    """Nothing of the inner parts: eyes look one way, so their mirror image would look another."""
    weight = torch.where(_within(inner, surface, texels), 0.0, observation.weight)
    return Observation(observation.colour, weight)


def _within(vertices: Tensor, surface: Surface, texels: Fragments) -> Tensor:
    """[P] bool: the filled texels that belong to some of the vertices [V]."""
    return texels.gather(vertices.float()[:, None], surface.faces)[:, 0] > 0.5


def _match_brightness(seen: Observation, mirrored: Observation, texels: Fragments, surface: Surface) -> Observation:
    """Scale the mirrored colours so that they meet the seen ones without a step: light is rarely symmetric."""
    both = torch.minimum(seen.weight, mirrored.weight)
    ratio = (seen.colour + 0.02).log() - (mirrored.colour + 0.02).log()
    at_vertices, weight = texels_to_vertices(ratio, both, texels, surface)
    laplacian = edge_laplacian(surface.faces, len(surface.vertices))
    # a soft pull, so that the correction is the light's, not a detail's
    spread = diffuse(at_vertices, 0.1 * weight, laplacian, torch.zeros(3)).clamp(-0.7, 0.7)
    gain = texels.gather(spread, surface.faces).exp()
    return Observation((mirrored.colour * gain).clamp(0, 1), mirrored.weight)


def _merge(seen: Observation, mirrored: Observation) -> tuple[Tensor, Tensor]:
    """The photo first, its mirror image where the photo fades: colours [P, 3] and how sure they are [P]."""
    first = (seen.weight / _SURE).clamp(0, 1)
    second = (mirrored.weight / _SURE).clamp(0, 1) * (1 - first)
    sure = first + second
    colour = seen.colour * first[:, None] + mirrored.colour * second[:, None]
    return colour / sure.clamp(min=1e-6)[:, None], sure


def _complete(
    known: Tensor, sure: Tensor, texels: Fragments, surface: Surface, parts: Tensor, model: HeadModel
) -> Tensor:
    """Smooth colours [P, 3] for every texel: each part's own colours run on over the whole surface, then are chosen."""
    values, confidence = texels_to_vertices(known, sure, texels, surface)
    laplacian = edge_laplacian(surface.faces, len(values))
    share = texels.gather(parts, surface.faces) ** _EDGE_SHARPNESS
    share = share / share.sum(1, keepdim=True)
    out = torch.zeros_like(known)
    for index, name in enumerate(PARTS):
        trust = confidence * (parts[:, index] > 0.5)
        if name == "inner":
            skin = _typical(values, confidence * (parts[:, PARTS.index("skin")] > 0.5), confidence)
            default = padded(inner_colours(model, (skin.mean() / _REFERENCE_SKIN).clamp(0.4, 1.2).item()), surface)
        else:
            default = _typical(values, trust, confidence)
        field = diffuse(values, trust, laplacian, default, _PULL if name != "inner" else 10 * _PULL)
        out += share[:, index, None] * texels.gather(field, surface.faces)
    return out


def _typical(values: Tensor, trust: Tensor, otherwise: Tensor) -> Tensor:
    """Median colour [3] of the trusted vertices; of all known ones where a part shows nowhere."""
    for weight in (trust, otherwise):
        if (weight > 0.5).any():
            return values[weight > 0.5].median(0).values
    return torch.full((3,), 0.5)
