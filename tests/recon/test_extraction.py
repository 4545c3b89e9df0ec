"""Meshes of distances in closed form."""

import math

import pytest
import torch

from gen3dface.errors import ReconstructionError
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.extraction import Mesh, extract_mesh


@pytest.mark.parametrize("faces", [None, 3000])
def test_a_ball_is_found_closed_and_outward(faces: int | None) -> None:
    ball = DistanceGrid.of(lambda p: p.norm(dim=1) - 0.1, 65)
    mesh = extract_mesh(ball, faces)
    assert mesh.is_closed()
    assert faces is None or len(mesh.faces) <= faces
    assert mesh.volume() == pytest.approx(4 / 3 * math.pi * 0.1**3, rel=0.01)
    assert (mesh.vertices.norm(dim=1) - 0.1).abs().max() < 0.002
    assert len(mesh.vertices) - len(mesh.faces) / 2 == 2  # Euler: a sphere


def test_only_the_largest_part_stays() -> None:
    def balls(p: torch.Tensor) -> torch.Tensor:
        small = (p - torch.tensor([0.15, 0, 0])).norm(dim=1) - 0.03
        return torch.minimum((p + torch.tensor([0.05, 0, 0])).norm(dim=1) - 0.08, small)

    mesh = extract_mesh(DistanceGrid.of(balls, 65), None)
    assert mesh.vertices[:, 0].max() < 0.04


def test_a_neck_is_closed_where_the_cube_cuts_it() -> None:
    neck = DistanceGrid.of(lambda p: p[:, ::2].norm(dim=1) - 0.06, 65)
    mesh = extract_mesh(neck, None)
    assert mesh.is_closed()
    assert mesh.vertices[:, 1].abs().max() == pytest.approx(0.2, abs=0.005)


def test_nothing_is_named() -> None:
    with pytest.raises(ReconstructionError, match="No surface"):
        extract_mesh(DistanceGrid(torch.ones(9, 9, 9)))


def test_a_torn_mesh_is_not_closed() -> None:
    mesh = extract_mesh(DistanceGrid.of(lambda p: p.norm(dim=1) - 0.1, 17), None)
    assert not Mesh(mesh.vertices, mesh.faces[1:]).is_closed()
    a, b, c = mesh.faces[0].tolist()
    (beyond,) = ({*f} - {b, c} for f in mesh.faces[1:].tolist() if {b, c} <= {*f})
    pinched = mesh.vertices.clone()
    pinched[beyond.pop()] = pinched[a]  # the surface touches itself along two edges
    assert not Mesh(pinched, mesh.faces).is_closed()
    twisted = mesh.faces.clone()
    twisted[0] = twisted[0].flip(0)
    assert not Mesh(mesh.vertices, twisted).is_closed()
