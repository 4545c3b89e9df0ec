"""Opacities and places along rays, against closed forms."""

import itertools
import math

import torch

from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.opacity import section_opacity, section_weights
from gen3dface.recon.ray_sections import crossings, cube_span, sections


def test_what_a_falling_distance_lets_through() -> None:
    """Where f falls, 1 - sum w = Phi(f_K) / Phi(f_0): the sections telescope (NeuS, eq. 13)."""
    distances = torch.tensor([[0.03, 0.011, 0.004, -0.002, -0.01]])
    opacity = section_opacity(distances, 200.0)
    phi = [1 / (1 + math.exp(-200 * f)) for f in distances[0].tolist()]
    wanted = torch.tensor([[1 - b / a for a, b in itertools.pairwise(phi)]])
    torch.testing.assert_close(opacity, wanted)
    through = 1 - section_weights(opacity).sum()
    torch.testing.assert_close(through, torch.tensor(phi[-1] / phi[0]))


def test_rising_distances_hide_nothing_and_depths_are_numbers() -> None:
    assert not section_opacity(torch.tensor([[-0.01, 0.0, 0.02]]), 500.0).any()
    deep = section_opacity(torch.tensor([[0.5, -0.5, -2.0]]), 1e5)
    assert torch.isfinite(deep).all() and deep[0, 0] == 1


def test_the_weight_peaks_at_the_surface() -> None:
    """NeuS is unbiased: for a plane, the section that the surface lies in shows most."""
    along = torch.linspace(0, 0.1, 41)
    for surface in (0.031, 0.062):
        shown = section_weights(section_opacity((surface - along)[None], 400.0))
        assert abs(float(along[shown[0].argmax()] + 0.00125) - surface) < 0.0026


def test_rays_meet_a_ball_where_they_should() -> None:
    ball = DistanceGrid.of(lambda p: p.norm(dim=1) - 0.1, 65)
    start = torch.tensor([[0.0, 0, 1], [0.06, 0, 1], [0.13, 0, 1], [0, 0.5, 1]])
    along, deepest, least = crossings(ball, start, torch.tensor([[0.0, 0, -1]]).expand(4, 3))
    torch.testing.assert_close(along[:2], torch.tensor([0.9, 1 - 0.08]), atol=5e-4, rtol=0)
    torch.testing.assert_close(along[2], torch.tensor(1.0), atol=4e-3, rtol=0)
    torch.testing.assert_close(deepest[:3], torch.ones(3), atol=4e-3, rtol=0)
    torch.testing.assert_close(least[:3], torch.tensor([-0.1, -0.04, 0.03]), atol=4e-3, rtol=0)  # half a march step
    assert least[3] > 0


def test_the_cube_is_entered_and_left() -> None:
    origins = torch.tensor([[0.0, 0, 1], [0.1, 0.1, 0], [0, 1, 1]])
    directions = torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, 0, -1]])
    near, far = cube_span(origins, directions, 0.4)
    torch.testing.assert_close(near[:2], torch.tensor([0.8, 0.0]))
    torch.testing.assert_close(far[:2], torch.tensor([1.2, 0.1]))
    assert near[2] == far[2]


def test_sections_surround_their_place() -> None:
    ends = sections(torch.tensor([0.5, 0.9]), 0.01, 10, torch.Generator().manual_seed(0))
    assert ends.shape == (2, 11)
    torch.testing.assert_close(ends.diff(dim=1), torch.full((2, 10), 0.002))
    assert (ends.mean(1) - torch.tensor([0.5, 0.9])).abs().max() <= 0.001 + 1e-6
