"""Views of another exposure: what is found of it, and that the texture does not show it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.exposure import Exposures, common_gains
from gen3dface.recon.fit_field import FieldConfig
from gen3dface.recon.surface import FittedSurface, SurfaceConfig, fit_surface
from gen3dface.recon.surface_texture import textured
from gen3dface.render import sample_texture
from tests.recon.scenes import orbiting, painted, pictures

QUICK = SurfaceConfig(
    field=FieldConfig(steps=120, rays=1024, resolution=64), resolution=96, faces=4000, texture_size=256
)


def _ring(views: int = 12, points: int = 3000) -> tuple[Tensor, Tensor]:
    """Points on a ring, their colours [3, V], and the weights [N, V] with which views around it see them."""
    random = torch.Generator().manual_seed(0)
    angle = torch.rand(points, generator=random) * 2 * torch.pi
    looks = torch.cos(angle - torch.arange(views)[:, None] * 2 * torch.pi / views).clamp(min=0).square()
    return 0.2 + 0.6 * torch.rand(3, points, generator=random), looks / looks.sum(0)


@pytest.mark.parametrize("slow", [False, True])
def test_gains_are_found_whether_neighbours_differ_or_the_two_sides(slow: bool) -> None:
    """Each view's colours are divided by its gain: 1.2 and 0.8 in turn, or a fifth brighter in front than behind."""
    colours, weights = _ring()
    turn = torch.arange(12)
    true = 1 + 0.2 * (torch.cos(turn * 2 * torch.pi / 12) if slow else (-1.0) ** turn)
    shown = colours / true[:, None, None]
    found = common_gains(shown, weights)
    ratio = found / true
    assert (ratio / ratio.mean() - 1).abs().max() < (0.04 if slow else 0.01)
    light = (weights[:, None] * shown).sum((1, 2))
    assert float((light * found).sum() / light.sum()) == pytest.approx(1, abs=1e-5)


def test_views_that_tell_nothing_stay_as_they_are() -> None:
    colours, weights = _ring()
    together = colours.expand(12, -1, -1).clone()
    torch.testing.assert_close(common_gains(together, weights), torch.ones(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(common_gains(0 * together, weights), torch.ones(12))
    weights[3] = 0
    found = common_gains(together, weights / weights.sum(0))
    torch.testing.assert_close(found, torch.ones(12), atol=1e-4, rtol=0)


def test_matching_spares_the_white_and_stays_within_light() -> None:
    image, mask = torch.full((2, 3, 1, 2), 0.4), torch.ones(2, 1, 1, 2)
    image[..., 1], mask[..., 1] = 1, 0
    found = Exposures.of(torch.tensor([[1.2], [9.0]])).matched(image, mask)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([[0.48, 1], [0.6, 1]]))


def _wrong_colours(found: FittedSurface) -> Tensor:
    """How far the texture is from the paint, [T, 3], at the atlas's corners."""
    head = textured(found.mesh, found.colour_at, found.seen, QUICK.texture_size)
    texture = torch.from_numpy(head.texture).permute(2, 0, 1).float() / 255
    corners = torch.from_numpy(head.vertices)[torch.from_numpy(head.faces).long()].flatten(0, 1)
    at = torch.from_numpy(head.uvs)[torch.from_numpy(head.uv_faces).long()].flatten(0, 1)
    return sample_texture(texture, at) - painted(corners)


@pytest.fixture(scope="module")
def views() -> MultiViewOutput:
    return pictures(orbiting(12, 96))


@pytest.mark.parametrize("method", ["mesh", "field"])
def test_a_texture_of_views_exposed_by_turns_shows_the_paint(views: MultiViewOutput, method: str) -> None:
    """A fifth brighter or darker. Blended as they are, the colours were off by 0.038; those of one exposure by 0.01."""
    gains = torch.tensor([1.2, 0.8]).repeat(6)
    images = (views.tensor() * views.masks * gains[:, None, None, None] + 1 - views.masks).clamp(0, 1)
    found = fit_surface(replace(views, images=images), replace(QUICK, method=method), progress=False)
    wrong = _wrong_colours(found)
    assert wrong.abs().median() < 0.024
    assert wrong.mean().abs() < 0.01  # neither paler nor darker on the whole
    grey = found.exposures.gain * (0.5 * gains[:, None]) + found.exposures.offset
    assert (grey - 0.5).abs().max() < 0.04


def test_views_of_one_exposure_keep_theirs(views: MultiViewOutput) -> None:
    found = fit_surface(views, QUICK, progress=False)
    assert (found.exposures.gain - 1).abs().max() < 0.02
    assert _wrong_colours(found).mean().abs() < 0.01
