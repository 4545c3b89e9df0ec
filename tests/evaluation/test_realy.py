"""Errors by region: each aligned by itself, so that an error in one does not show in another."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.evaluation.shape.now import scan_to_mesh
from gen3dface.evaluation.shape.realy import REGIONS, region_errors, region_landmarks, region_masks
from gen3dface.heads import HeadModel, load_head_model

Face = tuple[NDArray, NDArray, NDArray]


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def face(model: HeadModel) -> Face:
    """Vertices, triangles and landmarks, metres."""
    skin = model.regions["face"][model.faces].all(1)
    mesh = model.mesh()
    vertices, landmarks = mesh.vertices.numpy().astype(np.float64), mesh.landmarks().numpy().astype(np.float64)
    return vertices, model.faces[skin].numpy(), landmarks


def _scan(face: Face) -> NDArray:
    return face[0][np.unique(face[1])]


def test_a_similar_copy_has_no_error(face: Face) -> None:
    vertices, faces, landmarks = face
    turn = Rotation.from_euler("xyz", [20, -30, 40], degrees=True)
    moved, marks = (1.3 * turn.apply(p) + [0.1, -0.2, 0.3] for p in (vertices, landmarks))
    errors = region_errors(_scan(face), landmarks, moved, faces, marks)
    assert set(errors) == set(REGIONS)
    assert all(len(e) > 100 and e.max() < 1e-9 for e in errors.values())


def test_a_nose_out_of_place_is_no_error_of_its_region_alone(face: Face) -> None:
    vertices, faces, landmarks = face
    scan, shift = _scan(face), np.array([0, 0, 0.004])
    nose = region_masks(vertices, landmarks)["nose"]
    moved, marks = vertices + nose[:, None] * shift, landmarks.copy()
    marks[region_landmarks("nose")] += shift
    errors = region_errors(scan, landmarks, moved, faces, marks)
    at_nose = region_masks(scan, landmarks)["nose"]
    together = scan_to_mesh(scan, landmarks, moved, faces, marks, metrical=True)[at_nose]
    assert errors["nose"].mean() < 0.3 * together.mean()
    assert 1000 * together.mean() > 1
    assert all(1000 * errors[name].mean() < 0.2 for name in ("mouth", "forehead", "cheeks"))


def test_a_wrong_shape_is_an_error_where_it_is(face: Face) -> None:
    vertices, faces, landmarks = face
    scan = _scan(face)
    wide = np.where(region_masks(vertices, landmarks)["nose"][:, None], vertices * [1.3, 1, 1], vertices)
    errors = region_errors(scan, landmarks, wide, faces, landmarks)
    assert 1000 * errors["nose"].mean() > 1
    assert all(1000 * errors[name].mean() < 0.1 for name in ("mouth", "forehead"))


def test_regions_are_parts_of_the_face_and_apart(model: HeadModel, face: Face) -> None:
    vertices, _, landmarks = face
    masks = region_masks(vertices, landmarks)
    assert max(sum(mask.astype(int) for mask in masks.values())) == 1
    assert masks["mouth"][model.regions["lips"].numpy()].all()
    assert masks["forehead"][model.regions["brows"].numpy()].mean() > 0.9
    assert not any(mask[model.regions["neck"].numpy()].any() for mask in masks.values())
    assert masks["cheeks"][vertices[:, 0] > 0].sum() == pytest.approx(
        masks["cheeks"][vertices[:, 0] < 0].sum(), rel=0.05
    )
    taken = np.concatenate([region_landmarks(name) for name in (*REGIONS, "eyes")])
    assert sorted(taken) == list(range(468))


def test_unknown_landmarks_are_left_out(face: Face) -> None:
    vertices, faces, landmarks = face
    known = landmarks.copy()
    known[region_landmarks("forehead")] = np.nan
    errors = region_errors(_scan(face), known, vertices, faces, landmarks)
    assert len(errors["forehead"]) == 0
    assert errors["nose"].max() < 1e-9
