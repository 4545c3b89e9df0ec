"""The steps of tools/build_open_head.py that need no downloaded data."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from open_head import identity, landmarks, layout, topology  # noqa: E402


def _build_script():
    spec = importlib.util.spec_from_file_location("build_open_head", TOOLS / "build_open_head.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rigid_alignment_undoes_a_known_motion():
    rng = np.random.default_rng(0)
    target, weights = rng.normal(size=(30, 3)), rng.random(30)
    motions = Rotation.random(5, rng=1).as_matrix()
    moved = target @ motions + rng.normal(size=(5, 1, 3))
    aligned = identity.rigid_align(moved, target, weights)
    np.testing.assert_allclose(aligned, np.broadcast_to(target, aligned.shape), atol=1e-9)


def test_rigid_alignment_keeps_size():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(30, 3))
    aligned = identity.rigid_align(1.3 * target[None], target, np.ones(30))
    assert np.linalg.norm(aligned - aligned.mean(1)) == pytest.approx(1.3 * np.linalg.norm(target - target.mean(0)))


def test_basis_reproduces_the_samples_covariance():
    rng = np.random.default_rng(0)
    mirror = np.array([1, 0, 2])
    samples = rng.normal(size=(400, 3, 3)) * np.array([1.0, 0.5, 2.0])
    basis = identity.fit_basis(samples, np.ones(3), mirror, 9)
    both = np.concatenate([samples, identity.flip(samples, mirror)])
    expected = np.cov(both.reshape(800, 9).T, bias=True)
    rows = basis.basis.reshape(9, 9)
    np.testing.assert_allclose(rows.T @ rows, expected, atol=1e-9)
    np.testing.assert_allclose(basis.mean, both.mean(0), atol=1e-12)
    assert basis.explained == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        ([-1, -1, -1, -1], 1.0),
        ([1, 1, 1, 1], 0.0),
        ([-1, -1, 1, 1], 0.5),
        ([-1, 1, 1, 1], 0.125),
        ([-1, 0, 0, -1], 1.0),
    ],
)
def test_clipped_quads_have_the_right_area(signed, expected):
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    corners = topology.clip_quad(np.array(signed, dtype=float))
    points = np.array([(1 - t) * square[i] + t * square[j] for i, j, t in corners]).reshape(-1, 3)
    triangles = topology.split_polygon(points) if len(points) else []
    area = sum(np.cross(points[b] - points[a], points[c] - points[a])[2] / 2 for a, b, c in triangles)
    assert area == pytest.approx(expected)


def test_eyeball_is_a_closed_sphere_facing_outward():
    points, faces, uv_faces = topology.eye_sphere()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    normals = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    assert ((normals * points[faces].mean(1)).sum(1) > 0).all()
    edges = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)}
    assert len(edges) == 3 * len(faces) and all((b, a) in edges for a, b in edges)
    assert len(points) - len(edges) // 2 + len(faces) == 2  # Euler
    assert uv_faces.max() + 1 == len(layout.eye_tile(mirrored=False))


def test_mirror_pairs_are_found_from_positions():
    rng = np.random.default_rng(0)
    left = rng.random((10, 3)) + np.array([0.1, 0, 0])
    points = np.concatenate([left, left * [-1, 1, 1], [[0, 0, 0]]]) + rng.normal(size=(21, 3)) * 1e-3
    np.testing.assert_array_equal(landmarks.mirror_pairs(points), [*range(10, 20), *range(10), 20])


def test_closest_point_on_triangles():
    triangles = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 5], [1, 0, 5], [0, 1, 5]]], dtype=float)
    nearest, weights = landmarks.closest_on(triangles, np.array([[0.2, 0.3, 4.0], [-1.0, -1.0, 0.1]]))
    np.testing.assert_array_equal(nearest, [1, 0])
    np.testing.assert_allclose(weights, [[0.5, 0.2, 0.3], [1, 0, 0]], atol=1e-12)


def test_quantised_bases_come_back_within_half_a_step():
    basis = np.random.default_rng(0).normal(size=(4, 6, 3)) * np.array([1.0, 0.1, 1e-3, 0.0])[:, None, None]
    integers, scale = _build_script().quantise(basis)
    assert integers.dtype == np.int16
    error = np.abs(integers * scale[:, None, None] - basis).max((1, 2))
    assert (error <= 0.51 * scale + 1e-12).all()


def test_equal_arrays_give_equal_bytes(tmp_path):
    build = _build_script()
    arrays = {"a": np.arange(12.0).reshape(3, 4), "b": np.ones(3, dtype=np.uint8)}
    build.write_npz(tmp_path / "one.npz", arrays)
    build.write_npz(tmp_path / "two.npz", arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as archive:
        np.testing.assert_array_equal(archive["a"], arrays["a"])
