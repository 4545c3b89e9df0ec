"""Pictures as members of a sample: PNG, or lossless WebP, which is smaller."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import DataError

PictureFormat: TypeAlias = Literal["png", "webp"]

_MODES = {4: "RGBA", 1: "L"}
_DEPTH = "I;16"


def picture_members(stem: str, pictures: Tensor, kind: PictureFormat) -> dict[str, bytes]:
    """File suffix to content of N pictures: uint8 [N, 4 or 1, S, S], or uint16 [N, 1, S, S], which is always PNG."""
    planes = pictures.permute(0, 2, 3, 1).cpu().contiguous().numpy()
    planes = planes[..., 0] if planes.shape[-1] == 1 else planes
    kind = "png" if planes.dtype == np.uint16 else kind
    return {f"{stem}{i:03d}.{kind}": _encoded(plane, kind) for i, plane in enumerate(planes)}


def read_pictures(stem: str, members: Mapping[str, bytes], cameras: Cameras, channels: int = 1) -> Tensor:
    """What `picture_members` made, uint8 [N, channels, S, S], one for each camera.

    Raises:
        KeyError: one is missing.
        DataError: one has another size or mode than it should.
    """
    mode = _MODES[channels]
    found = [_decoded(*_member(stem, i, members), cameras, mode) for i in range(len(cameras))]
    return _stacked(found)


def read_depth(stem: str, members: Mapping[str, bytes], cameras: Cameras) -> Tensor:
    """Likewise of depth maps, uint16 [N, 1, S, S]."""
    found = [_decoded(*_member(stem, i, members), cameras, _DEPTH) for i in range(len(cameras))]
    return _stacked([plane.astype(np.uint16) for plane in found])


def has_pictures(stem: str, members: Mapping[str, bytes]) -> bool:
    """Whether a sample has any under this name; those that are missing then are named by `read_pictures`."""
    return any(re.fullmatch(rf"{stem}\d{{3}}\.(png|webp)", name) for name in members)


def _member(stem: str, index: int, members: Mapping[str, bytes]) -> tuple[bytes, str]:
    name = f"{stem}{index:03d}"
    return (members[f"{name}.webp"], "WEBP") if f"{name}.webp" in members else (members[f"{name}.png"], "PNG")


def _encoded(picture: np.ndarray, kind: PictureFormat) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if kind == "webp":  # exact: colours where nothing covers are kept too
        image.save(buffer, "WEBP", lossless=True, exact=True, method=4)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _decoded(data: bytes, kind: str, cameras: Cameras, mode: str) -> np.ndarray:
    """[S, S, 4] or [S, S]; the size is checked before anything is decoded."""
    try:
        return _opened(data, kind, cameras, mode)
    except DataError:
        raise
    except Exception as error:  # damaged or hostile bytes fail in whatever way Pillow reads them
        raise DataError(f"a view cannot be read: {error!r}") from error


def _opened(data: bytes, kind: str, cameras: Cameras, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        fits = image.mode == mode or (kind == "WEBP" and {image.mode, mode} <= {"RGB", "RGBA", "L"})
        if not fits or image.size != (cameras.width, cameras.height):
            raise DataError(f"a view is {image.mode} {image.size}, its camera {cameras.width} x {cameras.height} px")
        return np.asarray(image if image.mode == mode else image.convert(mode))


def _stacked(planes: list[np.ndarray]) -> Tensor:
    both = torch.from_numpy(np.stack(planes))
    return both[:, None] if both.ndim == 3 else both.permute(0, 3, 1, 2).contiguous()
