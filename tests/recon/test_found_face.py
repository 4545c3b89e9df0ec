"""Heads whose shape and place are known, from their landmarks, outlines and pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from skimage.data import astronaut

from gen3dface.cameras import Cameras, rig
from gen3dface.estimators import estimate
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import load_portrait
from gen3dface.pipelines import project_views
from gen3dface.raster import rasterize
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.fit_in_space import Placed, ear_basis, fit_in_space
from gen3dface.recon.found_face import find_face, with_face
from tests.recon.scenes import orbiting, pictures

TURN = Rotation.from_euler("yx", [8, -5], degrees=True).as_matrix()


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def _head(model: HeadModel, ears: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World vertices [V, 3] of a head with its ears moved, and its landmarks [L, 3]."""
    identity = torch.zeros(model.identity_size)
    identity[:6] = torch.tensor([1.0, -1.0, 0.5, 0.8, -0.6, 0.4])
    place = Placed(0.97, TURN, np.array([0.004, -0.006, 0.003]), np.zeros(0))
    mesh = model.mesh(identity)
    marks = LandmarkModel.from_head(model)
    points = marks.positions(identity.double().numpy(), np.zeros(marks.expression_size), np.zeros((2, 2)))
    return place(mesh.vertices.double().numpy() + np.tensordot(ears, ear_basis(model), 1)), place(points)


def _masks(vertices: np.ndarray, model: HeadModel, cameras: Cameras) -> torch.Tensor:
    world = torch.from_numpy(vertices).float()
    return torch.stack([rasterize(world, model.faces, camera).mask[None].float() for camera in cameras])


def test_landmarks_and_outlines_give_the_head_back(model: HeadModel) -> None:
    """Under a millimetre over the face (half a pixel), and the ears where the outlines have them: 8 mm up and out."""
    ears = np.zeros(10)
    ears[[0, 1, 6]] = 0.8, 0.8, 0.8  # left: to the side and up; right: up
    ears[5] = -0.8  # right: to the side
    vertices, points = _head(model, ears)
    cameras = rig("head360", 192)
    found = fit_in_space(points, _masks(vertices, model, cameras), cameras, model, LandmarkModel.from_head(model))
    sizes = [model.identity_size, model.identity_size + len(model.expression_names)]
    identity, expression, moved = np.split(found.coefficients, sizes)
    mesh = model.mesh(torch.from_numpy(identity).float(), torch.from_numpy(expression).float())
    made = found(mesh.vertices.double().numpy() + np.tensordot(moved, ear_basis(model), 1))
    error = np.linalg.norm(made - vertices, axis=1)
    assert np.median(error[model.regions["face"].numpy()]) < 1e-3
    assert np.median(error[model.regions["ears"].numpy()]) < 3e-3


def test_hair_over_the_ears_does_not_pull_the_head_apart(model: HeadModel) -> None:
    """Masks that are 2 cm wider all around than the head."""
    vertices, points = _head(model, np.zeros(10))
    cameras = rig("head360", 128)
    grown = torch.nn.functional.max_pool2d(_masks(vertices, model, cameras), 13, 1, 6)
    found = fit_in_space(points, grown, cameras, model, LandmarkModel.from_head(model))
    assert abs(found.scale - 0.97) < 0.02
    assert np.abs(found.coefficients).max() < 3


def test_a_face_is_found_in_views_of_a_head(model: HeadModel) -> None:
    """The projection's views know their head; without it, it is found again within 3 mm, and cut out of the hull."""
    portrait = load_portrait(astronaut())
    fit = estimate(portrait)
    views = replace(project_views(portrait, fit, rig("head360", 256)), head=None)
    found = find_face(views.tensor(), views.masks, views.cameras, model)
    assert found is not None
    surface = fit.surface(model)
    true = surface.vertices[: len(model.template)][model.regions["face"]]
    hull = DistanceGrid.from_masks(views.masks, views.cameras, 64)
    carved = with_face(hull, found, views.cameras)
    assert carved(true).abs().median() < 3e-3
    corners = found.pose.posed[model.regions["eyelids"]]
    assert carved(corners).abs().median() < 0.5 * hull(corners).abs().median()


def test_where_there_is_no_face_none_is_found(model: HeadModel) -> None:
    views = pictures(orbiting(4, 96))
    assert find_face(views.tensor(), views.masks, views.cameras, model) is None
