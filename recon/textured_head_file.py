"""The .npz file of a TexturedHead: arrays and short strings, no pickles, bounded sizes."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

import numpy as np

from gen3dface.errors import TexturedHeadError
from gen3dface.files import write_atomically
from gen3dface.recon.textured_head import Material, Skeleton, TexturedHead

FORMAT = "gen3dface.TexturedHead.1"
MAX_BYTES = 1 << 30  # of all arrays once unpacked: far above any head, far below a decompression bomb
ARRAYS = (
    "vertices",
    "faces",
    "uvs",
    "uv_faces",
    "texture",
    "morph_names",
    "morph_deltas",
    "morph_weights",
    "face_materials",
)
OPTIONAL = ("confidence", "normal_map")  # not every head has them, and files of earlier versions lack them


def save_head(head: TexturedHead, path: str | os.PathLike[str]) -> None:
    """Write `head` as .npz. Raises OutputError when the file cannot be written."""
    fields: dict[str, Any] = {name: np.asarray(getattr(head, name)) for name in ARRAYS}
    fields["morph_names"] = np.array(head.morph_names, dtype=np.str_)
    fields["material_names"] = np.array([material.name for material in head.materials], dtype=np.str_)
    fields["material_roughness"] = np.array([material.roughness for material in head.materials], np.float64)
    fields |= {name: getattr(head, name) for name in OPTIONAL if getattr(head, name).size}
    if head.skeleton is not None:
        fields["joint_names"] = np.array(head.skeleton.names, dtype=np.str_)
        fields["joint_parents"] = np.array(head.skeleton.parents, np.int64)
        fields["joint_positions"] = head.skeleton.positions
        fields["joint_weights"] = head.skeleton.weights
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=np.array(FORMAT), **fields)
    write_atomically(path, buffer.getvalue())


def load_head(path: str | os.PathLike[str]) -> TexturedHead:
    """Read what `save_head` wrote. Raises TexturedHeadError when the file is missing, damaged or something else."""
    try:
        arrays = _read_arrays(path)
        if str(arrays.pop("format")) != FORMAT:
            raise ValueError(f"the format is not {FORMAT}")
        return _head_from(arrays)
    except Exception as error:  # zipfile, zlib and numpy raise nearly anything on damaged files
        raise TexturedHeadError(f"cannot read a textured head from '{os.fspath(path)}': {error}") from error


def _read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"it unpacks to {size} bytes, the limit is {MAX_BYTES}")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _head_from(arrays: dict[str, Any]) -> TexturedHead:
    skeleton = None
    if "joint_names" in arrays:
        skeleton = Skeleton(
            names=tuple(arrays["joint_names"].tolist()),
            parents=tuple(arrays["joint_parents"].tolist()),
            positions=arrays["joint_positions"],
            weights=arrays["joint_weights"],
        )
    names, roughness = arrays["material_names"].tolist(), arrays["material_roughness"].tolist()
    materials = tuple(Material(name, value) for name, value in zip(names, roughness, strict=True))
    fields = {name: arrays[name] for name in ARRAYS}
    fields["morph_names"] = tuple(arrays["morph_names"].tolist())
    fields |= {name: arrays[name] for name in OPTIONAL if name in arrays}
    return TexturedHead(**fields, skeleton=skeleton, materials=materials)
