"""Where points fall, against the cameras and by hand."""

import math

import pytest
import torch

from gen3dface.cameras import orbit
from gen3dface.errors import ConfigError
from gen3dface.models.grids import (
    frustum_depths,
    frustum_points,
    sample_views,
    sample_volume,
    view_grid,
    volume_points,
)

IMAGE, FEATURE = 64, 16
CAMERAS = orbit(torch.tensor([0.0, 40, 200]), torch.tensor([0.0, 20, -30]), radius=1.8, focal=4.5, size=IMAGE)
W2C, K = CAMERAS.world_to_camera[None], CAMERAS.intrinsics[None]


def test_volume_points_run_over_x_first() -> None:
    points = volume_points(3, 0.4).reshape(3, 3, 3, 3)
    assert points[0, 1, 2].tolist() == pytest.approx([0.2, 0.0, -0.2])


def test_a_point_reads_the_pixel_that_the_camera_sees_it_in() -> None:
    """The feature map holds each pixel's own centre, so reading it gives the projection back."""
    points = (torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.2
    axis = (torch.arange(FEATURE) + 0.5) * IMAGE / FEATURE
    centres = torch.stack(torch.meshgrid(axis, axis, indexing="xy")).expand(1, 3, 2, FEATURE, FEATURE)
    grid = view_grid(points, W2C, K, IMAGE, FEATURE)
    expected, _ = CAMERAS.project(points)
    torch.testing.assert_close(sample_views(centres, grid)[0].mT, expected, atol=1e-3, rtol=0)


def test_the_integer_convention_is_half_a_feature_pixel_off() -> None:
    points = torch.zeros(1, 3)
    half, integer = (view_grid(points, W2C, K, IMAGE, FEATURE, c) for c in ("half", "integer"))
    torch.testing.assert_close((integer - half) * (FEATURE - 1) / 2, torch.full_like(half, 0.5))


def test_points_behind_a_camera_are_outside_its_image() -> None:
    behind = CAMERAS.centers * 1.5
    grid = view_grid(behind, W2C, K, IMAGE, FEATURE)
    assert (grid[0].diagonal().abs().amax(0) > 1).all()


def test_frustum_points_lie_on_the_rays_of_pixel_centres() -> None:
    depths = frustum_depths(W2C, 5, 0.4)
    points = frustum_points(W2C, K, depths, IMAGE, FEATURE)
    assert points.shape == (1, 3, 5, FEATURE, FEATURE, 3)
    xy, z = CAMERAS.project(points[0].reshape(3, -1, 3))
    xy, z = xy.reshape(3, 5, FEATURE, FEATURE, 2), z.reshape(3, 5, FEATURE, FEATURE)
    torch.testing.assert_close(z, depths[0, :, :, None, None].expand_as(z), atol=1e-5, rtol=0)
    axis = (torch.arange(FEATURE) + 0.5) * IMAGE / FEATURE
    expected = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).expand_as(xy)
    torch.testing.assert_close(xy, expected, atol=1e-3, rtol=0)


def test_depths_span_the_sphere_around_the_cube() -> None:
    own, fixed = frustum_depths(W2C, 3, 0.4)[0, 0], frustum_depths(W2C, 3, 0.4, 0.6)[0, 0]
    reach = math.sqrt(3) / 2 * 0.4
    torch.testing.assert_close(own, torch.tensor([1.8 - reach, 1.8, 1.8 + reach]), atol=1e-5, rtol=0)
    torch.testing.assert_close(fixed, torch.tensor([0.6 - reach, 0.6, 0.6 + reach]), atol=1e-5, rtol=0)


def test_a_volume_of_coordinates_reads_back_the_points() -> None:
    side = 0.4
    volume = volume_points(8, side).T.reshape(1, 3, 8, 8, 8)
    points = (torch.rand(1, 30, 3) - 0.5) * side
    torch.testing.assert_close(sample_volume(volume, points / (side / 2)).mT, points, atol=1e-6, rtol=0)


def test_an_unknown_convention_is_an_error() -> None:
    with pytest.raises(ConfigError, match="pixel_centers"):
        view_grid(torch.zeros(1, 3), W2C, K, IMAGE, FEATURE, "corner")  # type: ignore[arg-type]
