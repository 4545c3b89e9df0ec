"""Image tokens that know the view they are for."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class ViewTokenProjection(ModelMixin, ConfigMixin):
    """One linear layer on [image token, view embedding], as in zero123 and SyncDreamer.

    Morphable Diffusion took it out; the paper, which builds on it, is read as without.

    Args:
        token_dim: of the image embedding. view_dim: of the view embedding.
    """

    @register_to_config
    def __init__(self, token_dim: int = 768, view_dim: int = 4) -> None:
        super().__init__()
        self.proj = nn.Linear(token_dim + view_dim, token_dim)

    def forward(self, tokens: Tensor, view: Tensor) -> Tensor:
        """tokens [B, T, token_dim], view [B, F, view_dim] -> [B, F, T, token_dim]."""
        shape = (view.shape[1], tokens.shape[1])
        each = tokens[:, None].expand(-1, shape[0], -1, -1)
        views = view[:, :, None].expand(-1, -1, shape[1], -1)
        return self.proj(torch.cat([each, views.to(tokens.dtype)], -1))
