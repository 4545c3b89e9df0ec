"""Depth attention: each pixel of a UNet feature attends to the depths of its own ray."""

from __future__ import annotations

from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

_GROUPS = 8


class DepthAttention(nn.Module):
    """softmax_d(q k_d / sqrt(c)) v_d at each pixel, without biases.

    With k = W_k f and v = W_v f, the product q . W_k f_d equals (W_k^T q) . f_d, and W_v commutes with the mean over
    depths. So keys and values are never formed, which saves a factor of about 30 and the memory for them.
    """

    def __init__(self, dim: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x [R, dim, h, w], context [R, context_dim, D, h, w] -> [R, dim, h, w]."""
        pixels = x.permute(0, 2, 3, 1)  # [R, h, w, dim]
        rays = rays_of(context)  # [R, h, w, c, D]
        query = self.to_q(pixels).unflatten(-1, (self.heads, -1))
        key = self.to_k.weight.unflatten(0, (self.heads, -1))  # [heads, dim / heads, c]
        folded = torch.einsum("rhwnd,ndc->rhwnc", query, key) * query.shape[-1] ** -0.5
        weight = (folded @ rays).softmax(-1)  # [R, h, w, heads, D]
        return match_layout(self._read(weight @ rays.mT), x)

    def constant(self, context: Tensor) -> Tensor:
        """What every pixel reads from rays that hold `context` [c] at every depth: [dim]."""
        return self._read(context.expand(1, 1, 1, self.heads, -1)).flatten()

    def _read(self, mixed: Tensor) -> Tensor:
        """Each head's mean ray feature [R, h, w, heads, c] -> [R, dim, h, w]."""
        value = self.to_v.weight.unflatten(0, (self.heads, -1))
        out = self.to_out(torch.einsum("rhwnc,ndc->rhwnd", mixed, value).flatten(-2))
        return out.permute(0, 3, 1, 2)


def match_layout(values: Tensor, like: Tensor) -> Tensor:
    """`values` [R, C, h, w] in the memory layout of `like`.

    Group norm on channels-last tensors sums in another order, ten times less exactly; that should be a choice.
    """
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return values.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def rays_of(volume: Tensor) -> Tensor:
    """Each pixel's ray in one piece: [R, c, D, h, w] -> [R, h, w, c, D]."""
    flat = volume.flatten(3).flatten(1, 2)  # [R, c D, h w]
    if volume.device.type == "cpu":  # PyTorch blocks the transposition of matrices alone, which takes half the time
        rays = torch.stack([matrix.t().contiguous() for matrix in flat])
    else:
        rays = flat.transpose(1, 2).contiguous()
    return rays.view(len(volume), *volume.shape[3:], *volume.shape[1:3])


class Pointwise(nn.Linear):
    """A 1x1x1 convolution without bias; its weight [out, in] lets the UNet go channels-last, which knows no 3D."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [R, in, D, h, w] -> [R, out, D, h, w]."""
        return torch.bmm(self.weight.expand(len(x), -1, -1), x.flatten(2)).unflatten(2, x.shape[2:])


class DepthTransformer(ModelMixin, ConfigMixin):
    """Fuses a frustum volume into a UNet feature, as a residual (SyncDreamer, section 3.3).

    The last convolution starts at zero, so that a pretrained UNet is unchanged at first.

    Args:
        channels: of the UNet feature. context_dim: channels of the volume, a multiple of 8.
        heads: of the attention. head_dim: width of each; None: half of `context_dim`, as in the peers.
    """

    @register_to_config
    def __init__(self, channels: int, context_dim: int, heads: int = 4, head_dim: int | None = None) -> None:
        super().__init__()
        dim = heads * (head_dim or context_dim // 2)
        self.proj_in = nn.Sequential(nn.Conv2d(channels, dim, 1), nn.GroupNorm(_GROUPS, dim), nn.SiLU())
        context_norm, last = nn.GroupNorm(_GROUPS, context_dim), nn.Conv2d(dim, channels, 3, padding=1, bias=False)
        self.proj_context = nn.Sequential(Pointwise(context_dim, context_dim), context_norm, nn.ReLU())
        self.attention = DepthAttention(dim, context_dim, heads)
        self.proj_out = nn.Sequential(
            nn.GroupNorm(_GROUPS, dim),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, dim),
            nn.ReLU(),
            last,
        )
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor, volume: Tensor | None, rows: Tensor | None = None) -> Tensor:
        """The feature with what its rays hold.

        Args:
            x: [R, channels, h, w].
            volume: [R', context_dim, D, h, w], or None: all volumes are zero.
            rows: [R'] which rows of x the volumes belong to; the others' volumes are zero, at no cost. None: all.
        """
        query = self.proj_in(x)
        if volume is None:
            attended = self._zero_volume(query)
        elif rows is None:
            attended = self.attention(query, self.proj_context(volume))
        else:
            seen = self.attention(query[rows], self.proj_context(volume))
            attended = self._zero_volume(query).index_copy(0, rows, seen.to(query.dtype))
        return x + self.proj_out(attended)

    def _zero_volume(self, query: Tensor) -> Tensor:
        """A zero volume is not nothing: the context's group norm turns it into its bias, the same everywhere."""
        context = cast(nn.GroupNorm, self.proj_context[1]).bias.relu()
        constant = self.attention.constant(context)[None, :, None, None]
        return match_layout(constant.expand(query.shape), query)
