"""A user's own multi-view captures as training samples: a folder each, in any format that `load_views` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.align import skin_weights
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.errors import DataError, EstimationError
from gen3dface.estimators import estimate
from gen3dface.files import file_sha256
from gen3dface.heads import load_head_model
from gen3dface.outputs.pictures import encode, to_bytes
from gen3dface.photo import load_portrait
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.found_face import find_face
from gen3dface.recon.posed_model import PosedModel
from gen3dface.recon.view_folder import load_views
from gen3dface.similarity import best_similarity

GENERATOR = "gen3dface.captures.1"
_READ = 1024  # px that pictures are reduced to at most
_MASKED = 0.98  # share of the pictures that masks may cover


class Captures:
    """`MakeIdentity` of a folder of captures: number i is the i-th by name.

    The photo is the view that sees the face most from in front. Where the capture's world lies in the head's follows
    from the face that is found in all views, so its units and axes do not matter.

    Args:
        size: px of the views handed on. licence: of the captures.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """

    def __init__(self, folder: Path, size: int, licence: str) -> None:
        self._folders, self._size, self._licence = captures_in(folder), size, licence

    def __call__(self, seed: int) -> TrainingSample:
        """Raises `EstimationError` and others where a capture has no masks or shows no face."""
        if seed >= len(self._folders):
            raise DataError(f"There are {len(self._folders)} captures; identity {seed} was asked for.")
        folder, model = self._folders[seed], load_head_model()
        views = _loaded(folder)
        if views.masks.mean() > _MASKED:
            raise EstimationError(f"{folder.name}: the pictures have neither alpha nor masks.")
        found = find_face(views.tensor(), views.masks, views.cameras, model)
        if found is None:
            raise EstimationError(f"{folder.name}: no face is seen in two of its views.")
        front = _front(found.pose, views.cameras)
        portrait = load_portrait(encode(to_bytes(views.tensor())[front], "png"))
        focal = float(views.cameras.intrinsics[front, 0, 0]) * portrait.width / views.cameras.width
        head = estimate(portrait, focal=focal)
        placed = best_similarity(head.mesh(model).vertices, found.pose.posed, skin_weights(model))
        cameras = placed.carried_back(views.cameras).resized(self._size, self._size)
        provenance = {
            "generator": GENERATOR,
            "capture": folder.name,
            "photo": front,
            "licences": [self._licence],
        }
        return TrainingSample(f"capture-{seed:06d}", portrait, head, _bytes(views, self._size), cameras, provenance)


def _loaded(folder: Path) -> MultiViewOutput:
    """Raises `EstimationError` for what cannot be read: others are made nevertheless."""
    try:
        return squared(load_views(folder, _READ))
    except MemoryError:
        raise
    except Exception as error:  # damaged files fail in whatever way they are read
        raise EstimationError(f"{folder.name} cannot be read: {error}") from error


def captures_in(folder: Path) -> list[Path]:
    """The captures' folders, by name. Raises `DataError` when there are none."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error.strerror or error}.") from error
    if not found:
        raise DataError(f"'{folder}' holds no folders of captures.")
    return found


def content_hash(folder: Path) -> str:
    """Of the captures' files by name and content. Raises `DataError` when one cannot be read."""
    found = hashlib.sha256()
    try:
        for path in (p for capture in captures_in(folder) for p in sorted(capture.rglob("*")) if p.is_file()):
            found.update(f"{path.relative_to(folder)!r} {file_sha256(path)}\n".encode())
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error}.") from error
    return found.hexdigest()


def squared(views: MultiViewOutput) -> MultiViewOutput:
    """With white at the shorter side's both ends, so that the pictures are square."""
    height, width = views.cameras.height, views.cameras.width
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    margins = (left, side - width - left, top, side - height - top)
    images = F.pad(views.tensor(), margins, value=1.0)
    return MultiViewOutput(images, F.pad(views.masks, margins), views.cameras.cropped(-left, -top, side, side))


def _front(pose: PosedModel, cameras: Cameras) -> int:
    """The camera that the face looks at most."""
    forward = F.normalize(pose.turn[:, 2], dim=0)
    toward = F.normalize(cameras.centers - pose.posed.mean(0), dim=1)
    return int((toward @ forward).argmax())


def _bytes(views: MultiViewOutput, size: int) -> Tensor:
    """uint8 [N, 4, size, size]."""
    both = torch.cat([views.tensor(), views.masks], 1)
    small = F.interpolate(both, (size, size), mode="bilinear", antialias=True)
    return (small.clamp(0, 1) * 255).round().to(torch.uint8)
