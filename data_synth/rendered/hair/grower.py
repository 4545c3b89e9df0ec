"""One head model's hair: grown on its mean head, carried to any of its heads."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.hair.colour import mean_colour, strand_colour, taper
from gen3dface.data_synth.rendered.hair.facial import (
    FacialStyle,
    beard_count,
    beard_density,
    brow_density,
    grow_beard,
    grow_brows,
)
from gen3dface.data_synth.rendered.hair.gathered import grow_tied, tie_point, wound_bun
from gen3dface.data_synth.rendered.hair.growth import CLEARANCE, grow_loose, in_fringe
from gen3dface.data_synth.rendered.hair.head_field import HeadField, head_field
from gen3dface.data_synth.rendered.hair.locks import assign_locks, frizz, gather, resample, wind
from gen3dface.data_synth.rendered.hair.noise import smooth_noise
from gen3dface.data_synth.rendered.hair.paint import Texels, beyond_crown, painted, shade, skin_texels
from gen3dface.data_synth.rendered.hair.roots import Roots, above_hairline, choose, skin_points
from gen3dface.data_synth.rendered.hair.style import HairStyle
from gen3dface.data_synth.rendered.strands import Strands
from gen3dface.heads import HeadModel

_FEATHER = 0.011  # m over which hair thickens from the hairline on
_FRINGE_DENSITY = 2.5
_PARTING_DENSITY = 2.5
_BROWS = 420  # strands
_STIFF = 10.0  # m: facial hair is carried by its roots alone


class HairGrower:
    """Holds what all heads of a model share; making one takes about a second."""

    def __init__(self, model: HeadModel, device: torch.device | str = "cpu") -> None:
        self.faces = model.faces.to(device)
        self.field: HeadField = head_field(model).to(device)
        self.skin: Roots = skin_points(model).to(device)
        self._model, self._device = model, torch.device(device)
        self._texels: dict[int, Texels] = {}

    def grow(self, style: HairStyle, vertices: Tensor, generator: torch.Generator) -> Strands | None:
        """Hair on the scalp of a head.

        Args:
            style: what to grow. vertices: [V, 3] of the head, metres.
            generator: on the CPU; the same seed gives the same hair on every device.

        Returns:
            None where nothing grows.
        """
        roots = choose(self.skin, scalp_density(self.skin.rest, style, generator), style.count, generator)
        if len(roots) == 0:
            return None
        lines, lock, roots = self._lines(style, roots, generator)
        points = self.carried(lines, roots, vertices)
        if style.bun:
            ball = wound_bun(style, tie_point(style, self.field), generator)
            points = torch.cat([points, ball + self.field.displacement(vertices, ball)])
            lock = torch.cat([lock, torch.randint(0, 40, (len(ball),), generator=generator).to(lock)])
        count, number = points.shape[:2]
        return Strands(
            points,
            taper(style.width, count, number, generator).to(points),
            strand_colour(style, lock, number, generator),
            torch.full((count,), style.shine).to(points),
        )

    def grow_facial(
        self, facial: FacialStyle, style: HairStyle, vertices: Tensor, generator: torch.Generator
    ) -> Strands | None:
        """Beard and brows in the colour of a hair style; arguments and result as for `grow`."""
        groups = []
        density = beard_density(self.skin.rest, facial, generator)
        roots = choose(self.skin, density, beard_count(facial), generator)
        if len(roots):
            near = beard_density(roots.rest, facial, generator)
            lines = grow_beard(facial, roots, near, self.field, generator)
            width = 0.0003 if facial.beard == "stubble" else 0.0006
            groups.append(self._short(lines, roots, vertices, style, width, generator))
        roots = choose(self.skin, brow_density(self.skin.rest, facial), round(_BROWS * facial.thickness), generator)
        if len(roots):
            lines = grow_brows(roots, self.field, generator)
            groups.append(self._short(lines, roots, vertices, style, 0.0003, generator))
        return Strands.joined(groups) if groups else None

    def paint(self, albedo: Tensor, style: HairStyle, facial: FacialStyle, generator: torch.Generator) -> Tensor:
        """The skin's linear texture [3, T, T], in the model's layout, with the shade of hair too fine to be drawn."""
        size = albedo.shape[-1]
        if size not in self._texels:
            texels = skin_texels(self._model, size)
            self._texels[size] = Texels(size, *(t.to(self._device) for t in (texels.index, texels.rest, texels.grain)))
        share = shade(self._texels[size], style, facial, generator)
        return painted(albedo, share, mean_colour(style, 0.55))

    def _short(
        self, lines: Tensor, roots: Roots, vertices: Tensor, style: HairStyle, width: float, generator: torch.Generator
    ) -> Strands:
        count, number = lines.shape[:2]
        lock = torch.randint(0, 200, (count,), generator=generator).to(lines.device)
        return Strands(
            self.carried(lines, roots, vertices, stiff=_STIFF),
            taper(width, count, number, generator).to(lines),
            strand_colour(replace(style, tip=1.0), lock, number, generator),
            torch.full((count,), 0.5 * style.shine).to(lines),
        )

    def carried(self, lines: Tensor, roots: Roots, vertices: Tensor, stiff: float = 0.025) -> Tensor:
        """Strands [S, P, 3] of the mean head on another: near the root as the skin there moves, then as the head does.

        Args:
            stiff: metres of arc over which the first gives way to the second.
        """
        arc = torch.cumsum((lines[:, 1:] - lines[:, :-1]).norm(dim=-1), 1)
        part = torch.nn.functional.pad(arc / stiff, (1, 0)).clamp(max=1)[..., None]
        at_root = (roots.on(vertices, self.faces) - roots.rest)[:, None]
        return lines + torch.lerp(at_root.expand_as(lines), self.field.displacement(vertices, lines), part)

    def _lines(self, style: HairStyle, roots: Roots, generator: torch.Generator) -> tuple[Tensor, Tensor, Roots]:
        """Finished strands on the mean head [S, points, 3], their locks [S] and their roots."""
        if style.tie is not None:
            lines = grow_tied(style, roots, self.field, generator)
            lines = resample(lines, torch.full((len(lines),), 9.0).to(lines), style.points)
        else:
            grown, lengths = grow_loose(style, roots, self.field, generator)
            lines = resample(grown, lengths, style.points)
        leaders, lock = assign_locks(roots.rest, style.locks, generator)
        if style.clump:
            lines = gather(lines, leaders, lock, style.clump, generator)
        if style.curl:
            lines = wind(lines, leaders, lock, style, generator)
        lines = frizz(lines, lock, style.frizz, generator)
        lines = torch.cat([roots.rest[:, None], self.field.pushed_out(lines[:, 1:], CLEARANCE)], 1)
        keep = ~_across_the_face(lines) | in_fringe(roots.rest, style)
        return lines[keep], lock[keep], roots[keep]


def scalp_density(rest: Tensor, style: HairStyle, generator: torch.Generator) -> Tensor:
    """Relative density of hair in 0.. at points [S, 3] of the mean head: feathered at an uneven hairline."""
    uneven = 0.0022 * smooth_noise(rest, 45, generator)[:, 0] + 0.0022 * smooth_noise(rest, 160, generator)[:, 0]
    depth = above_hairline(rest, style.recession) + uneven
    if style.crown:
        depth = torch.minimum(depth, beyond_crown(rest, style) + 2 * uneven)
    density = (depth / _FEATHER).clamp(0, 1) ** 0.8
    if style.comb == "parted":  # hair leaves a parting to both sides: nothing from elsewhere covers the skin there
        near = torch.exp(-(((rest[:, 0] - style.part) / 0.012) ** 2)) * (rest[:, 1] > 0.05)
        density = density * (1 + _PARTING_DENSITY * near)
    return torch.where(in_fringe(rest, style), density * _FRINGE_DENSITY, density)


def _across_the_face(lines: Tensor) -> Tensor:
    """Which strands [S] hang before the face."""
    x, y, z = lines.unbind(-1)
    return ((x.abs() < 0.054) & (y < 0.045) & (y > -0.1) & (z > 0.055)).any(1)
