"""The GLB file, read back by an independent reader, by the specification's layout, and by Khronos' validator."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from gen3dface.recon.export_glb import glb_bytes, split_at_seams, strongest_joints
from gen3dface.recon.textured_head import TexturedHead

DTYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A reader written from the specification: header, two chunks, dense and sparse accessors."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        json_length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.document = json.loads(data[20 : 20 + json_length])
        binary_length, kind = struct.unpack_from("<I4s", data, 20 + json_length)
        assert kind == b"BIN\0"
        self.binary = data[28 + json_length : 28 + json_length + binary_length]

    def view(self, index: int) -> bytes:
        view = self.document["bufferViews"][index]
        return self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.document["accessors"][index]
        width, dtype = WIDTHS[accessor["type"]], DTYPES[accessor["componentType"]]
        array = np.zeros((accessor["count"], width), dtype)
        if "bufferView" in accessor:
            array = np.frombuffer(self.view(accessor["bufferView"]), dtype).reshape(-1, width).copy()
        if sparse := accessor.get("sparse"):
            indices = sparse["indices"]
            where = np.frombuffer(self.view(indices["bufferView"]), DTYPES[indices["componentType"]])
            array[where] = np.frombuffer(self.view(sparse["values"]["bufferView"]), dtype).reshape(-1, width)
        return array

    def primitive(self, index: int = 0) -> dict[str, Any]:
        return self.document["meshes"][0]["primitives"][index]

    def attribute(self, name: str, primitive: int = 0) -> np.ndarray:
        return self.accessor(self.primitive(primitive)["attributes"][name])


@pytest.fixture(scope="module")
def glb(head: TexturedHead) -> Glb:
    return Glb(glb_bytes(head))


def test_every_triangle_keeps_its_corners_and_uvs(head: TexturedHead, glb: Glb) -> None:
    for index, material in enumerate(head.materials):
        chosen = head.face_materials == index
        triangles = glb.accessor(glb.primitive(index)["indices"])[:, 0].reshape(-1, 3)
        np.testing.assert_array_equal(glb.attribute("POSITION", index)[triangles], head.vertices[head.faces[chosen]])
        uvs = glb.attribute("TEXCOORD_0", index)[triangles]
        np.testing.assert_allclose(uvs * [1, -1] + [0, 1], head.uvs[head.uv_faces[chosen]], atol=1e-6)
        assert glb.document["materials"][glb.primitive(index)["material"]]["name"] == material.name


def test_normals_are_unit_outward_and_smooth_across_the_seam(head: TexturedHead, glb: Glb) -> None:
    positions, normals = glb.attribute("POSITION"), glb.attribute("NORMAL")
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert ((positions * normals).sum(1) > 0).all()
    _, where, counts = np.unique(positions, axis=0, return_inverse=True, return_counts=True)
    assert (counts == 2).any()  # the seam doubles vertices
    np.testing.assert_array_equal(normals, normals[np.unique(where, return_index=True)[1]][where.ravel()])


def test_bounds_hold_every_position(glb: Glb) -> None:
    accessors = glb.document["accessors"]
    for primitive in range(2):
        targets = glb.primitive(primitive)["targets"]
        for index in [glb.primitive(primitive)["attributes"]["POSITION"], *(t["POSITION"] for t in targets)]:
            array = glb.accessor(index)
            np.testing.assert_array_equal(accessors[index]["min"], array.min(0))
            np.testing.assert_array_equal(accessors[index]["max"], array.max(0))


def test_a_morph_target_moves_its_vertices_and_no_others(head: TexturedHead, glb: Glb) -> None:
    mesh = glb.document["meshes"][0]
    assert mesh["extras"]["targetNames"] == ["jawOpen", "cheekPuff", "tongueOut"]
    assert mesh["weights"] == [0.5, 0, 0]
    target = mesh["primitives"][0]["targets"][0]
    assert "sparse" in glb.document["accessors"][target["POSITION"]]
    moved, low = glb.accessor(target["POSITION"]), glb.attribute("POSITION")[:, 1] < -0.05
    np.testing.assert_array_equal(moved[low], np.tile(np.float32([0, -0.02, 0.005]), (low.sum(), 1)))
    assert not moved[~low].any()
    empty = mesh["primitives"][0]["targets"][2]["POSITION"]
    assert not {"bufferView", "sparse"} & set(glb.document["accessors"][empty])


def test_normal_deltas_give_the_moved_mesh_its_normals(head: TexturedHead, glb: Glb) -> None:
    """A vertex's new normal equals the one that trimesh computes for the moved surface."""
    moved = trimesh.Trimesh(head.vertices + head.morph_deltas[0], head.faces, process=False)
    expected = trimesh.geometry.weighted_vertex_normals(
        len(head.vertices), head.faces, moved.face_normals, moved.area_faces[:, None] * np.ones(3)
    )
    ours = glb.attribute("NORMAL") + glb.accessor(glb.primitive()["targets"][0]["NORMAL"])
    vertex_of, _, _ = split_at_seams(head.faces[head.face_materials == 0], head.uv_faces[head.face_materials == 0])
    np.testing.assert_allclose(ours, expected[vertex_of], atol=2e-4)


