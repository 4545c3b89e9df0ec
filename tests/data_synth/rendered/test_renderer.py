"""The renderer against closed forms, the rasteriser of gen3dface.raster and its own plain twin."""

import math

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from gen3dface.cameras import rig
from gen3dface.data_synth.rendered import Light, LitSurface, Scene, Strands, render
from gen3dface.data_synth.rendered.shading import tone_map
from gen3dface.errors import ConfigError
from gen3dface.heads import load_head_model
from gen3dface.raster import rasterize


def _sphere(radius: float, grey: float = 0.5) -> LitSurface:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    vertices = torch.tensor(np.array(mesh.vertices), dtype=torch.float32)
    normals = vertices / radius
    faces = torch.tensor(np.array(mesh.faces), dtype=torch.int64)
    return LitSurface(vertices, faces, torch.full_like(vertices, grey), normals=normals, specular=0.0)


def _quad(side: float, z: float, colour: float, turned: bool = False) -> LitSurface:
    h = side / 2
    vertices = torch.tensor([[-h, -h, z], [h, -h, z], [h, h, z], [-h, h, z]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]] if turned else [[0, 1, 2], [0, 2, 3]])
    return LitSurface(vertices, faces, torch.full_like(vertices, colour), specular=0.0)


def _line(points: list[list[float]], width: float, colour: float = 0.2) -> Strands:
    line = torch.tensor([points])
    return Strands(line, torch.full(line.shape[:2], width), torch.full_like(line, colour), torch.zeros(1))


def _fur(count: int = 400) -> Strands:
    generator = torch.Generator().manual_seed(3)
    root = torch.nn.functional.normalize(torch.randn(count, 1, 3, generator=generator), dim=-1) * 0.08
    along = torch.linspace(0, 1, 6)[:, None]
    points = root * (1 + 0.5 * along) + torch.tensor([0.0, -0.03, 0.0]) * along**2
    width = 0.0003 + 0.0022 * torch.rand(count, 1, generator=generator).expand(-1, 6)
    return Strands(points, width.contiguous(), torch.full_like(points, 0.3), torch.ones(count))


def test_an_evenly_lit_sphere_shows_its_albedo_up_to_occlusion() -> None:
    views = render(Scene((_sphere(0.1),), Light.plain()), rig("head360", 64)[0])
    inner = views.rgba[0, :, 24:40, 24:40]
    torch.testing.assert_close(inner[:3], tone_map(torch.full_like(inner[:3], 0.5)), atol=0.03, rtol=0)
    assert (inner[3] == 1).all()


def test_a_lamp_shades_a_sphere_by_the_cosine() -> None:
    light = Light(torch.zeros(9, 3), torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.ones(1, 3))
    views = render(Scene((_sphere(0.1),), light), rig("head360", 128)[0], supersample=1)
    row = views.rgba[0, 0, 64]
    x = (torch.arange(128) + 0.5 - 64) / 128 * 0.4 / 0.1  # the camera is far: nearly parallel rays
    inside = x.abs() < 0.9
    cosine = (x + (1 - x**2).clamp(min=0).sqrt()) / math.sqrt(2)
    expected = tone_map(0.5 * cosine.clamp(min=0))
    assert (row - expected)[inside & (cosine > 0.3)].abs().max() < 0.02
    assert row[inside & (cosine < -0.1)].abs().max() == 0


