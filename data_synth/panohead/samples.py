"""Training samples of a generator's heads: a photo, the head estimated from it, and views from all around."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.data_synth.panohead.checkpoint import load_generator
from gen3dface.data_synth.panohead.generator import Generator, Identity, Shown
from gen3dface.data_synth.panohead.mesh import head_mesh
from gen3dface.data_synth.sample import TrainingSample, packed_depth
from gen3dface.errors import EstimationError
from gen3dface.estimators import HeadFit, estimate
from gen3dface.heads import load_head_model
from gen3dface.outputs.pictures import encode, to_bytes
from gen3dface.photo import Portrait, load_portrait
from gen3dface.raster import rasterize
from gen3dface.similarity import Similarity

FOCAL, RADIUS = 4.2647, 2.7  # of the training cameras: image sides; the generator's units
PIVOTS = {"panohead": (0.0, 0.0, 0.0), "eg3d": (0.0, 0.0, 0.2)}  # what the training cameras look at
_LEAST = 0.02  # of a view that a head covers at least
_PITCH = 15.0  # degrees by which the photo's camera is raised or lowered at most
_CUTOFF = 14  # layers that are truncated
_STREAM = 6271  # apart from other users of the same seeds


def generator_cameras(
    azimuths: Tensor, elevations: Tensor, pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Tensor:
    """Training cameras [B, 25] at true angles, degrees [B], around a point of the generator's world (OpenCV axes).

    The public sampling scripts' polar angle is none: theirs of 40 degrees shows 26.4.
    """
    a, e = azimuths.deg2rad(), elevations.deg2rad()
    back = torch.stack([e.cos() * a.sin(), e.sin(), e.cos() * a.cos()], -1)
    right = torch.stack([a.cos(), torch.zeros_like(a), -a.sin()], -1)
    down = torch.linalg.cross(-back, right)
    pose = torch.eye(4).repeat(len(a), 1, 1)
    pose[:, :3] = torch.stack([right, down, -back, RADIUS * back + torch.tensor(pivot)], -1)
    lens = torch.tensor([FOCAL, 0, 0.5, 0, FOCAL, 0.5, 0, 0, 1]).expand(len(a), 9)
    return torch.cat([pose.flatten(1), lens], 1)


def placement(photo: Tensor, fit: Cameras, scale: float) -> Similarity:
    """Where the generator's world lies in the head's, from the camera [25] that took the photo as both know it.

    scale: metres of a unit.
    """
    pose = photo[:16].view(4, 4)  # camera to the generator's world
    found = fit.world_to_camera[0]
    # x_camera = scale * R_g^T (x - c_g) = R_f x_head + t_f
    rotation = found[:3, :3].T @ pose[:3, :3].T
    shift = -(scale * rotation @ pose[:3, 3]) - found[:3, :3].T @ found[:3, 3]
    return Similarity(scale, rotation, shift)


def numbers_of(cameras: Cameras) -> Tensor:
    """The 25 numbers [N, 25] of N cameras in the generator's world."""
    lens = cameras.intrinsics / cameras.intrinsics.new_tensor([[cameras.width], [cameras.height], [1]])
    return torch.cat([torch.linalg.inv(cameras.world_to_camera).flatten(1), lens.flatten(1)], 1)


@dataclass(frozen=True)
class Sampling:
    """What is taken of a generator's heads.

    Args:
        views: a rig's name. size: px of a view. psi: truncation. yaw: degrees to each side of the photo.
        depth: keep depth maps. bfloat16: see `Generator.in_bfloat16`.
    """

    views: str = "orbit48"
    size: int = 128
    psi: float = 0.7
    yaw: float = 60.0
    depth: bool = False
    bfloat16: bool = False


@dataclass(frozen=True)
class _Found:
    """A generator's head, its photo from yaw and pitch (degrees), and the head that the estimator sees in it.

    placed: from the generator's world to the estimated head's, in metres.
    """

    identity: Identity
    portrait: Portrait
    head: HeadFit
    placed: Similarity
    yaw: float
    pitch: float


