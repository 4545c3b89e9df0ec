"""FLAME files of the true layout against the formula, written out with loops and SciPy's rotations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gen3dface.cameras import orbit
from gen3dface.errors import HeadModelError
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.heads.anatomy import inner_parts
from gen3dface.heads.flame import guess_version, origin_of, read_flame
from gen3dface.heads.flame_landmarks import head_yaw, read_flame_landmarks
from gen3dface.heads.flame_texture import read_flame_texture
from tests.heads.fake_flame import (
    MEDIAPIPE,
    PARENTS,
    arrays_of_head,
    dump_python2,
    fake_arrays,
    fake_landmarks,
    write_landmarks,
    write_mediapipe,
    write_npz,
    write_pkl,
)

MICROMETRE = 1e-6


def posed(
    arrays: dict[str, np.ndarray], coefficients: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """FLAME's vertices and joints in its own frame, vertex by vertex (Li et al., 2017, eq. 1-4)."""
    turned = [Rotation.from_rotvec(vector).as_matrix() for vector in vectors]
    shaped = arrays["v_template"] + arrays["shapedirs"] @ coefficients
    joints = arrays["J_regressor"] @ shaped
    features = np.concatenate([(turned[j] - np.eye(3)).ravel() for j in range(1, 5)])
    shaped = shaped + arrays["posedirs"] @ features
    world: list[np.ndarray] = []
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = turned[j]
        local[:3, 3] = joints[j] - (joints[parent] if j else 0)
        world.append(world[parent] @ local if j else local)
    moved = np.zeros_like(shaped)
    for v, point in enumerate(shaped):
        for j in range(5):
            moved[v] += arrays["weights"][v, j] * (world[j][:3, :3] @ (point - joints[j]) + world[j][:3, 3])
    return moved, np.stack([transform[:3, 3] for transform in world])


def draw(arrays: dict[str, np.ndarray], seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [columns] and rotations [5, 3] as float32 holds them."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=arrays["shapedirs"].shape[2]).astype(np.float32).astype(float)
    return coefficients, (0.4 * rng.normal(size=(5, 3))).astype(np.float32).astype(float)


def check_against_formula(model: HeadModel, arrays: dict[str, np.ndarray], split: int = 300) -> None:
    coefficients, vectors = draw(arrays)
    vertices, joints = posed(arrays, coefficients, vectors)
    values = [torch.tensor(value, dtype=torch.float32) for value in (coefficients, vectors)]
    mesh = model.mesh(values[0][:split], values[0][split:], values[1])
    own = np.array(model.origin)
    np.testing.assert_allclose(mesh.vertices.double().numpy() + own, vertices, atol=MICROMETRE, rtol=0)
    np.testing.assert_allclose(mesh.joints.double().numpy() + own, joints, atol=MICROMETRE, rtol=0)


@pytest.mark.parametrize(("columns", "identities"), [(400, None), (330, None), (150, 100), (20, 20), (10, 0)])
def test_vertices_and_joints_are_the_formulas(tmp_path: Path, columns: int, identities: int | None) -> None:
    arrays = fake_arrays(columns=columns)
    split = 300 if identities is None else identities
    for path in (write_pkl(tmp_path / "flame2020.pkl", arrays), write_npz(tmp_path / "flame2020.npz", arrays)):
        model = read_flame(path, identities=identities)
        assert (model.identity_size, len(model.expression_names)) == (split, columns - split)
        check_against_formula(model, arrays, split)


def test_a_cut_file_that_does_not_say_what_is_an_identity_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "flame2020.npz", fake_arrays(columns=150))
    with pytest.raises(HeadModelError, match=r"flame2020.npz.*150 columns.*give the number of identities"):
        read_flame(path)
    for impossible in (-1, 151, 49):
        with pytest.raises(HeadModelError, match=f"cannot be {impossible} identities"):
            read_flame(path, identities=impossible)


def test_a_file_of_the_true_size(tmp_path: Path) -> None:
    arrays = fake_arrays(5023, 9976)
    model = read_flame(write_pkl(tmp_path / "generic_model.pkl", arrays), "2020")
    assert model.template.shape == (5023, 3) and model.faces.shape == (9976, 3)
    assert model.expression_names[0] == "expression_000" and model.expression_names[-1] == "expression_099"
    assert model.joint_names == ("root", "neck", "jaw", "left_eye", "right_eye")
    assert model.pose_correctives is not None and model.pose_correctives.shape == (36, 5023, 3)
    check_against_formula(model, arrays)


