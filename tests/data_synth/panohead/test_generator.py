"""The whole generator against the public one's numbers, and against what must hold of any."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gen3dface.data_synth.panohead.generator import EG3D, Generator, GeneratorConfig
from gen3dface.data_synth.panohead.rendering import RenderingConfig, camera_rays, evenly, render_rays
from tests.data_synth.panohead.test_stylegan import FOLDER, assert_close, needs_records

TINY = GeneratorConfig(
    side=128, raw_side=16, base=256, most=8, plane_side=32, rendering=RenderingConfig(coarse=12, fine=12)
)


@pytest.fixture(scope="module")
def found() -> dict[str, Tensor]:
    return load_file(FOLDER / "panohead_tiny_fixture.safetensors")


@pytest.fixture(scope="module")
def tiny() -> Generator:
    generator = Generator(TINY)
    state = load_file(FOLDER / "panohead_tiny_state.safetensors")
    generator.load_state_dict({k: t for k, t in state.items() if not k.endswith("resample_filter")})
    return generator.for_inference()


def half(shape: tuple[int, ...]) -> Tensor:
    return torch.full(tuple(shape), 0.5)


@needs_records
def test_rays(found: dict[str, Tensor]) -> None:
    origins, directions = camera_rays(found["c"], 16)
    assert_close(origins, found["ray_o"])
    assert_close(directions, found["ray_d"])


@needs_records
def test_identity(tiny: Generator, found: dict[str, Tensor]) -> None:
    identity = tiny.identity(found["z"], found["c"], 0.7, 7)
    assert_close(identity.ws, found["ws_psi07_cut7"])
    assert_close(identity.planes, found["planes"])
    assert identity.background is not None
    assert_close(identity.background, found["bcg_feat"])
    colours, density = tiny.points(identity.planes, found["pts"])
    assert_close(colours, found["pts_rgb"])
    assert_close(density, found["pts_sigma"])
    shift = tiny.t_mapping(found["z"], found["c"])  # which PanoHead adds to the cameras' places while it trains
    assert_close(found["c"][:, 3:12:4] + shift, found["c_new"][:, 3:12:4])


@needs_records
def test_rendering(tiny: Generator, found: dict[str, Tensor]) -> None:
    shown = tiny.rays(found["planes"], found["c"], half)
    assert_close(shown.features, found["render_mid.feat"])
    assert_close(shown.depth, found["render_mid.depth"])
    assert_close(shown.opacity, found["render_mid.weight"])


@needs_records
def test_super_resolution(tiny: Generator, found: dict[str, Tensor]) -> None:
    image = tiny.superresolution(found["sr_in_rgb"], found["sr_in_feat"], found["ws_psi07_cut7"])
    assert_close(image, found["synth_mid_nrr16.image"])


@needs_records
@pytest.mark.parametrize("kind", ["synth_mid_nrr16", "synth_seed7_nrr16"])
def test_pictures(tiny: Generator, found: dict[str, Tensor], kind: str) -> None:
    """With the public generator's order of random numbers too."""
    torch.manual_seed(7)
    draws = half if kind == "synth_mid_nrr16" else lambda shape: torch.rand(tuple(shape))
    shown = tiny.shown(tiny.identity(found["z"], found["c"], 0.7, 7), found["c"], draws)
    assert_close(shown.raw, found[f"{kind}.image_raw"])
    assert_close(shown.depth, found[f"{kind}.image_depth"])
    assert_close(shown.mask, found[f"{kind}.image_mask"])
    assert_close(shown.image, found[f"{kind}.image"])


@needs_records
@pytest.mark.parametrize(("name", "config"), [("panohead", GeneratorConfig()), ("eg3d", EG3D)])
def test_names_and_shapes_are_the_public_checkpoint_s(name: str, config: GeneratorConfig) -> None:
    recorded = json.loads((FOLDER / f"{name}_G_512_name_shape.json").read_text())
    with torch.device("meta"):
        generator = Generator(config)
    ours = {k: list(t.shape) for k, t in generator.state_dict().items()}
    theirs = {k: v["shape"] for k, v in recorded["state"].items() if not k.endswith("resample_filter")}
    assert ours == theirs
    assert sum(p.numel() for p in generator.parameters()) == recorded["n_params"]


