"""How the bundled regressor learns a population, on cases whose answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from correspondence import Correspondence
from direct_fit import DirectFit
from estimator_training.transport import Transport

from gen3dface.heads import HeadModel, load_head_model


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


def test_a_picture_is_carried_over_to_another_person() -> None:
    rng = np.random.default_rng(0)
    plain, turning = rng.normal(size=(4, 30)), rng.normal(size=(4, 30))
    identity, other, view = rng.normal(size=(4000, 4)), rng.normal(size=(4000, 4)), rng.uniform(-0.7, 0.7, (4000, 2))
    rest = rng.normal(size=(4000, 30)) * 0.5 + view[:, 1:] ** 2

    def seen(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return z @ plain + view[:, :1] * (z @ turning) + rest

    carried = Transport.learn(identity, view, seen(identity))(seen(identity), view, identity, other)
    assert np.sqrt(np.mean((carried - seen(other)) ** 2)) < 0.05 * np.sqrt(np.mean((seen(identity) - seen(other)) ** 2))
