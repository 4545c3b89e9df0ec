"""A studio portrait as a skin: its colours on the head model's texture, without its light, hair or shadows.

Where the portrait sees skin squarely it is taken as it is, then mirrored, then completed smoothly over the surface with
a grain of its own. Everything is linear and in the texture layout of the head model.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.data_synth.rendered.people.delight import delight, fit_light
from gen3dface.estimators.default import estimate_bald
from gen3dface.heads import HeadModel
from gen3dface.heads.anatomy import inner_parts
from gen3dface.photo import Portrait
from gen3dface.photo.colour import srgb_to_linear
from gen3dface.photo.parts import BODY_SKIN, FACE_SKIN
from gen3dface.raster import Fragments, rasterize_uv
from gen3dface.render import Surface
from gen3dface.texture import Observation, diffuse, edge_laplacian, fill_gutters, observe, texels_to_vertices

_SURE = 0.45  # weight from which a texel is the portrait's own
_MIRRORED = 0.3  # of a mirrored texel's weight counts
_SHADE = (0.68, 0.82)  # of the median's brightness: darker skin outside the features is hair's shadow
_GLARE = (1.25, 1.45)  # brighter skin outside the features is a highlight
_FOREIGN = (0.3, 0.5)  # chroma distances to the median skin: beyond the second it is no skin
_PATCH = 0.012  # of the texture's side: what is skin is decided over this distance
_FEATHER = 0.016  # metres below the hairline over which the portrait fades in
_GRAIN = 0.03  # relative, of what is made up

# outlines by landmark number of what may be dark: brows and eyes, nose and mouth
_EYES_AND_BROWS = (70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 353, 449, 6, 229, 124)
_NOSE_AND_MOUTH = (193, 417, 437, 279, 358, 426, 436, 432, 430, 405, 17, 181, 210, 212, 216, 206, 129, 49, 217)


@dataclass(frozen=True)
class Sheet:
    """What every skin of one head model and size shares."""

    texels: Fragments  # of the texture
    rest: Tensor  # [P, 3] rest positions of the filled texels
    features: Tensor  # [P] in 0..1: brows, eyes, nose and mouth
    outer: Tensor  # [P] in 0..1: outer skin without ears
    below_hairline: Tensor  # [P] in 0..1


def sheet(model: HeadModel, size: int) -> Sheet:
    """Texels of a texture of `size` px a side."""
    texels = rasterize_uv(model.uvs, model.uv_faces, size)

    def at_texels(values: Tensor) -> Tensor:
        return texels.interpolate(values.float(), model.faces)[texels.mask]

    outer = ~(inner_parts(model) | model.regions["ears"] | model.regions["shoulders"])
    scalp = model.template[model.regions["scalp"]]
    distance = torch.cdist(model.template, scalp).amin(1)
    below = (distance / _FEATHER - 0.3).clamp(0, 1)
    below[model.regions["scalp"]] = 0
    features = torch.from_numpy(feature_mask(model, size))[texels.mask]
    return Sheet(
        texels, at_texels(model.template), features, at_texels(outer[:, None])[:, 0], at_texels(below[:, None])[:, 0]
    )


def landmark_texels(model: HeadModel, size: int) -> NDArray[np.float32]:
    """[478, 2] x, y of the landmarks in a texture of `size` px."""
    corners = model.uvs[model.uv_faces[model.landmark_faces.clamp(min=0)]]
    uv = (corners * model.landmark_barycentric[..., None]).sum(1).numpy()
    return (np.column_stack([uv[:, 0], 1 - uv[:, 1]]) * size).astype(np.float32)


def polygon(texels: NDArray[np.float32], outline: tuple[int, ...], size: int, soft: float) -> NDArray[np.float32]:
    """[S, S] in 0..1: inside of the hull of some landmarks, with a soft edge of about `soft` px."""
    mask = np.zeros((size, size), np.float32)
    hull = cv2.convexHull(np.round(texels[list(outline)]).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1.0, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)


def feature_mask(model: HeadModel, size: int) -> NDArray[np.float32]:
    """[S, S] in 0..1: where skin may be dark."""
    at, soft = landmark_texels(model, size), size / 90
    masks = [polygon(at, outline, size, soft) for outline in (_EYES_AND_BROWS, _NOSE_AND_MOUTH)]
    return np.maximum(*masks)


def portrait_skin(portrait: Portrait, model: HeadModel, layout: Sheet) -> Tensor:
    """Linear albedo [3, S, S] of a portrait's skin; inner parts hold skin colours too."""
    fit = estimate_bald(portrait, model)
    surface = Surface(fit.mesh(model).vertices, model.faces, model.uvs, model.uv_faces)
    size = layout.texels.face.shape[0]
    seen = _observed(portrait, surface, fit.camera, layout, None, size)
    mirrored = _observed(portrait, surface, fit.camera, layout, model.mirror, size)
    normals = _normals(surface, layout.texels, None)
    firm = (seen.weight > _SURE) & (layout.features < 0.5)
    light = fit_light(seen.colour[firm].mean(1), normals[firm])
    seen = Observation(delight(seen.colour, normals, light), seen.weight)
    other = _normals(surface, layout.texels, model.mirror)
    mirrored = Observation(delight(mirrored.colour, other, light), mirrored.weight)
    typical = seen.colour[firm].median(0).values
    return completed(_skin_only(seen, typical, layout), _skin_only(mirrored, typical, layout), typical, model, layout)


