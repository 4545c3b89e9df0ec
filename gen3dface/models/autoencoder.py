"""A lossless stand-in for a learned autoencoder: pixels moved into channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class PixelAutoencoder(ModelMixin, ConfigMixin):
    """Each latent position holds a block of pixels; called like diffusers' autoencoders. It has no weights.

    Small models gain from it: nothing is lost, nothing needs training, and the copy gate acts on single pixels.

    Args:
        channels: 3 for RGB, 4 for RGBA. factor: side of a block.
        scaling_factor: multiplies the latents, as diffusers' pipelines do it (outside of `encode`).
    """

    @register_to_config
    def __init__(self, channels: int = 4, factor: int = 4, scaling_factor: float = 1.0) -> None:
        super().__init__()
        # diffusers knows a model's device, dtype and file by its tensors: there must be one
        self.register_buffer("origin", torch.zeros(()))

    @property
    def latent_channels(self) -> int:
        """Channels of a latent; those of one colour lie together."""
        return self.config["channels"] * self.config["factor"] ** 2

    def enable_slicing(self) -> None:
        """Nothing to save: moving pixels takes no memory. It is here because diffusers' autoencoders have it."""

    disable_slicing = enable_tiling = disable_tiling = enable_slicing

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Tensor]:
        """Images [R, channels, H, W] in -1..1 -> latents [R, channels factor^2, H / factor, W / factor]."""
        latents = F.pixel_unshuffle(x, self.config["factor"])
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Inverse of `encode`."""
        sample = F.pixel_shuffle(z, self.config["factor"])
        return DecoderOutput(sample=sample) if return_dict else (sample,)
