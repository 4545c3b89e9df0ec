"""Cameras of the generator's world in the head's, and whole samples of a stand-in whose head is known."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation
from torch import Tensor
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.data_synth.panohead import samples
from gen3dface.data_synth.panohead.generator import Generator, GeneratorConfig
from gen3dface.data_synth.panohead.mesh import LEVEL
from gen3dface.data_synth.panohead.rendering import RenderingConfig, camera_rays
from gen3dface.data_synth.panohead.samples import (
    FOCAL,
    RADIUS,
    HeadSampler,
    Sampling,
    generator_cameras,
    numbers_of,
    placement,
)
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.sample import unpacked_depth
from gen3dface.errors import Gen3DFaceError
from gen3dface.heads import load_head_model
from gen3dface.raster import rasterize
from tests.data_synth.stand_in import Bust

NOTE = {"kind": "panohead", "sha256": "0" * 64, "licence": "non-commercial (stand-in)"}


def test_training_cameras_stand_at_true_angles() -> None:
    cameras = generator_cameras(torch.tensor([0.0, 90.0, -30.0]), torch.tensor([0.0, 0.0, 40.0]))
    poses = cameras[:, :16].view(-1, 4, 4)
    places = poses[:, :3, 3]
    torch.testing.assert_close(places.norm(dim=1), torch.full((3,), RADIUS))
    torch.testing.assert_close(places[0], torch.tensor([0.0, 0, RADIUS]))
    torch.testing.assert_close(places[1], torch.tensor([RADIUS, 0.0, 0]), atol=1e-6, rtol=0)
    assert math.degrees(math.asin(places[2, 1] / RADIUS)) == pytest.approx(40.0, abs=1e-4)
    torch.testing.assert_close(poses[:, :3, :3] @ poses[:, :3, :3].mT, torch.eye(3).expand(3, 3, 3), atol=1e-6, rtol=0)
    assert torch.linalg.det(poses[:, :3, :3]).min() > 0.999
    # the picture's middle ray meets the origin, and a point above is higher up in the picture
    origins, directions = camera_rays(cameras, 1)
    torch.testing.assert_close(origins + RADIUS * directions, torch.zeros(3, 1, 3), atol=1e-5, rtol=0)
    above = (torch.tensor([0.0, 0.1, 0.0]) - places) @ poses[0, :3, :3]
    assert above[0, 1] < 0


def test_both_worlds_see_the_same_pixels() -> None:
    """A point of the generator's world, seen by a camera of either world."""
    random = np.random.default_rng(0)
    photo = generator_cameras(torch.tensor([25.0]), torch.tensor([-8.0]))
    pose = torch.eye(4)[None]
    pose[0, :3, :3] = torch.from_numpy(Rotation.from_euler("xyz", [5, 170, 176], degrees=True).as_matrix()).float()
    pose[0, :3, 3] = torch.tensor([0.02, -0.05, 1.71])
    fit = Cameras(pose, torch.tensor([[[FOCAL * 64, 0, 32], [0, FOCAL * 64, 32], [0, 0, 1.0]]]), 64, 64)
    placed = placement(photo[0], fit, 0.61)
    points = torch.from_numpy(random.normal(0, 0.1, (20, 3))).float()
    in_head = placed(points)
    torch.testing.assert_close(fit.project(in_head)[0][0], _pixels(photo, points, 64)[0], atol=1e-2, rtol=0)
    for cameras in (
        rig("orbit48", 64),
        orbit(torch.tensor([10.0]), torch.tensor([5.0]), radius=1.6, focal=4.0, size=64),
    ):
        found = _pixels(numbers_of(placed.carried_back(cameras)), points, 64)
        torch.testing.assert_close(cameras.project(in_head)[0], found, atol=1e-2, rtol=0)


def test_noise_is_no_face() -> None:
    tiny = GeneratorConfig(
        side=128, raw_side=16, base=256, most=8, plane_side=32, rendering=RenderingConfig(coarse=6, fine=6)
    )
    torch.manual_seed(0)
    sampler = HeadSampler(Generator(tiny), NOTE, Sampling("head360", 64, yaw=30.0))
    with pytest.raises(Gen3DFaceError):
        sampler(0)


