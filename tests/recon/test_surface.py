"""From pictures of a known surface to that surface."""

from dataclasses import replace

import pytest
import torch

from gen3dface.errors import ReconstructionError
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.agreement import check_agreement
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.fit_field import FieldConfig
from gen3dface.recon.fit_mesh import MeshConfig
from gen3dface.recon.surface import SurfaceConfig, _without_rims, fit_surface, reconstruct_surface
from gen3dface.recon.surface_texture import _charts, textured
from gen3dface.render import Surface, render
from tests.recon.scenes import egg, egg_distance, orbiting, painted, pictures

QUICK_FIELD, HASTY_FIELD = (
    FieldConfig(steps=120, rays=1024, resolution=64),
    FieldConfig(steps=100, rays=512, resolution=48),
)
QUICK = {
    method: SurfaceConfig(method, field=QUICK_FIELD, resolution=96, faces=4000, texture_size=256)
    for method in ("mesh", "field")
}
HASTY = {
    method: SurfaceConfig(method, MeshConfig(40), HASTY_FIELD, resolution=48, faces=1500, texture_size=64)
    for method in ("mesh", "field")
}
both = pytest.mark.parametrize("method", list(QUICK))


@pytest.fixture(scope="module")
def views() -> MultiViewOutput:
    return pictures(orbiting(12, 96))


@both
def test_the_egg_is_found(views: MultiViewOutput, method: str) -> None:
    """Within a third of a pixel (4 mm at 96 px), with its colours, seen from where no picture was taken."""
    found = fit_surface(views, QUICK[method], progress=False)
    assert found.mesh.is_closed()
    assert egg_distance(found.mesh.vertices).median() < 0.0012
    head = textured(found.mesh, found.colour_at, views, QUICK[method].texture_size)
    surface = Surface(*(torch.from_numpy(a) for a in (head.vertices, head.faces, head.uvs, head.uv_faces)))
    texture = torch.from_numpy(head.texture).permute(2, 0, 1).float() / 255
    unseen = pictures(orbiting(7, 96))
    shown, _ = render(surface, texture, unseen.cameras)
    error = (shown - unseen.tensor()).square().mean((1, 2, 3))
    assert (-10 * error.log10()).min() > 22


def test_the_atlas_holds_each_triangle_once() -> None:
    """No two charts lie on each other, and the mesh stays as it is."""
    vertices, faces = egg()
    ordered, uvs, uv_faces = _charts(Mesh(vertices, faces))
    assert sorted(map(sorted, ordered.tolist())) == sorted(map(sorted, faces.tolist()))
    assert Mesh(vertices, ordered).is_closed()
    a, b = (uvs[uv_faces][:, i] - uvs[uv_faces][:, 0] for i in (1, 2))
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().sum() / 2
    covered = rasterize_uv(uvs, uv_faces, 512).mask.float().mean()
    assert covered == pytest.approx(float(area), rel=0.01)


@both
def test_the_same_seed_gives_the_same_surface(views: MultiViewOutput, method: str) -> None:
    first, again = (reconstruct_surface(views, HASTY[method], progress=False) for _ in range(2))
    assert (first.vertices == again.vertices).all() and (first.texture == again.texture).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@both
def test_a_gpu_gives_what_the_cpu_gives(views: MultiViewOutput, method: str) -> None:
    """Other random numbers, another order of sums: the same egg and colours, not the same bytes."""
    errors, textures = [], []
    for device in ("cpu", "cuda"):
        head = reconstruct_surface(views, QUICK[method], progress=False, device=device)
        assert Mesh(torch.from_numpy(head.vertices), torch.from_numpy(head.faces)).is_closed()
        errors.append(egg_distance(torch.from_numpy(head.vertices)).median())
        textures.append(torch.from_numpy(head.texture).float().mean((0, 1)))
    assert max(errors) < 0.0012
    torch.testing.assert_close(textures[1], textures[0], atol=8.0, rtol=0)


@both
def test_views_of_another_exposure_change_no_colours(views: MultiViewOutput, method: str) -> None:
    """A fifth brighter or darker, from view to view."""
    gains = torch.tensor([1.2, 0.8]).repeat(6)[:, None, None, None]
    images = views.tensor() * views.masks * gains.clamp(max=1.2) + 1 - views.masks
    found = fit_surface(replace(views, images=images.clamp(0, 1)), QUICK[method], progress=False)
    assert egg_distance(found.mesh.vertices).median() < 0.002
    with torch.no_grad():
        colours = found.colour_at(found.mesh.vertices)
    assert (colours - painted(found.mesh.vertices)).abs().median() < 0.08


def test_one_view_of_something_else_is_left_out(views: MultiViewOutput) -> None:
    masks = views.masks.clone()
    masks[3] = masks[3].roll(30, -1)
    trusted = check_agreement(masks, views.cameras).trusted
    assert not trusted[3] and trusted.sum() == len(trusted) - 1


@both
def test_a_view_that_is_left_out_leaves_no_colour(views: MultiViewOutput, method: str) -> None:
    """It is green all over, and its mask says so."""
    masks, images = views.masks.clone(), views.tensor().clone()
    masks[3] = 1
    images[3] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    green = []
    for pictures_given in (views, replace(views, masks=masks, images=images)):
        texture = reconstruct_surface(pictures_given, HASTY[method], progress=False).texture.astype(int)
        green.append((texture[..., 1] - texture[..., ::2].max(-1) > 150).mean())
    assert green[1] <= green[0] + 0.002