def test_skin_binds_the_rest_pose(head: TexturedHead, glb: Glb) -> None:
    assert head.skeleton is not None
    skin, nodes = glb.document["skins"][0], glb.document["nodes"]
    world = {}

    def walk(node: int, origin: np.ndarray) -> None:
        world[node] = origin + nodes[node]["translation"]
        for child in nodes[node].get("children", []):
            walk(child, world[node])

    walk(skin["skeleton"], np.zeros(3))
    inverse_bind = glb.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    for joint, (node, name) in enumerate(zip(skin["joints"], head.skeleton.names, strict=True)):
        assert nodes[node]["name"] == name
        np.testing.assert_allclose(world[node], head.skeleton.positions[joint], atol=1e-7)
        np.testing.assert_allclose(inverse_bind[joint] @ [*world[node], 1], [0, 0, 0, 1], atol=1e-7)


def test_weights_name_the_strongest_joints(head: TexturedHead, glb: Glb) -> None:
    assert head.skeleton is not None
    joints, weights = glb.attribute("JOINTS_0"), glb.attribute("WEIGHTS_0")
    dense = np.zeros((len(weights), 5), np.float32)
    np.add.at(dense, (np.arange(len(weights))[:, None], joints), weights)
    vertex_of, _, _ = split_at_seams(head.faces[head.face_materials == 0], head.uv_faces[head.face_materials == 0])
    np.testing.assert_allclose(dense, head.skeleton.weights[vertex_of], atol=1e-6)
    assert not joints[weights == 0].any()


def test_more_than_four_influences_keep_the_four_strongest() -> None:
    joints, weights = strongest_joints(np.float32([[0.1, 0.3, 0.05, 0.15, 0.2, 0.2]]))
    assert joints.tolist() == [[1, 4, 5, 3]]
    np.testing.assert_allclose(weights, [[0.3 / 0.85, 0.2 / 0.85, 0.2 / 0.85, 0.15 / 0.85]], rtol=1e-6)


@pytest.mark.parametrize(("image_format", "tolerance"), [("png", 0), ("jpeg", 6)])
def test_texture_is_embedded(head: TexturedHead, image_format: Any, tolerance: int) -> None:
    glb = Glb(glb_bytes(head, image_format=image_format))
    image = glb.document["images"][0]
    assert image["mimeType"] == f"image/{image_format}"
    texture = np.asarray(Image.open(io.BytesIO(glb.view(image["bufferView"]))))
    assert np.abs(texture.astype(int) - head.texture).max() <= tolerance


def test_material_is_rough_and_not_metallic(glb: Glb) -> None:
    skin, eyes = (material["pbrMetallicRoughness"] for material in glb.document["materials"])
    assert skin["metallicFactor"] == eyes["metallicFactor"] == 0
    assert eyes["roughnessFactor"] < 0.3 < skin["roughnessFactor"]


def test_trimesh_reads_the_same_surface(head: TexturedHead, tmp_path: Path) -> None:
    head.export(tmp_path / "head.glb")
    scene = trimesh.load_scene(tmp_path / "head.glb")
    area = sum(mesh.area for mesh in scene.geometry.values())
    assert area == pytest.approx(trimesh.Trimesh(head.vertices, head.faces).area, rel=1e-5)
    np.testing.assert_allclose(scene.bounds, [head.vertices.min(0), head.vertices.max(0)], atol=1e-6)


def test_same_head_same_bytes(head: TexturedHead) -> None:
    assert glb_bytes(head) == glb_bytes(replace(head))


def test_plain_mesh_without_rig(head: TexturedHead) -> None:
    plain = replace(head, morph_names=(), skeleton=None)
    document = Glb(glb_bytes(plain)).document
    assert "skins" not in document and "targets" not in document["meshes"][0]["primitives"][0]


@pytest.mark.parametrize("variant", ["rigged", "plain", "no_skeleton"])
def test_khronos_validator_finds_nothing(head: TexturedHead, tmp_path: Path, validate_gltf: Any, variant: str) -> None:
    changes: dict[str, Any] = {"plain": {"morph_names": (), "skeleton": None}, "no_skeleton": {"skeleton": None}}
    replace(head, **changes.get(variant, {})).export(tmp_path / "head.glb")
    issues = validate_gltf(tmp_path / "head.glb")["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == issues["numInfos"] == 0, issues["messages"]
