"""Cameras and named rigs: the only place that knows camera conventions.

World: right-handed, metres, x to the subject's left, y up, z out of the face, origin at the head's centre.
Cameras follow OpenCV: x right, y down, z forward; a pixel's centre lies at (column + 0.5, row + 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gen3dface.errors import CameraError

MAX_SIDE = 65_536  # px, more than any image format in use holds


@dataclass(frozen=True)
class Cameras:
    """N pinhole cameras that share one image size.

    Args:
        world_to_camera: [N, 4, 4] rigid transforms, metres.
        intrinsics: [N, 3, 3] in pixels of the `height` x `width` image.
        height, width: image size in pixels.
    """

    world_to_camera: Tensor  # [N, 4, 4]
    intrinsics: Tensor  # [N, 3, 3]
    height: int
    width: int

    def __post_init__(self) -> None:
        n = self.world_to_camera.shape[0]
        if self.world_to_camera.shape != (n, 4, 4) or self.intrinsics.shape != (n, 3, 3):
            raise CameraError(
                "Cameras need world_to_camera [N,4,4] and intrinsics [N,3,3], got "
                f"{tuple(self.world_to_camera.shape)} and {tuple(self.intrinsics.shape)}."
            )
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise CameraError(f"Cameras need images of 1 to {MAX_SIDE} px a side, got {self.height} x {self.width}.")

    def check_finite(self) -> None:
        """Raise `CameraError` where a matrix, read from a file for instance, holds NaN or infinite values."""
        for name in ("world_to_camera", "intrinsics"):
            if not bool(torch.isfinite(getattr(self, name)).all()):
                raise CameraError(f"{name} holds NaN or infinite values.")

    def __len__(self) -> int:
        return self.world_to_camera.shape[0]

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Cameras:
        """The chosen cameras, still a batch: `cameras[0]` has N = 1."""
        if isinstance(index, int):
            index = [index]
        return Cameras(self.world_to_camera[index], self.intrinsics[index], self.height, self.width)

    def __iter__(self) -> Iterator[Cameras]:
        return (self[i] for i in range(len(self)))

    @property
    def rotations(self) -> Tensor:
        """World-to-camera rotations, [N, 3, 3]."""
        return self.world_to_camera[:, :3, :3]

    @property
    def centers(self) -> Tensor:
        """Camera centres in the world, [N, 3] metres."""
        return -(self.rotations.mT @ self.world_to_camera[:, :3, 3:])[..., 0]

    @property
    def azimuths(self) -> Tensor:
        """Degrees around y, 0 in front, positive toward the subject's left, [N]."""
        c = self.centers
        return torch.rad2deg(torch.atan2(c[:, 0], c[:, 2]))

    @property
    def elevations(self) -> Tensor:
        """Degrees above the horizon, [N]."""
        c = self.centers
        return torch.rad2deg(torch.atan2(c[:, 1], c[:, ::2].norm(dim=-1)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Cameras:
        """The same cameras on another device or in another floating type."""
        return Cameras(
            self.world_to_camera.to(device, dtype), self.intrinsics.to(device, dtype), self.height, self.width
        )

    def to_camera(self, points: Tensor) -> Tensor:
        """World points [P, 3] or [N, P, 3] in camera coordinates, [N, P, 3] metres."""
        return points @ self.rotations.mT + self.world_to_camera[:, None, :3, 3]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points [P, 3] or [N, P, 3] -> pixel coordinates [N, P, 2] and depth along z [N, P] metres."""
        local = self.to_camera(points)
        homogeneous = local @ self.intrinsics.mT
        return homogeneous[..., :2] / homogeneous[..., 2:], local[..., 2]

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Inverse of `project`: pixels [N, P, 2] at z-depth [N, P] -> world points [N, P, 3]."""
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
        local = homogeneous @ torch.linalg.inv(self.intrinsics).mT * depth[..., None]
        return (local - self.world_to_camera[:, None, :3, 3]) @ self.rotations

    def rays(self) -> tuple[Tensor, Tensor]:
        """One ray through each pixel's centre: origins [N, 3] and unit directions [N, H, W, 3], world."""
        device, dtype = self.intrinsics.device, self.intrinsics.dtype
        y = torch.arange(self.height, device=device, dtype=dtype) + 0.5
        x = torch.arange(self.width, device=device, dtype=dtype) + 0.5
        grid = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(self.height, self.width).to(x)], -1)
        local = torch.einsum("nij,hwj->nhwi", torch.linalg.inv(self.intrinsics), grid)
        world = torch.einsum("nhwi,nij->nhwj", local, self.rotations)
        return self.centers, torch.nn.functional.normalize(world, dim=-1)

    def resized(self, height: int, width: int) -> Cameras:
        """The same cameras for an image scaled to `height` x `width`."""
        scale = self.intrinsics.new_tensor([width / self.width, height / self.height, 1.0])
        return Cameras(self.world_to_camera, scale[:, None] * self.intrinsics, height, width)

    def cropped(self, x0: float, y0: float, height: int, width: int) -> Cameras:
        """The same cameras for the window of `height` x `width` pixels whose corner is (x0, y0)."""
        shift = torch.zeros_like(self.intrinsics)
        shift[:, 0, 2], shift[:, 1, 2] = x0, y0
        return Cameras(self.world_to_camera, self.intrinsics - shift, height, width)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON; `from_dict` reads them back."""
        return {
            "convention": "opencv, world_to_camera, metres, pixel centres at +0.5",
            "height": self.height,
            "width": self.width,
            "world_to_camera": self.world_to_camera.tolist(),
            "intrinsics": self.intrinsics.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Cameras:
        """Read what `to_dict` wrote; `CameraError` when something is missing, misshapen or not finite."""
        try:
            matrices = [torch.tensor(data[k], dtype=torch.float32) for k in ("world_to_camera", "intrinsics")]
            cameras = cls(matrices[0], matrices[1], int(data["height"]), int(data["width"]))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, RuntimeError) as error:
            raise CameraError(f"These are not cameras as written by Cameras.to_dict: {error!r}.") from error
        cameras.check_finite()
        return cameras

    def to_nerf(self, file_names: list[str]) -> dict[str, Any]:
        """A NeRF `transforms.json`: camera-to-world with OpenGL axes (y up, z backward)."""
        flip = torch.diag(self.world_to_camera.new_tensor([1.0, -1.0, -1.0, 1.0]))
        poses = torch.linalg.inv(self.world_to_camera) @ flip
        frames = [
            {
                "file_path": name,
                "transform_matrix": pose.tolist(),
                "fl_x": k[0, 0].item(),
                "fl_y": k[1, 1].item(),
                "cx": k[0, 2].item(),
                "cy": k[1, 2].item(),
            }
            for name, pose, k in zip(file_names, poses, self.intrinsics, strict=True)
        ]
        angle = 2 * math.atan(self.width / (2 * self.intrinsics[0, 0, 0].item()))
        return {"camera_angle_x": angle, "w": self.width, "h": self.height, "frames": frames}


def look_at_origin(azimuths: Tensor, elevations: Tensor, radius: float) -> Tensor:
    """World-to-camera transforms [N, 4, 4] that look at the origin, upright, from degrees [N] and metres."""
    a, e = torch.deg2rad(azimuths.double()), torch.deg2rad(elevations.double())
    forward = -torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()], -1)
    right = torch.stack([a.cos(), torch.zeros_like(a), -a.sin()], -1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], -2)
    out = torch.eye(4, dtype=torch.float64).repeat(len(a), 1, 1)
    out[:, :3, :3] = rotation
    out[:, 2, 3] = radius
    return out.float()


def orbit(
    azimuths: Tensor,
    elevations: Tensor,
    *,
    radius: float,
    focal: float,
    size: int,
) -> Cameras:
    """Cameras around the origin; `focal` is in units of the image's side.

    Args:
        azimuths, elevations: [N] degrees. radius: metres. size: side of the square image in pixels.
    """
    intrinsics = torch.tensor([[focal * size, 0, size / 2], [0, focal * size, size / 2], [0, 0, 1.0]])
    return Cameras(look_at_origin(azimuths, elevations, radius), intrinsics.repeat(len(azimuths), 1, 1), size, size)


# A portrait lens: the 0.4 m cube around the head just fits a view from 1.8 m.
_RADIUS = 1.8
_FOCAL = 1.8 / 0.4


def _head360(size: int) -> Cameras:
    """16 views, 22.5 degrees apart, from the front."""
    return orbit(torch.arange(16) * 22.5, torch.zeros(16), radius=_RADIUS, focal=_FOCAL, size=size)


def _orbit48(size: int) -> Cameras:
    """Gen3D-Face's data: azimuth -180..180, elevation -40..40; here three rings of 16 views."""
    azimuths = (torch.arange(16) * 22.5 - 180).repeat(3)
    elevations = torch.tensor([-40.0, 0.0, 40.0]).repeat_interleave(16)
    return orbit(azimuths, elevations, radius=_RADIUS, focal=_FOCAL, size=size)


