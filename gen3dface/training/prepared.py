"""What a head's conditions and targets need no network for, in bytes; computed once and kept on the disk.

Rasterising the photo into the views costs more than a training step. It depends on the data and a few of the model's
settings alone, so each head becomes one safetensors file in a folder named after both. A file is read view by view.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.errors import ConfigError, DataError
from gen3dface.files import write_atomically
from gen3dface.heads import load_head_model
from gen3dface.models.photo_projection import PhotoProjection
from gen3dface.pipelines.prepared import Prepared, Wanted, prepare
from gen3dface.pipelines.preview import PREVIEW_PLANES, Preview
from gen3dface.pipelines.subjects import load_subjects

logger = logging.getLogger(__name__)

_FORMAT = 2  # raise it when what is prepared changes
_REACH = 0.2  # metres that a position's byte spans to each side
_SIGNED = 6  # planes of a projection in -1..1: position and normal; those before them are in 0..1
_BY_VIEW = ("targets", "known", "planes", "world_to_camera", "intrinsics", "latents")


@dataclass(frozen=True)
class PackedHead:
    """One head with N views, small enough to keep and to send to a device."""

    photo: Tensor  # uint8 [4, S, S] the crop over white and its matte
    photo_world_to_camera: Tensor  # [1, 4, 4]
    photo_intrinsics: Tensor  # [1, 3, 3]
    vertices: Tensor  # [V, 3]
    targets: Tensor  # uint8 [N, 4, S, S]
    world_to_camera: Tensor  # [N, 4, 4]
    intrinsics: Tensor  # [N, 3, 3]
    planes: Tensor | None = None  # uint8 [N, P, S, S] what the views are told of the photo
    vertex_features: Tensor | None = None  # [V, C] float16
    latents: Tensor | None = None  # float16 [N, C, h, w] of the targets, where they are kept
    known: Tensor | None = None  # uint8 [N, 1, S, S], 0 where the targets are not to be learned from; None: nowhere

    def unpack(self, device: torch.device | str) -> tuple[Prepared, Tensor]:
        """The head's conditions, and its true views [N, 4, S, S] in 0..1, on a device."""
        photo = self.photo.to(device).float() / 255
        side = self.photo.shape[-1]
        features = self.vertex_features
        prepared = Prepared(
            photo[:3],
            photo[3:],
            Cameras(self.photo_world_to_camera.to(device), self.photo_intrinsics.to(device), side, side),
            Cameras(self.world_to_camera.to(device), self.intrinsics.to(device), side, side),
            self.vertices.to(device),
            None if self.planes is None else unpack_told(self.planes.to(device)),
            None if features is None else features.to(device).float(),
        )
        return prepared, self.targets.to(device).float() / 255


def pack_told(found: PhotoProjection | Preview) -> Tensor:
    """What N views are told, in bytes, uint8 [N, P, S, S]; zeros stay zero."""
    if isinstance(found, Preview):
        positive = [found.colour, found.coverage, found.confidence]
    else:
        # what is hardly seen is still seen: round up
        seen, other = ((v * 255).ceil() / 255 for v in (found.visibility.flatten(1, 2), found.mirrored[:, 3:]))
        positive = [found.colour.flatten(1, 2), seen, found.mirrored[:, :3], other, found.mask]
    signed = torch.cat([(found.position / _REACH).clamp(-1, 1), found.normal], 1)
    return torch.cat([_to_bytes(torch.cat(positive, 1)), (signed * 127).round().add(128).to(torch.uint8)], 1)


def unpack_told(planes: Tensor) -> PhotoProjection | Preview:
    """Inverse of `pack_told`, to a byte's precision; the number of planes tells which of the two it was."""
    positive, signed = planes[:, :-_SIGNED].float() / 255, (planes[:, -_SIGNED:].float() - 128) / 127
    position, normal = signed[:, :3] * _REACH, signed[:, 3:]
    if planes.shape[1] == PREVIEW_PLANES:
        return Preview(positive[:, :3], positive[:, 3:4], positive[:, 4:], position, normal)
    shells = (positive.shape[1] - 5) // 4
    colour, visibility, mirrored, mask = positive.split([3 * shells, shells, 4, 1], 1)
    colour, visibility = colour.unflatten(1, (shells, 3)), visibility.unflatten(1, (shells, 1))
    return PhotoProjection(colour, visibility, mirrored, position, normal, mask)


