"""Fit a field to views: the steps, the losses, and the order in which detail comes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from gen3dface.cameras import Cameras
from gen3dface.errors import ConfigError
from gen3dface.recon.agreement import Explained
from gen3dface.recon.checked import require_amounts, require_counts
from gen3dface.recon.distance_grid import DistanceGrid, corner_points
from gen3dface.recon.opacity import section_opacity, section_weights
from gen3dface.recon.pixels import Pixels, Rays
from gen3dface.recon.ray_sections import crossings, sections
from gen3dface.recon.sdf_field import SDFField

# corners of a tetrahedron: four samples give a gradient and a Laplacian
_CORNERS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
_JUDGED = 8192  # pixels that tell how well the views are explained


@dataclass(frozen=True)
class FieldConfig:
    """How a field is fitted; lengths in metres.

    Args:
        steps, rays, samples: of the optimiser, of a step, of a ray.
        width: 1 / s of the opacity at the start and at the end (falls geometrically).
        margin: by how much a ray is sampled beyond the opacity's width, to both sides.
        rate: of the networks; ten times as much for the hashed features.
        mask, eikonal, curvature: weights of the losses beside the colours'.
        refresh: steps after which the grid that finds surfaces is made again. resolution: of that grid.
    """

    steps: int = 600
    rays: int = 2048
    samples: int = 12
    width: tuple[float, float] = (2e-3, 4e-4)
    margin: float = 2e-3
    rate: float = 2e-3
    mask: float = 0.3
    eikonal: float = 0.05
    curvature: float = 2e-4
    refresh: int = 50
    resolution: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        require_counts(self, steps=1, rays=4, samples=2, refresh=1, resolution=8, seed=0)
        require_amounts(self, "width", "rate", zero=False)
        require_amounts(self, "margin", "mask", "eikonal", "curvature")
        if len(self.width) != 2:
            raise ConfigError(f"FieldConfig: width is {self.width!r}; it must be two numbers.")


@dataclass(frozen=True)
class FittedField:
    """A field, and how well it explains its views."""

    field: SDFField
    explained: Explained


def fit_field(
    images: Tensor,
    masks: Tensor,
    cameras: Cameras,
    start: DistanceGrid,
    config: FieldConfig = FieldConfig(),
    weights: Tensor | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> FittedField:
    """The field that the views show.

    Args:
        images: [N, 3, H, W] in 0..1 over white. masks: [N, 1, H, W] in 0..1. start: the head to begin from.
        weights: [N] how far each view is trusted (default: all alike).
        device: where the field is fitted, and lies then (default: the CPU).
    """
    device = torch.device(device or "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        field = SDFField(start.to(device), len(images), trust=weights).to(device)
    weights = torch.ones(len(images)) if weights is None else weights
    pixels = Pixels(images.to(device), masks.to(device), cameras.to(device), start.side, weights.to(device))
    fit = _Fit(field, pixels, config)
    for step in tqdm(range(config.steps), desc="surface", unit="step", disable=not progress):
        fit.step(step)
    return FittedField(field, fit.explained())


class _Fit:
    """The state between steps. A GPU is given its work ahead: nothing in a step waits for a result of it."""

    def __init__(self, field: SDFField, pixels: Pixels, config: FieldConfig) -> None:
        self.field, self.pixels, self.config = field, pixels, config
        device = field.gain.device
        self.random = torch.Generator(device).manual_seed(config.seed)
        self.corners = torch.tensor(_CORNERS, device=device) / math.sqrt(3)  # [4, 3] unit
        exposures = [field.gain, field.offset]
        networks = [*field.geometry.parameters(), *field.colour.parameters()]
        groups = [
            {"params": [field.encoding.table], "lr": 10 * config.rate, "eps": 1e-15},
            {"params": networks, "lr": config.rate, "eps": 1e-8},
            {"params": exposures, "lr": config.rate, "eps": 1e-8},
        ]
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=device.type == "cuda")
        self.rates = [float(group["lr"]) for group in self.optimiser.param_groups]
        self.grid = field.start

    def step(self, step: int) -> None:
        """One step of the optimiser."""
        config, share = self.config, step / self.config.steps
        if step and step % config.refresh == 0:
            self.grid = snapshot(self.field, self.grid, config.resolution)
        levels = len(self.field.encoding.cells)
        self.field.levels = min(levels, 4 + int(share * 2 * (levels - 3)))  # all from the half on
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * min(1.0, (step + 1) / 20) * 0.1 ** max(0.0, 2 * share - 1)
        start, end = config.width
        loss = self._loss(start * (end / start) ** min(1.0, 1.25 * share))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def _loss(self, width: float) -> Tensor:
        config, field = self.config, self.field
        rays = self.pixels.draw(config.rays, self.random)
        seen, shot = self._shoot(rays, width)
        colour = ((seen - rays.colour).abs().mean(1) * rays.weight).mean()
        mask = self._outline(rays, shot, width)
        exposures = field.gain.square().mean() + field.offset.square().mean()
        return colour + config.mask * mask + self._tidy(shot, width) + 0.1 * exposures

    def _shoot(self, rays: Rays, width: float) -> tuple[Tensor, _Shot]:
        """The colours [R, 3] that rays see, over white by their true coverage.

        So the colours place the surface in depth, and the masks alone its outline.
        """
        config, field = self.config, self.field
        along, deepest, least = crossings(self.grid, rays.origins, rays.directions)
        ends = sections(along, 4 * width + config.margin, config.samples, self.random)
        points = rays.origins[:, None] + ends[..., None] * rays.directions[:, None]
        distances, made_from = field.measured(points.flatten(0, 1))
        distances, made_from = distances.reshape(ends.shape), made_from.reshape(*ends.shape, -1)
        shown = section_weights(section_opacity(distances, 1 / width))
        middle = (made_from[:, 1:] + made_from[:, :-1]).flatten(0, 1) / 2
        colours = field.colours(middle).reshape(*shown.shape, 3)
        mean = (shown[..., None] * colours).sum(1) / (shown.sum(1)[:, None] + 1e-4)
        seen = field.exposed(mean, rays.view) * rays.mask[:, None] + 1 - rays.mask[:, None]
        return seen, _Shot(points, distances, shown, deepest, least)

    @torch.no_grad()
    def explained(self) -> Explained:
        """By covered pixels."""
        rays = self.pixels.draw(_JUDGED, self.random)
        seen, _ = self._shoot(rays, self.config.width[1])
        covered = rays.mask > 0.9
        view, true = rays.view[covered], rays.colour[covered]
        count = self._by_view(view, torch.ones_like(true))
        apart = true - (self._by_view(view, true) / count.clamp(min=1))[view]
        wrong, spread = (self._by_view(view, e.square()).sum(1) for e in (seen[covered] - true, apart))
        return Explained.of(wrong, spread, count[:, 0])

    def _by_view(self, view: Tensor, values: Tensor) -> Tensor:
        """Sums [N, 3] of values [P, 3] of pixels of these views [P]."""
        return torch.zeros_like(self.field.gain).index_add_(0, view, values)

    def _outline(self, rays: Rays, shot: _Shot, width: float) -> Tensor:
        """Cross entropy of the masks and sigmoid(-f / width) at the deepest point of the rays that touch the outline.

        As in IDR (Yariv et al., 2020, eq. 7). Opacities would ask rays that enter at a slant, and are sampled around
        the surface alone, for more than they can have, and so make the head swell.
        """
        near = shot.least.abs() < 6 * width + self.config.margin
        # a GPU would wait to learn how many there are; it takes all rays, the far ones for nothing
        rows = near.nonzero()[:, 0] if near.device.type == "cpu" else torch.arange(len(near), device=near.device)
        points = rays.origins[rows] + shot.deepest[rows, None] * rays.directions[rows]
        said, weight = -self.field.distances(points) / width, (rays.weight * near)[rows]
        found = F.binary_cross_entropy_with_logits(said, rays.mask[rows], weight=weight, reduction="sum")
        return found / len(near)

    def _tidy(self, shot: _Shot, width: float) -> Tensor:
        """The eikonal loss and the curvature's at one point of every fourth ray, by finite differences."""
        config, field = self.config, self.field
        shown = F.pad(shot.shown[::4].detach(), (0, 1)) + 1e-3
        race = torch.empty_like(shown).exponential_(generator=self.random)
        chosen = (shown / race).argmax(1, keepdim=True)  # as torch.multinomial, which makes a GPU wait
        at = shot.points[::4].gather(1, chosen[..., None].expand(-1, -1, 3))[:, 0]
        middle = shot.distances[::4].gather(1, chosen)[:, 0]
        reach = max(width, field.start.side / 256)
        offsets = self.corners * reach
        around = field.distances((at[:, None] + offsets).flatten(0, 1)).reshape(-1, 4)
        gradient = around @ offsets * (3 / (4 * reach**2))
        laplacian = (around.sum(1) - 4 * middle) * (1.5 / reach**2)
        eikonal = (gradient.norm(dim=1) - 1).square().mean()
        return config.eikonal * eikonal + config.curvature * laplacian.abs().mean()


@dataclass(frozen=True)
class _Shot:
    """What R rays met, sampled at the K + 1 ends of sections."""

    points: Tensor  # [R, K + 1, 3]
    distances: Tensor  # [R, K + 1]
    shown: Tensor  # [R, K] weights of the sections
    deepest: Tensor  # [R] metres to where they are deepest inside, or nearest
    least: Tensor  # [R] the grid's distances there


@torch.no_grad()
def snapshot(field: SDFField, before: DistanceGrid, resolution: int, band: float = 0.012) -> DistanceGrid:
    """The field on a grid, asked only within `band` metres of where the surface was; elsewhere its start."""
    rough = before
    if before.values.shape[0] != resolution:
        rough = DistanceGrid.of(before, resolution, before.side, before.values.device)
    near = (rough.values.abs() < band).flatten().nonzero()[:, 0]
    points = corner_points(resolution, before.side, near.device)[near]
    values = rough.values.flatten().clone()
    values[near] = torch.cat([field.distances(part) for part in points.split(1 << 16)])
    return DistanceGrid(values.reshape(rough.values.shape), before.side)
