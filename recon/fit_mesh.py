"""Fit a mesh to views directly: each vertex is moved to where all views that see it show the same colour.

Photo-consistency and outlines, no pictures rendered:

    L = mean_v sum_n w_nv |g_n I_n(p_nv) - c_v| + m mean_q d_n(p_nq)^2,   c_v = sum_n w_nv g_n I_n(p_nv)

with I_n the view n, p_nv where vertex v lies in it, g_n its exposure, w_nv how squarely it sees v, times how much it
counts (sum_n w_nv = 1), and d_n the distance to its mask's outline at points q of the mesh's own outline. There all
views count alike, since none tells what another's outline does. What is seen by which view is found anew every few
steps; pictures are sharpened as the fit goes on. Vertices move in large steps (Nicolet et al., 2021), so that a surface
stays smooth where nothing is to be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize
from gen3dface.recon.agreement import Explained
from gen3dface.recon.checked import require_amounts, require_counts
from gen3dface.recon.exposure import Exposures, common_gains
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.large_steps import LargeSteps
from gen3dface.recon.outlines import Outline, mask_distances, outline_of, unique_edges
from gen3dface.render import vertex_normals

_TOLERANCE = 0.004  # metres that a vertex may lie behind the surface that a view shows and still be seen
_SLANT = 0.2  # cosine from which a view counts
_SQUARELY = 0.05  # weight from which a view sees a vertex; two are needed to tell anything
_CORE = 0.9  # coverage from which a pixel shows the head alone
_ROUND = 0.01  # colour differences below this count squared
_PERCENT = 100.0  # outlines are measured in hundredths of the picture's side


@dataclass(frozen=True)
class MeshConfig:
    """How a mesh is fitted.

    Args:
        steps: of the optimiser. rate: of u, metres a step; it falls to a tenth over the second half.
        stiffness: see `LargeSteps`. mask: m, the weight of the outlines.
        refresh: steps after which is looked again who sees what.
        blurs: standard deviations, px, of the pictures' blur, each for an equal share of the steps.
    """

    steps: int = 100
    rate: float = 4e-3
    stiffness: float = 20.0
    mask: float = 0.01
    refresh: int = 15
    blurs: tuple[float, ...] = (3.0, 1.5, 0.7)

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        require_counts(self, steps=1, refresh=1)
        require_amounts(self, "rate", "blurs", zero=False)
        require_amounts(self, "stiffness", "mask")


@dataclass(frozen=True)
class FittedMesh:
    """A mesh, its vertices' colours, how its views are exposed, and how well they agree."""

    mesh: Mesh
    colours: Tensor  # [V, 3] in 0..1; the surroundings' where no view sees
    exposures: Exposures
    explained: Explained


def fit_mesh(
    images: Tensor,
    masks: Tensor,
    cameras: Cameras,
    start: Mesh,
    config: MeshConfig = MeshConfig(),
    progress: bool = True,
    trust: Tensor | None = None,
) -> FittedMesh:
    """The mesh that the views show; its triangles stay those of `start`.

    Args:
        images: [N, 3, S, S] in 0..1. masks: [N, 1, S, S] in 0..1. All on the device where it is fitted.
        trust: [N] how much each view's colours count (default: all alike).
    """
    trust = torch.ones(len(images)) if trust is None else trust
    fit = _Fit(images, masks, cameras, start, config, (trust / trust.mean()).to(images))
    for step in tqdm(range(config.steps), desc="surface", unit="step", disable=not progress):
        fit.step(step)
    return fit.result()


