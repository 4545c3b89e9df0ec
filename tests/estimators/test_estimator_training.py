"""How the bundled regressor learns a population, on cases whose answer is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from correspondence import Correspondence
from direct_fit import DirectFit
from estimator_training import pixel_training
from estimator_training.people import carry
from estimator_training.refine import mirror_map, refine
from estimator_training.ridge import face_metric, load, save
from estimator_training.transport import Transport

from gen3dface.estimators.landmark_model import EYE_JOINTS
from gen3dface.estimators.pixel_reading import read_reader
from gen3dface.estimators.regression import bundled_regressor, mirrored
from gen3dface.estimators.unwrapped_face import SIDE
from gen3dface.evaluation.shape.alignment import align
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def _own_face(model: HeadModel) -> Correspondence:
    """OpenHead's face vertices as their own partners."""
    vertices = model.regions["face"].nonzero()[:, 0].numpy()
    faces = model.faces.numpy()
    first = np.array([np.flatnonzero((faces == v).any(1))[0] for v in vertices])
    return Correspondence(vertices, first, (faces[first] == vertices[:, None]).astype(np.float64), 0.0)


def _shape(model: HeadModel, identity: NDArray[np.float64]) -> NDArray[np.float64]:
    return model.template.numpy() + np.tensordot(identity, model.identity_basis.numpy().astype(np.float64), 1)


def test_the_direct_fit_finds_a_moved_head_at_its_true_size(model: HeadModel) -> None:
    fit = DirectFit(model, _own_face(model), weight=1e-9)
    shape = _shape(model, np.random.default_rng(0).normal(size=100))
    moved = Rotation.from_euler("xyz", [5, -8, 3], degrees=True).apply(shape) + np.array([0.01, 0.02, -0.01])
    found = _shape(model, fit(moved))
    face = model.regions["face"].numpy()
    centred, truth = found[face] - found[face].mean(0), shape[face] - shape[face].mean(0)
    turned = Rotation.align_vectors(truth, centred)[0].apply(centred)
    assert 1000 * np.linalg.norm(turned - truth, axis=-1).mean() < 0.1


def test_what_the_points_do_not_see_keeps_its_own_variance(model: HeadModel) -> None:
    pairs = _own_face(model)
    basis = model.identity_basis.numpy().astype(np.float64)[:, pairs.vertices].reshape(100, -1)
    values, directions = np.linalg.eigh(basis @ basis.T)
    left = np.einsum("ki,kl,li->i", directions, DirectFit(model, pairs).uncertainty(), directions)
    assert np.allclose(left, 3e-5 / (values + 3e-5), atol=1e-4)
    assert left.max() > 0.3 and left.min() < 0.01


