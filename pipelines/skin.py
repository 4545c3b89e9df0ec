"""Skin that the photo does not show: the photo's, carried on over the surface, in its light and the head's own folds.

Small networks draw skin with marks and noise, in a light that is not the photo's, and ears worst of all. They are
believed in where hair or clothes end and skin begins; how skin looks, the photo and the mesh know better.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.bake import BakedTexture
from gen3dface.cameras import Cameras
from gen3dface.heads import HeadModel
from gen3dface.models.precision import exactly
from gen3dface.openness import Openness, openness
from gen3dface.pipelines.appearance import PARTS, padded, photo_texture, vertex_parts
from gen3dface.pipelines.consensus import blended
from gen3dface.pipelines.skin_light import light_on_skin, lit, unlit
from gen3dface.pipelines.subjects import Subject
from gen3dface.raster import rasterize_uv
from gen3dface.render import Surface, ramp, show_values
from gen3dface.texture import diffuse, edge_laplacian, texels_to_vertices

_SEEN = 0.3  # the photo's trust from which a colour counts as seen
_PULL = 1e-2  # how strongly skin far from all that is seen is drawn to its median
_LIKE = (0.5, 0.75)  # likeness to skin between which a vertex becomes skin
_STRANGE = (0.9, 1.2)  # apart from skin by this much, in logarithms of colours, what is shown is no skin
_BARE = 0.5  # share of the distance to skin that is waived on faces, as far as the photo shows them without hair
_BALD = (0.5, 0.8)  # share of skin, by the photo, between which the top of the head becomes skin at all
_EAR = (0.3, 0.45)  # mean likeness of an ear's vertices between which all of it becomes skin
_SOLID = (0.8, 1.0)  # coverage between which a pixel takes the skin
_DARK = 0.03  # brightness below which ratios say little
_FEW = 5  # vertices that do not make a typical colour
_SKIN = (0.75, 0.55, 0.45)  # where the photo shows none
_NOT_BARE = ("brows", "lips", "eyelids")
_SUPERSAMPLE = 2


@dataclass(frozen=True)
class _Palette:
    """What the photo tells of a head's colours.

    Args:
        skin: [V, 3], as if all of the head were skin, in the photo's light. others: typical colours [3] of hair and
            clothes, where the photo shows any. parts: [V, P], see `vertex_parts`.
    """

    skin: Tensor
    others: list[Tensor]
    parts: Tensor


@torch.no_grad()
@exactly
def with_even_skin(images: Tensor, masks: Tensor, subject: Subject, views: Cameras) -> tuple[Tensor, Tensor]:
    """Views [N, 3, S, S] over white, of coverage [N, 1, S, S], with skin as the photo and the mesh tell it.

    Also where they show bare skin of the face, [N, 1, S, S] in 0..1.
    """
    palette = _palette(subject, 2 * views.height)
    share = _shown_skin(blended(images, masks, subject.surface, views), palette, subject)
    large = views.resized(views.height * _SUPERSAMPLE, views.width * _SUPERSAMPLE)
    face = share * padded(_region(subject.model, "face"), subject.surface)
    planes = torch.cat([palette.skin, torch.stack([share, face, torch.ones(len(share))], 1)], 1)
    found = F.avg_pool2d(show_values(subject.surface, planes, large), _SUPERSAMPLE)
    share, face, coverage = found[:, 3:].split(1, 1)
    skin = found[:, :3] / coverage.clamp(min=1e-3)
    return torch.lerp(images, skin, share * ramp(masks, _SOLID)), face


def _palette(subject: Subject, side: int) -> _Palette:
    """side: texels of the photo's texture."""
    surface, model = subject.surface, subject.model
    photo = photo_texture(subject.portrait, subject.fit.camera, surface, model, side)
    colours, trust = _at_vertices(photo.colour, photo.confidence, surface)
    parts = vertex_parts(subject.portrait, subject.fit.camera, surface, model)
    hair, clothes, skin = (trust * (parts[:, PARTS.index(name)] > 0.5) for name in ("hair", "clothes", "skin"))
    head = openness(subject.vertices, model.faces)
    found = Openness(padded(head.share, surface, 1.0), padded(head.direction, surface))
    bare = skin * padded(_region(model, "face", "neck") & ~_region(model, "ears", *_NOT_BARE), surface)
    light = light_on_skin(colours, bare, found)
    flat = unlit(colours, light, found)
    laplacian = edge_laplacian(surface.faces, len(surface.vertices))
    typical = _median(flat, bare)
    even = diffuse(flat, bare, laplacian, colours.new_tensor(_SKIN) if typical is None else typical, _PULL).clamp(0, 1)
    others = [found for found in (_median(colours, hair), _median(colours, clothes)) if found is not None]
    return _Palette(lit(even, light, found).clamp(max=1), others, parts)


