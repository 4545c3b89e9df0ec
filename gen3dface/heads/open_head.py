"""OpenHead: the bundled head, derived from MakeHuman's CC0 data by tools/build_open_head.py."""

from __future__ import annotations

import json
from importlib import resources
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.model import HeadModel


def load_open_head() -> HeadModel:
    """The bundled model.

    Raises:
        HeadModelError: the data file is missing or damaged.
    """
    try:
        with (resources.files("gen3dface.heads") / "data" / "open_head.npz").open("rb") as file:
            return read_open_head(file)
    except OSError as error:
        raise HeadModelError(f"OpenHead's data file is missing; reinstall gen3dface. ({error})") from error


def read_open_head(file: IO[bytes]) -> HeadModel:
    """A model from an open file written by tools/build_open_head.py.

    Raises:
        HeadModelError: the file is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            return _model(dict(archive))
    except Exception as error:  # zipfile, zlib and numpy raise nearly anything on damaged files
        message = "OpenHead's data file is damaged; reinstall gen3dface or build it again."
        raise HeadModelError(f"{message} ({error!r})") from error


def _model(data: dict[str, Any]) -> HeadModel:
    meta = json.loads(data["metadata"].tobytes().decode())
    names = meta["regions"]
    weights = _float(data["skinning_weights"])
    masks = np.unpackbits(data["regions"], axis=1, count=len(weights)).astype(bool)
    return HeadModel(
        name="openhead",
        version=meta["version"],
        licence=meta["licence"],
        template=_float(data["template"]),
        faces=_index(data["faces"]),
        identity_basis=_dequantise(data, "identity"),
        expression_basis=_dequantise(data, "expression"),
        expression_names=tuple(meta["expression_names"]),
        joint_names=tuple(meta["joint_names"]),
        joint_parents=tuple(meta["joint_parents"]),
        joints=_float(data["joints"]),
        joint_basis=_float(data["joint_basis"]),
        skinning_weights=weights / weights.sum(1, keepdim=True),
        uvs=_float(data["uvs"]),
        uv_faces=_index(data["uv_faces"]),
        landmark_faces=_index(data["landmark_faces"]),
        landmark_barycentric=_float(data["landmark_barycentric"]),
        regions={name: torch.from_numpy(mask.copy()) for name, mask in zip(names, masks, strict=True)},
        mirror=_index(data["mirror"]),
        collar=_index(data["collar"]),
    )


def _dequantise(data: dict[str, Any], name: str) -> Tensor:
    """Integers [N, V, 3] times one scale a component [N]."""
    return _float(data[f"{name}_basis"]) * _float(data[f"{name}_scale"])[:, None, None]


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).to(torch.float32)


def _index(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))
