"""Head models as folders: `head.safetensors` with the numbers, `head.json` with the names."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gen3dface.errors import HeadModelError, OutputError
from gen3dface.files import write_atomically, write_failure
from gen3dface.heads.arrays import checked, reading
from gen3dface.heads.flame_landmarks import FlameLandmarks, from_tensors
from gen3dface.heads.model import HeadModel

_FORMAT = "gen3dface.head_model.1"
NOTE, NUMBERS, CONTOURS = "head.json", "head.safetensors", "landmarks68.safetensors"
_MOST_BYTES, _MOST_NOTE = 2 << 30, 1 << 20
_NOTED = (
    "name", "version", "licence", "expression_names", "joint_names", "joint_parents", "origin",
)  # fmt: skip
_NUMBERS = tuple(field for field in fields(HeadModel) if field.name not in (*_NOTED, "regions"))


def save_head_model(model: HeadModel, folder: str | Path, landmarks: FlameLandmarks | None = None) -> Path:
    """Write a model as a folder, which appears whole or not at all and replaces nothing; returns it.

    Raises:
        OutputError: the folder is there already, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise OutputError(f"'{folder}' is there already and is not replaced. Move it or choose another folder.")
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        staging.mkdir(parents=True)
        write_atomically(staging / NUMBERS, save(_tensors(model)))
        if landmarks is not None:
            values = {field.name: getattr(landmarks, field.name) for field in fields(FlameLandmarks)}
            write_atomically(staging / CONTOURS, save(_owned(values)))
        note = {name: getattr(model, name) for name in _NOTED}
        text = json.dumps({"format": _FORMAT, **note, "regions": list(model.regions)}, indent=1)
        write_atomically(staging / NOTE, text.encode())
        os.rename(staging, folder)
    except OSError as error:
        raise OutputError(write_failure(folder, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def read_head_model(folder: str | Path) -> HeadModel:
    """Read what `save_head_model` wrote.

    Raises:
        HeadModelError: the folder holds no head model, or it is damaged.
    """
    folder = Path(folder)
    with reading(folder):
        note, tensors = read_note(folder), _load(folder / NUMBERS)
        try:
            return checked(_model(note, tensors))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise HeadModelError(f"it is damaged, or of another version of gen3dface: {error!r}") from error


def read_note(folder: Path) -> dict[str, Any]:
    """What `head.json` says: name, version, licence, names. Raises `HeadModelError` when it is anything else."""
    path = folder / NOTE
    try:
        if path.stat().st_size > _MOST_NOTE:
            raise HeadModelError(f"'{path}' is too large.")
        note = json.loads(path.read_bytes())
    except OSError as error:
        raise HeadModelError(f"'{folder}' holds no head model: {NOTE}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise HeadModelError(f"'{path}' is damaged: {error}.") from error
    if not isinstance(note, dict) or note.get("format") != _FORMAT:
        raise HeadModelError(f"'{path}' is no head model of this version of gen3dface.")
    return note


def read_head_landmarks(folder: str | Path) -> FlameLandmarks | None:
    """The 68 landmarks that were converted with a FLAME model; None where there are none.

    Raises:
        HeadModelError: the file is damaged.
    """
    path = Path(folder) / CONTOURS
    if not path.exists():
        return None
    try:
        return from_tensors(_load(path))
    except KeyError as error:
        raise HeadModelError(f"'{path}' is damaged: {error} is missing.") from error


def _tensors(model: HeadModel) -> dict[str, Tensor]:
    values = {field.name: getattr(model, field.name) for field in _NUMBERS}
    named = {f"region.{k}": mask for k, mask in enumerate(model.regions.values())}
    return _owned({**values, **named})


def _owned(values: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Tensors that share no memory, as safetensors wants them."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in values.items() if value is not None}


def _load(path: Path) -> dict[str, Tensor]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise HeadModelError(f"'{path}' is larger than {_MOST_BYTES >> 30} GiB.")
        return load_file(path)
    except OSError as error:
        raise HeadModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except (SafetensorError, ValueError) as error:
        raise HeadModelError(f"'{path}' is damaged: {error}.") from error


def _model(note: dict[str, Any], tensors: dict[str, Tensor]) -> HeadModel:
    values: dict[str, Any] = {name: str(note[name]) for name in ("name", "version", "licence")}
    values |= {name: tuple(map(str, note[name])) for name in ("expression_names", "joint_names")}
    values["joint_parents"] = tuple(map(int, note["joint_parents"]))
    x, y, z = map(float, note["origin"])
    for field in _NUMBERS:
        if field.name in tensors or field.default is MISSING:
            values[field.name] = tensors[field.name]
    regions = {str(name): tensors[f"region.{k}"] for k, name in enumerate(note["regions"])}
    for name, value in values.items():
        if isinstance(value, Tensor) and value.dtype not in (torch.float32, torch.int64):
            raise HeadModelError(f"{name} is {value.dtype}")
    return HeadModel(**values, regions=regions, origin=(x, y, z))