def test_outlines_count_less_when_they_contradict_each_other(views: MultiViewOutput) -> None:
    """Every other mask grown and the rest eaten by 1 px of 96."""
    grown = torch.nn.functional.max_pool2d(views.masks[::2], 3, 1, 1)
    eaten = 1 - torch.nn.functional.max_pool2d(1 - views.masks[1::2], 3, 1, 1)
    wrong = torch.stack([grown, eaten], 1).flatten(0, 1)
    assert check_agreement(views.masks, views.cameras).outline_weight == 1
    assert check_agreement(wrong, views.cameras).outline_weight < 0.5


def test_masks_that_claim_background_leave_no_white(views: MultiViewOutput) -> None:
    """The same contradicting masks, so that half of them call a rim of white part of the egg."""
    grown = torch.nn.functional.max_pool2d(views.masks[::2], 3, 1, 1)
    eaten = 1 - torch.nn.functional.max_pool2d(1 - views.masks[1::2], 3, 1, 1)
    wrong = torch.stack([grown, eaten], 1).flatten(0, 1)
    agreement = check_agreement(wrong, views.cameras)
    inside, pure = wrong.expand(-1, 3, -1, -1) > 0.9, views.masks > 0.99
    assert (views.tensor()[inside] > 0.95).float().mean() > 0.005
    mended = _without_rims(views.tensor(), wrong, agreement)
    assert (mended[inside] > 0.95).float().mean() < 0.001
    core = (1 - torch.nn.functional.max_pool2d(1 - wrong, 7, 1, 3) > 0.99) & pure
    torch.testing.assert_close(mended * core, views.tensor() * core)


@both
@pytest.mark.parametrize("order", ["mirrored", "mixed"])
def test_the_wrong_cameras_are_refused(views: MultiViewOutput, order: str, method: str) -> None:
    rows = [-i % 12 for i in range(12)] if order == "mirrored" else [(5 * i) % 12 for i in range(12)]
    with pytest.raises(ReconstructionError, match="paired with"):
        reconstruct_surface(replace(views, cameras=views.cameras[rows]), HASTY[method], progress=False)


@both
def test_two_views_with_each_other_s_cameras_are_left_out(
    views: MultiViewOutput, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Their outlines are nearly the same: the colours tell."""
    rows = [1, 0, *range(2, 12)]
    found = fit_surface(replace(views, cameras=views.cameras[rows]), HASTY[method], progress=False)
    assert len(found.seen) == 10
    assert [r.args for r in caplog.records if "not what the others show" in r.message] == [(0,), (1,)]
    assert egg_distance(found.mesh.vertices).median() < 0.004


@both
def test_an_empty_mask_among_good_ones_is_left_out(
    views: MultiViewOutput, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    masks = views.masks.clone()
    masks[3] = 0
    found = fit_surface(replace(views, masks=masks), HASTY[method], progress=False)
    assert len(found.seen) == 11 and "view 3 does not fit the others" in caplog.text
    assert found.mesh.is_closed() and bool(torch.isfinite(found.mesh.vertices).all())
    assert egg_distance(found.mesh.vertices).median() < 0.003


def test_views_left_out_for_masks_and_for_colours_are_counted_together(views: MultiViewOutput) -> None:
    """Two empty masks of twelve are allowed, and so are two green views; not all four."""
    masks, green = views.masks.clone(), views.tensor().clone()
    masks[[0, 6]] = 0
    colour = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    green[[3, 9]] = colour * views.masks[[3, 9]] + 1 - views.masks[[3, 9]]
    assert len(fit_surface(replace(views, masks=masks), HASTY["mesh"], progress=False).seen) == 10
    assert len(fit_surface(replace(views, images=green), HASTY["mesh"], progress=False).seen) == 10
    with pytest.raises(ReconstructionError, match="4 of 12 do not fit"):
        fit_surface(replace(views, masks=masks, images=green), HASTY["mesh"], progress=False)


def test_what_cannot_be_is_named(views: MultiViewOutput) -> None:
    two = MultiViewOutput(views.tensor()[:2], views.masks[:2], views.cameras[:2])
    empty = replace(views, masks=torch.zeros_like(views.masks))
    broken = replace(views, images=torch.full_like(views.tensor(), torch.nan))
    bytes_ = replace(views, images=(views.tensor() * 255).to(torch.uint8))
    for wrong, message in ((two, "at least 3"), (empty, "are empty"), (broken, "NaN"), (bytes_, "reach 255")):
        with pytest.raises(ReconstructionError, match=message):
            reconstruct_surface(wrong, HASTY["mesh"], progress=False)


@both
def test_black_pictures_give_a_black_surface(
    views: MultiViewOutput, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    black = replace(views, images=1 - views.masks.expand(-1, 3, -1, -1))
    head = reconstruct_surface(black, HASTY[method], progress=False)
    assert torch.isfinite(torch.from_numpy(head.vertices)).all()
    assert head.texture.mean() < 60
    assert "left out" not in caplog.text