def test_a_point_lamp_falls_off_with_the_square_of_the_distance() -> None:
    light = Light(torch.zeros(9, 3), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1, 3))
    ways, colours = light.toward(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(ways[0], torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(colours[0, 0], torch.tensor([1.0, 4.0]))


def test_ambient_light_is_never_negative_and_follows_its_polynomial() -> None:
    ambient = torch.zeros(9, 3)
    ambient[0], ambient[1], ambient[6] = 0.5, 1.0, 0.25
    normals = torch.eye(3)
    found = Light(ambient, torch.zeros(0, 4), torch.zeros(0, 3)).irradiance(torch.cat([normals, -normals], 1))
    torch.testing.assert_close(found[0], torch.tensor([1.25, 0.25, 1.0, 0.0, 0.25, 1.0]))


def test_a_quads_edge_is_covered_by_its_share() -> None:
    # 0.1875 m is 7.5 px: a border of 3.75 px means three quarters of a pixel is covered
    views = render(Scene((_quad(0.1875, 0.0, 0.5),), Light.plain()), rig("head360", 16)[0], supersample=4)
    assert views.rgba[0, 3, 8, 4].item() == 0.75
    assert views.rgba[0, 3].sum().item() == pytest.approx(7.5**2, abs=0.01)
    # straight colour: the edge's is the quad's own
    torch.testing.assert_close(views.rgba[0, :3, 8, 4], views.rgba[0, :3, 8, 8], atol=0.02, rtol=0)
    over = views.over(1.0)[0, 0, 8, 4]
    torch.testing.assert_close(over, 0.75 * views.rgba[0, 0, 8, 4] + 0.25)
    torch.testing.assert_close(views.depth[0, 8, 8].item(), 1.8, atol=1e-4, rtol=0)
    assert views.depth[0, 0, 0] == math.inf


def test_a_surface_is_seen_from_behind_only_with_two_sides() -> None:
    camera = rig("head360", 16)[0]
    turned = _quad(0.2, 0.0, 0.5, turned=True)
    assert render(Scene((turned,), Light.plain()), camera).rgba[0, 3].sum() == 0
    both = LitSurface(turned.vertices, turned.faces, turned.albedo, two_sided=True, specular=0.0)
    assert render(Scene((both,), Light.plain()), camera).rgba[0, 3].sum() == 64


@pytest.mark.parametrize(("z", "seen"), [(0.02, True), (-0.02, False)])
def test_a_strand_is_seen_before_a_surface_and_not_behind_it(z: float, seen: bool) -> None:
    strand = _line([[-0.05, 0.0, z], [0.05, 0.0, z]], width=0.02)
    views = render(Scene((_quad(0.3, 0.0, 0.5),), Light.plain(), strand), rig("head360", 64)[0])
    assert bool(views.hair.any()) is seen
    expected = 0.1 * 0.02 / (0.4 / 64) ** 2 * (1.8 / (1.8 - z)) ** 2 if seen else 0
    assert views.hair.sum().item() == pytest.approx(expected, rel=0.15)


def test_the_nearer_of_two_strands_is_seen() -> None:
    near, far = ([[-0.05, 0.0, z], [0.05, 0.0, z]] for z in (0.03, 0.02))
    strands = Strands.joined([_line(far, 0.02, 0.8), _line(near, 0.02, 0.0)])
    views = render(Scene((_quad(0.3, -0.1, 0.5),), Light.plain(), strands), rig("head360", 64)[0])
    assert views.rgba[0, 0, 32, 32] == 0
    assert views.depth[0, 32, 32].item() == pytest.approx(1.77, abs=1e-3)


def test_thin_strands_cover_their_own_area() -> None:
    count, width = 3000, 0.0002  # a sample is 0.4 / 128 m: sixteen times as wide
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, generator=generator) * 0.3 - 0.15
    y = torch.rand(count, generator=generator) * 0.3 - 0.15
    points = torch.stack([torch.stack([x, y, 0 * x], -1), torch.stack([x, y + 0.02, 0 * x], -1)], 1)
    strands = Strands(points, torch.full((count, 2), width), torch.full_like(points, 0.2), torch.zeros(count))
    behind = _quad(0.01, -0.1, 0.5)
    views = render(Scene((behind,), Light.plain(), strands), rig("head360", 64)[0])
    area = count * width * 0.02 / 0.4**2 * 64**2
    assert views.hair.sum().item() == pytest.approx(area, rel=0.1)


def test_silhouettes_are_those_of_the_rasteriser() -> None:
    model = load_head_model()
    mesh = model.mesh(model.sample(torch.Generator().manual_seed(1)))
    cameras = rig("head360", 96)[[0, 3, 8]]
    skin = LitSurface(mesh.vertices, mesh.faces, torch.full_like(mesh.vertices, 0.4))
    views = render(Scene((skin,), Light.studio()), cameras, supersample=1)
    for camera, rgba, depth in zip(cameras, views.rgba, views.depth, strict=True):
        expected = rasterize(mesh.vertices, mesh.faces, camera, cull_back=True)
        assert ((rgba[3] > 0) == expected.mask).float().mean() > 0.9995
        both = (rgba[3] > 0) & expected.mask
        assert ((depth - expected.depth)[both].abs() < 1e-4).float().mean() > 0.999


def test_shadow_falls_behind_hair_and_surfaces() -> None:
    light = Light(torch.zeros(9, 3), torch.tensor([[0.0, 0.0, 1.0, 0.0]]), torch.ones(1, 3))
    ground, lid = _quad(0.3, -0.1, 0.5), _quad(0.08, 0.1, 0.5)
    cameras = rig("head360", 64)[[1]]  # looks past the lid from the side

    def brightness(scene: Scene) -> Tensor:
        return render(scene, cameras).over(0.0)[0, 0].sum()

    lit = brightness(Scene((ground,), light))
    assert brightness(Scene((ground, lid), light)) - brightness(Scene((lid,), light)) < 0.97 * lit
    generator = torch.Generator().manual_seed(0)
    root = torch.rand(3000, 1, 3, generator=generator) * torch.tensor([0.1, 0.1, 0.02]) + torch.tensor(
        [-0.05, -0.05, 0.1]
    )
    points = root + torch.linspace(0, 1, 4)[:, None] * torch.tensor([0.0, 0.05, 0.0])
    hair = Strands(points, torch.full((3000, 4), 8e-4), torch.zeros_like(points), torch.zeros(3000))
    shaded = brightness(Scene((ground,), light, hair))
    assert shaded < 0.97 * lit


def test_both_kernels_see_the_same() -> None:
    pytest.importorskip("numba", reason="the compiled kernels need the extra synth")
    scene = Scene((_sphere(0.08), _quad(0.3, -0.05, 0.6)), Light.studio(), _fur())
    fast, plain = (render(scene, rig("orbit48", 64)[[3, 24, 40]], kernels=kind) for kind in ("numba", "torch"))
    # projections differ in the last bit, so that a few samples at edges may fall to either side
    assert ((fast.rgba - plain.rgba).abs() > 1e-3).float().mean() < 2e-3
    assert ((fast.hair - plain.hair).abs() > 0).float().mean() < 2e-3
    assert fast.hair.sum() > 100


def test_every_run_gives_the_same_bytes() -> None:
    scene = Scene((_sphere(0.08),), Light.studio(), _fur())
    first, second = (render(scene, rig("head360", 48)[[0, 5]]) for _ in range(2))
    assert torch.equal(first.rgba, second.rgba)
    assert torch.equal(first.depth, second.depth)


def test_colours_must_fit_the_vertices() -> None:
    with pytest.raises(ConfigError, match="albedo"):
        LitSurface(torch.zeros(4, 3), torch.zeros(1, 3, dtype=torch.int64), torch.zeros(3, 8, 8))
