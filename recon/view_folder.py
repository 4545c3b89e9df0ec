"""Views from a folder: this package's own, or NeRF's `transforms.json`, brought into the head's cube."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, ReconstructionError
from gen3dface.photo.decode import decode_image
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.distance_grid import SIDE

MOST_VIEWS = 256
_MOST_BYTES = 16 << 20
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")  # NeRF's synthetic scenes leave them out


def load_views(folder: str | Path, size: int = 512) -> MultiViewOutput:
    """Read a folder of views.

    `cameras.json` is this package's own (`MultiViewOutput.save`, the folders of `gen3dface head`). `transforms.json` is
    NeRF's: camera-to-world in OpenGL's axes, focal lengths (`fl_x`, `fl_y`) or `camera_angle_x`, pictures with alpha.
    Such scenes have units and an origin of their own: the point that the cameras look at becomes the origin, and what
    a picture spans there becomes 0.4 m.

    Args:
        size: pixels of a view's longer side; larger pictures are reduced to it.

    Raises:
        ReconstructionError, CameraError, ImageDecodeError: something is missing, damaged, or outside of the folder.
    """
    folder = Path(folder)
    if (folder / "cameras.json").is_file():
        return MultiViewOutput.load(folder)
    if (folder / "transforms.json").is_file():
        return _nerf_views(folder, size)
    raise ReconstructionError(f"'{folder}' holds no views: neither cameras.json nor NeRF's transforms.json is there.")


def _nerf_views(folder: Path, size: int) -> MultiViewOutput:
    data = _read_json(folder / "transforms.json")
    frames = data.get("frames")
    if not isinstance(frames, list) or not 1 <= len(frames) <= MOST_VIEWS or not all(map(_is_object, frames)):
        raise ReconstructionError(f"{folder / 'transforms.json'} needs a list of 1 to {MOST_VIEWS} frames.")
    images, masks, cameras = [], [], []
    for number, frame in enumerate(frames):
        picture = decode_image(_picture_path(folder, frame, number), size)
        rgb = torch.from_numpy(picture.rgb.copy()).permute(2, 0, 1).float() / 255
        alpha = torch.ones_like(rgb[0]) if picture.alpha is None else torch.from_numpy(picture.alpha.copy())
        images.append(rgb)
        masks.append(alpha[None])
        cameras.append(_nerf_camera(data | frame, number, *rgb.shape[1:]))
    if len({tuple(image.shape) for image in images}) > 1:
        raise ReconstructionError(f"The pictures of {folder} differ in size; bring them to one.")
    joined = Cameras(
        torch.cat([c.world_to_camera for c in cameras]),
        torch.cat([c.intrinsics for c in cameras]),
        *images[0].shape[1:],
    )
    joined.check_finite()
    return MultiViewOutput(torch.stack(images), torch.stack(masks), into_cube(joined))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ReconstructionError(f"{path} is too large.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReconstructionError(f"{path} cannot be read: {error}.") from error
    if not isinstance(data, dict):
        raise ReconstructionError(f"{path} does not hold an object.")
    return data


def _picture_path(folder: Path, frame: dict[str, Any], number: int) -> Path:
    """The picture of a frame, within the folder."""
    name, root = frame.get("file_path"), folder.resolve()
    if not isinstance(name, str) or not name:
        raise ReconstructionError(f"Frame {number} of transforms.json names no file_path.")
    for suffix in _SUFFIXES:
        path = (root / (name + suffix)).resolve()
        if not path.is_relative_to(root):
            raise ReconstructionError(f"Frame {number} of transforms.json points outside of its folder: {name!r}.")
        if path.is_file():
            return path
    raise ReconstructionError(f"The picture of frame {number}, {name!r}, is not in {folder}.")


def _nerf_camera(values: dict[str, Any], number: int, height: int, width: int) -> Cameras:
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


def into_cube(cameras: Cameras) -> Cameras:
    """The same cameras in a frame whose origin they look at, where a picture spans the cube's side.

    Raises:
        ReconstructionError: they look at no common point.
    """
    centres, forward = cameras.centers.double(), cameras.rotations[:, 2].double()
    target = _nearest_point(centres, forward)
    distance = ((target - centres) * forward).sum(1)
    if not bool((distance > 0).all()):
        raise ReconstructionError("The cameras do not look at one place; is the file in OpenGL's axes, as NeRF's are?")
    span = distance * cameras.width / cameras.intrinsics[:, 0, 0].double()
    scale = SIDE / span.median()
    moved = cameras.world_to_camera.double().clone()
    moved[:, :3, 3] = scale * ((cameras.rotations.double() @ target) + cameras.world_to_camera[:, :3, 3].double())
    return Cameras(moved.float(), cameras.intrinsics, cameras.height, cameras.width)


def _nearest_point(centres: Tensor, forward: Tensor) -> Tensor:
    """[3] the point nearest to all the optical axes, in the least-squares sense."""
    forward = F.normalize(forward, dim=1)
    across = torch.eye(3, dtype=forward.dtype) - forward[:, :, None] * forward[:, None]
    try:
        found: Tensor = torch.linalg.solve(across.sum(0), (across @ centres[..., None]).sum(0)[:, 0])
    except torch.linalg.LinAlgError as error:
        raise ReconstructionError(
            "The cameras look in one direction: no common point tells where the head is."
        ) from error
    return found