@dataclass(frozen=True)
class Preparation:
    """The settings of a model on which the prepared heads depend."""

    image_size: int
    crop_side: float
    wanted: Wanted

    def key(self, data_hash: str) -> str:
        """Name of the folder for data with this hash."""
        model = load_head_model()
        note = [_FORMAT, data_hash, self.image_size, self.crop_side, asdict(self.wanted), model.name, model.version]
        return hashlib.sha256(json.dumps(note).encode()).hexdigest()[:16]

    def __call__(self, sample: TrainingSample) -> PackedHead:
        """A head with its N true views, and the photo's crop as view N + 1."""
        subject = load_subjects(sample.portrait, sample.head, None, self.image_size, self.crop_side)[0]
        crop, targets = subject.crop, _resized(sample, self.image_size)
        views = sample.cameras.resized(self.image_size, self.image_size)
        photo = _to_bytes(torch.cat([crop.image, crop.alpha]))
        known = sample.known
        if known is not None:  # of the photo, everything
            known = torch.cat([_reduced(known, self.image_size), torch.full_like(photo[None, :1], 255)])
        both = Cameras(
            torch.cat([views.world_to_camera, crop.camera.world_to_camera]),
            torch.cat([views.intrinsics, crop.camera.intrinsics]),
            self.image_size,
            self.image_size,
        )
        found = prepare(subject, both, self.wanted)
        return PackedHead(
            photo,
            crop.camera.world_to_camera,
            crop.camera.intrinsics,
            found.vertices,
            torch.cat([targets, photo[None]]),
            both.world_to_camera,
            both.intrinsics,
            None if found.told is None else pack_told(found.told),
            None if found.vertex_features is None else found.vertex_features.half(),
            known=known,
        )


class PreparedFolder:
    """Packed heads on the disk, one file a key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the head of this name lies."""
        return self.folder / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        return self.path(key).exists()

    def put(self, key: str, head: PackedHead) -> None:
        """Write a head, whole or not at all."""
        tensors = {name: value.contiguous() for name, value in vars(head).items() if value is not None}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(key), save(tensors))

    def views(self, key: str) -> int:
        """How many views a head has, the photo's own included."""
        with self._open(key) as file:
            return int(file.get_slice("targets").get_shape()[0])

    def get(self, key: str, views: Sequence[int]) -> PackedHead:
        """A head with the chosen views; no others are read. Raises `DataError` when the file is damaged."""
        try:
            with self._open(key) as file:
                found: dict[str, Tensor] = {}
                for name in file.keys():  # noqa: SIM118 (no iterator)
                    if name in _BY_VIEW:
                        rows = file.get_slice(name)
                        found[name] = torch.stack([rows[i] for i in views])
                    else:
                        found[name] = file.get_tensor(name)
            return PackedHead(**found)
        except (SafetensorError, OSError, TypeError, IndexError) as error:
            raise DataError(f"{self.path(key)} is damaged ({error}); delete it, and it is made again.") from error

    def _open(self, key: str) -> Any:
        return safe_open(str(self.path(key)), framework="pt")


def chosen_views(head: PackedHead, views: Sequence[int]) -> PackedHead:
    """A head with some of its views."""
    rows = list(views)
    fields = {n: v[rows] if n in _BY_VIEW and v is not None else v for n, v in vars(head).items()}
    return PackedHead(**fields)


def _resized(sample: TrainingSample, size: int) -> Tensor:
    """The true views, uint8 [N, 4, size, size]; larger ones are reduced."""
    side = sample.cameras.height
    if side < size:
        raise ConfigError(f"{sample.key} has views of {side} px, the model makes {size}; render larger ones.")
    return _reduced(sample.views, size)


def _reduced(pictures: Tensor, size: int) -> Tensor:
    """uint8 [N, C, S, S] with sides of `size` px."""
    if pictures.shape[-1] == size:
        return pictures
    return _to_bytes(F.interpolate(pictures.float() / 255, (size, size), mode="bilinear", antialias=True))


def _to_bytes(values: Tensor) -> Tensor:
    """0..1 to 0..255."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)