def _seen(model: HeadModel, identity: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 478, 3] as a perfect detector with orthographic depth would give them, 2000 px a metre."""
    return model.mesh(torch.from_numpy(identity).float()).landmarks().numpy() * [2000.0, -2000, -2000]


def _bulging(model: HeadModel) -> HeadModel:
    """Its one identity shape: a bump on the left cheek that no slider of OpenHead makes."""
    bump = torch.exp(-((model.template - model.mesh().landmarks()[425]) ** 2).sum(-1) / 0.012**2)
    basis = torch.zeros(1, len(model.template), 3)
    basis[0, :, 0] = 0.004 * bump * model.regions["face"]
    return replace(model, name="bulging", identity_basis=basis, joint_basis=torch.zeros(1, len(model.joint_names), 3))


def test_the_models_own_people_are_carried_over_to_themselves(model: HeadModel) -> None:
    people = carry(model, model, _own_face(model))
    identity = np.random.default_rng(0).normal(size=100)
    face = model.regions["face"].numpy()
    shown, truth = _shape(people.model, identity)[face], _shape(model, identity)[face]
    assert 1000 * np.linalg.norm(align(shown, truth)(shown) - truth, axis=-1).mean() < 0.15
    seen = _shape(model, people.coefficients(identity))[face]
    assert 1000 * np.linalg.norm(align(seen, truth)(seen) - truth, axis=-1).mean() < 0.6  # the pull toward the mean


def test_what_the_sliders_cannot_show_is_carried_over_all_the_same(model: HeadModel) -> None:
    other = _bulging(model)
    people = carry(other, model, _own_face(model))
    face = model.regions["face"].numpy()
    truth = _shape(other, np.ones(1))[face]

    def error(shown: NDArray[np.float64]) -> float:
        return 1000 * np.linalg.norm(align(shown[face], truth)(shown[face]) - truth, axis=-1).max()

    assert error(_shape(people.model, np.ones(1))) < 0.3 * error(_shape(model, people.coefficients(np.ones(1))))


def test_eyes_are_carried_along_whole(model: HeadModel) -> None:
    people = carry(_bulging(model), model, _own_face(model))
    rest = people.model.identity_basis - torch.tensordot(
        torch.from_numpy(people.slopes).float(), model.identity_basis, 1
    )
    for name in EYE_JOINTS:
        ball = rest[0, model.regions[name]]
        assert (ball - ball[0]).abs().max() < 1e-8


def test_a_head_turned_over_has_its_own_coefficients(model: HeadModel) -> None:
    identity = np.random.default_rng(0).normal(size=100)
    turned = _shape(model, identity)[model.mirror.numpy()] * [-1, 1, 1]
    assert np.abs(_shape(model, identity @ mirror_map(model)) - turned).max() < 1e-6


def test_a_picture_turned_over_shows_the_head_turned_over(model: HeadModel) -> None:
    identity = np.random.default_rng(0).normal(size=100)
    weights = np.arange(52.0)[None]
    seen, other = _seen(model, identity[None]), _seen(model, (identity @ mirror_map(model))[None])
    landmarks, swapped = mirrored(seen, weights, bundled_regressor().reference)
    assert np.linalg.norm(landmarks - other, axis=-1).max() < 0.002 * 2000  # 2 mm: landmarks are not quite symmetric
    assert swapped[0, BLENDSHAPE_NAMES.index("eyeBlinkLeft")] == BLENDSHAPE_NAMES.index("eyeBlinkRight")
    assert swapped[0, BLENDSHAPE_NAMES.index("jawOpen")] == BLENDSHAPE_NAMES.index("jawOpen")


def test_a_refined_regression_reads_new_people_better(model: HeadModel) -> None:
    """Perfect landmarks are not what the bundled regression has learned from."""
    people, before = carry(model, model, _own_face(model)), bundled_regressor()
    kinds = []
    for seed, count in ((0, 400), (1, 150)):
        identity = np.random.default_rng(seed).normal(size=(count, 100))
        kinds.append({"identity": identity, "landmarks": _seen(model, identity), "blendshapes": np.zeros((count, 52))})
    refined, measured = refine(before, kinds, model, people)
    assert measured["held_out_rms_mm"] < 0.8 * measured["before_rms_mm"]
    assert np.array_equal(refined.population_mean, before.population_mean)
    assert np.array_equal(refined.covariance, before.covariance)


def test_a_regressor_is_read_as_it_was_saved(tmp_path: Path) -> None:
    save(bundled_regressor(), {"made of": "pictures"}, tmp_path / "regressor.npz")
    read, made_of = load(tmp_path / "regressor.npz")
    assert made_of == {"made of": "pictures"}
    assert read.model_digest == bundled_regressor().model_digest
    assert np.array_equal(read.weights, bundled_regressor().weights)


def test_a_picture_is_carried_over_to_another_person() -> None:
    rng = np.random.default_rng(0)
    plain, turning = rng.normal(size=(4, 30)), rng.normal(size=(4, 30))
    identity, other, view = rng.normal(size=(4000, 4)), rng.normal(size=(4000, 4)), rng.uniform(-0.7, 0.7, (4000, 2))
    rest = rng.normal(size=(4000, 30)) * 0.5 + view[:, 1:] ** 2

    def seen(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return z @ plain + view[:, :1] * (z @ turning) + rest

    carried = Transport.learn(identity, view, seen(identity))(seen(identity), view, identity, other)
    assert np.sqrt(np.mean((carried - seen(other)) ** 2)) < 0.05 * np.sqrt(np.mean((seen(identity) - seen(other)) ** 2))


def test_a_network_learns_what_pixels_show_and_landmarks_do_not(model: HeadModel, tmp_path: Path) -> None:
    """Everybody's landmarks are the mean head's; how bright the forehead is over the chin tells one trait."""
    rng, before = np.random.default_rng(0), bundled_regressor()
    trait = np.eye(100)[0] + np.eye(100)[0] @ mirror_map(model)  # alike on both sides
    amount = rng.uniform(-1, 1, 400)
    slope = np.linspace(1, -1, SIDE)[:, None, None]
    texture = rng.normal(0, 25, (400, SIDE, SIDE, 3)) + 128 + 60 * amount[:, None, None, None] * slope
    kind = {
        "identity": before.population_mean + amount[:, None] * trait,
        "landmarks": np.repeat(_seen(model, np.zeros((1, 100))), 400, 0),
        "blendshapes": np.zeros((400, 52)),
        "face": np.clip(texture, 0, 255).astype(np.uint8),
    }
    tensors, made_of = pixel_training.train(before, [kind], model, epochs=10)
    pixel_training.save(tensors, tmp_path / "pixels.safetensors")
    reader = read_reader(load_file(tmp_path / "pixels.safetensors"), before)
    assert made_of["pictures"] == 400
    told = before.features(kind["landmarks"][:1], kind["blendshapes"][:1])[0] @ before.weights + before.intercept
    wanted = kind["identity"] - told
    faces = torch.from_numpy(kind["face"]).permute(0, 3, 1, 2)
    features = torch.from_numpy(before.features(kind["landmarks"], kind["blendshapes"])).float()
    with torch.no_grad():
        answers = reader.network(reader.network.normalised(faces), features).double().numpy() @ reader.modes
    along = face_metric(model) @ trait
    seen, truth = answers @ along, wanted @ along
    assert np.corrcoef(seen, truth)[0, 1] > 0.9
    trusted = (np.polyfit(truth, seen, 1)[0], pixel_training.SHAPE_TRUST, pixel_training.SIZE_TRUST)
    assert 0.7 * trusted[1] < trusted[0] < 1.1 * trusted[2]
