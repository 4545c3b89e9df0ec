"""The head model's mesh on surfaces that are known: other identities of its own, as surfaces of another topology."""

import pytest
import torch

from gen3dface.cameras import rig
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.heads.anatomy import inner_parts
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.extraction import Mesh, extract_mesh
from gen3dface.recon.registration import wrapped


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def other(model: HeadModel) -> torch.Tensor:
    """[V, 3] of somebody else than the average."""
    identity = torch.zeros(model.identity_size)
    identity[:6] = torch.tensor([1.0, -1.0, 0.5, 0.8, -0.6, 0.4])
    return model.mesh(identity).vertices


@pytest.fixture(scope="module")
def distances(model: HeadModel, other: torch.Tensor) -> DistanceGrid:
    return DistanceGrid.from_mesh(other, model.faces, rig("orbit48", 256))


@pytest.fixture(scope="module")
def surface(distances: DistanceGrid) -> Mesh:
    return extract_mesh(distances, None)


def test_the_average_head_comes_to_lie_on_somebody_else(
    model: HeadModel, other: torch.Tensor, distances: DistanceGrid, surface: Mesh
) -> None:
    """A tenth of the distance is left, and vertices come to where they belong without being told."""
    average = model.mesh(torch.zeros(model.identity_size)).vertices
    moved = average + wrapped(average, surface, model)
    face = model.regions["face"] & ~inner_parts(model)
    assert distances(average[face]).abs().median() > 1.5e-3
    assert distances(moved[face]).abs().median() < 0.15e-3
    before, after = ((points - other)[face].norm(dim=1).median() for points in (average, moved))
    assert after < 0.7 * before


def test_who_lies_there_already_hardly_moves(model: HeadModel, other: torch.Tensor, surface: Mesh) -> None:
    moved = wrapped(other, surface, model).norm(dim=1)
    assert moved[model.regions["face"]].median() < 0.5e-3


def test_eyes_teeth_and_tongue_keep_their_shape(model: HeadModel, other: torch.Tensor, surface: Mesh) -> None:
    average = model.mesh(torch.zeros(model.identity_size)).vertices
    moved = wrapped(average, surface, model)
    for name in ("left_eye", "right_eye", "teeth", "tongue"):
        part = moved[model.regions[name]]
        torch.testing.assert_close(part, part[:1].expand_as(part))
    left, right = (moved[model.regions[eye]].mean(0) for eye in ("left_eye", "right_eye"))
    true = {eye: (other - average)[model.regions[eye]].mean(0) for eye in ("left_eye", "right_eye")}
    assert (left - true["left_eye"]).norm() < 4e-3 and (right - true["right_eye"]).norm() < 4e-3


def test_a_surface_that_is_elsewhere_moves_nothing(model: HeadModel) -> None:
    """A ball of 3 cm inside the head: nothing of the head is within reach of it."""
    ball = DistanceGrid.of(lambda points: points.norm(dim=1) - 0.03, 48)
    average = model.mesh(torch.zeros(model.identity_size)).vertices
    moved = wrapped(average, extract_mesh(ball), model).norm(dim=1)
    assert moved[model.regions["face"] | model.regions["skull"]].max() < 1e-4
