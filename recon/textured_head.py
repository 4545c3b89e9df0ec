"""TexturedHead: the finished head, as plain arrays that every exporter reads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gen3dface import render
from gen3dface.errors import OutputError, TexturedHeadError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """Surface of some of the faces; the colour comes from the texture. Roughness is glTF's, 0..1."""

    name: str
    roughness: float


SKIN = Material("skin", 0.6)
EYES = Material("eyes", 0.15)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints and how strongly each moves each vertex. Parents come before their children; the root is joint 0."""

    names: tuple[str, ...]  # [J]
    parents: tuple[int, ...]  # [J], -1 for the root
    positions: Floats  # [J, 3] metres, at rest
    weights: Floats  # [V, J], 0..1, each row sums to 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        object.__setattr__(self, "parents", tuple(int(parent) for parent in self.parents))
        _store(self, "positions", np.float32, (len(self.names), 3))
        _store(self, "weights", np.float32, (None, len(self.names)))
        ordered = all(parent < joint for joint, parent in enumerate(self.parents))
        if len(self.parents) != len(self.names) or not ordered or [p for p in self.parents if p < 0] != [-1]:
            raise TexturedHeadError(f"skeleton: parents {self.parents} must name one root, -1, before its children")
        if (self.weights < 0).any() or np.abs(self.weights.sum(1) - 1).max(initial=0) > 1e-3:
            raise TexturedHeadError("skeleton: weights must be at least 0 and sum to 1 at every vertex")


@dataclass(frozen=True, eq=False)
class TexturedHead:
    """A head with one texture, expressions and joints.

    World frame: metres, x to the subject's left, y up, z out of the face. Arrays may be given as numpy arrays or
    CPU tensors; they are kept as float32, int64 and uint8 arrays.

    Raises:
        TexturedHeadError: a shape, an index or a number that cannot be, with the field's name.
    """

    vertices: Floats  # [V, 3] metres
    faces: Ints  # [F, 3], counter-clockwise seen from outside
    uvs: Floats  # [T, 2], v up
    uv_faces: Ints  # [F, 3] into uvs
    texture: NDArray[np.uint8]  # [H, W, 3] sRGB; the first row is v = 1
    morph_names: tuple[str, ...] = ()  # [M], ARKit's names
    morph_deltas: Floats = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))  # [M, V, 3] metres
    morph_weights: Floats = field(default_factory=lambda: np.zeros(0, np.float32))  # [M] 0..1: the starting expression
    skeleton: Skeleton | None = None
    materials: tuple[Material, ...] = (SKIN,)
    face_materials: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # [F] into materials; empty: all 0
    # [H, W] of the texture: 0 where it was filled in, 255 where the photo, or one of several, saw it squarely; empty:
    # not known
    confidence: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    # [H', W', 3] of the first material, glTF's convention (`recon/normal_map.py`); empty: none
    normal_map: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))

    def __post_init__(self) -> None:
        object.__setattr__(self, "morph_names", tuple(str(name) for name in self.morph_names))
        object.__setattr__(self, "materials", tuple(self.materials))
        _store(self, "vertices", np.float32, (None, 3))
        _store(self, "faces", np.int64, (None, 3))
        _store(self, "uvs", np.float32, (None, 2))
        _store(self, "uv_faces", np.int64, self.faces.shape)
        _check_texture(self.texture)
        _store(self, "texture", np.uint8, (None, None, 3))
        _store(self, "confidence", np.uint8, self.texture.shape[:2] if np.size(self.confidence) else (0, 0))
        _store(self, "normal_map", np.uint8, (None, None, 3))
        if not self.morph_names:
            object.__setattr__(self, "morph_deltas", np.zeros((0, len(self.vertices), 3), np.float32))
        _store(self, "morph_deltas", np.float32, (len(self.morph_names), *self.vertices.shape))
        if not self.morph_names or not np.size(self.morph_weights):
            object.__setattr__(self, "morph_weights", np.zeros(len(self.morph_names), np.float32))
        _store(self, "morph_weights", np.float32, (len(self.morph_names),))
        if not np.size(self.face_materials):
            object.__setattr__(self, "face_materials", np.zeros(len(self.faces), np.int64))
        _store(self, "face_materials", np.int64, (len(self.faces),))
        self._check_indices()

    def _check_indices(self) -> None:
        for name, limit in (
            ("faces", len(self.vertices)),
            ("uv_faces", len(self.uvs)),
            ("face_materials", len(self.materials)),
        ):
            indices = getattr(self, name)
            if not indices.size or indices.min() < 0 or indices.max() >= limit:
                raise TexturedHeadError(f"{name}: there must be indices, all within 0..{limit - 1}")
        if len(set(self.morph_names)) != len(self.morph_names):
            raise TexturedHeadError("morph_names: a name occurs twice")
        if self.skeleton is not None and len(self.skeleton.weights) != len(self.vertices):
            raise TexturedHeadError(
                f"skeleton: weights for {len(self.skeleton.weights)} vertices, the mesh has {len(self.vertices)}"
            )

    @cached_property
    def normals(self) -> Floats:
        """Smooth unit normals [V, 3] at rest; UV seams do not show in them."""
        return vertex_normals(self.vertices, self.faces)

    def starting_vertices(self) -> Floats:
        """The vertices [V, 3] in the starting expression."""
        return self.vertices + np.einsum("m,mvc->vc", self.morph_weights, self.morph_deltas)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the head in the format that the suffix names.

        `.glb`: everything (material, expressions, skeleton). The others hold the starting expression alone. `.obj`:
        mesh, normals, UVs, with `.mtl` and `.png` beside it. `.ply`: mesh, normals and a colour per vertex, which
        every viewer reads, instead of a texture.

        Raises:
            OutputError: another suffix, or the file cannot be written; nothing half-written stays.
        """
        from gen3dface.recon.export_glb import write_glb
        from gen3dface.recon.export_mesh import write_obj, write_ply

        writers = {".glb": write_glb, ".obj": write_obj, ".ply": write_ply}
        suffix = Path(path).suffix.lower()
        if suffix not in writers:
            raise OutputError(f"cannot export to '{path}': the suffix must be one of {', '.join(writers)}")
        writers[suffix](self, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays as one `.npz` that holds no pickles, whole or not at all."""
        from gen3dface.recon.textured_head_file import save_head

        save_head(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TexturedHead:
        """Read what `save` wrote. Raises TexturedHeadError when the file is damaged or something else."""
        from gen3dface.recon.textured_head_file import load_head

        return load_head(path)


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals [V, 3] of vertices [V, 3].

    A vertex whose faces have no area looks along +z, so that every normal has length 1, as glTF demands.
    """
    normals = render.vertex_normals(torch.from_numpy(vertices), torch.from_numpy(faces)).numpy()
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, 1)
    return normals


def _store(owner: object, name: str, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Keep a field as a contiguous array of `dtype` after checking its shape (None: any size) and numbers."""
    array = np.asarray(getattr(owner, name))
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise TexturedHeadError(f"{name}: shape {array.shape}, expected ({wanted})")
    if np.issubdtype(dtype, np.integer) and not np.issubdtype(array.dtype, np.integer):
        raise TexturedHeadError(f"{name}: {array.dtype} values, expected integers")
    array = np.ascontiguousarray(array, dtype)
    if not np.isfinite(array).all():
        raise TexturedHeadError(f"{name}: holds NaN or infinity")
    object.__setattr__(owner, name, array)


def _check_texture(texture: ArrayLike) -> None:
    array = np.asarray(texture)
    if array.dtype != np.uint8 or not array.size:
        raise TexturedHeadError(f"texture: {array.dtype} {array.shape}, expected uint8 [H, W, 3] in 0..255")
