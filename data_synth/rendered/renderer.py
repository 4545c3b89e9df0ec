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
from gen3dface.data_synth.rendered.deferred import (
    LitScene,
    Samples,
    gather_samples,
    light_scene,
    shade_faces,
    shade_strands,
)
from gen3dface.data_synth.rendered.scene import Scene
from gen3dface.data_synth.rendered.shading import tone_map
from gen3dface.data_synth.rendered.visibility import BIAS, Visibility

Kernels = Literal["numba", "torch"]
_TOGETHER = 1 << 19  # samples whose views are shaded at once


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
    together = max(1, _TOGETHER // (large.height * large.width))
    parts = [_pictures(lit, large[i : i + together], supersample, loops) for i in range(0, len(large), together)]
    return Views(*(torch.cat(images) for images in zip(*parts, strict=True)))


def _loops(kernels: Kernels | None, device: torch.device) -> ModuleType:
    if kernels is None:
        kernels = "numba" if device.type == "cpu" and importlib.util.find_spec("numba") else "torch"
    if kernels == "torch":
        return visibility
    from gen3dface.data_synth.rendered import visibility_numba

    return visibility_numba


def _pictures(lit: LitScene, cameras: Cameras, step: int, loops: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    """Straight RGBA [N, 4, H, W], hair [N, 1, H, W] and depth [N, H, W] of N views."""
    skins, hairs, depths = [], [], []
    for number, camera in enumerate(cameras):
        seen = _find(lit, camera, loops)
        first = number * seen.depth.numel()
        face = torch.where(seen.segment < 0, seen.face, -1)
        skins.append(gather_samples(face, seen.along, seen.depth, camera, first))
        hairs.append(gather_samples(seen.segment, seen.along, seen.depth, camera, first))
        depths.append(-F.max_pool2d(-seen.depth[None, None], step)[0, 0])
    layers = torch.zeros(5, len(cameras) * cameras.height * cameras.width, device=lit.vertices.device)
    skin, hair = Samples.joined(skins), Samples.joined(hairs)
    layers[:3, skin.place] = tone_map(shade_faces(lit, skin))
    layers[3, skin.place] = 1
    if lit.at_points is not None:
        layers[:3, hair.place] = tone_map(shade_strands(lit, lit.at_points, hair))
        layers[3:, hair.place] = 1
    small = _average(layers.reshape(5, len(cameras), cameras.height, cameras.width), step).movedim(0, 1)
    straight = small[:, :3] / small[:, 3:4].clamp(min=1e-6)
    return torch.cat([straight, small[:, 3:4]], 1), small[:, 4:], torch.stack(depths)


def _average(layers: Tensor, step: int) -> Tensor:
    """Means [..., H / step, W / step] of blocks; several times faster than avg_pool2d on the CPU."""
    total = layers[..., ::step, ::step].clone()
    for offset in range(1, step * step):
        total += layers[..., offset // step :: step, offset % step :: step]
    return total / step**2


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
