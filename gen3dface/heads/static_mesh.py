"""Any mesh as a head that neither varies nor moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import checked, reading, to_float, to_index
from gen3dface.heads.landmark_files import no_landmarks, read_landmarks
from gen3dface.heads.model import HeadModel
from gen3dface.heads.obj import read_obj
from gen3dface.heads.regions import completed
from gen3dface.heads.topology import cylindrical_uvs, lowest_loop, mirror_vertices

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
SUFFIXES = (".obj", ".ply", ".glb")
_MOST_BYTES = 256 << 20

Array = NDArray[Any]


def read_static_mesh(
    path: str | Path,
    unit: str = "m",
    *,
    landmarks: str | Path | None = None,
    licence: str = "unknown",
    name: str | None = None,
) -> HeadModel:
    """A head model without components from an OBJ, PLY or GLB file; its vertices stay in their order and place.

    The file's axes must be ours (x to the subject's left, y up, z out of the face), its origin the head's middle.

    Args:
        unit: of the file, m, cm or mm. landmarks: see `gen3dface.heads.landmark_files.read_landmarks`.
        licence: a note of the user's. name: of the model (default: the file's).

    Raises:
        HeadModelError: the file cannot be read, or holds no triangles.
    """
    path = Path(path)
    if unit not in UNITS:
        raise HeadModelError(f"There is no unit {unit!r}; choose one of {', '.join(UNITS)}.")
    with reading(path):
        vertices, faces, uvs, uv_faces = _mesh(path)
        if not len(faces):
            raise HeadModelError("it holds no triangles")
        template = vertices * UNITS[unit]
        if uvs is None or uv_faces is None:
            uvs, uv_faces = cylindrical_uvs(template, faces)
        places = no_landmarks() if landmarks is None else read_landmarks(Path(landmarks), len(faces))
        placed, count = to_float(template, "the vertices"), len(template)
        return checked(
            HeadModel(
                name=name or path.stem,
                version="1",
                licence=licence,
                template=placed,
                faces=to_index(faces),
                identity_basis=torch.zeros(0, count, 3),
                expression_basis=torch.zeros(0, count, 3),
                expression_names=(),
                joint_names=("root",),
                joint_parents=(-1,),
                joints=torch.zeros(1, 3),
                joint_basis=torch.zeros(0, 1, 3),
                skinning_weights=torch.ones(count, 1),
                uvs=to_float(uvs, "the texture coordinates"),
                uv_faces=to_index(uv_faces),
                landmark_faces=places[0],
                landmark_barycentric=places[1],
                regions=completed({}, placed, placed=False),
                mirror=to_index(mirror_vertices(template)),
                collar=to_index(lowest_loop(template, faces)),
            )
        )


def _mesh(path: Path) -> tuple[Array, Array, Array | None, Array | None]:
    """vertices [V, 3], faces [F, 3], and where there are any: uvs [T, 2], uv_faces [F, 3]."""
    if path.suffix.lower() == ".obj":
        mesh = read_obj(path)
        return mesh.vertices, mesh.faces, mesh.uvs, mesh.uv_faces
    if path.suffix.lower() not in SUFFIXES:
        raise HeadModelError(f"its name must end in one of {', '.join(SUFFIXES)}")
    import trimesh

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise HeadModelError(f"it is larger than {_MOST_BYTES >> 20} MiB")
        with open(path, "rb") as file:
            found = trimesh.load(
                file, file_type=path.suffix[1:].lower(), force="mesh", process=False, skip_materials=True
            )
    except HeadModelError:
        raise
    except OSError as error:
        raise HeadModelError(f"it cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged files fail in whatever way trimesh reads them
        raise HeadModelError(f"it is damaged, or no mesh: {error!r}") from error
    if not isinstance(found, trimesh.Trimesh):
        raise HeadModelError("it holds no triangles")
    faces = np.asarray(found.faces, np.int64)
    uvs = getattr(found.visual, "uv", None)
    return np.asarray(found.vertices, np.float64), faces, uvs, None if uvs is None else faces