class _Fit:
    """The state between steps."""

    def __init__(
        self, images: Tensor, masks: Tensor, cameras: Cameras, start: Mesh, config: MeshConfig, trust: Tensor
    ) -> None:
        self.images, self.masks, self.cameras, self.config, self.trust = images, masks, cameras, config, trust
        self.size = images.new_tensor([images.shape[-1], images.shape[-2]])
        self.faces = start.faces.to(images.device)
        self.edges = unique_edges(self.faces)
        self.optimiser = LargeSteps(start.vertices.to(images), self.faces, config.stiffness)
        self.apart = mask_distances(masks) * (_PERCENT / images.shape[-1])
        self.gain = images.new_ones(len(images), 1, 1)
        self.blur = math.nan

    def step(self, step: int) -> None:
        """One step of the optimiser."""
        config, share = self.config, step / self.config.steps
        self._sharpen(config.blurs[int(share * len(config.blurs))])
        vertices = self.optimiser.vertices().requires_grad_(True)
        if step % config.refresh == 0:
            self._look(vertices.detach())
        (self._differing(vertices) + config.mask * self._outlying(vertices)).backward()
        assert vertices.grad is not None
        self.optimiser.step(vertices.grad, config.rate * min(1.0, (step + 1) / 5) * 0.1 ** max(0.0, 2 * share - 1))

    def _differing(self, vertices: Tensor) -> Tensor:
        colours = self.gain * self._sampled(self.pictures, self.cameras.project(vertices)[0])
        apart = (colours - self._mean(colours)).square().sum(1)
        rounded = (apart + _ROUND**2).sqrt() - _ROUND
        return (self.weights * rounded).sum(0)[self.told].sum() / len(vertices)

    def _outlying(self, vertices: Tensor) -> Tensor:
        pixels = [self.cameras[[n]].project(o.points(vertices))[0] for n, o in enumerate(self.outlines)]
        found = [self._sampled(self.apart[[n]], at).flatten() for n, at in enumerate(pixels)]
        return torch.cat(found).square().sum() / max(1, sum(map(len, found)))

    def _mean(self, colours: Tensor, weights: Tensor | None = None) -> Tensor:
        """[3, V] of the views [N, 3, V]."""
        return ((self.weights if weights is None else weights)[:, None] * colours).sum(0)

    def _sampled(self, pictures: Tensor, pixels: Tensor) -> Tensor:
        """[N, C, P] of pictures [N, C, H, W] at pixels [N, P, 2]."""
        where = (pixels / self.size * 2 - 1)[:, None]
        return F.grid_sample(pictures, where, padding_mode="border", align_corners=False)[:, :, 0]

    @torch.no_grad()
    def _look(self, vertices: Tensor) -> None:
        """Who sees which vertex and how squarely, where the outlines run, and how the views are exposed."""
        normals, looks = vertex_normals(vertices, self.faces), []
        self.outlines: list[Outline] = []
        for camera in self.cameras:
            depth = rasterize(vertices, self.faces, camera, cull_back=True).depth
            pixels, behind = (found[0] for found in camera.project(vertices))
            facing = (normals * F.normalize(camera.centers - vertices, dim=1)).sum(1)
            column, row = pixels.floor().long().unbind(1)
            at = row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)
            seen = (behind < depth[at] + _TOLERANCE) & ((pixels >= 0) & (pixels < self.size)).all(1)
            looks.append(seen * ((facing - _SLANT) / (1 - _SLANT)).clamp(min=0).square())
            self.outlines.append(outline_of(self.edges, facing, pixels, depth.isfinite()))
        squarely = torch.stack(looks)
        self.told = (squarely > _SQUARELY).sum(0) > 1
        weights = self.trust[:, None] * squarely
        self.weights, self.alike = (w / w.sum(0).clamp(min=1e-6) for w in (weights, squarely))
        self._expose(vertices)

    def _expose(self, vertices: Tensor) -> None:
        """The gain of each view that brings its colours nearest to the mean of all."""
        colours = self._sampled(self.pictures, self.cameras.project(vertices)[0])
        self.gain = common_gains(colours, self.alike * self.told, self.trust)[:, None, None]

    def _sharpen(self, blur: float) -> None:
        if blur != self.blur:
            self.blur, self.pictures = blur, blurred(self.images, self.masks, blur)

    @torch.no_grad()
    def result(self) -> FittedMesh:
        """What the steps came to."""
        vertices = self.optimiser.vertices()
        self._look(vertices)
        colours = self.gain * self._sampled(self.pictures, self.cameras.project(vertices)[0])
        known = self.weights.sum(0) > 0.5
        spread = _run_on(self._mean(colours).T, known, self.edges)
        mesh, exposures = Mesh(vertices.cpu(), self.faces.cpu()), Exposures.of(self.gain[..., 0])
        return FittedMesh(mesh, spread.clamp(0, 1), exposures, self._explained(colours))

    def _explained(self, colours: Tensor) -> Explained:
        """How far views' colours [N, 3, V] are what the others show, and in the end what all show.

        All count alike here, so that one that counts more is no judge of the others.
        """
        weight, mean = self.alike[:, None] * self.told, self._mean(colours, self.alike)
        others = (mean - self.alike[:, None] * colours) / (1 - self.alike[:, None]).clamp(min=1e-3)
        own = (weight * colours).sum(2, keepdim=True) / weight.sum(2, keepdim=True).clamp(min=1e-6)
        wrong, apart, left = ((weight * (colours - c).square()).sum((1, 2)) for c in (others, own, mean))
        return Explained.of(wrong, apart, weight.sum((1, 2)), left)


def blurred(images: Tensor, masks: Tensor, deviation: float) -> Tensor:
    """Gaussian blur [N, 3, H, W] of what the masks' cores show; the background takes no part."""
    reach = math.ceil(3 * deviation)
    line = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = (-(line**2) / (2 * deviation**2)).exp()
    kernel = kernel / kernel.sum()
    core = (masks > _CORE).to(images)
    planes = torch.cat([images * core, core], 1).flatten(0, 1)[:, None]
    planes = F.conv2d(planes, kernel[None, None, :, None], padding=(reach, 0))
    planes = F.conv2d(planes, kernel[None, None, None], padding=(0, reach))[:, 0].unflatten(0, (len(images), 4))
    return planes[:, :3] / planes[:, 3:].clamp(min=1e-3)


def _run_on(colours: Tensor, known: Tensor, edges: Tensor, most: int = 200) -> Tensor:
    """Colours [V, 3] with those of unknown vertices taken from their neighbours, ring by ring."""
    out, known = torch.where(known[:, None], colours, 0.0), known.clone()
    both = torch.cat([edges, edges.flip(1)])
    for _ in range(most):
        if bool(known.all()):
            break
        first, second = both[known[both[:, 1]] & ~known[both[:, 0]]].unbind(1)
        total = torch.zeros_like(out).index_add_(0, first, out[second])
        count = out.new_zeros(len(out)).index_add_(0, first, torch.ones_like(first, dtype=out.dtype))
        out = torch.where((count > 0)[:, None], total / count.clamp(min=1)[:, None], out)
        known |= count > 0
    return out
