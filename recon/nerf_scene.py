"""NeRF's `transforms.json`: camera-to-world in OpenGL's axes, focal lengths or an angle of view."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, ReconstructionError
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.view_folder import MOST_VIEWS, joined, read_picture, read_text


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
    pictures = [read_picture(folder, frame.get("file_path"), size) for frame in frames]
    cameras = [
        _camera(data | frame, number, *image.shape[1:])
        for number, (frame, (image, _)) in enumerate(zip(frames, pictures, strict=True))
    ]
    return joined(folder, pictures, cameras)


def _camera(values: dict[str, Any], number: int, height: int, width: int) -> Cameras:
    """One camera in pixels of height x width, from the frame's values or the file's."""
    try:
        pose = torch.tensor(values["transform_matrix"], dtype=torch.float64)
        if pose.shape != (4, 4):
            raise CameraError(f"Frame {number}: transform_matrix is {tuple(pose.shape)}, expected 4 x 4.")
        stored_w, stored_h = float(values.get("w", width)), float(values.get("h", height))
        focal_x = values.get("fl_x")
        if focal_x is None:
            focal_x = stored_w / 2 / math.tan(float(values["camera_angle_x"]) / 2)
        focal_y = values.get("fl_y", focal_x)
        centre = float(values.get("cx", stored_w / 2)), float(values.get("cy", stored_h / 2))
        scale_x, scale_y = width / stored_w, height / stored_h
        matrix = torch.tensor(
            [
                [float(focal_x) * scale_x, 0, centre[0] * scale_x],
                [0, float(focal_y) * scale_y, centre[1] * scale_y],
                [0, 0, 1],
            ]
        )
        rotation = pose[:3, :3] / pose[:3, :3].norm(dim=0)  # some writers keep a scale in it
        world_to_camera = torch.eye(4, dtype=torch.float64)
        world_to_camera[:3, :3] = (rotation * pose.new_tensor([1.0, -1, -1])).T
        world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ pose[:3, 3]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise CameraError(f"Frame {number} of transforms.json has no usable camera: {error!r}.") from error
    return Cameras(world_to_camera.float()[None], matrix.float()[None], height, width)
