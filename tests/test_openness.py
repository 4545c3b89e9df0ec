"""Openness against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import trimesh

from gen3dface.openness import openness


def test_a_convex_surface_is_wholly_open() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    found = openness(torch.tensor(ball.vertices).float(), torch.tensor(ball.faces))
    assert found.share.min() > 0.97 and found.share.max() <= 1
    torch.testing.assert_close(found.direction, torch.tensor(ball.vertices).float() / 0.15, atol=0.04, rtol=0)


@pytest.mark.parametrize("depth", [0.3, 0.6, 1.2])
def test_the_bottom_of_a_well_sees_the_disc_of_its_rim(depth: float) -> None:
    """From a patch on the axis of a disc of radius r in a distance h its view factor is 1 - s, s = h^2 / (r^2 + h^2).

    The mean direction in the same cone is 2 / 3 (1 - s^(3/2)) along the axis.
    """
    rim = 0.5
    found = openness(*_well(rim, depth), directions=512)
    shut = depth**2 / (rim**2 + depth**2)
    assert found.share[0].item() == pytest.approx(1 - shut, abs=0.03)
    assert found.direction[0].tolist() == pytest.approx([0, 0, 2 / 3 * (1 - shut**1.5)], abs=0.03)


def test_size_and_place_do_not_matter() -> None:
    vertices, faces = _well(0.5, 0.6)
    moved, found = openness(0.02 * vertices + 7, faces), openness(vertices, faces)
    torch.testing.assert_close(moved.share, found.share, atol=0.06, rtol=0)
    torch.testing.assert_close(moved.direction, found.direction, atol=0.06, rtol=0)


def _well(rim: float, depth: float, sides: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """A round well, open above (+z): the first vertex is its bottom's middle."""
    angle = torch.arange(sides) * (2 * math.pi / sides)
    ring = rim * torch.stack([angle.cos(), angle.sin(), torch.zeros(sides)], -1)
    vertices = torch.cat([torch.zeros(1, 3), ring, ring + torch.tensor([0.0, 0.0, depth])])
    here = torch.arange(sides) + 1
    there = here.roll(-1)
    floor = torch.stack([torch.zeros_like(here), here, there], -1)
    walls = [torch.stack([here, here + sides, there], -1), torch.stack([there, here + sides, there + sides], -1)]
    return vertices, torch.cat([floor, *walls])
