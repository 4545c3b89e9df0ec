"""True views as a learned autoencoder's latents, computed once: its encoder costs as much as the UNet.

One whose encoder only moves pixels needs none of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from gen3dface.errors import DataError
from gen3dface.files import write_atomically
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.pipelines.conditions import Networks, encode_pictures
from gen3dface.training.prepared import PreparedFolder

logger = logging.getLogger(__name__)

_CHUNK = 8  # views that are encoded together


def keeps_latents(nets: Networks) -> bool:
    """Whether a model's latents are worth keeping: they cost a network, and are the same each time."""
    return not isinstance(nets.vae, PixelAutoencoder) and nets.config["posterior"] == "mode"


class LatentFolder:
    """Scaled latents of prepared heads in half precision, one file a key, for one autoencoder."""

    def __init__(self, heads: PreparedFolder, vae: Any) -> None:
        self.heads, self.folder = heads, heads.folder / f"latents-{autoencoder_key(vae)}"

    def path(self, key: str) -> Path:
        """Where the latents of this head lie."""
        return self.folder / f"{key}.safetensors"

    def fill(self, keys: Sequence[str], nets: Networks, rank: int = 0, ranks: int = 1) -> None:
        """Encode this process's share of the heads that are missing, on the autoencoder's device."""
        # shared out by number, not among those missing: the others are writing while this process looks
        missing = [key for key in list(keys)[rank::ranks] if not self.path(key).exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        for key in tqdm(missing, desc="encoding views", disable=rank > 0 or not missing):
            views = self.heads.get(key, range(self.heads.views(key))).targets
            parts = [encode_views(nets, part.float() / 255) for part in views.split(_CHUNK)]
            write_atomically(self.path(key), save({"latents": torch.cat(parts).cpu().half().contiguous()}))

    def get(self, key: str, views: Sequence[int]) -> Tensor:
        """float16 [N, C, h, w] of the chosen views. Raises `DataError` when the file is damaged."""
        try:
            with safe_open(str(self.path(key)), framework="pt") as file:
                rows = file.get_slice("latents")
                return torch.stack([rows[i] for i in views])
        except (SafetensorError, OSError, IndexError) as error:
            raise DataError(f"{self.path(key)} is damaged ({error}); delete it, and it is made again.") from error


def encode_views(nets: Networks, views: Tensor) -> Tensor:
    """True views [R, 4, S, S] in 0..1 as scaled latents [R, C, h, w] float32."""
    return encode_pictures(nets, views[:, :3], views[:, 3:])


def autoencoder_key(vae: Any) -> str:
    """Of an autoencoder's weights and settings."""
    digest = hashlib.sha256(repr(sorted(dict(vae.config).items(), key=str)).encode())
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
