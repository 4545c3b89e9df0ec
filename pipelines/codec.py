"""Pictures to latents and back, for any autoencoder of diffusers' interface; and masks of pictures over white."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from gen3dface.errors import ConfigError

Posterior = Literal["mode", "sample"]
_WHITE = 0.08  # a pixel darker than white by this much is wholly covered


def latent_factor(vae: Any) -> int:
    """Pixels a latent's side. Raises `ConfigError` when the autoencoder's configuration does not tell."""
    blocks = vae.config.get("block_out_channels")
    factor = 2 ** (len(blocks) - 1) if blocks else vae.config.get("factor")
    if not factor:
        raise ConfigError(f"{type(vae).__name__} has neither block_out_channels nor factor in its configuration.")
    return int(factor)


def latent_channels(vae: Any) -> int:
    """Channels of a latent; an autoencoder that only moves pixels has as many numbers as they."""
    return int(vae.config.get("latent_channels") or picture_channels(vae) * latent_factor(vae) ** 2)


def picture_channels(vae: Any) -> int:
    """3 for RGB over white, 4 for RGB over white with alpha."""
    return int(vae.config.get("in_channels") or vae.config.get("channels") or 3)


def encode(
    vae: Any,
    images: Tensor,
    alpha: Tensor,
    posterior: Posterior = "mode",
    generator: Any = None,
) -> Tensor:
    """Scaled latents [R, C, h, w].

    Args:
        images: [R, 3, S, S] in 0..1 over white, on the autoencoder's device and of its dtype.
        alpha: [R, 1, S, S] in 0..1, used if the autoencoder has 4 channels.
        posterior: of a variational autoencoder: its mode, or a draw from it with `generator`
            (one, or a list with one a row).
    """
    pictures = torch.cat([images, alpha], 1) if picture_channels(vae) == 4 else images
    found = vae.encode(2 * pictures - 1)
    if hasattr(found, "latent_dist"):
        drawn = posterior == "sample"
        latents = found.latent_dist.sample(generator) if drawn else found.latent_dist.mode()
    else:
        latents = found.latents
    scale, shift = _scale(vae)
    return (latents - shift) * scale


def decode(vae: Any, latents: Tensor) -> tuple[Tensor, Tensor | None]:
    """Scaled latents [R, C, h, w] to images [R, 3, S, S] in 0..1 float32, and alpha [R, 1, S, S] if there is one."""
    scale, shift = _scale(vae)
    pictures = vae.decode(latents / scale + shift).sample
    pictures = (pictures.float() / 2 + 0.5).clamp(0, 1)
    return pictures[:, :3], (pictures[:, 3:4] if pictures.shape[1] > 3 else None)


def masks_over_white(images: Tensor, silhouettes: Tensor) -> Tensor:
    """Coverage [R, 1, S, S] in 0..1 of pictures [R, 3, S, S] over white, whose mesh covers `silhouettes`.

    Hair reaches beyond the mesh: there, what is not white is covered. Teeth and glints are white: there, the mesh is.
    """
    darkness = 1 - images.amin(1, keepdim=True)
    return torch.maximum((darkness / _WHITE).clamp(0, 1), silhouettes.to(images))


def _scale(vae: Any) -> tuple[float, float]:
    return float(vae.config.get("scaling_factor") or 1.0), float(vae.config.get("shift_factor") or 0.0)