def test_the_eyes_lie_where_the_bundled_heads_do_and_the_shift_can_be_undone(tmp_path: Path) -> None:
    arrays = fake_arrays()
    model = read_flame(write_npz(tmp_path / "a.npz", arrays), "2023")
    torch.testing.assert_close(model.joints[3:].mean(0), load_head_model().joints[3:].mean(0), atol=1e-3, rtol=0)
    own = (model.template + origin_of(model)).double().numpy()
    np.testing.assert_allclose(own, arrays["v_template"], atol=1e-7)


def test_mediapipes_landmarks(tmp_path: Path) -> None:
    arrays, rng = fake_arrays(), np.random.default_rng(5)
    faces, weights = rng.integers(0, 70, 105), rng.dirichlet(np.ones(3), 105)
    embedding = write_mediapipe(tmp_path / "mediapipe.npz", faces, weights)
    model = read_flame(write_npz(tmp_path / "a.npz", arrays), "2020", landmarks=embedding)
    assert int((model.landmark_faces >= 0).sum()) == 105
    coefficients, vectors = draw(arrays)
    vertices, _ = posed(arrays, coefficients, vectors)
    values = [torch.tensor(value, dtype=torch.float32) for value in (coefficients, vectors)]
    found = model.mesh(values[0][:300], values[0][300:], values[1]).landmarks().double().numpy() + model.origin
    for k, landmark in enumerate(MEDIAPIPE):
        corners = vertices[arrays["f"][faces[k]]]
        expected = sum(weights[k, c] * corners[c] for c in range(3))
        np.testing.assert_allclose(found[landmark], expected, atol=MICROMETRE, rtol=0)


