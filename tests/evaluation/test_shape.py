"""The measures of shape, against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.evaluation.shape.alignment import align
from gen3dface.evaluation.shape.chamfer import chamfer, surface_points
from gen3dface.evaluation.shape.closest import Surface, closest_weights
from gen3dface.evaluation.shape.now import crop, scan_to_mesh
from gen3dface.evaluation.shape.vertex import Spread, vertex_errors
from gen3dface.heads import load_head_model


@pytest.fixture(scope="module")
def face() -> tuple[NDArray, NDArray, NDArray]:
    """Vertices, triangles and landmarks of a face, metres."""
    model = load_head_model()
    mesh = model.mesh()
    skin = model.regions["face"][model.faces].all(1)
    return (
        mesh.vertices.numpy().astype(np.float64),
        model.faces[skin].numpy(),
        mesh.landmarks().numpy().astype(np.float64),
    )


def _moved(points: NDArray, scale: float) -> NDArray:
    return scale * Rotation.from_euler("xyz", [20, -30, 40], degrees=True).apply(points) + [0.1, -0.2, 0.3]


def test_now_of_a_similar_copy_is_zero(face: tuple[NDArray, NDArray, NDArray]) -> None:
    vertices, faces, landmarks = face
    scan = vertices[np.unique(faces)]
    scan = scan[crop(scan, landmarks)]
    errors = scan_to_mesh(scan, landmarks, _moved(vertices, 1.3), faces, _moved(landmarks, 1.3), metrical=False)
    assert errors.max() * 1000 < 1e-9
    errors = scan_to_mesh(scan, landmarks, _moved(vertices, 1.0), faces, _moved(landmarks, 1.0), metrical=True)
    assert errors.max() * 1000 < 1e-9


def test_metrical_now_sees_the_wrong_size(face: tuple[NDArray, NDArray, NDArray]) -> None:
    vertices, faces, landmarks = face
    scan = vertices[np.unique(faces)]
    scan = scan[crop(scan, landmarks)]
    errors = scan_to_mesh(scan, landmarks, vertices * 1.1, faces, landmarks * 1.1, metrical=True)
    assert 1000 * np.median(errors) > 1


def test_now_is_measured_in_the_scans_unit(face: tuple[NDArray, NDArray, NDArray]) -> None:
    vertices, faces, landmarks = face
    bumpy = vertices + np.random.default_rng(0).normal(size=vertices.shape) * 0.001
    scan = bumpy[np.unique(faces)][::4]
    means = [
        scan_to_mesh(scan, landmarks, _moved(vertices, s), faces, _moved(landmarks, s), metrical=False).mean()
        for s in (1.0, 5.0)
    ]
    assert means[1] == pytest.approx(means[0], rel=1e-6)


def test_the_crop_holds_the_face_and_not_the_ears(face: tuple[NDArray, NDArray, NDArray]) -> None:
    model, landmarks = load_head_model(), face[2]
    kept = crop(model.template.numpy(), landmarks)
    assert kept[model.regions["lips"].numpy()].all()
    assert not kept[(model.regions["ears"] & (model.template[:, 2] < 0.02)).numpy()].any()


def test_alignment_finds_a_known_motion() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    assert np.allclose(align(points, _moved(points, 2.5), with_scale=True)(points), _moved(points, 2.5))
    assert align(points, _moved(points, 2.5), with_scale=True).scale == pytest.approx(2.5)
    assert np.linalg.det(align(points, points * [1, 1, -1]).rotation) == pytest.approx(1)


def test_closest_points_agree_with_trimesh() -> None:
    rng = np.random.default_rng(1)
    triangles, points = rng.normal(size=(300, 3, 3)), rng.normal(size=(300, 3)) * 2
    ours = (closest_weights(points, triangles)[..., None] * triangles).sum(-2)
    assert np.allclose(ours, trimesh.triangles.closest_point(triangles, points))


def test_a_point_on_the_surface_is_its_own_nearest(face: tuple[NDArray, NDArray, NDArray]) -> None:
    vertices, faces, _ = face
    on = (vertices[faces] * np.array([0.2, 0.3, 0.5])[:, None]).sum(1)
    found = Surface(vertices, faces).closest(on)
    assert found.distances.max() < 1e-12


def test_weights_are_as_good_as_copies() -> None:
    rng = np.random.default_rng(2)
    points, target, counts = rng.normal(size=(9, 3)), rng.normal(size=(9, 3)), rng.integers(1, 5, 9)
    weighed = align(points, target, with_scale=True, weights=counts.astype(float))
    copied = align(np.repeat(points, counts, 0), np.repeat(target, counts, 0), with_scale=True)
    assert np.allclose(weighed(points), copied(points))


def test_vertex_errors_see_what_the_alignment_leaves() -> None:
    points = np.random.default_rng(3).normal(size=(200, 3))
    assert vertex_errors(_moved(points, 1.0), points).max() < 1e-12
    assert vertex_errors(_moved(points, 1.7), points, with_scale=True).max() < 1e-12
    # a rigid alignment of a scaled copy leaves (s - 1) |x - mean| at every point
    left = vertex_errors(_moved(points, 1.2), points)
    assert np.allclose(left, 0.2 * np.linalg.norm(points - points.mean(0), axis=1))
    with pytest.raises(ValueError, match="as many"):
        vertex_errors(points[:5], points)


def test_spread_is_median_mean_and_standard_deviation() -> None:
    assert Spread.of(np.array([1.0, 2.0, 6.0])) == Spread(2.0, 3.0, pytest.approx(np.sqrt(14 / 3)))
    assert np.isnan(Spread.of(np.zeros(0)).mean)


def _sphere(radius: float) -> tuple[NDArray, NDArray]:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return np.asarray(ball.vertices), np.asarray(ball.faces)


def test_chamfer_of_two_spheres() -> None:
    small, large = _sphere(1.0), _sphere(1.1)
    points = [surface_points(*ball, 3000, seed=i) for i, ball in enumerate((small, large))]
    found = chamfer(points[0], points[1], Surface(*small), Surface(*large), threshold=0.05)
    assert found.distance == pytest.approx(0.1, abs=0.002)
    assert (found.precision, found.recall, found.f_score) == (0, 0, 0)
    found = chamfer(points[0], points[1], Surface(*small), Surface(*large), threshold=0.15)
    assert (found.precision, found.recall, found.f_score) == (1, 1, 1)
    same = chamfer(points[0], points[0], Surface(*small), Surface(*small), threshold=1e-9)
    assert same.distance < 1e-12 and same.f_score == 1


def test_chamfer_tells_too_much_from_missing() -> None:
    ball, faces = _sphere(1.0)
    half = faces[(ball[faces][..., 2] >= -1e-9).all(1)]
    made, truth = surface_points(ball, half, 4000), surface_points(ball, faces, 4000)
    found = chamfer(made, truth, Surface(ball, half), Surface(ball, faces), threshold=0.02)
    assert found.to_truth < 1e-9 and found.precision == 1
    assert found.recall == pytest.approx(0.5, abs=0.04)
    # of a point at the angle a beyond the rim the chord to it: the mean of 2 sin(a / 2) sin(a') over the lower half
    angle = np.linspace(0, np.pi / 2, 2001)
    chord = np.average(2 * np.sin(angle / 2), weights=np.cos(angle))
    assert found.from_truth == pytest.approx(chord / 2, rel=0.05)
    assert found.f_score == pytest.approx(2 * found.recall / (1 + found.recall))


def test_surface_points_are_spread_by_area() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [10, 0, 0], [13, 0, 0], [10, 1, 0]])
    found = surface_points(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 8000)
    assert (found[:, 0] > 5).mean() == pytest.approx(0.75, abs=0.02)
    assert found[found[:, 0] < 5].mean(0) == pytest.approx([1 / 3, 1 / 3, 0], abs=0.02)
    assert (found[:, :2] >= 0).all() and (found[found[:, 0] < 5, :2].sum(1) <= 1 + 1e-12).all()
