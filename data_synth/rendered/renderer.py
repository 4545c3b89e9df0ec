"""Pictures of a scene: light it once, then find and shade what each sample of each view sees."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.rendered import visibility
from gen3dface.data_synth.rendered.occlusion import shadow_grid
from gen3dface.data_synth.rendered.scene import Scene
from gen3dface.data_synth.rendered.shading import (
    STRAND_ROWS,
    SURFACE_ROWS,
    light_strands,
    light_surface,
    strand_highlights,
    surface_highlights,
    tone_map,
    unit,
)
from gen3dface.data_synth.rendered.visibility import BIAS, Visibility
from gen3dface.render import sample_texture

Kernels = Literal["numba", "torch"]


@dataclass(frozen=True)
class Views:
    """Pictures, straight alpha: over a background b a pixel is alpha * rgb + (1 - alpha) * b."""

    rgba: Tensor  # [N, 4, H, W] sRGB and coverage in 0..1
    hair: Tensor  # [N, 1, H, W] share of each pixel that shows strands, 0..1
    depth: Tensor  # [N, H, W] metres along the camera's axis, of the nearest sample; inf where nothing is

    def over(self, background: float | Tensor = 1.0) -> Tensor:
        """The pictures [N, 3, H, W] over a background: a grey level or colours that broadcast, sRGB in 0..1."""
        colour, alpha = self.rgba[:, :3], self.rgba[:, 3:]
        return alpha * colour + (1 - alpha) * background


@dataclass(frozen=True)
class LitScene:
    """A scene with all the light that no camera changes."""

    scene: Scene
    vertices: Tensor  # [V, 3] of all surfaces
    faces: Tensor  # [F, 3]
    owner: Tensor  # [F] number of the surface
    two_sided: Tensor  # [F] bool
    at_vertices: Tensor  # [V, 7 + K] from `light_surface`
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
        torch.cat([light_surface(surface, scene.light, grid) for surface in scene.surfaces]),
        light_strands(strands, scene.light, grid) if strands is not None and len(strands) else None,
    )


def render(scene: Scene | LitScene, cameras: Cameras, supersample: int = 2, kernels: Kernels | None = None) -> Views:
    """Draw a scene as N cameras see it.

    Args:
        scene: what is drawn; light it beforehand with `light_scene` to draw it several times.
        cameras: N views on the scene's device.
        supersample: each pixel averages supersample^2 samples.
        kernels: the loops that find what is seen: "torch" runs anywhere, "numba" on the CPU alone. None takes numba on
            the CPU where it is installed; both see the same.

    Raises:
        MissingExtraError: numba was asked for and is not installed.
    """
    lit = light_scene(scene) if isinstance(scene, Scene) else scene
    loops = _loops(kernels, lit.vertices.device)
    large = cameras.resized(cameras.height * supersample, cameras.width * supersample)
    parts = [_view(lit, camera, supersample, loops) for camera in large]
    rgba, hair, depth = (torch.stack(list(images)) for images in zip(*parts, strict=True))
    return Views(rgba, hair, depth)


def _loops(kernels: Kernels | None, device: torch.device) -> ModuleType:
    if kernels is None:
        kernels = "numba" if device.type == "cpu" and importlib.util.find_spec("numba") else "torch"
    if kernels == "torch":
        return visibility
    from gen3dface.data_synth.rendered import visibility_numba

    return visibility_numba


def _view(lit: LitScene, camera: Cameras, supersample: int, loops: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    """Straight RGBA [4, H, W], hair [1, H, W] and depth [H, W] of one view."""
    seen = _find(lit, camera, loops)
    hair = seen.segment.reshape(-1) >= 0
    skin = (seen.face.reshape(-1) >= 0) & ~hair
    layers = seen.depth.new_zeros(5, seen.depth.numel())  # colour, covered, hair
    where = skin.nonzero()[:, 0]
    layers[:3, where] = tone_map(_shade_faces(lit, seen, where, camera))
    if lit.at_points is not None:
        where = hair.nonzero()[:, 0]
        layers[:3, where] = tone_map(_shade_strands(lit, lit.at_points, seen, where, camera))
    layers[3], layers[4] = skin | hair, hair
    small = _average(layers.reshape(5, *seen.depth.shape), supersample)
    near = -F.max_pool2d(-seen.depth[None, None], supersample)[0, 0]
    return torch.cat([small[:3] / small[3:4].clamp(min=1e-6), small[3:4]]), small[4:], near


def _average(layers: Tensor, step: int) -> Tensor:
    """Means [C, H / step, W / step] of blocks; several times faster than avg_pool2d on the CPU."""
    offsets = [(row, column) for row in range(step) for column in range(step)]
    return torch.stack([layers[:, row::step, column::step] for row, column in offsets]).sum(0) / step**2


def _find(lit: LitScene, camera: Cameras, loops: ModuleType) -> Visibility:
    front = visibility.front_faces(lit.vertices, lit.faces, lit.two_sided, camera)
    depth, face = loops.draw_triangles(lit.vertices, lit.faces[front], camera)
    if len(front):
        face = torch.where(face >= 0, front[face.clamp(min=0)], face)
    strands = lit.scene.strands
    if strands is None or lit.at_points is None:
        return Visibility(depth, face, torch.full_like(face, -1), torch.zeros_like(depth))
    near, segment, along = loops.draw_strands(strands.points, strands.width, depth + BIAS, camera)
    return Visibility(torch.where(segment >= 0, near, depth), face, segment, along)


def _rays(where: Tensor, seen: Visibility, camera: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Of samples at flat indices [M]: pixel centres [2, M], unit vectors to the camera and points, both [3, M]."""
    pixels = torch.stack([where % camera.width, where // camera.width]).to(camera.intrinsics) + 0.5
    inverse = torch.linalg.inv(camera.intrinsics[0] @ camera.rotations[0])
    way = inverse[:, :2] @ pixels + inverse[:, 2:]
    points = camera.centers[0][:, None] + way * seen.depth.reshape(-1)[where]
    return pixels, -unit(way), points


def _shade_faces(lit: LitScene, seen: Visibility, where: Tensor, camera: Cameras) -> Tensor:
    """Linear light [3, M] from the triangles seen at flat indices [M]."""
    face = seen.face.reshape(-1)[where]
    pixels, view, points = _rays(where, seen, camera)
    corners = lit.faces[face].T
    weights = _barycentric(lit.vertices, corners, pixels, camera)
    rows = sum(lit.at_vertices[corner] * weight[:, None] for corner, weight in zip(corners, weights, strict=True))
    assert isinstance(rows, Tensor)
    irradiance, normals, openness, lamps = torch.split(
        rows.T.contiguous(), [3, 3, 1, lit.at_vertices.shape[1] - SURFACE_ROWS]
    )
    normals = unit(normals)
    behind = lit.two_sided[face] & ((normals * view).sum(0) < 0)
    normals = torch.where(behind, -normals, normals)
    owner = lit.owner[face]
    specular, shininess = torch.tensor([(s.specular, s.shininess) for s in lit.scene.surfaces]).to(points)[owner].T
    shiny = surface_highlights(points, normals, view, openness[0], lamps, specular, shininess, lit.scene.light)
    return _albedo(lit, face, owner, weights).T * irradiance + shiny


def _barycentric(vertices: Tensor, corners: Tensor, pixels: Tensor, camera: Cameras) -> Tensor:
    """Perspective-correct weights [3, M] of pixels [2, M] in triangles with corners [3, M]."""
    xy, z = camera.project(vertices)
    flat, depth = xy[0].T.contiguous(), z[0][corners]
    a, b, c = (flat[:, corner] - pixels for corner in corners)
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)]) / depth
    return weights / weights.sum(0)


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return p[0] * q[1] - p[1] * q[0]


