"""Our plain networks against the originals: names, shapes and outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.estimators.networks.iresnet import IRESNET100, IResNet, MappingNetwork
from gen3dface.estimators.networks.mobilenet_v3 import LARGE, LARGE_FEATURES, SMALL, SMALL_FEATURES, MobileNetV3
from gen3dface.estimators.networks.resnet50 import ResNet, ResNetRegressor
from tests.estimators.fake_networks import filled, picture

# names, shapes and outputs recorded from timm and torchvision themselves, see "source" in the file
PUBLIC: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "public_networks.json").read_text())
OURS: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v3_small": lambda: MobileNetV3(SMALL, SMALL_FEATURES),
    "mobilenet_v3_large": lambda: MobileNetV3(LARGE, LARGE_FEATURES),
    "resnet50": ResNet,
}


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {n: list(v.shape) for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", OURS)
def test_names_and_shapes_are_the_originals(name: str) -> None:
    with torch.device("meta"):
        assert shapes(OURS[name]()) == PUBLIC[name]["names"]


@pytest.mark.parametrize("name", OURS)
@torch.no_grad()
def test_outputs_are_the_originals(name: str) -> None:
    made = filled(OURS[name]())(picture(96))[0, :8]
    expected = torch.tensor(PUBLIC[name]["outputs"], dtype=torch.float64)
    assert torch.allclose(made, expected, rtol=1e-8, atol=1e-8)


def test_key_counts_are_those_of_the_public_checkpoints() -> None:
    """DECA: 322 keys; ArcFace's iresnet100 in MICA: 925, counted block by block."""
    with torch.device("meta"):
        assert len(ResNetRegressor(236).state_dict()) == 322
        arcface = IResNet().state_dict()
    norm, block, stem, projections, end = 5, 5 + 1 + 5 + 1 + 1 + 5, 1 + 5 + 1, 4 * (1 + 5), 5 + 2 + 5
    assert norm == 5 and len(arcface) == stem + sum(IRESNET100) * block + projections + end
    assert arcface["fc.weight"].shape == (512, 512 * 7 * 7)
    assert arcface["layer3.29.conv2.weight"].shape == (256, 256, 3, 3)


@torch.no_grad()
def test_arcface_network_follows_its_definition() -> None:
    network = filled(IResNet((2, 1, 1, 1), features=8, width=4))
    state = network.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        side = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        return (x - mean.view(side)) / (var.view(side) + 1e-5).sqrt() * weight.view(side) + bias.view(side)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = state[f"{name}.weight"]
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * state[f"{name}.weight"].view(1, -1, 1, 1))

    x = prelu(norm(conv(picture(112), "conv1"), "bn1"), "prelu")
    for place, stride in (("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer3.0", 2), ("layer4.0", 2)):
        inner = prelu(norm(conv(norm(x, f"{place}.bn1"), f"{place}.conv1"), f"{place}.bn2"), f"{place}.prelu")
        branch = norm(conv(inner, f"{place}.conv2", stride), f"{place}.bn3")
        x = branch + (norm(conv(x, f"{place}.downsample.0", 2), f"{place}.downsample.1") if stride == 2 else x)
    flat = norm(x, "bn2").flatten(1)
    expected = norm(flat @ state["fc.weight"].T + state["fc.bias"], "features")
    assert torch.allclose(network(picture(112)), expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_mapping_network_is_four_leaky_layers_and_an_output() -> None:
    network = filled(MappingNetwork(6, 5, 4))
    state = network.state_dict()
    assert sorted({name.rpartition(".")[0] for name in state}) == [*(f"network.{i}" for i in range(4)), "output"]
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 6)
    expected = x
    for layer in range(4):
        expected = expected @ state[f"network.{layer}.weight"].T + state[f"network.{layer}.bias"]
        expected = torch.maximum(expected, 0.2 * expected)
    expected = expected @ state["output.weight"].T + state["output.bias"]
    assert torch.allclose(network(x), expected)


def test_same_networks_as_timm() -> None:
    """With timm at hand: random weights and an odd picture size, so that padding is asymmetric in its own way."""
    timm = pytest.importorskip("timm")
    original = timm.create_model("tf_mobilenetv3_small_minimal_100", pretrained=False, features_only=True).eval()
    ours = MobileNetV3(SMALL, SMALL_FEATURES).eval()
    ours.load_state_dict(original.state_dict())
    image = torch.rand(2, 3, 97, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours(image), original(image)[-1].mean((2, 3)), atol=1e-5)
