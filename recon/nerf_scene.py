"""NeRF's `transforms.json`: camera-to-world in OpenGL's axes, focal lengths or an angle of view."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, ReconstructionError
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.view_folder import MOST_VIEWS, joined, read_pictures, read_text

# lenses without distortion as long as the coefficients are 0 (nerfstudio's and instant-ngp's names)
_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "OPENCV", "RADIAL", "SIMPLE_RADIAL")
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")


def nerf_views(folder: Path, size: int) -> MultiViewOutput:
    """Read a scene; see `load_views`."""
    path = folder / "transforms.json"
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ReconstructionError(f"{path} cannot be read: {error}.") from error
    frames = data.get("frames") if isinstance(data, dict) else None
    listed = isinstance(frames, list) and all(isinstance(frame, dict) for frame in frames)
    if not isinstance(frames, list) or not listed or not 1 <= len(frames) <= MOST_VIEWS:
        raise ReconstructionError(f"{path} needs an object with a list of 1 to {MOST_VIEWS} frames.")
    pictures = read_pictures(folder, [frame.get("file_path") for frame in frames], size)
    cameras = [
        _camera(data | frame, number, *image.shape[1:])
        for number, (frame, (image, _)) in enumerate(zip(frames, pictures, strict=True))
    ]
    return joined(folder, pictures, cameras)


def _camera(values: dict[str, Any], number: int, height: int, width: int) -> Cameras:
    """One camera in pixels of height x width, from the frame's values or the file's."""
    _check_lens(values, number)
    try:
        pose, matrix = _world_to_camera(values), _intrinsics(values, height, width)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError, RuntimeError) as error:
        said = str(error)[:200] or type(error).__name__
        raise CameraError(f"Frame {number} of transforms.json has no usable camera: {said}.") from error
    return Cameras(pose[None], matrix[None], height, width)


def _check_lens(values: dict[str, Any], number: int) -> None:
    """Raises `CameraError` for lenses that distort."""
    model = str(values.get("camera_model") or "PINHOLE").upper()[:40]
    bent = [name for name in _DISTORTION if values.get(name) not in (None, 0)]
    if model not in _MODELS or values.get("is_fisheye") or bent:
        what = f"{model} with {', '.join(bent)}" if bent else model
        raise CameraError(
            f"Frame {number} of transforms.json: the lens {what} has distortion; undistort the pictures first."
        )


def _world_to_camera(values: dict[str, Any]) -> Tensor:
    """[4, 4] in OpenCV's axes."""
    pose = torch.tensor(values["transform_matrix"], dtype=torch.float64)
    if pose.shape != (4, 4):
        raise ValueError(f"transform_matrix is {tuple(pose.shape)}, expected 4 x 4")
    rotation = pose[:3, :3] / pose[:3, :3].norm(dim=0)  # some writers keep a scale in it
    found = torch.eye(4, dtype=torch.float64)
    found[:3, :3] = (rotation * pose.new_tensor([1.0, -1, -1])).T
    found[:3, 3] = -found[:3, :3] @ pose[:3, 3]
    return found.float()


def _intrinsics(values: dict[str, Any], height: int, width: int) -> Tensor:
    """[3, 3] in pixels of height x width."""
    stored_w, stored_h = float(values.get("w", width)), float(values.get("h", height))
    focal_x = values.get("fl_x")
    if focal_x is None:
        focal_x = stored_w / 2 / math.tan(float(values["camera_angle_x"]) / 2)
    focal_y = values.get("fl_y", focal_x)
    centre_x, centre_y = float(values.get("cx", stored_w / 2)), float(values.get("cy", stored_h / 2))
    across, down = width / stored_w, height / stored_h
    rows = [[float(focal_x) * across, 0, centre_x * across], [0, float(focal_y) * down, centre_y * down], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float32)