def test_static_and_sliding_landmarks(tmp_path: Path) -> None:
    arrays, table = fake_arrays(), fake_landmarks(70)
    model = read_flame(write_npz(tmp_path / "a.npz", arrays), "2020")
    landmarks = read_flame_landmarks(write_landmarks(tmp_path / "landmark_embedding.npy", table), 70)
    coefficients, vectors = draw(arrays)
    vertices, _ = posed(arrays, coefficients, vectors)
    values = [torch.tensor(value, dtype=torch.float32) for value in (coefficients, vectors)]
    mesh = model.mesh(values[0][:300], values[0][300:], values[1])

    def expected(faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.stack([w @ vertices[arrays["f"][f]] for f, w in zip(faces, weights, strict=True)])

    full = expected(table["full_lmk_faces_idx"][0], table["full_lmk_bary_coords"][0])
    np.testing.assert_allclose(landmarks.static(mesh).numpy() + model.origin, full, atol=MICROMETRE, rtol=0)
    rows = {-60.0: 39, -39.0: 39, -20.4: 20, 0.0: 0, 0.6: 40, 12.0: 51, 39.0: 78, 80.0: 78}  # a turn to the left: 40..
    found = landmarks.dynamic(mesh, torch.tensor(list(rows)))
    inner = expected(table["static_lmk_faces_idx"], table["static_lmk_bary_coords"])
    for k, row in enumerate(rows.values()):
        contour = expected(table["dynamic_lmk_faces_idx"][row].numpy(), table["dynamic_lmk_bary_coords"][row].numpy())
        whole = np.concatenate([contour, inner])
        np.testing.assert_allclose(found[k].numpy() + model.origin, whole, atol=MICROMETRE, rtol=0)


def test_yaw_is_relative_to_the_camera() -> None:
    turns = torch.zeros(3, 5, 3)
    turns[0, 0, 1], turns[1, 1, 1] = np.radians(30), np.radians(-12)
    turns[2, 0, 0], turns[2, 2, 1] = np.radians(25), 1.0  # nodding, and the jaw, turn no head
    torch.testing.assert_close(head_yaw(turns), torch.tensor([30.0, -12.0, 0.0]), atol=1e-3, rtol=0)
    left = orbit(torch.tensor([20.0]), torch.tensor([0.0]), radius=1.8, focal=3.0, size=64)  # from the subject's left
    torch.testing.assert_close(head_yaw(turns[:2], left), torch.tensor([10.0, -32.0]), atol=1e-3, rtol=0)


def test_regions_of_a_masks_file(tmp_path: Path) -> None:
    head = load_head_model()
    path = write_npz(tmp_path / "flame2020.npz", arrays_of_head(head))
    texture = tmp_path / "texture.npz"  # quicker than unwrapping
    np.savez(texture, vt=head.uvs, ft=head.uv_faces)
    bare = read_flame(path, texture=texture)
    assert set(bare.regions) >= set(head.regions)
    for name in ("face", "scalp", "ears", "neck"):  # the same vertices lie in the same places
        assert (bare.regions[name] == head.regions[name])[~inner_parts(head)].float().mean() > 0.98, name
    parts = {"left_ear": np.array([3, 5]), "right_ear": np.array([8]), "left_eyeball": np.array([1, 2])}
    masks = tmp_path / "FLAME_masks.pkl"
    masks.write_bytes(dump_python2(parts))
    model = read_flame(path, masks=masks, texture=texture)
    assert model.regions["ears"].nonzero()[:, 0].tolist() == [3, 5, 8]
    assert model.regions["left_ear"].nonzero()[:, 0].tolist() == [3, 5]
    assert model.regions["left_eye"].nonzero()[:, 0].tolist() == [1, 2]
    masks.write_bytes(dump_python2({"face": np.array([len(head.template)])}))
    with pytest.raises(HeadModelError, match=r"FLAME_masks\.pkl.*'face'.*not there"):
        read_flame(path, masks=masks, texture=texture)


def test_edge_and_mirror_of_a_real_shape(tmp_path: Path) -> None:
    head = load_head_model()
    model = read_flame(write_npz(tmp_path / "flame2020.npz", arrays_of_head(head)))
    assert sorted(model.collar.tolist()) == sorted(head.collar.tolist())
    flipped = model.template[model.mirror] * torch.tensor([-1.0, 1.0, 1.0])
    assert (flipped - model.template).norm(dim=-1).max() < 1e-3


def test_texture_coordinates(tmp_path: Path) -> None:
    arrays, rng = fake_arrays(), np.random.default_rng(0)
    path = write_npz(tmp_path / "flame2020.npz", arrays)
    vt, ft = rng.random((50, 2)), rng.integers(0, 50, (70, 3))
    np.savez(tmp_path / "texture.npz", vt=vt, ft=ft)
    model = read_flame(path, texture=tmp_path / "texture.npz")
    np.testing.assert_allclose(model.uvs.numpy(), vt, atol=1e-7)
    assert np.array_equal(model.uv_faces.numpy(), ft)
    lines = [f"v {x} {y} {z}" for x, y, z in arrays["v_template"]] + [f"vt {u} {v}" for u, v in vt]
    corners = [zip(f, t, strict=True) for f, t in zip(arrays["f"] + 1, ft + 1, strict=True)]
    lines += ["f " + " ".join(f"{v}/{t}" for v, t in corner) for corner in corners]
    (tmp_path / "head_template.obj").write_text("\n".join(lines))
    from_obj = read_flame(path, texture=tmp_path / "head_template.obj")
    torch.testing.assert_close(from_obj.uvs[from_obj.uv_faces], model.uvs[model.uv_faces])
    with pytest.raises(HeadModelError, match="vt and ft"):
        read_flame(path, texture=path)


def test_without_a_texture_file_no_two_triangles_share_a_texel(tmp_path: Path) -> None:
    model = read_flame(write_npz(tmp_path / "flame2020.npz", arrays_of_head(load_head_model())))
    assert model.uvs.min() >= 0 and model.uvs.max() <= 1
    corners = model.uvs[model.uv_faces]  # [F, 3, 2]
    points = torch.rand(200, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    start, end = corners, corners[:, [1, 2, 0]]
    side = (end - start)[..., 0] * (points - start)[..., 1] - (end - start)[..., 1] * (points - start)[..., 0]
    inside = (side > 0).all(-1) | (side < 0).all(-1)  # [points, F]
    assert inside.sum(1).max() == 1
    assert inside.any(1).float().mean() > 0.3


@pytest.mark.parametrize(("mean", "basis", "scale"), [("MU", "PC", 1.0), ("mean", "tex_dir", 255.0)])
def test_texture_space(tmp_path: Path, mean: str, basis: str, scale: float) -> None:
    rng = np.random.default_rng(0)
    centre, directions = rng.random((512, 512, 3), np.float32), rng.random((512, 512, 3, 3), np.float32)
    np.savez(tmp_path / "texture.npz", **{mean: scale * centre, basis: scale * directions})
    space = read_flame_texture(tmp_path / "texture.npz", components=2)
    assert space.basis.shape == (2, 3, 512, 512)
    found = space.texture(torch.tensor([0.5, -1.0]))
    expected = centre + 0.5 * directions[..., 0] - directions[..., 1]
    blue, red = expected[..., 0], expected[..., 2]
    np.testing.assert_allclose(found[0], red, atol=1e-5)
    np.testing.assert_allclose(found[2], blue, atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "basis", "message"),
    [
        (np.full(3 * 512 * 512, "a"), np.zeros(3 * 512 * 512), "no numbers"),
        (np.zeros(3 * 512 * 512), np.full(3 * 512 * 512, "a"), "no numbers"),
        (np.zeros(3 * 512 * 512), np.zeros(0), "512 x 512"),
        (np.array(1.0), np.array(1.0), "512 x 512"),
    ],
)
def test_what_is_no_texture_space_is_refused(tmp_path: Path, mean: np.ndarray, basis: np.ndarray, message: str) -> None:
    np.savez_compressed(tmp_path / "texture.npz", MU=mean, PC=basis)
    with pytest.raises(HeadModelError, match=f"texture.npz.*{message}"):
        read_flame_texture(tmp_path / "texture.npz")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("flame2023.pkl", "2023"), ("FLAME2023_Open.npz", "2023-open"), ("flame2023_no_jaw.pkl", "2023-no-jaw"),
        ("FLAME2020/generic_model.pkl", "2020"), ("FLAME2020/female_model.pkl", "2020-female"),
        ("FLAME-2019.pkl", "2019"), ("generic_model.pkl", None), ("2023/model.pkl", None), ("flame.pkl", None),
    ],
)  # fmt: skip
def test_versions_are_guessed_from_unmistakable_names_alone(name: str, version: str | None) -> None:
    assert guess_version(Path("/somewhere") / name) == version


