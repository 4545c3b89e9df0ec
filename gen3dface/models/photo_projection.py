"""The photo carried by the mesh into other views: conditions of each frame, and what the copy gate copies.

Nothing here is learned or depends on the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import ConfigError
from gen3dface.raster import Fragments, rasterize
from gen3dface.render import Surface
from gen3dface.texture import Observation, observe

_REACH = 0.2  # metres that a condition channel of 1 stands for: half the volume's side


@dataclass(frozen=True)
class Photo:
    """A photo that can be looked up."""

    image: Tensor  # [3, H, W] in 0..1
    alpha: Tensor  # [H, W] in 0..1, where it shows the head
    camera: Cameras  # N = 1


@dataclass(frozen=True)
class PhotoProjection:
    """The photo as N views of S x S pixels see it on the mesh; zero where they see none."""

    colour: Tensor  # [N, L, 3, S, S] in 0..1 of each of L shells, the mesh itself first
    visibility: Tensor  # [N, L, 1, S, S] in 0..1: seen in the photo, times a soft cosine of the viewing angle there
    mirrored: Tensor  # [N, 4, S, S] colour and visibility of the mesh's other side
    position: Tensor  # [N, 3, S, S] metres
    normal: Tensor  # [N, 3, S, S] unit
    mask: Tensor  # [N, 1, S, S] 0 or 1

    def conditions(self) -> Tensor:
        """All of it in -1..1 as channels for the UNet: [N, condition_planes(L), S, S]."""
        shells = torch.cat([_centred(self.colour, self.visibility), self.visibility], 2).flatten(1, 2)
        seen = self.mirrored[:, 3:]
        other = torch.cat([_centred(self.mirrored[:, :3], seen), seen], 1)
        return torch.cat([shells, other, (self.position / _REACH).clamp(-1, 1), self.normal, self.mask], 1)

    def picture(self) -> tuple[Tensor, Tensor]:
        """What the copy gate copies: pictures [N, 3, S, S] in 0..1 over white, and coverage [N, 1, S, S]."""
        return torch.where(self.visibility[:, 0] > 0, self.colour[:, 0], 1.0), self.mask

    def trust(self) -> Tensor:
        """[N, 1, S, S] in 0..1: how far the photo itself stands behind each pixel."""
        return self.visibility[:, 0]


def _centred(colour: Tensor, visibility: Tensor) -> Tensor:
    """0..1 to -1..1, and 0 where nothing is seen."""
    return torch.where(visibility > 0, colour * 2 - 1, 0)


def condition_planes(shells: int = 1) -> int:
    """Channels of `PhotoProjection.conditions` at full resolution."""
    return 4 * shells + 4 + 3 + 3 + 1


def pack(planes: Tensor, factor: int) -> Tensor:
    """Pixels to the latents' resolution without loss: [N, P, S, S] -> [N, P factor^2, S / factor, S / factor]."""
    return F.pixel_unshuffle(planes, factor)


def project_photo(
    photo: Photo,
    surface: Surface,
    views: Cameras,
    mirror: Tensor | None = None,
    shells: Sequence[float] = (0.0,),
) -> PhotoProjection:
    """Look every pixel of the views up in the photo, by way of the mesh.

    Args:
        surface: the head in the photo's pose. views: N views of S x S pixels.
        mirror: [V] each vertex's mirror image; None leaves `mirrored` at zero.
        shells: metres outside the mesh, the first 0; they catch what the mesh does not have, such as hair.
    """
    if not shells or shells[0] != 0:
        raise ConfigError(f"The first shell is the mesh itself, at 0 m; got {tuple(shells)}.")
    seen = [rasterize(surface.vertices, surface.faces, view, cull_back=True) for view in views]
    points, normals = _points(surface, seen, None)
    found = [observe(photo.image, photo.alpha, photo.camera, surface, points, normals)]
    other = torch.zeros(len(points), 4).to(points)
    if mirror is not None:
        there, outward = _points(surface, seen, mirror)
        other = _colour_and_weight(observe(photo.image, photo.alpha, photo.camera, surface, there, outward))
    layers = [_spread(_colour_and_weight(found[0]), seen)]
    for offset in shells[1:]:
        layers.append(_shell(photo, surface, views, offset))
    stacked = torch.stack(layers, 1)
    return PhotoProjection(
        colour=stacked[:, :, :3],
        visibility=stacked[:, :, 3:],
        mirrored=_spread(other, seen),
        position=_spread(points, seen),
        normal=_spread(normals, seen),
        mask=torch.stack([s.mask for s in seen])[:, None].to(points),
    )


def _shell(photo: Photo, surface: Surface, views: Cameras, offset: float) -> Tensor:
    """Colour and visibility of the mesh grown by `offset` metres: [N, 4, S, S]."""
    grown = replace(surface, vertices=surface.vertices + offset * surface.normals())
    seen = [rasterize(grown.vertices, grown.faces, view, cull_back=True) for view in views]
    points, normals = _points(grown, seen, None)
    return _spread(_colour_and_weight(observe(photo.image, photo.alpha, photo.camera, grown, points, normals)), seen)


def _points(surface: Surface, seen: list[Fragments], order: Tensor | None) -> tuple[Tensor, Tensor]:
    """World points and normals [P, 3] of all pixels of all views, or those of their mirror images."""
    vertices, normals = surface.vertices, surface.normals()
    if order is not None:
        vertices, normals = vertices[order], normals[order]
    points = torch.cat([s.gather(vertices, surface.faces) for s in seen])
    outward = torch.cat([s.gather(normals, surface.faces) for s in seen])
    return points, F.normalize(outward, dim=-1)


def _colour_and_weight(found: Observation) -> Tensor:
    """[P, 4], zero where nothing is seen."""
    weight = found.weight[:, None]
    return torch.cat([found.colour * (weight > 0), weight], 1)


def _spread(values: Tensor, seen: list[Fragments]) -> Tensor:
    """Values [P, C] of all pixels of all views -> [N, C, S, S]."""
    parts = values.split([len(s.pixels) for s in seen])
    planes = torch.stack([s.scatter(part) for s, part in zip(seen, parts, strict=True)])
    return planes.permute(0, 3, 1, 2).contiguous()
