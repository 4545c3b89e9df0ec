"""A TexturedHead as GLB 2.0: PBR material, morph targets and skin in one file.

Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. glTF is y up with assets facing +z, which
is the world frame, so coordinates go in unchanged; only v is turned, since glTF's images start at the top.
"""

from __future__ import annotations

import io
import os
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from gen3dface import __version__
from gen3dface.files import write_atomically
from gen3dface.recon.export_glb_buffer import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuffer, index_type
from gen3dface.recon.normal_map import corner_tangents
from gen3dface.recon.textured_head import Floats, Ints, Skeleton, TexturedHead, vertex_normals
from gen3dface.render import Surface

ImageFormat = Literal["jpeg", "png"]

SMALLEST_MOVE = 1e-6  # metres: a morph target leaves vertices alone that it moves by less than a micrometre
SMALLEST_TURN = 1e-4  # the same for the unit normals
MAX_INFLUENCES = 4  # joints a vertex in JOINTS_0
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071
_SAMPLER = {
    "magFilter": LINEAR,
    "minFilter": LINEAR_MIPMAP_LINEAR,
    "wrapS": CLAMP_TO_EDGE,
    "wrapT": CLAMP_TO_EDGE,
}


def write_glb(head: TexturedHead, path: str | os.PathLike[str], *, image_format: ImageFormat = "jpeg") -> None:
    """Write `head` as one GLB file, whole or not at all. Raises OutputError when it cannot be written."""
    write_atomically(path, glb_bytes(head, image_format=image_format))


def glb_bytes(head: TexturedHead, *, image_format: ImageFormat = "jpeg") -> bytes:
    """The GLB file's bytes; the same head gives the same bytes.

    Each material becomes one primitive. The texture is embedded as JPEG (quality 95, full colour resolution) or PNG.
    """
    buffer = GlbBuffer()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"gen3dface {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "head", "mesh": 0}],
        "meshes": [_mesh(buffer, head)],
        "materials": _materials(head),
        "textures": [{"sampler": 0, "source": image} for image in range(1 + bool(head.normal_map.size))],
        "samplers": [_SAMPLER],
        "images": _images(buffer, head, image_format),
    }
    if head.skeleton is not None:
        _add_skin(document, buffer, head.skeleton)
    return buffer.pack(document)


def _mesh(buffer: GlbBuffer, head: TexturedHead) -> dict[str, Any]:
    mesh: dict[str, Any] = {"name": "head", "primitives": _primitives(buffer, head)}
    if head.morph_names:
        mesh["weights"] = head.morph_weights.tolist()
        mesh["extras"] = {"targetNames": list(head.morph_names)}
    return mesh


def _add_skin(document: dict[str, Any], buffer: GlbBuffer, skeleton: Skeleton) -> None:
    """The joints' nodes after the mesh's own, which they move."""
    document["nodes"][0]["skin"] = 0
    document["scenes"][0]["nodes"].append(1)  # the root joint follows the mesh's node
    document["nodes"].extend(_joint_nodes(skeleton, first=1))
    document["skins"] = [_skin(buffer, skeleton, first=1)]


def split_at_seams(faces: Ints, uv_faces: Ints) -> tuple[Ints, Ints, Ints]:
    """One vertex for each pair of position and UV: (vertex_of [N], uv_of [N], triangles [F, 3] into N)."""
    pairs = np.stack([faces, uv_faces], axis=-1).reshape(-1, 2)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return unique[:, 0], unique[:, 1], inverse.reshape(faces.shape)


def _primitives(buffer: GlbBuffer, head: TexturedHead) -> list[dict[str, Any]]:
    moves = np.where(_longer(head.morph_deltas, SMALLEST_MOVE), head.morph_deltas, np.float32(0))
    turns = np.stack([_normal_turn(head, move) for move in moves]) if len(moves) else moves
    return [
        _primitive(buffer, head, material, moves, turns)
        for material in range(len(head.materials))
        if (head.face_materials == material).any()
    ]


def _primitive(buffer: GlbBuffer, head: TexturedHead, material: int, moves: Floats, turns: Floats) -> dict[str, Any]:
    """One primitive: the faces of one material, with moves and turns [M, V, 3] as its morph targets."""
    chosen = head.face_materials == material
    vertex_of, uv_of, triangles = split_at_seams(head.faces[chosen], head.uv_faces[chosen])
    attributes = _attributes(buffer, head, vertex_of, uv_of, head.normal_map.size > 0 and material == 0)
    indices = triangles.reshape(-1).astype(index_type(len(vertex_of)))
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": buffer.accessor(indices, ELEMENT_ARRAY_BUFFER),
        "material": material,
    }
    if head.morph_names:
        primitive["targets"] = [
            {"POSITION": buffer.deltas(move[vertex_of], bounds=True), "NORMAL": buffer.deltas(turn[vertex_of])}
            for move, turn in zip(moves, turns, strict=True)
        ]
    return primitive