def _albedo(lit: LitScene, face: Tensor, owner: Tensor, weights: Tensor) -> Tensor:
    """Linear albedo [M, 3]."""
    out = weights.new_zeros(len(face), 3)
    first = 0
    for number, surface in enumerate(lit.scene.surfaces):
        mine = (owner == number).nonzero()[:, 0]
        local, inside = face[mine] - first, weights[:, mine, None]
        first += len(surface.faces)
        textured = surface.uvs is not None and surface.uv_faces is not None
        values = surface.uvs if textured else surface.albedo
        triangles = surface.uv_faces if textured else surface.faces
        assert values is not None and triangles is not None
        corners = triangles[local].T
        mixed = values[corners[0]] * inside[0] + values[corners[1]] * inside[1] + values[corners[2]] * inside[2]
        out[mine] = sample_texture(surface.albedo, mixed) if textured else mixed
    return out


def _shade_strands(lit: LitScene, at_points: Tensor, seen: Visibility, where: Tensor, camera: Cameras) -> Tensor:
    """Linear light [3, M] from the strands seen at flat indices [M]."""
    segment, along = seen.segment.reshape(-1)[where], seen.along.reshape(-1)[where]
    rows = torch.lerp(at_points[segment], at_points[segment + 1], along[:, None]).T.contiguous()
    diffuse, tangents, albedo, shift, lamps = torch.split(rows, [3, 3, 3, 1, len(rows) - STRAND_ROWS])
    _, view, points = _rays(where, seen, camera)
    return diffuse + strand_highlights(points, unit(tangents), view, albedo, lamps, shift[0], lit.scene.light)
