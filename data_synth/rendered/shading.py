"""How surfaces and strands answer light: first all that no camera changes, then the highlights of a view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.occlusion import ShadowGrid
from gen3dface.data_synth.rendered.scene import LitSurface
from gen3dface.data_synth.rendered.strands import Strands

_SHIFTS = (0.06, -0.13)  # of the two highlights toward root and tip, sine of the cuticle's tilt
_EXPONENTS = (34.0, 9.0)
_FIRST = 0.055  # strength of the white highlight; the second takes the hair's own colour


@dataclass(frozen=True)
class LitVertices:
    """A surface's light at its vertices."""

    irradiance: Tensor  # [V, 3] what its albedo is to be multiplied with
    normals: Tensor  # [V, 3]
    open: Tensor  # [V] in 0..1
    lamps: Tensor  # [V, K] visibility of each lamp


@dataclass(frozen=True)
class LitPoints:
    """Light at the points of strands, flat: M = S P."""

    diffuse: Tensor  # [M, 3] light that leaves to all sides
    albedo: Tensor  # [M, 3]
    tangents: Tensor  # [M, 3]
    lamps: Tensor  # [M, K] visibility and wrapped cosine of each lamp, times the strand's shine
    sky: Tensor  # [M, 3] ambient light, times the strand's shine
    shift: Tensor  # [M] a strand's own shift of its highlights


def light_surface(surface: LitSurface, light: Light, grid: ShadowGrid) -> LitVertices:
    """Diffuse light of a surface: Lambert, wrapped a channel where light bleeds through it."""
    normals = surface.unit_normals()
    openness, lamps = grid.at_surface(surface.vertices, normals)
    if surface.occlusion is not None:
        openness, lamps = openness * surface.occlusion, lamps * surface.occlusion[:, None]
    total = light.irradiance(normals) * openness[:, None]
    wrap = normals.new_tensor(surface.wrap)
    ways, colours = light.toward(surface.vertices)
    for k in range(len(ways)):
        cosine = (normals * ways[k]).sum(-1, keepdim=True)
        total = total + colours[k] * lamps[:, k : k + 1] * ((cosine + wrap) / (1 + wrap)).clamp(0, 1)
    return LitVertices(total, normals, openness, lamps)


def light_strands(strands: Strands, light: Light, grid: ShadowGrid) -> LitPoints:
    """Diffuse light of strands (Kajiya and Kay, Rendering Fur with Three Dimensional Textures, 1989)."""
    points, tangents = strands.points.reshape(-1, 3), strands.tangents.reshape(-1, 3)
    albedo = strands.colour.reshape(-1, 3)
    openness, out, lamps = grid.in_hair(points)
    normals = F.normalize(out - tangents * (out * tangents).sum(-1, keepdim=True) * 0.9, dim=-1)
    sky = light.irradiance(normals) * openness[:, None]
    diffuse = sky * albedo
    ways, colours = light.toward(points)
    facing = []
    for k in range(len(ways)):
        sine = (1 - (tangents * ways[k]).sum(-1).square()).clamp(min=0).sqrt()
        lit = lamps[:, k] * ((normals * ways[k]).sum(-1) * 0.6 + 0.4).clamp(0, 1)
        diffuse = diffuse + colours[k] * albedo * (lit * sine * 0.9)[:, None]
        facing.append(lit)
    count = strands.points.shape[1]
    shine = strands.shine.repeat_interleave(count)
    lit_lamps = torch.stack(facing, -1) * shine[:, None] if facing else lamps
    number = torch.arange(len(strands), device=points.device).repeat_interleave(count)
    shift = (number * 0.618034 % 1.0 - 0.5).to(points) * 0.08
    return LitPoints(diffuse, albedo, tangents, lit_lamps, sky * shine[:, None], shift)


def surface_highlights(
    points: Tensor,  # [M, 3]
    normals: Tensor,  # [M, 3] unit
    view: Tensor,  # [M, 3] unit, toward the camera
    openness: Tensor,  # [M]
    lamps: Tensor,  # [M, K]
    material: Tensor,  # [M, 2] reflectance at normal incidence, exponent
    light: Light,
) -> Tensor:
    """Light reflected at the surface itself [M, 3]: normalised Blinn-Phong with Schlick's Fresnel term."""
    specular, shininess = material.unbind(-1)
    facing = (normals * view).sum(-1).clamp(0, 1)
    mirrored = 2 * facing[:, None] * normals - view
    grazing = specular * (0.3 + 0.7 * (1 - facing) ** 4 * 4)
    total = light.irradiance(mirrored) * (openness * grazing)[:, None]
    ways, colours = light.toward(points)
    for k in range(len(ways)):
        half = F.normalize(ways[k] + view, dim=-1)
        fresnel = specular + (1 - specular) * (1 - (half * view).sum(-1).clamp(0, 1)) ** 5 * (specular > 0)
        lobe = (normals * half).sum(-1).clamp(0, 1) ** shininess * (shininess + 2) / 8
        cosine = (normals * ways[k]).sum(-1).clamp(0, 1)
        total = total + colours[k] * (fresnel * lobe * cosine * lamps[:, k])[:, None]
    return total


def strand_highlights(
    points: Tensor,  # [M, 3]
    tangents: Tensor,  # [M, 3] unit
    view: Tensor,  # [M, 3] unit, toward the camera
    albedo: Tensor,  # [M, 3]
    lamps: Tensor,  # [M, K]
    sky: Tensor,  # [M, 3]
    shift: Tensor,  # [M]
    light: Light,
) -> Tensor:
    """Two highlights, one shifted to the root in the lamp's colour, one to the tip in the hair's.

    After Marschner et al., Light Scattering from Human Hair Fibers, 2003, in the form of Scheuermann, Practical
    Real-Time Hair Rendering and Shading, 2004.
    """
    along = (tangents * view).sum(-1)
    across = (1 - along.square()).clamp(min=0).sqrt()
    total = sky * (0.012 + 0.1 * albedo)
    ways, colours = light.toward(points)
    tints = (torch.full_like(albedo, _FIRST), albedo * 1.2 + 0.012)
    for k in range(len(ways)):
        to_lamp = (tangents * ways[k]).sum(-1)
        for offset, exponent, tint in zip(_SHIFTS, _EXPONENTS, tints, strict=True):
            tilted = (to_lamp + offset + shift).clamp(-1, 1)
            mirror = ((1 - tilted.square()).sqrt() * across - tilted * along).clamp(0, 1)
            total = total + colours[k] * tint * (mirror**exponent * lamps[:, k])[:, None]
    return total


def tone_map(light: Tensor) -> Tensor:
    """Linear light -> sRGB in 0..1, with a soft shoulder above 0.65 instead of clipping."""
    knee, room = 0.65, 0.35
    soft = knee + room * (1 - torch.exp(-(light - knee) / room))
    linear = torch.where(light > knee, soft, light.clamp(min=0))
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