def _attributes(buffer: GlbBuffer, head: TexturedHead, vertex_of: Ints, uv_of: Ints, tangents: bool) -> dict[str, int]:
    """What each vertex of a primitive has: the accessors' numbers by name."""
    uvs = head.uvs[uv_of]
    uvs[:, 1] = 1 - uvs[:, 1]
    found = {
        "POSITION": buffer.accessor(head.vertices[vertex_of], ARRAY_BUFFER, bounds=True),
        "NORMAL": buffer.accessor(head.normals[vertex_of], ARRAY_BUFFER),
        "TEXCOORD_0": buffer.accessor(uvs, ARRAY_BUFFER),
    }
    if tangents:
        found["TANGENT"] = buffer.accessor(_tangents(head)[uv_of], ARRAY_BUFFER)
    if head.skeleton is not None:
        joints, weights = strongest_joints(head.skeleton.weights[vertex_of])
        found["JOINTS_0"] = buffer.accessor(joints, ARRAY_BUFFER)
        found["WEIGHTS_0"] = buffer.accessor(weights, ARRAY_BUFFER)
    return found


def _normal_turn(head: TexturedHead, move: Floats) -> Floats:
    """How the normals [V, 3] change when the vertices move by `move` [V, 3]."""
    turn = vertex_normals(head.vertices + move, head.faces) - head.normals
    return np.where(_longer(turn, SMALLEST_TURN), turn, np.float32(0))


def _longer(vectors: Floats, length: float) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1, keepdims=True) >= length


def strongest_joints(weights: Floats) -> tuple[np.ndarray, Floats]:
    """The four strongest joints of each vertex: indices uint8 [N, 4] and weights [N, 4] that sum to 1.

    Slots without weight point at joint 0, as the specification asks.
    """
    padded = np.pad(weights, ((0, 0), (0, max(0, MAX_INFLUENCES - weights.shape[1]))))
    joints = np.argsort(-padded, axis=1, kind="stable")[:, :MAX_INFLUENCES]
    kept = np.take_along_axis(padded, joints, axis=1).astype(np.float64)
    kept /= kept.sum(axis=1, keepdims=True)
    return np.where(kept > 0, joints, 0).astype(np.uint8), kept.astype(np.float32)


def _joint_nodes(skeleton: Skeleton, first: int) -> list[dict[str, Any]]:
    nodes = []
    for joint, (name, parent) in enumerate(zip(skeleton.names, skeleton.parents, strict=True)):
        origin = skeleton.positions[parent] if parent >= 0 else np.zeros(3, np.float32)
        node: dict[str, Any] = {"name": name, "translation": (skeleton.positions[joint] - origin).tolist()}
        children = [first + child for child, above in enumerate(skeleton.parents) if above == joint]
        nodes.append({**node, "children": children} if children else node)
    return nodes


def _skin(buffer: GlbBuffer, skeleton: Skeleton, first: int) -> dict[str, Any]:
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(skeleton.names), 1, 1))
    inverse_bind[:, :3, 3] = -skeleton.positions
    return {
        "inverseBindMatrices": buffer.accessor(inverse_bind),
        "joints": [first + joint for joint in range(len(skeleton.names))],
        "skeleton": first,
    }


def _tangents(head: TexturedHead) -> Floats:
    """[T, 4] at the texture coordinates; glTF's v points down, its bitangent up, as ours."""
    surface = Surface(*(torch.from_numpy(array) for array in (head.vertices, head.faces, head.uvs, head.uv_faces)))
    return corner_tangents(surface, torch.from_numpy(head.normals)).numpy()


def _materials(head: TexturedHead) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": material.name,
            "pbrMetallicRoughness": {
                "baseColorTexture": {"index": 0},
                "metallicFactor": 0.0,
                "roughnessFactor": material.roughness,
            },
            "doubleSided": True,  # the neck is open below: its inside must not be see-through
        }
        for material in head.materials
    ]
    if head.normal_map.size:
        found[0]["normalTexture"] = {"index": 1}
    return found


def _images(buffer: GlbBuffer, head: TexturedHead, image_format: ImageFormat) -> list[dict[str, Any]]:
    found = [_image(buffer, "texture", head.texture, image_format)]
    return [*found, _image(buffer, "normals", head.normal_map, "png")] if head.normal_map.size else found


def _image(buffer: GlbBuffer, name: str, pixels: np.ndarray, image_format: ImageFormat) -> dict[str, Any]:
    encoded = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if image_format == "jpeg" else {}
    Image.fromarray(pixels).save(encoded, format=image_format, **options)
    return {"name": name, "mimeType": f"image/{image_format}", "bufferView": buffer.view(encoded.getvalue())}