class HeadSampler:
    """`MakeIdentity` of a converted generator."""

    def __init__(self, generator: Generator, note: dict[str, Any], sampling: Sampling, device: str = "cpu") -> None:
        self._generator, self._note, self._device = generator.to(device), note, device
        self._generator.in_bfloat16 = sampling.bfloat16
        self._wanted, self._cameras = sampling, rig(sampling.views, sampling.size)
        self._pivot = PIVOTS[note["kind"]]

    @classmethod
    def open(cls, folder: Path, sampling: Sampling, device: str = "cpu", kind: str | None = None) -> HeadSampler:
        """Raises `CheckpointError` when the folder holds no generator, or one of another kind."""
        return cls(*load_generator(folder, kind), sampling, device)

    @torch.no_grad()
    def __call__(self, seed: int) -> TrainingSample:
        """Raises `NoFaceError`, `EstimationError` and others where the generator drew nothing that is a face."""
        found = self._found(seed)
        views, depth = self._views(found)
        if (views[:, 3] > 127).float().mean((1, 2)).min() < _LEAST:
            raise EstimationError("A view of the generator's head is empty.")
        name, provenance = f"{self._note['kind']}-{seed:09d}", self._provenance(seed, found)
        return TrainingSample(name, found.portrait, found.head, views, self._cameras, provenance, depth=depth)

    @torch.no_grad()
    def mesh(self, seed: int, resolution: int = 256) -> tuple[Tensor, Tensor]:
        """A seed's head as vertices [V, 3] and faces [F, 3], placed as its sample's views are; see `head_mesh`.

        Raises as `__call__` does: the estimator tells the metres and where the head is.
        """
        found = self._found(seed)
        return head_mesh(self._generator, found.identity.planes, found.placed, resolution)

    def _found(self, seed: int) -> _Found:
        """A photo of a seed's head, and what the estimator finds in it."""
        random = np.random.default_rng([_STREAM, seed])
        yaw, pitch = (float(random.uniform(-most, most)) for most in (self._wanted.yaw, _PITCH))
        photo = generator_cameras(torch.tensor([yaw]), torch.tensor([pitch]), self._pivot)
        identity = self.identity(seed)
        shot = self._shown(identity, photo)
        portrait = load_portrait(encode(to_bytes(shot.image / 2 + 0.5)[0], "png"))
        head = estimate(portrait, focal=FOCAL * portrait.width)
        placed = placement(photo[0], head.camera, _scale(shot.depth[0, 0], shot.mask[0, 0], head))
        return _Found(identity, portrait, head, placed, yaw, pitch)

    def _views(self, found: _Found) -> tuple[Tensor, Tensor | None]:
        """Views and depth of a training sample."""
        pictures, maps = [], []
        cameras = numbers_of(found.placed.carried_back(self._cameras))
        for numbers, camera in zip(cameras, self._cameras, strict=True):
            shown = self._shown(found.identity, numbers[None])
            pictures.append(self._view(shown))
            maps.append(self._depth(shown, camera) * found.placed.scale)
        return torch.cat(pictures), packed_depth(torch.cat(maps)) if self._wanted.depth else None

    def _provenance(self, seed: int, found: _Found) -> dict[str, Any]:
        return {
            "generator": f"gen3dface.{self._note['kind']}.1",
            "checkpoint": self._note["sha256"],
            "licences": [self._note["licence"]],
            "seed": seed,
            "psi": self._wanted.psi,
            "yaw": round(found.yaw, 2),
            "pitch": round(found.pitch, 2),
        }

    def identity(self, seed: int) -> Identity:
        """Planes and background of a seed's head, as w is when the head is seen from in front."""
        z = torch.randn(1, self._generator.config.z_dim, generator=torch.Generator().manual_seed(seed))
        front = generator_cameras(torch.zeros(1), torch.zeros(1), self._pivot)
        return self._generator.identity(z.to(self._device), front.to(self._device), self._wanted.psi, _CUTOFF)

    def _shown(self, identity: Identity, camera: Tensor) -> Shown:
        # trained with cameras at one distance: what is near and far goes with the camera
        away = (camera[:, 3:12:4] - torch.tensor(self._pivot)).norm(dim=1) - RADIUS
        shown = self._generator.shown(identity, camera.to(self._device), further=away.to(self._device))
        return Shown(*(t.cpu() for t in vars(shown).values()))

    def _view(self, shown: Shown) -> Tensor:
        """uint8 [1, 4, S, S]: colours over white, and coverage."""
        size = (self._wanted.size, self._wanted.size)
        colour = F.interpolate(shown.image / 2 + 0.5, size, mode="bilinear", antialias=True).clamp(0, 1)
        alpha = F.interpolate(shown.mask.clamp(0, 1), size, mode="bilinear", antialias=True)
        both = torch.cat([colour * alpha + 1 - alpha, alpha], 1)
        return (both * 255).round().to(torch.uint8)

    def _depth(self, shown: Shown, camera: Cameras) -> Tensor:
        """[1, 1, S, S] along the camera's axis in the generator's units; inf where the head covers less than half."""
        side = shown.depth.shape[-1]
        rays = torch.linalg.inv(camera.resized(side, side).intrinsics[0])
        flat = torch.where(shown.mask > 0.5, shown.depth * _cosines(rays, side), torch.inf)
        return F.interpolate(flat, (self._wanted.size, self._wanted.size), mode="nearest")


def _cosines(inverse: Tensor, side: int) -> Tensor:
    """[side, side] of the angles between the pixels' rays and the axis, for the inverse [3, 3] of a camera's matrix."""
    rows = torch.arange(side) + 0.5
    y, x = torch.meshgrid(rows, rows, indexing="ij")
    return 1 / (torch.stack([x, y, torch.ones_like(x)], -1) @ inverse.T).norm(dim=-1)


def _scale(depth: Tensor, mask: Tensor, head: HeadFit) -> float:
    """Metres of the generator's unit: by how far the estimated head's face lies behind its pixels.

    depth, mask: [s, s] along the rays of the photo's camera, in the generator's units.
    """
    side = depth.shape[-1]
    mesh, camera = head.mesh(load_head_model()), head.camera.resized(side, side)
    seen = rasterize(mesh.vertices, load_head_model().faces, camera)
    lens = torch.tensor([[FOCAL * side, 0, side / 2], [0, FOCAL * side, side / 2], [0, 0, 1]])
    along = depth * _cosines(torch.linalg.inv(lens), side)  # from distance along the ray to depth
    both = seen.mask & (mask > 0.9)
    if not bool(both.any()):
        raise EstimationError("The estimated head does not lie where the generator drew one.")
    found = float((seen.depth[both] / along[both]).median())
    if not math.isfinite(found) or found <= 0:
        raise EstimationError("The generator's depth is no distance.")
    return found
