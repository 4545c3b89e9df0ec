"""Arrays of files that users give: bounded, without pickles, and checked before a model is made of them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.model import HeadModel

MOST_BYTES = 2 << 30  # unpacked


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Let every `HeadModelError` name the file that is being read, and make what numpy says of odd arrays one."""
    try:
        yield
    except HeadModelError as error:
        if f"'{path}'" in str(error):
            raise
        raise HeadModelError(f"'{path}': {str(error).rstrip('.')}.") from error
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise HeadModelError(f"'{path}' is damaged, or holds arrays of other shapes or kinds: {error!r}") from error


def read_npz(path: Path, names: tuple[str, ...] = (), most: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by name; only those of `names` that it has, unless that is empty.

    Raises:
        HeadModelError: it cannot be read, holds pickles, or would be larger than `most` bytes in memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(m.filename.removesuffix(".npy"), m.file_size) for m in archive.infolist()]
        members = dict(entries)
        if len(members) < len(entries):  # whose size would be counted?
            raise HeadModelError(f"'{path}' holds several arrays of one name.")
        wanted = [name for name in members if not names or name in names]
        if sum(members[name] for name in wanted) > most:
            raise HeadModelError(f"'{path}' unpacks to more than {most:,} bytes, which is too large.")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in wanted}
        if others := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
            raise HeadModelError(f"'{path}': {others[0]} is no array.")
        return found
    except HeadModelError:
        raise
    except OSError as error:
        raise HeadModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zipfile, zlib and numpy raise nearly anything on damaged files
        raise HeadModelError(f"'{path}' is no npz file of plain arrays: {error!r}") from error


def to_float(values: NDArray[Any], name: str = "an array") -> Tensor:
    """float32 on the CPU. Raises `HeadModelError` where a value is not finite."""
    with np.errstate(over="ignore"):  # what is too large is infinite
        values = np.array(values, dtype=np.float32, order="C")
    if not np.isfinite(values).all():
        raise HeadModelError(f"{name} holds NaN or infinite values")
    return torch.from_numpy(values)


def to_index(values: NDArray[Any], name: str = "an array of indices") -> Tensor:
    """int64 on the CPU. Raises `HeadModelError` where a value is no whole number."""
    if values.dtype.kind == "f" and not ((values == np.round(values)) & (np.abs(values) < 2**53)).all():
        raise HeadModelError(f"{name} holds what are no whole numbers")
    return torch.from_numpy(np.array(values, dtype=np.int64, order="C"))


def check_shape(values: NDArray[Any], name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The same array; raises `HeadModelError` unless it has numbers of that shape (None: any length but 0)."""
    fits = values.ndim == len(shape) and all(
        b == a or (b is None and a) for a, b in zip(values.shape, shape, strict=True)
    )
    if not fits or values.dtype.kind not in "biuf":
        wanted = ", ".join("*" if side is None else str(side) for side in shape)
        raise HeadModelError(f"{name} is {values.dtype} {list(values.shape)}, expected numbers [{wanted}]")
    return values


def checked(model: HeadModel) -> HeadModel:
    """The same model; raises `HeadModelError` where an index of it points nowhere or a number is not finite."""
    v, f = len(model.template), len(model.faces)
    ranges = {
        "faces": (model.faces, 0, v),
        "uv_faces": (model.uv_faces, 0, len(model.uvs)),
        "landmark_faces": (model.landmark_faces, -1, f),
        "mirror": (model.mirror, 0, v),
        "collar": (model.collar, 0, v),
    }
    for name, (index, low, high) in ranges.items():
        if index.dtype != torch.int64 or (index.numel() and not low <= int(index.min()) <= int(index.max()) < high):
            raise HeadModelError(f"{model.name}: {name} points outside of {low}..{high - 1}.")
    if len(model.landmark_faces) != 478 or model.landmark_barycentric.shape != (478, 3):
        raise HeadModelError(f"{model.name}: it needs 478 places for landmarks.")
    if any(mask.shape != (v,) or mask.dtype != torch.bool for mask in model.regions.values()):
        raise HeadModelError(f"{model.name}: a region is no mask of its {v} vertices.")
    if len(model.joint_parents) != len(model.joints) or any(not -1 <= p < j for j, p in enumerate(model.joint_parents)):
        raise HeadModelError(f"{model.name}: its joints do not form a tree, parents first.")
    sums = model.skinning_weights.sum(1)
    if not bool((sums - 1).abs().max() < 1e-3):
        raise HeadModelError(f"{model.name}: the skinning weights of a vertex do not sum to 1.")
    floats = (model.template, model.identity_basis, model.expression_basis, model.joints, model.joint_basis, model.uvs)
    if not all(bool(torch.isfinite(values).all()) for values in floats):
        raise HeadModelError(f"{model.name}: it holds NaN or infinite values.")
    return model