def test_an_unclear_or_unknown_version_is_asked_for(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "generic_model.npz", fake_arrays())
    with pytest.raises(HeadModelError, match="give the version, one of 2019, 2020, 2023, 2023-open"):
        read_flame(path)
    with pytest.raises(HeadModelError, match="'2021'"):
        read_flame(path, "2021")
    assert read_flame(path, "2023-open").licence == "CC-BY-4.0"
    assert "non-commercial" in read_flame(path, "2023").licence


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kintree_table", np.zeros((2, 24), np.uint32), "5 joints"),
        ("f", np.full((70, 3), 40, np.uint32), "not there"),
        ("weights", np.full((40, 5), 0.1), "sum to 1"),
        ("shapedirs", np.zeros((40, 3, 401)), "401 columns"),
        ("v_template", np.full((40, 3), np.nan), "NaN"),
        ("posedirs", np.zeros((40, 3, 35)), "posedirs"),
        ("v_template", np.array(5.0), "v_template is float64"),
        ("v_template", np.zeros((0, 3)), "v_template is float64"),
        ("f", np.zeros((0, 3), int), "f is int64"),
        ("f", np.full((70, 3), np.nan), "f holds what are no whole numbers"),
        ("kintree_table", np.array([[-1, 0, np.nan, 1, 1], range(5)]), "kintree_table holds what are no whole"),
        ("kintree_table", np.array([[-1, 0, np.inf, 1, 1], range(5)]), "kintree_table holds what are no whole"),
        ("kintree_table", np.array([[-1, 0, 9, 1, 1], range(5)]), "parents first"),
    ],
)
def test_what_is_not_flame_is_refused(tmp_path: Path, key: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(HeadModelError, match=f"flame2020.npz.*{message}"):
        read_flame(write_npz(tmp_path / "flame2020.npz", fake_arrays() | {key: value}))