def test_fog_has_beer_lambert_s_opacity() -> None:
    """In even density s over a length L: 1 - exp(-s L); seen through at -1e3, as outside the crop."""
    config = RenderingConfig(coarse=32, fine=16, near=1.0, far=3.0, crop=0.4)
    directions = torch.nn.functional.normalize(torch.tensor([[[0.0, 0.0, -1.0], [0.0, 2.0, -1.0]]]), dim=-1)
    origins = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 9.0]]])

    def fog(points: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.full_like(points[..., :1], 1 + math.log(math.e - 1))  # softplus(sigma - 1) = 1

    free = render_rays(fog, origins, directions, RenderingConfig(32, 16, 1.0, 3.0, 1.0, None))
    assert free.opacity[0, 0].item() == pytest.approx(1 - math.exp(-2), abs=0.01)
    cropped = render_rays(fog, origins, directions, config)
    assert cropped.opacity[0, 0].item() == pytest.approx(1 - math.exp(-0.8), abs=0.03)
    assert 1.6 < cropped.depth[0, 0].item() < 2.0
    assert cropped.opacity[0, 1].item() < 1e-3


def test_fine_samples_are_where_the_wall_is() -> None:
    asked: list[Tensor] = []

    def wall(points: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(points[..., 2])
        return points, torch.where(points[..., 2:].abs() < 0.05, 80.0, -80.0)

    origins, directions = torch.tensor([[[0.0, 0.0, 2.7]]]), torch.tensor([[[0.0, 0.0, -1.0]]])
    found = render_rays(wall, origins, directions, RenderingConfig(coarse=40, fine=40))
    assert (asked[1].abs() < 0.1).float().mean() > 0.8
    assert found.depth.item() == pytest.approx(2.65, abs=0.03)
    assert found.features[0, 0, 2].item() == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("distance", [1.0, 3.6, 4.9])
def test_what_is_near_goes_with_the_camera(distance: float) -> None:
    """A ball of density before a camera at another distance than in training."""

    def ball(points: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.where(points.norm(dim=-1, keepdim=True) < 0.22, 80.0, -80.0)

    origins, directions = torch.tensor([[[0.0, 0.0, distance]]]), torch.tensor([[[0.0, 0.0, -1.0]]])
    missed = render_rays(ball, origins, directions, RenderingConfig())
    found = render_rays(ball, origins, directions, RenderingConfig(), further=torch.tensor([distance - 2.7]))
    assert missed.opacity.item() < 0.01 and found.opacity.item() > 0.99
    assert found.depth.item() == pytest.approx(distance - 0.22, abs=0.03)


def test_one_identity_serves_all_views() -> None:
    generator = Generator(TINY).requires_grad_(False)
    z, c = torch.randn(2, 1, 512, generator=torch.Generator().manual_seed(0)), _cameras(3)
    for code in z:
        identity = generator.identity(code, c[:1])
        together = generator.shown(identity, c)
        for view in range(3):
            alone = generator.shown(generator.identity(code, c[:1]), c[[view]])
            torch.testing.assert_close(together.image[[view]], alone.image, rtol=1e-4, atol=1e-4)


def test_sharing_saves_a_third_of_the_work() -> None:
    """Multiplications of matrices and convolutions of the true generator, 48 views: counted, not timed."""
    with torch.device("meta"):
        generator, z, c = Generator(), torch.zeros(1, 512), torch.zeros(1, 25)
        with FlopCounterMode(display=False) as once:
            identity = generator.identity(z, c)
        with FlopCounterMode(display=False) as view:
            generator.shown(identity, c, lambda shape: torch.zeros(tuple(shape)))
    naive = 48 * (once.get_total_flops() + view.get_total_flops())
    shared = once.get_total_flops() + 48 * view.get_total_flops()
    assert shared < 0.65 * naive


def _cameras(count: int) -> Tensor:
    lens = torch.tensor([4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1])
    rows = []
    for i in range(count):
        turn = 0.3 * i
        back = torch.tensor([math.sin(turn), 0.0, math.cos(turn)])
        pose = torch.eye(4)
        pose[:3, :3] = torch.stack([torch.tensor([back[2], 0.0, -back[0]]), torch.tensor([0.0, -1.0, 0.0]), -back], 1)
        pose[:3, 3] = 2.7 * back
        rows.append(torch.cat([pose.flatten(), lens]))
    return torch.stack(rows)


def test_even_numbers_leave_nothing_to_chance() -> None:
    assert torch.allclose(evenly((2, 3, 4, 1)), torch.full((2, 3, 4, 1), 0.5))
    assert torch.allclose(evenly((2, 4)), torch.tensor([0.125, 0.375, 0.625, 0.875]).expand(2, 4))
