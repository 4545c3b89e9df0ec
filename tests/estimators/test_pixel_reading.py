"""The unwrapped face, and what the network reads from it, on pictures whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people import person as people
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.rendered.samples.make import Sitting, sit
from gen3dface.estimators.default import regressed_prior
from gen3dface.estimators.pixel_reading import bundled_reader, identity_in, read_reader
from gen3dface.estimators.regression import bundled_regressor, mirrored
from gen3dface.estimators.unwrapped_face import SIDE, Unwrapping
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import Portrait
from gen3dface.photo.landmarks import FACE_OVAL

SEEDS = range(800_000_000, 800_000_006)  # of no training run
RAMP = np.array([[0.4, 0.2], [-0.1, 0.5], [0.3, -0.3]])  # colour by px


@pytest.fixture(scope="module")
def sittings(skins: tuple[Skin, ...]) -> list[Sitting]:
    return [sit(seed, skins, yaw_limit=30.0) for seed in SEEDS]


def _face_points(model: HeadModel, identity: torch.Tensor | NDArray) -> NDArray[np.float64]:
    """[P, 3] of the face, centred, millimetres."""
    vertices = model.mesh(torch.as_tensor(identity).float()).vertices[model.regions["face"]].double()
    return 1000 * (vertices - vertices.mean(0)).numpy()


def _size(model: HeadModel, identity: torch.Tensor | NDArray) -> float:
    return float(np.linalg.norm(_face_points(model, identity), axis=1).mean())


def _metres_a_pixel(reference: NDArray) -> float:
    """The unwrapped face is as wide or high as the oval, moved out by 16 %."""
    oval = reference[list(FACE_OVAL), :2]
    margin = oval.mean(0) + 1.16 * (oval - oval.mean(0))
    return float((margin.max(0) - margin.min(0)).max() / SIDE)


def test_a_ramp_is_unwrapped_to_a_ramp() -> None:
    """Where landmarks are the reference under an affine map, unwrapping is that map, and colours tell where from."""
    reference = bundled_regressor().reference
    turn = np.array([[1500.0, 300.0], [200.0, -1600.0]])
    landmarks = np.column_stack([reference[:, :2] @ turn.T + [320, 300], np.zeros(478)])
    y, x = np.mgrid[:640, :640] + 0.5
    image = np.clip(128 + (np.stack([x, y], -1) - [320, 300]) @ RAMP.T, 0, 255)
    unwrapping = Unwrapping.onto(reference)
    seen = unwrapping(image.round().astype(np.uint8), landmarks).astype(float)
    face = cv2.erode(unwrapping.inside.astype(np.uint8), np.ones((5, 5))) > 0
    rows = np.column_stack([np.mgrid[:SIDE, :SIDE][::-1].reshape(2, -1).T, np.ones(SIDE * SIDE)])[face.ravel()]
    plane, *_ = np.linalg.lstsq(rows, seen[face], rcond=None)
    assert np.abs(rows @ plane - seen[face]).max() < 2.5  # a crop of 256 px lies between
    expected = RAMP @ turn @ np.diag([1.0, -1.0]) * _metres_a_pixel(reference)
    assert np.abs(plane[:2].T - expected).max() < 0.03 * np.abs(expected).max()
    assert (seen[~unwrapping.inside] == 0).all()


def test_pixels_tell_more_than_landmarks(sittings: list[Sitting]) -> None:
    """Of rendered people that nothing was trained on: error of the face, mean over six."""
    model, regressor = load_head_model(), bundled_regressor()
    errors = []
    for sitting in sittings:
        portrait, truth = sitting.portrait, _face_points(model, sitting.person.identity)
        told, read = regressor.predict(portrait.landmarks, portrait.blendshapes), identity_in(portrait, model)
        assert told is not None and read is not None
        errors.append([np.linalg.norm(_face_points(model, z) - truth, axis=1).mean() for z in (told.mean, read.mean)])
    landmarks, pixels = np.mean(errors, 0)
    assert pixels < 0.9 * landmarks


def test_larger_irises_make_a_smaller_head(skins: tuple[Skin, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same person, photo and light, with irises a fifth wider: those of a head a fifth smaller."""
    model, seed = load_head_model(), SEEDS[0]
    plain = people.random_iris_angle
    sizes = []
    for factor in (1.0, 1.2):
        monkeypatch.setattr(people, "random_iris_angle", lambda *given, factor=factor: factor * plain(*given))
        read = identity_in(sit(seed, skins, yaw_limit=10.0).portrait, model)
        assert read is not None
        sizes.append(_size(model, read.mean))
    assert sizes[1] < 0.98 * sizes[0]


def test_a_photo_turned_over_shows_the_head_turned_over(sittings: list[Sitting]) -> None:
    """Nearly: landmarks are not quite symmetric. Over six people."""
    reader, model, alike = bundled_reader(), load_head_model(), []
    for seen in (sitting.portrait for sitting in sittings):
        landmarks, blendshapes = mirrored(seen.landmarks[None], seen.blendshapes[None], bundled_regressor().reference)
        landmarks[..., 0] += seen.width
        plain = reader(seen.image, seen.landmarks, seen.blendshapes)
        turned = reader(np.ascontiguousarray(seen.image[:, ::-1]), landmarks[0], blendshapes[0])
        mean = _face_points(model, 0 * plain)
        moved, other = (_face_points(model, z).ravel() - mean.ravel() for z in (plain @ reader.mirror, turned))
        alike.append(moved @ other / np.linalg.norm(moved) / np.linalg.norm(other))
    assert np.mean(alike) > 0.9


def test_the_fit_starts_from_what_was_read(sittings: list[Sitting]) -> None:
    model = load_head_model()
    portrait: Portrait = sittings[0].portrait
    read = identity_in(portrait, model)
    assert read is not None and read.landmarks_read
    assert np.array_equal(regressed_prior(portrait, model).mean, read.mean)


def test_answers_are_bounded(sittings: list[Sitting]) -> None:
    """A reader that may say little says that much, of the same photo to which it has more to say."""
    reader, seen = bundled_reader(), sittings[0].portrait
    tight = replace(reader, limit=0.1)
    free, bound = (r(seen.image, seen.landmarks, seen.blendshapes) for r in (reader, tight))
    units = [np.linalg.norm(np.linalg.lstsq(reader.modes.T, answer, rcond=None)[0]) for answer in (free, bound)]
    assert units[0] > 0.2
    assert 0 < units[1] < 0.11


def test_it_knows_what_it_does_not_know() -> None:
    """Positive definite, and surer than landmarks alone."""
    covariance = bundled_reader().covariance
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert np.trace(covariance) < np.trace(bundled_regressor().covariance)


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(KeyError):
        read_reader({"modes": torch.zeros(40, 100)}, bundled_regressor())
