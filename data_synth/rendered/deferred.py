"""Shading of what was found to be visible, for the samples of many views at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.rendered.occlusion import ShadowGrid, shadow_grid
from gen3dface.data_synth.rendered.scene import LitSurface, Scene
from gen3dface.data_synth.rendered.shading import (
    STRAND_ROWS,
    light_strands,
    light_surface,
    strand_highlights,
    surface_highlights,
    unit,
)
from gen3dface.render import sample_texture


@dataclass(frozen=True)
class LitScene:
    """A scene with all the light that no camera changes."""

    scene: Scene
    vertices: Tensor  # [V, 3] of all surfaces
    faces: Tensor  # [F, 3]
    owner: Tensor  # [F] number of the surface
    two_sided: Tensor  # [F] bool
    at_corners: Tensor  # [F, 3, 13 + K]: position 3, colour or uv 3, then `light_surface`'s
    at_points: Tensor | None  # [S P, 10 + K] from `light_strands`


def light_scene(scene: Scene) -> LitScene:
    """Shade what does not depend on the view: once a head, before any number of `render` calls."""
    grid = shadow_grid(scene)
    starts = [0]
    for surface in scene.surfaces:
        starts.append(starts[-1] + len(surface.vertices))
    counts = torch.tensor([len(surface.faces) for surface in scene.surfaces], device=scene.device)
    owner = torch.repeat_interleave(torch.arange(len(counts), device=scene.device), counts)
    sides = torch.tensor([surface.two_sided for surface in scene.surfaces], device=scene.device)
    strands = scene.strands
    return LitScene(
        scene,
        torch.cat([surface.vertices for surface in scene.surfaces]),
        torch.cat([surface.faces + start for surface, start in zip(scene.surfaces, starts, strict=False)]),
        owner,
        sides[owner],
        torch.cat([_at_corners(surface, scene, grid) for surface in scene.surfaces]),
        light_strands(strands, scene.light, grid) if strands is not None and len(strands) else None,
    )


def _at_corners(surface: LitSurface, scene: Scene, grid: ShadowGrid) -> Tensor:
    lit = light_surface(surface, scene.light, grid)[surface.faces]
    if surface.uvs is None or surface.uv_faces is None:
        colour = surface.albedo[surface.faces]
    else:
        colour = torch.nn.functional.pad(surface.uvs[surface.uv_faces], (0, 1))
    return torch.cat([surface.vertices[surface.faces], colour, lit], -1)


@dataclass(frozen=True)
class Samples:
    """Samples of pictures that show something of one kind."""

    place: Tensor  # [M] flat index in the stack of pictures
    number: Tensor  # [M] the triangle or the segment
    along: Tensor  # [M] place on the segment
    view: Tensor  # [3, M] unit, toward the camera
    points: Tensor  # [3, M] world, metres

    @staticmethod
    def joined(parts: Sequence[Samples]) -> Samples:
        """The samples of several views."""
        return Samples(
            *(torch.cat([getattr(part, name) for part in parts], -1) for name in Samples.__annotations__),
        )


def gather_samples(number: Tensor, along: Tensor, depth: Tensor, camera: Cameras, first: int) -> Samples:
    """The samples of one view whose `number` is not negative; all images [H, W]. `first` is the picture's offset."""
    where = (number.reshape(-1) >= 0).nonzero()[:, 0]
    pixels = torch.stack([where % camera.width, where // camera.width]).to(depth) + 0.5
    inverse = torch.linalg.inv(camera.intrinsics[0] @ camera.rotations[0])
    way = inverse[:, :2] @ pixels + inverse[:, 2:]
    points = camera.centers[0][:, None] + way * depth.reshape(-1)[where]
    return Samples(where + first, number.reshape(-1)[where], along.reshape(-1)[where], -unit(way), points)


def shade_faces(lit: LitScene, seen: Samples) -> Tensor:
    """Linear light [3, M] from triangles."""
    corners = lit.at_corners[seen.number]
    weights = _barycentric(corners[..., :3], seen.points)
    rows = corners[:, 0, 3:] * weights[0][:, None]
    rows = rows.addcmul_(corners[:, 1, 3:], weights[1][:, None]).addcmul_(corners[:, 2, 3:], weights[2][:, None])
    colour, irradiance, normals, openness, lamps = torch.split(
        rows.T.contiguous(), [3, 3, 3, 1, corners.shape[-1] - 13]
    )
    normals = unit(normals)
    behind = lit.two_sided[seen.number] & ((normals * seen.view).sum(0) < 0)
    normals = torch.where(behind, -normals, normals)
    owner = lit.owner[seen.number]
    material = torch.tensor([(s.specular, s.shininess) for s in lit.scene.surfaces]).to(rows)[owner]
    shiny = surface_highlights(
        seen.points, normals, seen.view, openness[0], lamps, material[:, 0], material[:, 1], lit.scene.light
    )
    return _albedo(lit, colour, owner) * irradiance + shiny


def _barycentric(corners: Tensor, points: Tensor) -> Tensor:
    """Weights [3, M] of points [3, M] in the planes of triangles [M, 3, 3]; clamped, as points are rounded."""
    a, b, c = corners.permute(1, 2, 0).contiguous()
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(0), (u * v).sum(0), (v * v).sum(0)
    wu, wv = (w * u).sum(0), (w * v).sum(0)
    area = (uu * vv - uv * uv).clamp(min=1e-24)
    second = ((vv * wu - uv * wv) / area).clamp(0, 1)
    third = torch.minimum(((uu * wv - uv * wu) / area).clamp(min=0), 1 - second)
    return torch.stack([1 - second - third, second, third])


def _albedo(lit: LitScene, colour: Tensor, owner: Tensor) -> Tensor:
    """Linear albedo [3, M]: textures are looked up where `colour` holds coordinates."""
    for number, surface in enumerate(lit.scene.surfaces):
        if surface.uvs is not None:
            mine = (owner == number).nonzero()[:, 0]
            colour[:, mine] = sample_texture(surface.albedo, colour[:2, mine].T).T
    return colour


def shade_strands(lit: LitScene, at_points: Tensor, seen: Samples) -> Tensor:
    """Linear light [3, M] from strands."""
    rows = torch.lerp(at_points[seen.number], at_points[seen.number + 1], seen.along[:, None]).T.contiguous()
    diffuse, tangents, albedo, shift, lamps = torch.split(rows, [3, 3, 3, 1, len(rows) - STRAND_ROWS])
    return diffuse + strand_highlights(seen.points, unit(tangents), seen.view, albedo, lamps, shift[0], lit.scene.light)
