"""An autoencoder for small models: pixels moved into channels, and a decoder that may learn what denoisers leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from gen3dface.errors import ConfigError
from gen3dface.models.pixel_decoder import PixelDecoder


class PixelAutoencoder(ModelMixin, ConfigMixin):
    """Each latent position holds a block of pixels; called like diffusers' autoencoders.

    Small models gain from it: nothing is lost, the encoder needs no training, and the copy gate acts on single pixels.

    Args:
        channels: 3 for RGB, 4 for RGBA. factor: side of a block.
        scaling_factor: multiplies the latents, as diffusers' pipelines do it (outside of `encode`).
        straight: the latents of RGBA hold straight colours, continued beyond the outline, and coverage; decoding lays
            them over white. So what grows out of an outline has its colours, and no outline is mixed with white.
        decoder_widths: of the `PixelDecoder` whose sum with the pixels is decoded; none: the pixels themselves, and
            there are no weights.

    Raises:
        ConfigError: `straight` without coverage, or more widths than a block can be halved.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 4,
        factor: int = 4,
        scaling_factor: float = 1.0,
        straight: bool = False,
        decoder_widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if straight and channels != 4:
            raise ConfigError(f"Straight colours need coverage: 4 channels, not {channels}.")
        if factor % 2 ** max(len(decoder_widths) - 1, 0):
            raise ConfigError(f"Blocks of {factor} pixels cannot be halved for {len(decoder_widths)} decoder_widths.")
        # diffusers knows a model's device, dtype and file by its tensors: there must be one
        self.register_buffer("origin", torch.zeros(()))
        self.decoder = PixelDecoder(channels, decoder_widths) if decoder_widths else None

    @property
    def latent_channels(self) -> int:
        """Channels of a latent; those of one colour lie together."""
        return self.config["channels"] * self.config["factor"] ** 2

    def enable_slicing(self) -> None:
        """Not offered: moving pixels takes no memory, the decoder little. diffusers' autoencoders have it."""

    disable_slicing = enable_tiling = disable_tiling = enable_slicing

    def without_decoder(self) -> PixelAutoencoder:
        """The same latents, decoded to the very pixels that they are: what losses compare."""
        return PixelAutoencoder(**{n: self.config[n] for n in ("channels", "factor", "scaling_factor", "straight")})

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Tensor]:
        """Images [R, channels, H, W] in -1..1 over white -> latents [R, channels factor^2, H / factor, W / factor]."""
        latents = F.pixel_unshuffle(straightened(x) if self.config["straight"] else x, self.config["factor"])
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Inverse of `encode`: to the bit without a learned decoder."""
        sample = F.pixel_shuffle(z, self.config["factor"])
        if self.decoder is not None:
            sample = self._cleaned(sample)
        if self.config["straight"]:
            sample = over_white(sample)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    @apply_forward_hook  # which brings offloaded weights to the device, and fails where there are none
    def _cleaned(self, pictures: Tensor) -> Tensor:
        assert self.decoder is not None
        return pictures + self.decoder(pictures)


def straightened(pictures: Tensor) -> Tensor:
    """RGBA [R, 4, H, W] in -1..1 over white, to straight colours continued where nothing is covered.

    By pull and push (Gortler et al., 1996, "The Lumigraph"): averages of what is covered, ever coarser, fill the gaps
    of the next finer level. Where nothing at all is covered, it is white.
    """
    unit = pictures / 2 + 0.5
    alpha = unit[:, 3:].clamp(0, 1)
    colour = _filled(unit[:, :3] - (1 - alpha), alpha)
    return torch.cat([2 * colour - 1, pictures[:, 3:]], 1)


def over_white(pictures: Tensor) -> Tensor:
    """Inverse of `straightened`: RGBA [R, 4, H, W] in -1..1, its colours laid over white by its coverage."""
    alpha = (pictures[:, 3:] / 2 + 0.5).clamp(0, 1)
    return torch.cat([alpha * pictures[:, :3] + (1 - alpha), pictures[:, 3:]], 1)


def _filled(premultiplied: Tensor, alpha: Tensor) -> Tensor:
    """Colours [R, 3, H, W] in 0..1 of premultiplied ones and coverage [R, 1, H, W], everywhere."""
    height, width = alpha.shape[-2:]
    if height == 1 and width == 1:
        beyond = torch.ones_like(premultiplied)
    else:
        coarser = (F.avg_pool2d(t, 2, ceil_mode=True) for t in (premultiplied, alpha))
        beyond = F.interpolate(_filled(*coarser), (height, width), mode="bilinear", align_corners=False)
    return torch.where(alpha > 0, (premultiplied / alpha.clamp(min=1e-6)).clamp(0, 1), beyond)
