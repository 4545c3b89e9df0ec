"""Mapping, planes, background and points against the public generator's numbers, where its records are at hand."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gen3dface.data_synth.panohead.layers import upsampled
from gen3dface.data_synth.panohead.planes import Decoder, grid_features
from gen3dface.data_synth.panohead.stylegan import Mapping, Synthesis

FOLDER = Path(os.environ.get("GEN3DFACE_PANOHEAD_DIR") or Path(__file__).parents[4] / "shared" / "peers" / "panohead")
needs_records = pytest.mark.skipif(not FOLDER.is_dir(), reason="no records: set GEN3DFACE_PANOHEAD_DIR to their folder")


@pytest.fixture(scope="module")
def found() -> dict[str, Tensor]:
    return load_file(FOLDER / "panohead_tiny_fixture.safetensors")


def filled(module: nn.Module, prefix: str) -> nn.Module:
    state = load_file(FOLDER / "panohead_tiny_state.safetensors")
    own = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    module.load_state_dict({k: t for k, t in own.items() if not k.endswith("resample_filter")})
    return module.requires_grad_(False)


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 1e-4


@needs_records
def test_mapping(found: dict[str, Tensor]) -> None:
    mapping = filled(Mapping(), "backbone.mapping.")
    assert isinstance(mapping, Mapping)
    assert_close(mapping.truncated(found["z"], found["c"], 8), found["ws_psi1"])
    assert_close(mapping.truncated(found["z"], found["c"], 8, 0.7, 7), found["ws_psi07_cut7"])


@needs_records
def test_camera_shift(found: dict[str, Tensor]) -> None:
    assert_close(filled(Mapping(w_dim=3, linear=True), "t_mapping.")(found["z"], found["c"]), found["delta_c"])


@needs_records
def test_planes_and_background(found: dict[str, Tensor]) -> None:
    planes = filled(Synthesis(512, 32, 288, 256, 8), "backbone.synthesis.")
    assert_close(planes(found["ws_psi07_cut7"]), found["planes"])
    background = filled(Synthesis(512, 64, 32, 128, 8), "bcg_synthesis.")
    assert_close(background(found["ws_bcg_padded"]), found["bcg_feat"])


def test_upsampling_is_zero_insertion_and_the_filter() -> None:
    x = torch.randn(1, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    spread = torch.zeros(1, 1, 13, 11)
    spread[..., 2:12:2, 2:10:2] = x
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    assert torch.allclose(upsampled(x), torch.nn.functional.conv2d(spread, torch.outer(taps, taps)[None, None]))


@needs_records
def test_points(found: dict[str, Tensor]) -> None:
    colours, density = filled(Decoder(), "decoder.")(grid_features(found["planes"], found["pts"]))
    assert_close(colours, found["pts_rgb"])
    assert_close(density, found["pts_sigma"])
