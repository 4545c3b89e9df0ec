"""The head at full resolution: pixels stay where they are, and the model starts as it would without it."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from gen3dface.errors import ConfigError
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.models.multiview_unet import MultiViewUNet
from gen3dface.models.pixel_head import PixelHead
from tests.models.small import SIZE, UNET, VOLUMES, randomised
from tests.models.test_multiview_unet import run

LATENTS = 16  # RGBA in blocks of 2 x 2 pixels
SETTINGS: dict[str, Any] = {
    "unet_config": UNET,
    "volume_channels": VOLUMES,
    "latent_channels": LATENTS,
    "concat_input": False,
    "condition_channels": 8,
    "gate_channels": 4,
    "copy_residual": True,
}


def _inputs() -> dict[str, Any]:
    g = torch.Generator().manual_seed(3)
    copied, seen = torch.randn(1, 2, LATENTS, SIZE, SIZE, generator=g), torch.rand(1, 2, 4, SIZE, SIZE, generator=g)
    return {
        "sample": torch.randn(1, 2, LATENTS, SIZE, SIZE, generator=g),
        "timestep": torch.tensor([700]),
        "encoder_hidden_states": torch.randn(1, 2, 12, generator=g),
        "input_latent": torch.randn(1, LATENTS, SIZE, SIZE, generator=g),
        "conditions": torch.randn(1, 2, 8, SIZE, SIZE, generator=g),
        "copy": (copied, seen),
    }


def test_it_works_on_the_pictures_that_the_latents_hold() -> None:
    """Moving the picture by one pixel, less than a block, moves what the head says of it by one pixel."""
    codec = PixelAutoencoder(channels=3, factor=4)
    head = cast(PixelHead, randomised(PixelHead(features=5, inputs=3, outputs=3, channels=6, factor=4)))
    picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def said(picture: Tensor) -> Tensor:
        latents = codec.encode(picture).latents
        with torch.no_grad():
            return codec.decode(head(torch.zeros(1, 5, 8, 8), latents)).sample

    # away from the border, which is padded: nine pixels see no further than three; features of zero give a bias a block
    head.rise.bias = nn.Parameter(torch.zeros(96))
    inner = (..., slice(4, -4), slice(5, -4))
    torch.testing.assert_close(said(picture.roll(1, -1))[inner], said(picture).roll(1, -1)[inner], atol=1e-5, rtol=1e-4)
    assert said(picture).std() > 0.1


def test_a_model_starts_as_without_it_and_learns_of_it() -> None:
    model = MultiViewUNet(**SETTINGS, pixel_head={"channels": 6, "factor": 2})
    plain = MultiViewUNet(**SETTINGS)
    plain.load_state_dict(model.state_dict(), strict=False)
    given = _inputs()
    torch.testing.assert_close(run(model, **given), run(plain, **given), atol=0, rtol=0)
    model(**given).sample.square().mean().backward()
    last = cast(nn.Conv2d, cast(PixelHead, model.pixel_layers).layers[-1])
    assert last.weight.grad is not None and last.weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["sample", "conditions"])
def test_it_sees_each_view_at_its_own_pixels(name: str) -> None:
    """With a UNet that says nothing, a change of one latent reaches the pixels near it, in its own view alone."""
    model = MultiViewUNet(**SETTINGS | {"gate_channels": 0, "copy_residual": False}, pixel_head={"factor": 2})
    randomised(model)
    head = cast(PixelHead, model.pixel_layers)
    for layer in (model.unet.conv_out, head.rise):
        nn.init.zeros_(layer.weight)
    given = _inputs() | {"copy": None}
    changed = given[name].clone()
    changed[0, 1, :, 4, 4] += 1
    moved = (run(model, **given | {name: changed}) - run(model, **given)).abs().amax(2)[0]
    assert moved[0].max() == 0
    near = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    near[2:7, 2:7] = True  # three pixels further are at most two blocks
    assert moved[1][~near].max() == 0 and moved[1, 4, 4] > 1e-3


def test_channels_that_are_no_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="blocks of 9 pixels"):
        MultiViewUNet(**SETTINGS, pixel_head={"factor": 3})