def _shown_skin(made: BakedTexture, palette: _Palette, subject: Subject) -> Tensor:
    """[V] in 0..1: which vertices become skin: those whose made colours are nearer to skin than to hair and clothes."""
    surface, model = subject.surface, subject.model
    colours, known = _at_vertices(made.colour, made.known, surface)
    skin = palette.parts[:, PARTS.index("skin")]
    apart = _apart(colours, palette.skin) * (1 - _BARE * skin * padded(_region(model, "face"), surface))
    others = torch.stack([_apart(colours, other) for other in palette.others] or [torch.full_like(apart, torch.inf)])
    nearest = others.amin(0)
    like = 1 / (1 + (apart / nearest.clamp(min=1e-3)) ** 2) * (1 - ramp(apart, _STRANGE))
    like = _carried_on(like, known > 0, surface)
    like = _with_whole_ears(ramp(like, _LIKE), like, known, subject)
    face = padded(_region(model, "face", "ears", "neck") & ~_region(model, *_NOT_BARE), surface)
    top = padded(_region(model, "scalp", "skull"), surface) & ~face
    inner = palette.parts[:, PARTS.index("inner")]
    return like * (1 - inner) * (face + top * ramp(skin, _BALD))


def _carried_on(values: Tensor, known: Tensor, surface: Surface) -> Tensor:
    """[V], with the neighbours' where nothing is known: on dense heads a vertex may touch no texel."""
    laplacian = edge_laplacian(surface.faces, len(surface.vertices))
    spread = diffuse(values[:, None], known.to(values), laplacian, values.new_zeros(1))
    return torch.where(known, values, spread[:, 0])


def _with_whole_ears(share: Tensor, like: Tensor, known: Tensor, subject: Subject) -> Tensor:
    """Ears are skin from rim to rim, or hair lies over them."""
    ears = padded(_region(subject.model, "ears"), subject.surface)
    left = subject.surface.vertices[:, 0] > 0
    for ear in (ears & left, ears & ~left):
        seen = ear & (known > 0)
        if seen.any():
            share = torch.where(ear, torch.maximum(share, ramp(like[seen].mean(), _EAR)), share)
    return share


def _at_vertices(colour: Tensor, weight: Tensor, surface: Surface) -> tuple[Tensor, Tensor]:
    """Of a texture [3, S, S] and its texels' weights [S, S]: colours [V, 3] and weights [V] of vertices."""
    texels = rasterize_uv(surface.uvs, surface.uv_faces, colour.shape[-1])
    return texels_to_vertices(colour[:, texels.mask].T, weight[texels.mask], texels, surface)


def _region(model: HeadModel, *names: str) -> Tensor:
    """[V] bool: in any of these regions."""
    return torch.stack([model.regions[name] for name in names]).any(0)


def _median(colours: Tensor, trust: Tensor) -> Tensor | None:
    """Of the vertices that are seen, [3]; None where there are hardly any."""
    seen = trust > _SEEN
    return colours[seen].median(0).values if seen.sum() > _FEW else None


def _apart(colours: Tensor, other: Tensor) -> Tensor:
    """[V] distance of colours' logarithms."""
    return ((colours + _DARK).log() - (other + _DARK).log()).norm(dim=-1)
