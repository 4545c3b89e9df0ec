"""GNM, ICT-FaceKit and plain meshes: invented files of the true layout against what their documentation says."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from gen3dface.errors import HeadModelError
from gen3dface.heads import gnm, load_head_model
from gen3dface.heads.gnm import read_gnm
from gen3dface.heads.ict import EYEBALLS, VERTICES, arkit_name, read_ict
from gen3dface.heads.obj import read_obj
from gen3dface.heads.static_mesh import read_static_mesh


@pytest.fixture
def small_gnm(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """GNM's arrays for a head of 50 vertices, 4 identity and 3 expression components."""
    v, k, e, f = 50, 4, 3, 60
    for name, value in {"VERTICES": v, "IDENTITIES": k, "EXPRESSIONS": e}.items():
        monkeypatch.setattr(gnm, name, value)
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": 0.1 * draw(v, 3),
        "vertex_identity_basis": 1e-3 * draw(k, v, 3),
        "expression_basis": 1e-3 * draw(e, v, 3),
        "template_joint_positions": 0.1 * draw(4, 3),
        "joint_identity_basis": 1e-3 * draw(k, 4, 3),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "joint_parent_indices": np.array([0, 0, 1, 1]),
        "skinning_weights": rng.dirichlet(np.ones(4), v).T.astype(np.float32),
        "pose_correctives_regressor": 1e-2 * draw(36, 3 * v),
        "triangles": rng.integers(0, v, (f, 3)),
        "triangle_uvs": rng.random((f, 3, 2)).astype(np.float32),
        "expression_names": np.array([f"tongue_{n}" for n in range(e)]),
        "vertex_groups": (rng.random((2, v)) > 0.5).astype(np.float32),
        "vertex_group_names": np.array(["left_ear", "right_ear"]),
    }


def test_gnm_is_skinned_with_all_four_joints_correctives(tmp_path: Path, small_gnm: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "gnm_head.npz", **small_gnm)
    model = read_gnm(tmp_path / "gnm_head.npz")
    rng = np.random.default_rng(1)
    identity, expression, vectors = rng.normal(size=4), rng.normal(size=3), 0.3 * rng.normal(size=(4, 3))
    g = {name: value.astype(float) for name, value in small_gnm.items() if value.dtype.kind == "f"}
    turned = Rotation.from_rotvec(vectors).as_matrix()
    shaped = g["template_vertex_positions"] + np.tensordot(identity, g["vertex_identity_basis"], 1)
    shaped = shaped + np.tensordot(expression, g["expression_basis"], 1)
    shaped = shaped + ((turned - np.eye(3)).ravel() @ g["pose_correctives_regressor"]).reshape(-1, 3)
    joints = g["template_joint_positions"] + np.tensordot(identity, g["joint_identity_basis"], 1)
    world: list[np.ndarray] = []
    for j, parent in enumerate([-1, 0, 1, 1]):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = turned[j], joints[j] - (joints[parent] if j else 0)
        world.append(world[parent] @ local if j else local)
    expected = sum(
        g["skinning_weights"][j][:, None] * ((shaped - joints[j]) @ world[j][:3, :3].T + world[j][:3, 3])
        for j in range(4)
    )
    rotations = torch.cat([torch.zeros(1, 3), torch.tensor(vectors, dtype=torch.float32)])  # the root stays
    values = [torch.tensor(value, dtype=torch.float32) for value in (identity, expression)]
    mesh = model.mesh(*values, rotations)
    np.testing.assert_allclose(mesh.vertices.numpy() + model.origin, expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(mesh.joints[1:].numpy() + model.origin, [w[:3, 3] for w in world], atol=1e-6, rtol=0)
    np.testing.assert_allclose(model.uvs[model.uv_faces], small_gnm["triangle_uvs"], atol=1e-6)
    assert torch.equal(model.regions["ears"], torch.from_numpy(small_gnm["vertex_groups"].any(0)))
    assert model.licence == "Apache-2.0"


def test_gnms_tiles_are_laid_side_by_side(tmp_path: Path, small_gnm: dict[str, np.ndarray]) -> None:
    corners = small_gnm["triangle_uvs"].copy()
    corners[30:, :, 0] += 1  # the second tile
    np.savez(tmp_path / "gnm_head.npz", **{**small_gnm, "triangle_uvs": corners})
    model = read_gnm(tmp_path / "gnm_head.npz")
    np.testing.assert_allclose(model.uvs[model.uv_faces], corners / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expression_basis": np.zeros((382, 50, 3))}, "expression_basis"),
        ({"version": np.array("2.0")}, "not Head v3"),
        ({"joint_names": np.array(["a", "b", "c", "d"])}, "other names"),
        ({"triangles": np.full((60, 3), 50)}, "faces points outside"),
        ({"skinning_weights": np.zeros((4, 50))}, "sum to 1"),
        ({"joint_names": np.array("neck")}, "joint_names has shape"),
        ({"triangles": np.array(1)}, "triangles is int64"),
        ({"triangles": np.zeros((0, 3), int)}, "triangles is int64"),
        ({"expression_names": np.array("tongue")}, "expression_names has shape"),
        ({"vertex_group_names": np.array("ears")}, "vertex_group_names has shape"),
        ({"joint_parent_indices": np.array([0, 0, np.nan, 1])}, "joint_parent_indices holds what are no whole"),
    ],
)
def test_what_is_not_gnm_is_refused(
    tmp_path: Path, small_gnm: dict[str, np.ndarray], change: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "gnm_head.npz", **{**small_gnm, **change})
    with pytest.raises(HeadModelError, match=f"gnm_head.npz.*{message}"):
        read_gnm(tmp_path / "gnm_head.npz")


