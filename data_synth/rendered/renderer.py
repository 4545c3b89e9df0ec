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
    LitPoints,
    LitVertices,
    light_strands,
    light_surface,
    strand_highlights,
    surface_highlights,
    tone_map,
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
    surfaces: LitVertices  # of all surfaces
    strands: LitPoints | None


def light_scene(scene: Scene) -> LitScene:
    """Shade what does not depend on the view: once a head, before any number of `render` calls."""
    grid = shadow_grid(scene)
    lit = [light_surface(surface, scene.light, grid) for surface in scene.surfaces]
    start, faces = 0, []
    for surface in scene.surfaces:
        faces.append(surface.faces + start)
        start += len(surface.vertices)
    counts = torch.tensor([len(surface.faces) for surface in scene.surfaces], device=scene.device)
    owner = torch.repeat_interleave(torch.arange(len(counts), device=scene.device), counts)
    sides = torch.tensor([surface.two_sided for surface in scene.surfaces], device=scene.device)
    some = scene.strands is not None and len(scene.strands) > 0
    return LitScene(
        scene,
        torch.cat([surface.vertices for surface in scene.surfaces]),
        torch.cat(faces),
        owner,
        sides[owner],
        LitVertices(*(torch.cat([getattr(part, name) for part in lit]) for name in LitVertices.__annotations__)),
        light_strands(scene.strands, scene.light, grid) if some and scene.strands is not None else None,
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
    colour = seen.depth.new_zeros(*seen.depth.shape, 3)
    center = camera.centers[0]
    skin = (seen.face >= 0) & (seen.segment < 0)
    colour[skin] = _shade_faces(lit, seen.face[skin], _pixels(skin), camera)
    hair = seen.segment >= 0
    if lit.strands is not None:
        colour[hair] = _shade_strands(lit, lit.strands, seen.segment[hair], seen.along[hair], center)
    covered = (skin | hair).to(colour)
    layers = torch.cat([tone_map(colour).permute(2, 0, 1) * covered, covered[None], hair[None].to(colour)])
    small = F.avg_pool2d(layers[None], supersample)[0]
    straight = small[:3] / small[3:4].clamp(min=1e-6)
    near = -F.max_pool2d(-seen.depth[None, None], supersample)[0, 0]
    return torch.cat([straight, small[3:4]]), small[4:], near


def _pixels(mask: Tensor) -> Tensor:
    """Centres [M, 2] of the marked pixels."""
    return mask.nonzero().flip(-1).to(torch.float32) + 0.5


def _find(lit: LitScene, camera: Cameras, loops: ModuleType) -> Visibility:
    xy, z = camera.project(lit.vertices)
    front = visibility.front_faces(xy[0], z[0], lit.faces, lit.two_sided)
    depth, face = loops.draw_triangles(lit.vertices, lit.faces[front], camera)
    face = torch.where(face >= 0, front[face.clamp(min=0)] if len(front) else face, face)
    strands = lit.scene.strands
    if strands is None or lit.strands is None:
        none = torch.full_like(face, -1)
        return Visibility(depth, face, none, torch.zeros_like(depth))
    shape = strands.points.shape[:2]
    xy, z = camera.project(strands.points.reshape(-1, 3))
    width = strands.width * camera.intrinsics[0, 0, 0] / z.reshape(shape)
    near, segment, along = loops.draw_strands(xy.reshape(*shape, 2), z.reshape(shape), width, depth + BIAS)
    return Visibility(torch.where(segment >= 0, near, depth), face, segment, along)


def _shade_faces(lit: LitScene, face: Tensor, pixels: Tensor, camera: Cameras) -> Tensor:
    """Linear light [M, 3] from triangles [M] seen at pixels [M, 2]."""
    corners = lit.faces[face]
    weights = _barycentric(lit.vertices[corners], pixels, camera)
    parts = lit.surfaces
    packed = torch.cat([lit.vertices, parts.irradiance, parts.normals, parts.open[:, None], parts.lamps], 1)
    points, irradiance, normals, openness, lamps = torch.split(
        (packed[corners] * weights[..., None]).sum(1), [3, 3, 3, 1, parts.lamps.shape[1]], 1
    )
    owner = lit.owner[face]
    albedo = _albedo(lit, face, owner, weights)
    kinds = torch.tensor([(s.specular, s.shininess) for s in lit.scene.surfaces], device=face.device)
    view = F.normalize(camera.centers[0] - points, dim=-1)
    normals = F.normalize(normals, dim=-1)
    behind = lit.two_sided[face] & ((normals * view).sum(-1) < 0)
    normals = torch.where(behind[:, None], -normals, normals)
    shiny = surface_highlights(points, normals, view, openness[:, 0], lamps, kinds[owner], lit.scene.light)
    return albedo * irradiance + shiny


def _barycentric(corners: Tensor, pixels: Tensor, camera: Cameras) -> Tensor:
    """Perspective-correct weights [M, 3] of pixels [M, 2] in triangles [M, 3, 3] of the world."""
    xy, z = camera.project(corners.reshape(-1, 3))
    a, b, c = (xy.reshape(-1, 3, 2) - pixels[:, None]).unbind(1)
    flat = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1) / z.reshape(-1, 3)
    return flat / flat.sum(-1, keepdim=True)


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]


def _albedo(lit: LitScene, face: Tensor, owner: Tensor, weights: Tensor) -> Tensor:
    out = weights.new_zeros(len(face), 3)
    first = 0
    for number, surface in enumerate(lit.scene.surfaces):
        mine = (owner == number).nonzero()[:, 0]
        local, inside = face[mine] - first, weights[mine][..., None]
        first += len(surface.faces)
        if surface.uvs is None or surface.uv_faces is None:
            out[mine] = (surface.albedo[surface.faces[local]] * inside).sum(1)
        else:
            out[mine] = sample_texture(surface.albedo, (surface.uvs[surface.uv_faces[local]] * inside).sum(1))
    return out


def _shade_strands(lit: LitScene, points: LitPoints, segment: Tensor, along: Tensor, center: Tensor) -> Tensor:
    """Linear light [M, 3] from strands seen at places on their segments."""
    assert lit.scene.strands is not None
    place = lit.scene.strands.points.reshape(-1, 3)
    packed = torch.cat(
        [place, points.tangents, points.diffuse, points.albedo, points.sky, points.shift[:, None], points.lamps], 1
    )
    mixed = torch.lerp(packed[segment], packed[segment + 1], along[:, None])
    at, tangents, diffuse, albedo, sky, shift, lamps = torch.split(mixed, [3, 3, 3, 3, 3, 1, points.lamps.shape[1]], 1)
    tangents = F.normalize(tangents, dim=-1)
    view = F.normalize(center - at, dim=-1)
    return diffuse + strand_highlights(at, tangents, view, albedo, lamps, sky, shift[:, 0], lit.scene.light)
