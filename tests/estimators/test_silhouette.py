"""The hair's outline on shapes whose answer is known."""

import pytest
import torch
import trimesh

from gen3dface.cameras import Cameras, orbit
from gen3dface.estimators.silhouette import SilhouetteTarget, fit_silhouette
from gen3dface.raster import rasterize

RADIUS = 0.09


def _sphere() -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces)


def _camera() -> Cameras:
    return orbit(torch.zeros(1), torch.zeros(1), radius=1.5, focal=3.0, size=400)


def _disc(radius: float) -> torch.Tensor:
    """Mask of a sphere of another radius, by rendering it."""
    vertices, faces = _sphere()
    return rasterize(vertices * (radius / RADIUS), faces, _camera()).mask


def _fit(radius: float, movable: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
    vertices, faces = _sphere()
    none = torch.zeros(len(vertices), dtype=torch.bool)
    target = SilhouetteTarget(_disc(radius), _disc(radius))
    return fit_silhouette(vertices, faces, movable, _camera(), target, none, none if hidden is None else hidden)


@pytest.mark.parametrize("radius", [0.08, 0.10, 0.12])
def test_a_sphere_grows_or_shrinks_to_the_outline(radius: float) -> None:
    vertices, faces = _sphere()
    moved = vertices + _fit(radius, torch.ones(len(vertices)))
    drawn = rasterize(moved, faces, _camera()).mask
    wanted = _disc(radius)
    overlap = (drawn & wanted).sum() / (drawn | wanted).sum()
    assert overlap > 0.97
    rim = vertices[:, 2].abs() < 0.01
    assert moved[rim].norm(dim=-1).median().item() == pytest.approx(radius, abs=0.002)


def test_what_may_not_move_stays_and_the_rest_follows_smoothly() -> None:
    vertices, faces = _sphere()
    movable = (vertices[:, 1] > 0).float()
    offsets = _fit(0.11, movable)
    assert offsets[vertices[:, 1] < -0.02].norm(dim=-1).max() < 1e-3
    top = (vertices[:, 1] > 0.07) & (vertices[:, 2].abs() < 0.01)
    assert offsets[top].norm(dim=-1).median().item() == pytest.approx(0.02, abs=0.004)
    edges = torch.cat([faces[:, :2], faces[:, 1:]])
    assert (offsets[edges[:, 0]] - offsets[edges[:, 1]]).norm(dim=-1).max() < 0.01


def test_hidden_vertices_are_smoothed_away() -> None:
    vertices, faces = _sphere()
    bump = (vertices - torch.tensor([RADIUS, 0, 0])).norm(dim=-1) < 0.025
    pushed = torch.where(bump[:, None], vertices * 1.2, vertices)
    none = torch.zeros_like(bump)
    target = SilhouetteTarget(_disc(RADIUS), _disc(RADIUS))
    still = torch.zeros(len(vertices))
    moved = pushed + fit_silhouette(pushed, faces, still, _camera(), target, none, bump)
    assert moved[bump].norm(dim=-1).max() < 1.03 * RADIUS


def _fit_within(pixels: int, radius: float) -> torch.Tensor:
    """The fit to the middle `pixels` of the picture alone."""
    vertices, faces = _sphere()
    none, start = torch.zeros(len(vertices), dtype=torch.bool), 200 - pixels // 2
    camera = _camera().cropped(start, start, pixels, pixels)
    disc = _disc(radius)[start : start + pixels, start : start + pixels]
    return fit_silhouette(vertices, faces, torch.ones(len(vertices)), camera, SilhouetteTarget(disc, disc), none, none)


def test_a_tight_frame_shows_the_same_outline() -> None:
    """A sphere of 0.11 m is 88 px in radius: 12 px of background are left around it."""
    wide = _fit(0.11, torch.ones(len(_sphere()[0])))
    assert wide.norm(dim=-1).max() > 0.018
    torch.testing.assert_close(_fit_within(200, 0.11), wide, atol=5e-4, rtol=0)


def test_hair_that_the_frame_cuts_off_measures_nothing() -> None:
    assert _fit_within(160, 0.15).abs().max() < 1e-4