def test_views_lie_where_the_estimated_head_is(skins: tuple[Skin, ...]) -> None:
    """A stand-in that draws a known head: outlines of the estimate and of the views agree from all around."""
    sampler = HeadSampler(Bust(skins[0]), NOTE, Sampling("head360", 96, yaw=20.0, depth=True))  # type: ignore[arg-type]
    sample = sampler(3)
    assert torch.equal(sample.views, sampler(3).views) and sample.licences == [NOTE["licence"]]
    assert not torch.equal(sampler.identity(3).ws, sampler.identity(4).ws)
    model = load_head_model()
    mesh = sample.head.mesh(model)
    above = mesh.vertices[:, 1] > -0.10
    for view, camera in zip(sample.views[::2], sample.cameras[list(range(0, 16, 2))], strict=True):
        drawn, found = view[3] > 127, rasterize(mesh.vertices, model.faces, camera).mask
        line = int(camera.project(mesh.vertices[above])[0][0, :, 1].max())
        both, either = (drawn & found)[:line].sum(), (drawn | found)[:line].sum()
        assert both / either > 0.85


def test_depth_is_that_of_the_estimated_head_s_surface(skins: tuple[Skin, ...]) -> None:
    """A stand-in that draws a known head: its depth in metres is that of the estimate, from every side."""
    sampler = HeadSampler(Bust(skins[0]), NOTE, Sampling("head360", 96, yaw=20.0, depth=True))  # type: ignore[arg-type]
    sample = sampler(3)
    assert sample.depth is not None
    model = load_head_model()
    vertices = sample.head.mesh(model).vertices
    for packed, camera in zip(sample.depth, sample.cameras, strict=True):
        depth, found = unpacked_depth(packed[0]), rasterize(vertices, model.faces, camera)
        both = depth.isfinite() & found.mask
        assert both.float().mean() > 0.1
        assert (depth[both] - found.depth[both]).abs().median() < 0.008


class FullBust(Bust):
    """With a density: a ball of 0.2 units around the world's middle."""

    config = SimpleNamespace(z_dim=4, rendering=RenderingConfig())

    def points(self, planes: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        return at, LEVEL + 200 * (0.2 - at.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("suffix", [".glb", ".ply"])
def test_the_mesh_lies_in_the_head_s_frame_in_metres(
    skins: tuple[Skin, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """A stand-in whose world is the head's frame with a unit of 0.6 m: its ball is one of 0.12 m in the file."""
    monkeypatch.setattr(samples, "load_generator", lambda folder, kind: (FullBust(skins[0]), NOTE))
    out = tmp_path / f"head{suffix}"
    arguments = ["synth", "mesh", str(tmp_path), "--seed", "3", "--yaw", "20", "--resolution", "48", "-o", str(out)]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    mesh = trimesh.load(out, force="mesh")
    assert mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * math.pi * 0.12**3, rel=0.15)
    assert np.linalg.norm(mesh.center_mass) < 0.012
    assert CliRunner().invoke(cli.app, [*arguments[:-1], str(tmp_path / "head.stl")]).exit_code == 2


def test_bfloat16_draws_the_same_picture() -> None:
    tiny = GeneratorConfig(
        side=128, raw_side=16, base=1024, most=32, plane_side=32, rendering=RenderingConfig(coarse=6, fine=6)
    )
    torch.manual_seed(0)
    generator = Generator(tiny).for_inference()
    camera, z = generator_cameras(torch.tensor([20.0]), torch.tensor([0.0])), torch.randn(1, 512)
    exact = generator.shown(generator.identity(z, camera), camera)
    generator.in_bfloat16 = True
    rough = generator.shown(generator.identity(z, camera), camera)
    assert rough.image.dtype == torch.float32 and not torch.equal(rough.image, exact.image)
    assert (rough.image - exact.image).square().mean().sqrt() < 0.02 * exact.image.std()


def _pixels(cameras: Tensor, points: Tensor, side: int) -> Tensor:
    """[N, P, 2] of points [P, 3], by the definition of the 25 numbers."""
    to_camera = torch.linalg.inv(cameras[:, :16].view(-1, 4, 4))
    seen = points @ to_camera[:, :3, :3].mT + to_camera[:, None, :3, 3]
    flat = seen @ cameras[:, 16:].view(-1, 3, 3).mT
    return flat[..., :2] / flat[..., 2:] * side
