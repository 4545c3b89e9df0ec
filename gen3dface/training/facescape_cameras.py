"""FaceScape's calibration files, and its cameras in the frame of an estimated head."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import DataError

_MOST_BYTES = 64 << 20
_LEAST_PARALLAX = 0.02  # sine of the angle between two rays below which they tell no depth


@dataclass(frozen=True)
class CalibratedPhoto:
    """One photo of a capture."""

    path: Path
    intrinsics: NDArray[np.float64]  # [3, 3] px
    distortion: NDArray[np.float64]  # [5] OpenCV's
    pose: NDArray[np.float64]  # [4, 4] from the face's canonical frame (its units) to the camera


def read_photos(capture: Path, scale: float, canonical: NDArray[np.float64]) -> list[CalibratedPhoto]:
    """The valid photos of a capture by its `params.json`.

    Args:
        scale, canonical: [3, 4] of `Rt_scale_dict.json`: x_face = R scale x_capture + t.

    Raises:
        DataError: the file is missing, damaged or lacks a camera's values.
    """
    path = capture / "params.json"
    data = read_json(path)
    found = []
    try:
        for name in sorted((key[:-2] for key in data if key.endswith("_K")), key=int):
            photo = capture / f"{int(name)}.jpg"
            if data.get(f"{name}_valid", True) and photo.exists():
                intrinsics = np.asarray(data[f"{name}_K"], np.float64).reshape(3, 3)
                distortion = np.asarray(data[f"{name}_distortion"], np.float64).reshape(-1)
                rotation_translation = np.asarray(data[f"{name}_Rt"], np.float64).reshape(3, 4)
                pose = _canonical_pose(rotation_translation, scale, canonical)
                found.append(CalibratedPhoto(photo, intrinsics, distortion, pose))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} does not hold FaceScape's calibration: {error!r}.") from error
    return found


def _canonical_pose(camera: NDArray[np.float64], scale: float, canonical: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the face's frame to the camera, lengths in the face's units."""
    pose = np.eye(4)
    pose[:3, :3] = camera[:, :3] @ canonical[:, :3].T
    pose[:3, 3] = scale * camera[:, 3] - pose[:3, :3] @ canonical[:, 3]
    return pose


def angles(photos: list[CalibratedPhoto]) -> tuple[Tensor, Tensor]:
    """Azimuth and elevation [N] of the photos in degrees, in the face's frame."""
    poses = torch.from_numpy(np.stack([p.pose for p in photos])).float()
    cameras = Cameras(poses, torch.eye(3).expand(len(poses), 3, 3), 1, 1)
    return cameras.azimuths, cameras.elevations


def metres_per_unit(
    depths: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    photos: tuple[CalibratedPhoto, CalibratedPhoto],
) -> float:
    """How long the capture's unit is in the estimated head's metres, from landmarks seen in two photos.

    Each landmark's depth z in the first photo follows from its two rays, z R d1 + t = z' d2; the head has it at
    `depths` metres there.

    Args:
        depths: [L] metres along the first camera's axis, NaN where unknown. first, second: [L, 2] px in the photos.

    Raises:
        DataError: the photos are too near each other.
    """
    rays = [_rays(xy, p) for xy, p in zip((first, second), photos, strict=True)]
    relative = photos[1].pose @ np.linalg.inv(photos[0].pose)
    turned = rays[0] @ relative[:3, :3].T
    normal = np.cross(turned, rays[1])
    lengths = np.linalg.norm(turned, axis=1) * np.linalg.norm(rays[1], axis=1)
    moment = np.cross(relative[:3, 3], rays[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        triangulated = -(moment * normal).sum(1) / (normal * normal).sum(1)
        ratio = depths / triangulated
    known = np.isfinite(ratio) & (ratio > 0) & (np.linalg.norm(normal, axis=1) > _LEAST_PARALLAX * lengths)
    if known.sum() < 10:
        raise DataError(f"{photos[0].path} and {photos[1].path} do not tell the capture's scale.")
    return float(np.median(ratio[known]))


def _rays(xy: NDArray[np.float64], photo: CalibratedPhoto) -> NDArray[np.float64]:
    """Directions [L, 3] with z = 1."""
    homogeneous = np.column_stack([xy, np.ones(len(xy))])
    return homogeneous @ np.linalg.inv(photo.intrinsics).T


def carried_over(head_camera: Tensor, input_photo: CalibratedPhoto, photo: CalibratedPhoto, metres: float) -> Tensor:
    """World-to-camera [1, 4, 4] of a photo in the estimated head's frame.

    Args:
        head_camera: [1, 4, 4] of the input photo, estimated. metres: a unit's length.
    """
    relative = torch.from_numpy(photo.pose @ np.linalg.inv(input_photo.pose))
    relative[:3, 3] *= metres
    return (relative @ head_camera.double()).float()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size. Raises `DataError`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is too large.")
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. FaceScape's folder must hold it.") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no JSON object.")
    return data
