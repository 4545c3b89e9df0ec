"""COLMAP's text files: `cameras.txt` and `images.txt`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, ReconstructionError
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.view_folder import MOST_VIEWS, joined, read_pictures, read_text

_PLACES = ("", "sparse/0", "sparse")
# where focal lengths (x, y) and the principal point stand among a model's parameters
_MODELS = {"SIMPLE_PINHOLE": (0, 0, 1, 2), "PINHOLE": (0, 1, 2, 3)}


def text_folder(folder: Path) -> Path | None:
    """Where the two files lie; None: nowhere."""
    for place in _PLACES:
        if (folder / place / "cameras.txt").is_file() and (folder / place / "images.txt").is_file():
            return folder / place
    return None


def colmap_views(folder: Path, size: int) -> MultiViewOutput:
    """Read a scene; see `load_views`. Its pictures lie in `images/`."""
    texts = text_folder(folder)
    assert texts is not None
    lenses = {row[0]: row[1:] for row in _rows(texts / "cameras.txt")}
    poses = [row for row in _rows(texts / "images.txt", 9) if not _lists_points(row)]
    if not 1 <= len(poses) <= MOST_VIEWS:
        raise ReconstructionError(f"{texts / 'images.txt'} names {len(poses)} pictures; 1 to {MOST_VIEWS} are read.")
    short = next((row for row in poses if len(row) < 10), None)
    if short is not None:
        raise ReconstructionError(f"{texts / 'images.txt'} has a line that is none: {' '.join(short)[:100]!r}.")
    poses.sort(key=lambda row: row[9])
    pictures = read_pictures(folder, [f"images/{row[9]}" for row in poses], size)
    cameras = [_camera(row, lenses, *image.shape[1:]) for row, (image, _) in zip(poses, pictures, strict=True)]
    return joined(folder, pictures, cameras)


def _rows(path: Path, splits: int = -1) -> list[list[str]]:
    """The words of the lines; after so many splits, the rest of a line is one: names may have spaces."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line.split(maxsplit=splits) for line in lines if line and not line.startswith("#")]


def _lists_points(row: list[str]) -> bool:
    """Whether a line is one of those between the pictures': points, three numbers each."""
    words = " ".join(row).split()
    return len(words) % 3 == 0 and all(map(_is_number, words))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _camera(row: list[str], lenses: dict[str, list[str]], height: int, width: int) -> Cameras:
    """IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME: world to camera, in OpenCV's axes."""
    try:
        model, stored_w, stored_h, *parameters = lenses[row[8]]
        if model not in _MODELS:
            raise CameraError(f"{row[9]}: the lens {model} has distortion; undistort the pictures (PINHOLE) first.")
        numbers = [float(parameters[i]) for i in _MODELS[model]]
        scale_x, scale_y = width / float(stored_w), height / float(stored_h)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = _rotation(torch.tensor([float(v) for v in row[1:5]], dtype=torch.float64))
        pose[:3, 3] = torch.tensor([float(v) for v in row[5:8]])
    except (KeyError, IndexError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise CameraError(f"{row[9]} has no usable camera in COLMAP's files: {error!r}.") from error
    intrinsics = [[numbers[0] * scale_x, 0, numbers[2] * scale_x], [0, numbers[1] * scale_y, numbers[3] * scale_y]]
    matrix = torch.tensor([*intrinsics, [0, 0, 1]])
    return Cameras(pose.float()[None], matrix.float()[None], height, width)


def _rotation(quaternion: Tensor) -> Tensor:
    """[3, 3] of (w, x, y, z)."""
    w, x, y, z = quaternion / quaternion.norm()
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
    ]
    return torch.stack(rows)