def completed(seen: Observation, mirrored: Observation, typical: Tensor, model: HeadModel, layout: Sheet) -> Tensor:
    """Linear albedo [3, S, S]: seen, else mirrored, else run on over the surface with some grain.

    typical: [3] the colour far from everything that was seen.
    """
    first = (seen.weight / _SURE).clamp(0, 1)
    second = (mirrored.weight / _SURE).clamp(0, 1) * (1 - first)
    sure = first + second
    known = (seen.colour * first[:, None] + mirrored.colour * second[:, None]) / sure.clamp(min=1e-6)[:, None]
    surface = Surface(model.template, model.faces, model.uvs, model.uv_faces)
    calm = known * (1 - layout.features[:, None]) + typical * layout.features[:, None]
    values, weight = texels_to_vertices(calm, sure * (1 - layout.features), layout.texels, surface)
    field = diffuse(values, weight, edge_laplacian(model.faces, len(values)), typical, 2e-3)
    smooth = layout.texels.interpolate(field, model.faces)[layout.texels.mask]
    size = layout.texels.face.shape[0]
    grain = torch.from_numpy(skin_grain(size, np.random.default_rng(0)))[layout.texels.mask]
    smooth = smooth * (1 + _GRAIN * grain[:, None])
    colour = known * sure[:, None] + smooth * (1 - sure[:, None])
    texture = torch.zeros(3, size, size)
    texture[:, layout.texels.mask] = colour.T
    return fill_gutters(texture, layout.texels.mask).clamp(0, 1)


def skin_grain(size: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """[S, S] noise of two sizes, about unit variance."""
    fine, coarse = (
        cv2.GaussianBlur(generator.standard_normal((size, size), np.float32), (0, 0), size * s) for s in (0.0018, 0.006)
    )
    return np.asarray(0.7 * fine / fine.std() + 0.7 * coarse / coarse.std(), np.float32)


def _observed(
    portrait: Portrait, surface: Surface, camera: object, layout: Sheet, mirror: Tensor | None, size: int
) -> Observation:
    """Linear colours of the filled texels (or of their mirror images), weighed by how squarely skin is seen."""
    from gen3dface.cameras import Cameras

    assert isinstance(camera, Cameras)
    pixels_a_texel = 0.35 / size * (camera.intrinsics[0, 0, 0] / camera.centers[0].norm()).item()
    smooth = cv2.GaussianBlur(portrait.image, (0, 0), max(0.5 * pixels_a_texel, 0.4))
    image = torch.from_numpy(srgb_to_linear(smooth.astype(np.float32) / 255)).permute(2, 0, 1)
    skin = ((portrait.parts == FACE_SKIN) | (portrait.parts == BODY_SKIN)).astype(np.uint8)
    reach = 2 * round(0.004 * (camera.intrinsics[0, 0, 0] / camera.centers[0].norm()).item()) + 1
    skin = cv2.erode(skin, np.ones((reach, reach), np.uint8))
    trust = torch.from_numpy(cv2.GaussianBlur(skin.astype(np.float32), (0, 0), reach / 3))
    vertices, normals = surface.vertices, surface.normals()
    if mirror is not None:
        vertices, normals = vertices[mirror], normals[mirror]
    points, directions = (layout.texels.interpolate(v, surface.faces)[layout.texels.mask] for v in (vertices, normals))
    directions = torch.nn.functional.normalize(directions, dim=-1)
    return observe(image, trust * torch.from_numpy(portrait.matte), camera, surface, points, directions)


def _normals(surface: Surface, texels: Fragments, mirror: Tensor | None) -> Tensor:
    normals = surface.normals() if mirror is None else surface.normals()[mirror]
    return torch.nn.functional.normalize(texels.interpolate(normals, surface.faces)[texels.mask], dim=-1)


def _even(values: Tensor, layout: Sheet) -> Tensor:
    """[P] without the speckle of single texels: their blurred mean, sharpened again."""
    size = layout.texels.face.shape[0]
    field = np.zeros((2, size, size), np.float32)
    field[:, layout.texels.mask.numpy()] = np.stack([values.numpy(), np.ones(len(values))])
    mean, share = (cv2.GaussianBlur(plane, (0, 0), size * _PATCH) for plane in field)
    found = torch.from_numpy(mean / np.maximum(share, 1e-3))[layout.texels.mask]
    return ((found - 0.45) / 0.4).clamp(0, 1)


def _skin_only(found: Observation, typical: Tensor, layout: Sheet) -> Observation:
    """Nothing of hair, its shadow, ears and clothes."""
    brightness = found.colour.mean(1)
    chroma = found.colour / (brightness[:, None] + 1e-4)
    foreign = (chroma - typical / typical.mean()).abs().sum(1)
    bright = ((brightness / typical.mean() - _SHADE[0]) / (_SHADE[1] - _SHADE[0])).clamp(0, 1)
    bright = bright * ((_GLARE[1] - brightness / typical.mean()) / (_GLARE[1] - _GLARE[0])).clamp(0, 1)
    plain = bright * ((_FOREIGN[1] - foreign) / (_FOREIGN[1] - _FOREIGN[0])).clamp(0, 1)
    plain = _even(plain, layout)
    allowed = layout.features + (1 - layout.features) * plain
    return Observation(found.colour, found.weight * allowed * layout.outer * layout.below_hairline)
