"""A TexturedHead as OBJ (with its material and texture) and as PLY (with a colour per vertex)."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dface.files import write_atomically
from gen3dface.recon.textured_head import TexturedHead, vertex_normals


def write_obj(head: TexturedHead, path: str | os.PathLike[str]) -> None:
    """Write NAME.obj, NAME.mtl and NAME.png. Raises OutputError when one cannot be written.

    The OBJ comes last, so an OBJ that is there has its material and texture. Its format separates names by
    spaces, so the two beside it are named with letters, digits, '.', '_' and '-' alone.
    """
    path = Path(path)
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)
    encoded = io.BytesIO()
    Image.fromarray(head.texture).save(encoded, format="png")
    write_atomically(path.with_name(f"{stem}.png"), encoded.getvalue())
    write_atomically(path.with_name(f"{stem}.mtl"), _materials(head, f"{stem}.png").encode())
    write_atomically(path, _obj_text(head, f"{stem}.mtl").encode())


def _materials(head: TexturedHead, texture: str) -> str:
    return "".join(
        f"newmtl {material.name}\nKd 1 1 1\nPr {material.roughness}\nmap_Kd {texture}\n\n"
        for material in head.materials
    )


def _obj_text(head: TexturedHead, library: str) -> str:
    text = io.StringIO()
    vertices = head.starting_vertices()
    text.write(f"mtllib {library}\no head\n")
    np.savetxt(text, vertices, "v %.7f %.7f %.7f")
    np.savetxt(text, head.uvs, "vt %.7f %.7f")
    np.savetxt(text, vertex_normals(vertices, head.faces), "vn %.5f %.5f %.5f")
    corners = np.stack([head.faces, head.uv_faces, head.faces], axis=-1).reshape(-1, 9) + 1
    for index, material in enumerate(head.materials):
        text.write(f"usemtl {material.name}\n")
        np.savetxt(text, corners[head.face_materials == index], "f %d/%d/%d %d/%d/%d %d/%d/%d")
    return text.getvalue()


def write_ply(head: TexturedHead, path: str | os.PathLike[str]) -> None:
    """Write a binary PLY with a normal and a colour per vertex. Raises OutputError when it cannot be written."""
    write_atomically(path, _ply_bytes(head))


def _ply_bytes(head: TexturedHead) -> bytes:
    vertex = np.dtype([("position", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3)])
    face = np.dtype([("count", "u1"), ("indices", "<i4", 3)])
    vertices = np.empty(len(head.vertices), vertex)
    vertices["position"] = head.starting_vertices()
    vertices["normal"] = vertex_normals(head.starting_vertices(), head.faces)
    vertices["colour"] = vertex_colours(head)
    faces = np.empty(len(head.faces), face)
    faces["count"], faces["indices"] = 3, head.faces
    properties = [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    properties += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *properties,
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode() + vertices.tobytes() + faces.tobytes()


def vertex_colours(head: TexturedHead) -> NDArray[np.uint8]:
    """sRGB colours [V, 3]: the texture at each vertex, averaged over the places that it has in the texture."""
    height, width = head.texture.shape[:2]
    columns = np.clip(head.uvs[:, 0] * width, 0, width - 1).astype(np.int64)
    rows = np.clip((1 - head.uvs[:, 1]) * height, 0, height - 1).astype(np.int64)
    samples = head.texture[rows, columns].astype(np.float64)[head.uv_faces.ravel()]
    corners, count = head.faces.ravel(), len(head.vertices)
    uses = np.maximum(np.bincount(corners, minlength=count), 1)
    sums = np.stack([np.bincount(corners, samples[:, channel], count) for channel in range(3)], axis=1)
    return np.rint(sums / uses[:, None]).astype(np.uint8)
