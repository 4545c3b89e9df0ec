"""OBJ, PLY and NPZ files read back by other readers and by our own."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from gen3dface.errors import OutputError, TexturedHeadError
from gen3dface.files import write_atomically
from gen3dface.recon.textured_head import Skeleton, TexturedHead, vertex_normals


def test_obj_round_trip(head: TexturedHead, tmp_path: Path) -> None:
    head.export(tmp_path / "ada b.obj")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ada b.obj", "ada_b.mtl", "ada_b.png"]
    meshes = trimesh.load_scene(tmp_path / "ada b.obj").geometry.values()
    assert sum(len(mesh.faces) for mesh in meshes) == len(head.faces)
    area = sum(mesh.area for mesh in meshes)
    assert area == pytest.approx(trimesh.Trimesh(head.starting_vertices(), head.faces).area, rel=1e-4)
    for mesh in meshes:
        np.testing.assert_array_equal(np.asarray(mesh.visual.material.image)[..., :3], head.texture)


def test_obj_corners_carry_position_uv_and_normal(head: TexturedHead, tmp_path: Path) -> None:
    head.export(tmp_path / "head.obj")
    lines = [line.split() for line in (tmp_path / "head.obj").read_text().splitlines()]
    uvs = np.array([line[1:] for line in lines if line[0] == "vt"], float)
    np.testing.assert_allclose(uvs, head.uvs, atol=1e-6)
    corners = np.array([[c.split("/") for c in line[1:]] for line in lines if line[0] == "f"], int) - 1
    order = np.argsort(head.face_materials, kind="stable")
    np.testing.assert_array_equal(corners[..., 0], head.faces[order])
    np.testing.assert_array_equal(corners[..., 1], head.uv_faces[order])
    np.testing.assert_array_equal(corners[..., 2], head.faces[order])


def test_ply_round_trip(head: TexturedHead, tmp_path: Path) -> None:
    head.export(tmp_path / "head.ply")
    mesh = trimesh.load_mesh(tmp_path / "head.ply", process=False)
    np.testing.assert_array_equal(mesh.vertices, head.vertices + 0.5 * head.morph_deltas[0])
    np.testing.assert_array_equal(mesh.faces, head.faces)
    raw = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(
        np.stack([raw["nx"], raw["ny"], raw["nz"]], axis=-1), vertex_normals(np.float32(mesh.vertices), head.faces)
    )
    row, column = 5, 3  # a vertex of the grid away from the seam, at u = column / 16, v = 1 - row / 11
    expected = head.texture[int(row / 11 * 64), int(column / 16 * 64)]
    np.testing.assert_array_equal(mesh.visual.vertex_colors[row * 16 + column, :3], expected)


def test_normals_of_a_sphere_point_outward() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3)
    normals = vertex_normals(np.float32(sphere.vertices), np.array(sphere.faces))
    np.testing.assert_allclose(normals, sphere.vertices, atol=0.02)


def test_normal_of_a_vertex_without_area_is_still_a_unit_vector() -> None:
    normals = vertex_normals(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(normals, [[0, 0, 1]] * 3)


def test_npz_round_trip(head: TexturedHead, tmp_path: Path) -> None:
    detail = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    head = replace(head, normal_map=detail)
    head.save(tmp_path / "head.npz")
    loaded = TexturedHead.load(tmp_path / "head.npz")
    shape, look = ("vertices", "faces", "uvs", "uv_faces"), ("texture", "face_materials", "confidence", "normal_map")
    for name in (*shape, *look, "morph_deltas", "morph_weights"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(head, name))
    assert (loaded.morph_names, loaded.materials) == (head.morph_names, head.materials)
    assert loaded.skeleton is not None and head.skeleton is not None
    assert (loaded.skeleton.names, loaded.skeleton.parents) == (head.skeleton.names, head.skeleton.parents)
    np.testing.assert_array_equal(loaded.skeleton.weights, head.skeleton.weights)


def test_confidence_is_of_the_textures_size(head: TexturedHead) -> None:
    with pytest.raises(TexturedHeadError, match="confidence"):
        replace(head, confidence=head.confidence[:-1])
    assert replace(head, confidence=np.zeros((0, 0), np.uint8)).confidence.size == 0


def test_npz_with_a_pickle_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", format=np.array([{}], dtype=object))
    with pytest.raises(TexturedHeadError, match=r"bad\.npz"):
        TexturedHead.load(tmp_path / "bad.npz")


def test_npz_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (3 << 30,)})
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("texture.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(header.getvalue())
        for _ in range(1100):
            entry.write(bytes(1 << 20))
    with pytest.raises(TexturedHeadError, match="unpacks to"):
        TexturedHead.load(tmp_path / "bomb.npz")


def test_no_changed_byte_raises_anything_else(head: TexturedHead, tmp_path: Path) -> None:
    head.save(tmp_path / "head.npz")
    whole, random = (tmp_path / "head.npz").read_bytes(), np.random.default_rng(0)
    directory = whole.index(b"PK\x01\x02")
    for place in [*random.integers(0, len(whole), 150), *range(directory, directory + 60)]:
        changed = bytearray(whole)
        changed[place] ^= int(random.integers(1, 256))
        (tmp_path / "bad.npz").write_bytes(changed)
        with suppress(TexturedHeadError):  # a byte of no consequence may change
            TexturedHead.load(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut short"])
def test_damaged_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(TexturedHeadError):
        TexturedHead.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vertices", np.zeros((4, 2))),
        ("vertices", np.full((192, 3), np.nan)),
        ("faces", np.array([[0, 1, 999]])),
        ("faces", np.array([[0.0, 1.0, 2.0]])),
        ("texture", np.zeros((8, 8, 3), np.float32)),
        ("texture", np.zeros((8, 8, 4), np.uint8)),
        ("morph_deltas", np.zeros((2, 192, 3))),
        ("face_materials", np.array([7])),
    ],
)
def test_fields_that_do_not_fit_are_named(head: TexturedHead, name: str, value: np.ndarray) -> None:
    with pytest.raises(TexturedHeadError, match=name):
        replace(head, **{name: value})


@pytest.mark.parametrize(
    ("parents", "weights"),
    [((-1, -1), [[1, 0]]), ((1, -1), [[1, 0]]), ((-1, 0), [[0.4, 0.4]]), ((-1, 0), [[1.5, -0.5]])],
)
def test_skeletons_that_cannot_be_are_refused(parents: tuple[int, int], weights: list[list[float]]) -> None:
    with pytest.raises(TexturedHeadError, match="skeleton"):
        Skeleton(("root", "neck"), parents, np.zeros((2, 3), np.float32), np.array(weights, np.float32))


def test_other_suffix_is_refused(head: TexturedHead, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.glb"):
        head.export(tmp_path / "head.stl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_folder_that_is_a_file_gives_a_clear_error(head: TexturedHead, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        head.export(tmp_path / "taken" / f"head{suffix}")
    assert (tmp_path / "taken").read_text() == "x"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from gen3dface.errors import OutputError
from gen3dface.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), bytes(5000))
except OutputError:
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit of the operating system")
def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The operating system refuses the write half-way, as it does on a full disk."""
    target = tmp_path / "head.glb"
    target.write_bytes(b"old")
    result = subprocess.run([sys.executable, "-c", FULL_DISK, str(target)], check=False)
    assert result.returncode == 3
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
