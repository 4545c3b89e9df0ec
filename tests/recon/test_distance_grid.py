"""Distances on grids against shapes in closed form."""

import torch
from scipy.ndimage import distance_transform_edt

from gen3dface.recon.distance_grid import DistanceGrid, corner_points, steps_to_nearest
from tests.recon.scenes import egg, orbiting, pictures


def test_a_plane_is_looked_up_exactly() -> None:
    grid = DistanceGrid.of(lambda p: p[:, 0] * 0.6 + p[:, 1] * 0.8 - 0.05, 9)
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.4 - 0.2
    torch.testing.assert_close(grid(points), points[:, 0] * 0.6 + points[:, 1] * 0.8 - 0.05)


def test_steps_to_the_nearest_corner_are_scipy_s() -> None:
    marked = torch.rand(14, 14, 14, generator=torch.Generator().manual_seed(0)) > 0.98
    true = torch.from_numpy(distance_transform_edt(~marked.numpy())).float()
    torch.testing.assert_close(steps_to_nearest(marked), true)


def test_a_mesh_with_a_hole_keeps_its_inside() -> None:
    """The lowest tenth is cut off; distances by brute force over the closed mesh's vertices."""
    vertices, faces = egg()
    open_faces = faces[(vertices[faces][..., 1] > -0.1).all(1)]
    grid = DistanceGrid.from_mesh(vertices, open_faces, orbiting(8, 128), 49)
    points = corner_points(49, 0.4)
    true = torch.cdist(points, vertices).min(1).values
    found, above = grid.values.flatten(), points[:, 1] > -0.08
    near = above & (true < 0.012)
    assert (found[near].abs() - true[near]).abs().max() < 0.006
    assert (found[near].abs() - true[near]).abs().mean() < 0.0015
    assert found[(points.norm(dim=1) < 0.04)].max() < -0.02
    assert found[(points.norm(dim=1) > 0.16)].min() > 0.02


def test_the_visual_hull_holds_what_it_was_carved_from() -> None:
    views = pictures(orbiting(16, 128))
    hull = DistanceGrid.from_masks(views.masks, views.cameras, 65)
    surface = hull(egg()[0])
    # convex and seen from all around: only what no silhouette touches, above and below, stands out
    assert surface.median().abs() < 0.002
    assert surface.max() < 0.006 and surface.min() > -0.02


def test_what_lies_beyond_the_pictures_is_not_carved() -> None:
    views = pictures(orbiting(4, 64))
    near = views.cameras.cropped(16, 16, 32, 32)
    hull = DistanceGrid.from_masks(torch.ones(4, 1, 32, 32), near, 17)
    assert (hull.values < 0).all()
