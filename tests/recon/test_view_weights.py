"""Views that count more than others."""

import math
from dataclasses import replace

import pytest
import torch

from gen3dface.cameras import orbit
from gen3dface.errors import ReconstructionError
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.fit_field import FieldConfig
from gen3dface.recon.fit_mesh import MeshConfig
from gen3dface.recon.preview import render_head
from gen3dface.recon.surface import SurfaceConfig, fit_surface, reconstruct_surface
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.recon.view_weights import photo_weights
from gen3dface.render import sample_texture, vertex_normals
from tests.recon.scenes import egg_distance, orbiting, painted, pictures
from tests.synthetic_head import synthetic_head

QUICK = SurfaceConfig(
    mesh=MeshConfig(60),
    field=FieldConfig(steps=120, rays=1024, resolution=64),
    resolution=64,
    faces=3000,
    texture_size=256,
)
_TRUE = 8.0  # what the true view counts


@pytest.fixture(scope="module")
def drifting() -> MultiViewOutput:
    """The first of twelve views is true; the others show the egg up to two pixels aside."""
    views, random = pictures(orbiting(12, 96)), torch.Generator().manual_seed(3)
    shifts = torch.randint(-2, 3, (12, 2), generator=random).tolist()
    images, masks = views.tensor().clone(), views.masks.clone()
    for view in range(1, 12):
        images[view], masks[view] = (t.roll(shifts[view], (-2, -1)) for t in (images[view], masks[view]))
    return replace(views, images=images, masks=masks)


def _in_front(head: TexturedHead) -> float:
    """How far the texture is from the paint where the first view looks at it squarely."""
    vertices, faces = torch.from_numpy(head.vertices), torch.from_numpy(head.faces).long()
    squarely = (vertex_normals(vertices, faces)[:, 2] > 0.8)[faces].flatten()
    at = torch.from_numpy(head.uvs)[torch.from_numpy(head.uv_faces).long()].flatten(0, 1)[squarely]
    shown = sample_texture(torch.from_numpy(head.texture).permute(2, 0, 1).float() / 255, at)
    return float((shown - painted(vertices[faces].flatten(0, 1)[squarely])).abs().mean())


@pytest.mark.parametrize("method", ["mesh", "field"])
def test_a_true_view_among_drifting_ones_is_believed(drifting: MultiViewOutput, method: str) -> None:
    """The head looks as it does from there, and its paint is nearer to the truth; its shape is as good."""
    config, weights = replace(QUICK, method=method), ([1.0] * 12, [_TRUE] + [1.0] * 11)
    alike, believed = (reconstruct_surface(drifting, config, weights=w, progress=False) for w in weights)
    assert _in_front(believed) < 0.95 * _in_front(alike)
    true, core = drifting.tensor()[0], drifting.masks[0, 0] > 0.99
    likeness = [
        float((render_head(h, drifting.cameras[[0]])[0] - true).abs().mean(0)[core].mean()) for h in (alike, believed)
    ]
    assert likeness[1] < 0.8 * likeness[0]
    distances = [float(egg_distance(torch.from_numpy(h.vertices)).median()) for h in (alike, believed)]
    assert distances[1] < 1.1 * distances[0]


@pytest.mark.parametrize("method", ["mesh", "field"])
def test_the_view_that_counts_most_says_how_bright_the_head_is(method: str) -> None:
    """All others are a fifth darker."""
    views = pictures(orbiting(12, 96))
    gains = torch.tensor([1.0] + [0.8] * 11)[:, None, None, None]
    dark = replace(views, images=views.tensor() * views.masks * gains + 1 - views.masks)
    config = replace(QUICK, method=method)
    found = fit_surface(dark, config, weights=[1000.0] + [1.0] * 11, progress=False)
    with torch.no_grad():
        wrong = (found.colour_at(found.mesh.vertices) - painted(found.mesh.vertices)).mean()
    assert wrong.abs() < 0.02


def test_equal_weights_change_nothing() -> None:
    views = pictures(orbiting(6, 48))
    first, again = (
        fit_surface(views, QUICK, weights=w, progress=False).mesh.vertices for w in (None, torch.full((6,), 5.0))
    )
    torch.testing.assert_close(first, again)


def test_the_nearer_to_the_photo_the_more_a_view_counts() -> None:
    head = synthetic_head(0.0)
    views = pictures(orbit(torch.tensor([0.0, 45, -45, 180]), torch.zeros(4), radius=1.8, focal=4.5, size=32))
    torch.testing.assert_close(photo_weights(views), torch.ones(4))
    photo = replace(head.fit, camera=replace(head.fit.camera, world_to_camera=views.cameras.world_to_camera[:1]))
    found = photo_weights(replace(views, head=photo))
    assert found[0] == pytest.approx(8) and found[3] == 1
    assert found[1] == pytest.approx(float(found[2]), rel=1e-4) and 1 < found[1] < 1.5


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, -1.0, 1.0], [1.0, math.nan, 1, 1]])
def test_weights_that_are_none_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ReconstructionError, match="weights of 4 views must be 4 numbers above 0"):
        fit_surface(pictures(orbiting(4, 32)), QUICK, weights=wrong, progress=False)