def test_gnm_of_another_size_is_refused(tmp_path: Path, small_gnm: dict[str, np.ndarray], monkeypatch) -> None:
    monkeypatch.undo()  # the true sizes again
    np.savez(tmp_path / "gnm_head.npz", **small_gnm)
    with pytest.raises(HeadModelError, match="17821, 3"):
        read_gnm(tmp_path / "gnm_head.npz")
    del small_gnm["triangles"]
    np.savez(tmp_path / "gnm_head.npz", **small_gnm)
    with pytest.raises(HeadModelError, match="no GNM head: triangles missing"):
        read_gnm(tmp_path / "gnm_head.npz")


@pytest.fixture(scope="module")
def ict_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """ICT-FaceKit's folder with an invented head in centimetres, quads in its eyeballs, and a lash card at the end."""
    folder, rng = tmp_path_factory.mktemp("ict"), np.random.default_rng(0)
    vertices = {"generic_neutral_mesh": 5 * rng.normal(size=(VERTICES, 3))}
    for (low, high), side in zip(EYEBALLS.values(), (1, -1), strict=True):
        vertices["generic_neutral_mesh"][low:high] = rng.normal((3.2 * side, 3.6, 8.4), size=(high - low, 3))
    names = ("identity000", "identity001", "browInnerUp_L", "browInnerUp_R", "eyeBlink_L", "jawOpen", "cheekRaiser_L")
    for name in names:
        vertices[name] = vertices["generic_neutral_mesh"] + 0.1 * rng.normal(size=(VERTICES, 3))
    quads = ["f 1/1 2/2 3/3 4/4", "f 21452/1 21453/2 21454/3", "f 5/1 6/2 7/3 8/4", "f 26716/1 26717/2 26718/3 26719/4"]
    inner = folder / "FaceXModel"
    inner.mkdir()
    for name, points in vertices.items():
        lines = [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in points] + ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", *quads]
        (inner / f"{name}.obj").write_text("\n".join(lines))
    return folder, vertices


def test_ict_folder(ict_folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, vertices = ict_folder
    model = read_ict(folder)
    neutral = vertices["generic_neutral_mesh"]
    own = (model.template.double() + torch.tensor(model.origin).double()).numpy()
    np.testing.assert_allclose(own, 0.01 * neutral, atol=1e-7)
    assert model.expression_names == ("browInnerUp", "cheekRaiserLeft", "eyeBlinkLeft", "jawOpen")
    halves = sum(vertices[f"browInnerUp_{side}"] - neutral for side in "LR")
    np.testing.assert_allclose(model.expression_basis[0], 0.01 * halves, atol=1e-7)
    np.testing.assert_allclose(model.identity_basis[1], 0.01 * (vertices["identity001"] - neutral), atol=1e-7)
    assert model.faces.tolist() == [[0, 1, 2], [0, 2, 3], [21451, 21452, 21453], [4, 5, 6], [4, 6, 7]]  # without lashes
    assert model.uv_faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 1, 2], [0, 2, 3]]
    turns = torch.zeros(4, 3)
    turns[2, 1] = 0.5
    moved = (model.mesh(rotations=turns).vertices - model.template).norm(dim=-1) > 1e-6
    assert torch.equal(moved, model.regions["left_eye"])
    torch.testing.assert_close(model.joints[2:].mean(0), load_head_model().joints[3:].mean(0), atol=1e-3, rtol=0)


