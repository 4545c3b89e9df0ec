"""The measures of shape, against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.evaluation.shape.alignment import align
from gen3dface.evaluation.shape.closest import Surface, closest_weights
from gen3dface.evaluation.shape.now import crop, scan_to_mesh
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
