"""How surfaces and strands answer light: first all that no camera changes, then the highlights of a view.

Vectors lie along the first dimension here ([3, M]): sums over the last one are several times slower.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.occlusion import ShadowGrid
from gen3dface.data_synth.rendered.scene import LitSurface
from gen3dface.data_synth.rendered.strands import Strands

_SHIFTS = (0.06, -0.13)  # of the highlights toward root and tip, sine of the cuticle's tilt
_FIRST = 0.06  # strength of the white highlight; the second takes the hair's own colour
STRAND_ROWS = 10  # before the lamps: diffuse 3, tangent 3, albedo 3, shift


def light_surface(surface: LitSurface, light: Light, grid: ShadowGrid) -> Tensor:
    """What each vertex knows of the light [V, 7 + K]: irradiance, normal, openness, visibility of each lamp.

    Lambert's law, wrapped a channel where light bleeds through the surface.
    """
    normals = surface.unit_normals()
    openness, lamps = grid.at_surface(surface.vertices, normals)
    if surface.occlusion is not None:
        openness, lamps = openness * surface.occlusion, lamps * surface.occlusion[:, None]
    flat = normals.T
    total = light.irradiance(flat) * openness
    wrap = normals.new_tensor(surface.wrap)[:, None]
    ways, colours = light.toward(surface.vertices.T)
    for k in range(len(ways)):
        cosine = ((flat * ways[k]).sum(0) + wrap) / (1 + wrap)
        total = total + colours[k] * lamps[:, k] * cosine.clamp(0, 1)
    return torch.cat([total.T, normals, openness[:, None], lamps], 1)


def light_strands(strands: Strands, light: Light, grid: ShadowGrid) -> Tensor:
    """What each point of S strands knows of the light [S P, 10 + K].

    Light that leaves to all sides (Kajiya and Kay, Rendering Fur with Three Dimensional Textures, 1989), tangent,
    albedo, the strand's own shift of its highlights, and how strongly each lamp makes one.
    """
    points = strands.points.movedim(-1, 0).contiguous()  # [3, S, P]
    albedo = strands.colour.movedim(-1, 0)
    tangents = _tangents(points)
    openness, out, lamps = grid.in_hair(points)
    normals = unit(out - tangents * ((out * tangents).sum(0) * 0.9))
    shine = strands.shine[:, None]
    sky = light.irradiance(normals) * openness
    diffuse = sky * (albedo + shine * (0.02 + 0.1 * albedo))
    ways, colours = light.toward(points)
    facing = []
    for k in range(len(ways)):
        sine = (1 - (tangents * ways[k]).sum(0).square()).clamp(min=0).sqrt()
        lit = lamps[k] * ((normals * ways[k]).sum(0) * 0.6 + 0.4).clamp(0, 1)
        diffuse = diffuse + colours[k] * albedo * (lit * sine * 0.9)
        facing.append(lit * shine)
    number = torch.arange(len(strands), device=points.device, dtype=torch.float64)
    shift = ((number * 0.618034 % 1.0 - 0.5) * 0.08).to(points)[:, None].expand_as(openness)
    rows = torch.cat([diffuse, tangents, albedo, shift[None], *(f[None] for f in facing)])
    return rows.reshape(len(rows), -1).T.contiguous()


def surface_highlights(
    points: Tensor,  # [3, M]
    normals: Tensor,  # [3, M] unit
    view: Tensor,  # [3, M] unit, toward the camera
    openness: Tensor,  # [M]
    lamps: Tensor,  # [K, M]
    specular: Tensor,  # [M] reflectance at normal incidence
    shininess: Tensor,  # [M]
    light: Light,
) -> Tensor:
    """Light reflected at the surface itself [3, M]: normalised Blinn-Phong with Schlick's Fresnel term."""
    facing = (normals * view).sum(0).clamp(0, 1)
    grazing = specular * (0.3 + 2.8 * (1 - facing).square().square())
    total = light.irradiance(2 * facing * normals - view) * (openness * grazing)
    ways, colours = light.toward(points)
    for k in range(len(ways)):
        half = unit(ways[k] + view)
        miss = 1 - (half * view).sum(0).clamp(0, 1)
        fresnel = specular + (1 - specular) * (specular > 0) * miss * miss.square().square()
        lobe = (normals * half).sum(0).clamp(0, 1) ** shininess * (shininess + 2) / 8
        cosine = (normals * ways[k]).sum(0).clamp(0, 1)
        total = total + colours[k] * (fresnel * lobe * cosine * lamps[k])
    return total


def strand_highlights(
    points: Tensor,  # [3, M]
    tangents: Tensor,  # [3, M] unit
    view: Tensor,  # [3, M] unit, toward the camera
    albedo: Tensor,  # [3, M]
    lamps: Tensor,  # [K, M]
    shift: Tensor,  # [M]
    light: Light,
) -> Tensor:
    """Two highlights [3, M], one shifted to the root in the lamp's colour, one to the tip in the hair's.

    After Marschner et al., Light Scattering from Human Hair Fibers, 2003, in the form of Scheuermann, Practical
    Real-Time Hair Rendering and Shading, 2004.
    """
    along = (tangents * view).sum(0)
    across = (1 - along.square()).clamp(min=0).sqrt()
    total = torch.zeros_like(albedo)
    ways, colours = light.toward(points)
    for k in range(len(ways)):
        to_lamp = (tangents * ways[k]).sum(0) + shift
        first, second = (_mirror(to_lamp + offset, along, across) for offset in _SHIFTS)
        sharp = first.square().square() * _FIRST  # exponent 32
        total = total + colours[k] * lamps[k] * (sharp + second * (1.2 * albedo + 0.012))
    return total


def _mirror(to_lamp: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """How near the camera lies to the cone of mirrored light, to the power of 8."""
    tilted = to_lamp.clamp(-1, 1)
    cosine = ((1 - tilted.square()).sqrt() * across - tilted * along).clamp(0, 1)
    return cosine.square().square().square()


def _tangents(points: Tensor) -> Tensor:
    """Unit directions from root to tip [3, S, P]."""
    inner = points[..., 2:] - points[..., :-2]
    first, last = points[..., 1:2] - points[..., :1], points[..., -1:] - points[..., -2:-1]
    return unit(torch.cat([first, inner, last], -1))


def unit(vectors: Tensor) -> Tensor:
    """Vectors along the first dimension at length 1; 0 stays 0."""
    return vectors * vectors.square().sum(0).clamp(min=1e-20).rsqrt()


def tone_map(light: Tensor) -> Tensor:
    """Linear light -> sRGB in 0..1, with a soft shoulder above 0.65 instead of clipping."""
    knee, room = 0.65, 0.35
    soft = knee + room * (1 - torch.exp(-(light - knee).clamp(min=0) / room))
    linear = torch.where(light > knee, soft, light.clamp(min=0))
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