def test_ict_landmarks_are_its_own_vertices(ict_folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    model = read_ict(ict_folder[0])
    points = model.mesh().landmarks()
    torch.testing.assert_close(points[0], model.template[0])  # ICT's vertex 0 is the middle of the upper lip
    assert points[1].isnan().all()


def test_ict_names() -> None:
    assert [arkit_name(name) for name in ("mouthSmile_R", "jawOpen", "cheekPuff_L", "PupilDilate_L")] == [
        "mouthSmileRight", "jawOpen", "cheekPuff", "PupilDilateLeft",
    ]  # fmt: skip


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadModelError, match="generic_neutral_mesh"):
        read_ict(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3")
    with pytest.raises(HeadModelError, match="3 vertices, ICT-FaceKit's has 26719"):
        read_ict(tmp_path)


SQUARE = "v 0 0 0\nv 100 0 0\nv 100 100 0\nv 0 100 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1/1 2/2/1 3/3/1 4/4/1\n"


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
def test_a_mesh_is_a_head_that_stays_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scan.{suffix}"
    if suffix == "obj":
        path.write_text(SQUARE)
    else:
        corners = np.array([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0], [0, 0, 0]], float)  # one counts twice
        trimesh.Trimesh(corners, [[0, 1, 2], [4, 2, 3]], process=False).export(path)
    model = read_static_mesh(path, "mm")
    assert model.name == "scan" and model.identity_size == 0 and model.expression_names == ()
    assert len(model.template) == (4 if suffix == "obj" else 5)
    mesh = model.mesh(torch.zeros(2, 0), torch.zeros(2, 0), torch.zeros(2, 1, 3))
    expected = torch.tensor([0.1, 0.1, 0.0])
    torch.testing.assert_close(mesh.vertices[1, 2], expected)
    torch.testing.assert_close(read_static_mesh(path).template[2], 1000 * expected)
    assert not any(mask.any() for mask in model.regions.values())
    assert sorted(model.collar.tolist()) == ([0, 1, 2, 3] if suffix == "obj" else sorted(model.collar.tolist()))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", b"v 0 0 0\nf 1 2 3", "corner 2 of 1"),
        ("a.obj", b"v 0 0 nan\n", "not finite"),
        ("a.obj", b"v 0 0\n", "damaged"),
        ("a.obj", b"v 0 0 0\n", "no triangles"),
        ("a.obj", b"", "no vertices"),
        ("a.ply", b"ply\nformat", r"a\.ply"),
        ("a.glb", b"glTF\x02\0\0\0" + b"\xff" * 40, r"a\.glb"),
        ("a.stl", b"", "must end in"),
    ],
)
def test_damaged_meshes_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HeadModelError, match=message):
        read_static_mesh(tmp_path / name)


def test_a_mesh_without_texture_coordinates_gets_them_round_the_y_axis(tmp_path: Path) -> None:
    head = load_head_model()
    trimesh.Trimesh(head.template.numpy(), head.faces.numpy(), process=False).export(tmp_path / "a.ply")
    model = read_static_mesh(tmp_path / "a.ply")
    assert model.uvs.min() >= 0 and model.uvs.max() <= 1
    wide = model.uvs[model.uv_faces, 0]
    assert (wide.amax(1) - wide.amin(1) > 0.5).float().mean() < 0.01  # the seam cuts, and nothing spans it
    ends = {
        "nose": head.template[:, 2].argmax(),
        "left": head.template[:, 0].argmax(),
        "right": head.template[:, 0].argmin(),
    }
    u = {name: model.uvs[model.uv_faces[model.faces == vertex][0], 0].item() for name, vertex in ends.items()}
    assert u["right"] < u["nose"] < u["left"]
    assert u["left"] - u["nose"] == pytest.approx(u["nose"] - u["right"], abs=1e-3)


def test_obj_polygons_and_counting_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("# a comment\n" + SQUARE.replace("f 1/1/1 2/2/1 3/3/1 4/4/1", "f -4//1 -3//1 -2//1 -1//1"))
    mesh = read_obj(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]] and mesh.uv_faces is None
