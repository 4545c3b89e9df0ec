"""The decoder that learns what a denoiser leaves in latents that are pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gen3dface.errors import ConfigError
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.models.pixel_decoder import PixelDecoder


def test_before_training_decoding_is_lossless() -> None:
    codec, x = PixelAutoencoder(4, 4, decoder_widths=(8, 12, 16)), torch.rand(2, 4, 32, 16)
    assert codec.decode(codec.encode(x).latents).sample.equal(x)  # type: ignore[union-attr]


def test_the_decoder_is_saved_and_read_with_the_autoencoder(tmp_path: Path) -> None:
    codec = PixelAutoencoder(4, 4, decoder_widths=(8, 12))
    assert codec.decoder is not None
    torch.nn.init.normal_(codec.decoder.last.weight)
    codec.save_pretrained(tmp_path)
    read, latents = PixelAutoencoder.from_pretrained(tmp_path), torch.rand(1, 64, 8, 8)
    assert read.decode(latents).sample.equal(codec.decode(latents).sample)  # type: ignore[union-attr]
    assert not read.decode(latents).sample.equal(F.pixel_shuffle(latents, 4))  # type: ignore[union-attr]


def test_blocks_that_cannot_be_halved_so_often_are_refused() -> None:
    with pytest.raises(ConfigError, match="halved"):
        PixelAutoencoder(4, 4, decoder_widths=(8, 8, 8, 8))


@pytest.mark.parametrize("widths", [(8,), (8, 12), (8, 12, 16)])
def test_it_learns_to_take_a_weave_out(widths: tuple[int, ...]) -> None:
    """Smooth pictures with a pattern of period 4: after a few steps most of the pattern is gone, in others too."""
    torch.manual_seed(0)
    decoder = PixelDecoder(3, widths)
    weave = torch.zeros(32, 32)
    weave[3::4, 3::4] = 0.5
    optimiser = torch.optim.Adam(decoder.parameters(), 3e-3)
    for _ in range(150):
        true = _smooth(4)
        loss = (true + weave + decoder(true + weave) - true).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    true = _smooth(16)
    with torch.no_grad():
        left = (weave + decoder(true + weave)).square().mean()
    assert left < 0.1 * weave.square().mean()


def _smooth(rows: int) -> torch.Tensor:
    return F.interpolate(torch.rand(rows, 3, 4, 4) * 2 - 1, (32, 32), mode="bicubic")
