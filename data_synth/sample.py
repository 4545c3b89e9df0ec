"""`TrainingSample`: one identity, as every generator hands it out and as training takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.sample_pictures import (
    PictureFormat,
    has_pictures,
    picture_members,
    read_depth,
    read_pictures,
)
from gen3dface.errors import DataError, Gen3DFaceError, HeadError
from gen3dface.estimators import HeadFit
from gen3dface.photo import Portrait
from gen3dface.photo.store import portrait_bytes, portrait_from_bytes

MOST_VIEWS = 512
MOST_SIDE = 2048  # px of a view
UNKNOWN_LICENCE = "unknown"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FORMAT = "gen3dface.sample.1"
_PORTRAIT, _HEAD, _NOTE = "portrait.safetensors", "head.safetensors", "json"
_VIEW, _KNOWN, _DEPTH = "view", "known", "depth"
_DEPTH_UNIT = 1e-4  # metres


@dataclass(frozen=True)
class TrainingSample:
    """A photo of one identity, the head that the estimator found in it, and true views from all around.

    Args:
        key: the identity's name: letters, digits, - and _.
        portrait: the photo as `load_portrait` gives it. head: estimated from the portrait, not the true one.
        views: uint8 [N, 4, S, S]: sRGB composited over white, and coverage.
        cameras: of the N views (S x S px), in the frame of the estimated head.
        known: uint8 [N, 1, S, S], 255 where the views are true and 0 where nothing is to be learned from them; None
            where they are true everywhere.
        provenance: JSON values: generator, version, seed, licences, scores.
        depth: uint16 [N, 1, S, S], tenths of a millimetre along the camera's axis to what a pixel shows, 0 where it
            shows nothing (`packed_depth`); None where no depth was kept.
    """

    key: str
    portrait: Portrait
    head: HeadFit
    views: Tensor
    cameras: Cameras
    provenance: Mapping[str, Any] = field(default_factory=dict)
    known: Tensor | None = None
    depth: Tensor | None = None

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise DataError(f"A sample's key is letters, digits, - and _, at most 64; got {self.key!r}.")
        licences = self.provenance.get("licences", [])
        if not isinstance(licences, list) or not all(isinstance(name, str) for name in licences):
            raise DataError(f"{self.key}: its licences are a list of names, got {licences!r:.80}.")
        shape = tuple(self.views.shape)
        side = self.cameras.height
        fits = len(shape) == 4 and shape == (len(self.cameras), 4, side, self.cameras.width)
        if self.views.dtype != torch.uint8 or not fits or side != self.cameras.width:
            raise DataError(
                f"{self.key}: views are uint8 [N, 4, S, S] with as many square cameras, got {self.views.dtype} {shape} "
                f"and {len(self.cameras)} cameras of {side} x {self.cameras.width} px."
            )
        if self.known is not None and (self.known.dtype != torch.uint8 or self.known.shape != self.views[:, :1].shape):
            raise DataError(f"{self.key}: known is uint8 {[shape[0], 1, *shape[2:]]}, got {tuple(self.known.shape)}.")
        if self.depth is not None and (self.depth.dtype != torch.uint16 or self.depth.shape != self.views[:, :1].shape):
            raise DataError(f"{self.key}: depth is uint16 {[shape[0], 1, *shape[2:]]}, got {tuple(self.depth.shape)}.")
        if not (1 <= len(self.cameras) <= MOST_VIEWS and side <= MOST_SIDE):
            raise DataError(f"{self.key}: 1 to {MOST_VIEWS} views of at most {MOST_SIDE} px are allowed, got {shape}.")

    @property
    def licences(self) -> list[str]:
        """Of every source that went in, as the provenance names them; "unknown" where it names none."""
        return list(self.provenance.get("licences") or [UNKNOWN_LICENCE])

    def to_members(self, pictures: PictureFormat = "png") -> dict[str, bytes]:
        """File suffix to content, the same bytes for the same sample."""
        note = {"format": _FORMAT, "cameras": self.cameras.to_dict(), "provenance": dict(self.provenance)}
        members = {
            _NOTE: json.dumps(note, sort_keys=True).encode(),
            _PORTRAIT: portrait_bytes(self.portrait),
            _HEAD: self.head.to_bytes(),
        }
        for stem, planes in ((_VIEW, self.views), (_KNOWN, self.known), (_DEPTH, self.depth)):
            if planes is not None:
                members |= picture_members(stem, planes, pictures)
        return members

    @classmethod
    def from_members(cls, key: str, members: Mapping[str, bytes]) -> TrainingSample:
        """Read what `to_members` made. Raises `DataError` naming the sample when anything is missing or damaged."""
        try:
            note = json.loads(members[_NOTE])
            if note.get("format") != _FORMAT:
                raise DataError(f"its format is {note.get('format')!r}, expected {_FORMAT!r}")
            cameras = Cameras.from_dict(note["cameras"])
            if not (len(cameras) <= MOST_VIEWS and cameras.height <= MOST_SIDE):
                raise DataError(f"it has {len(cameras)} views of {cameras.height} px")
            return cls(
                key,
                portrait_from_bytes(members[_PORTRAIT], f"{key}.{_PORTRAIT}"),
                HeadFit.from_bytes(members[_HEAD], f"{key}.{_HEAD}"),
                read_pictures(_VIEW, members, cameras, channels=4),
                cameras,
                dict(note["provenance"]),
                read_pictures(_KNOWN, members, cameras) if has_pictures(_KNOWN, members) else None,
                read_depth(_DEPTH, members, cameras) if has_pictures(_DEPTH, members) else None,
            )
        except KeyError as error:
            raise DataError(f"The sample {key} lacks {error}; make its shard again.") from error
        except (Gen3DFaceError, OSError, ValueError, OverflowError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"The sample {key} is damaged: {error}") from error


def packed_depth(metres: Tensor) -> Tensor:
    """Depth maps [N, 1, S, S] in metres, as `TrainingSample.depth` keeps them; what is not finite is nothing.

    Raises `HeadError` for what lies behind the camera, or further than 6.5535 m.
    """
    steps = (metres / _DEPTH_UNIT).round().nan_to_num(0, posinf=0, neginf=0)
    if steps.min() < 0 or steps.max() > torch.iinfo(torch.uint16).max:
        low, high = (float(end) * _DEPTH_UNIT for end in steps.aminmax())
        raise HeadError(f"Depth from {low:.2f} to {high:.2f} m; 0 to 6.55 m are kept. Are these metres?")
    return steps.to(torch.uint16)


def unpacked_depth(depth: Tensor) -> Tensor:
    """Inverse of `packed_depth`, float32 metres; inf where nothing is."""
    steps = depth.to(torch.float32)
    return torch.where(steps > 0, steps * _DEPTH_UNIT, torch.inf)
