"""Skin that a network made, in the light of the skin that the photo shows.

Networks learn from evenly lit views, and photos are lit as they are: ears, necks and the sides of faces come out
brighter or darker than the face before them, whose pixels are the photo's. How much is known where the photo shows
skin; over the rest of the skin it is carried on smoothly, one change for all views.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.models.precision import exactly
from gen3dface.pipelines.appearance import photo_texture, skin_share
from gen3dface.pipelines.consensus import blended
from gen3dface.pipelines.settled import settles
from gen3dface.pipelines.subjects import Subject
from gen3dface.raster import rasterize, rasterize_uv
from gen3dface.texture import diffuse, edge_laplacian, texels_to_vertices

_CHANGE = (-1.0, 0.7)  # of a colour's logarithm, at most
_DARK = 0.02  # brightness below which ratios say little
_PULL = 1e-4  # the change goes out after some hundred edges


@torch.no_grad()
@exactly
def in_photo_light(images: Tensor, masks: Tensor, subject: Subject, views: Cameras) -> Tensor:
    """Views [N, 3, S, S] over white, of coverage [N, 1, S, S], with their skin in the photo's light."""
    surface, change = subject.surface, _change(images, masks, subject, views)
    seen = [rasterize(surface.vertices, surface.faces, view, cull_back=True) for view in views]
    gain = torch.stack([s.interpolate(change, surface.faces) for s in seen]).permute(0, 3, 1, 2).exp()
    empty = 1 - masks
    return (empty + (images - empty) * gain).clamp(0, 1)


def _change(images: Tensor, masks: Tensor, subject: Subject, views: Cameras) -> Tensor:
    """[V, 3] logarithms of the factors from the views' skin to the photo's, 0 off the skin."""
    surface, made = subject.surface, blended(images, masks, subject.surface, views)
    side = made.known.shape[-1]
    photo = photo_texture(subject.portrait, subject.fit.camera, surface, subject.model, side)
    texels = rasterize_uv(surface.uvs, surface.uv_faces, side)
    ratio = ((photo.colour + _DARK) / (made.colour + _DARK)).log().clamp(*_CHANGE)
    known = settles(photo.confidence) * made.known
    at_vertices, sure = texels_to_vertices(ratio[:, texels.mask].T, known[texels.mask], texels, surface)
    skin = skin_share(subject.portrait, subject.fit.camera, surface, subject.model)
    laplacian = edge_laplacian(surface.faces, len(surface.vertices))
    return skin[:, None] * diffuse(at_vertices, sure * (skin > 0.5), laplacian, torch.zeros(3), _PULL)