def _face16(size: int) -> Cameras:
    """Morphable Diffusion's views: azimuth -90..90, focal length 1545.24 px at 256 px."""
    return orbit(torch.linspace(-90, 90, 16), torch.zeros(16), radius=1.8, focal=1545.24 / 256, size=size)


def _sync16(size: int) -> Cameras:
    """SyncDreamer's views: 22.5 degrees apart, elevation 30, focal length 280 px at 256 px."""
    return orbit(torch.arange(16) * 22.5, torch.full((16,), 30.0), radius=0.6, focal=280 / 256, size=size)


def _eval40(size: int) -> Cameras:
    """40 views, 9 degrees apart, for identity scores; the paper gives the number of views alone."""
    return orbit(torch.arange(40) * 9.0, torch.zeros(40), radius=_RADIUS, focal=_FOCAL, size=size)


RIGS: dict[str, Callable[[int], Cameras]] = {
    "head360": _head360,
    "orbit48": _orbit48,
    "face16": _face16,
    "sync16": _sync16,
    "eval40": _eval40,
}


def rig(name: str, size: int = 256) -> Cameras:
    """A named set of cameras around the head for square images of `size` pixels.

    Raises:
        CameraError: the name is unknown.
    """
    if name not in RIGS:
        raise CameraError(f"There is no rig named {name!r}; choose one of {', '.join(RIGS)}.")
    return RIGS[name](size)
