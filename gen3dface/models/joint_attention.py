"""3D self-attention: the tokens of all frames of a head attend to each other.

Every self-attention reshapes [(b f), l, c] to [b, (f l), c], attends and reshapes back (MVDream, Shi et al., 2023).
There are no new parameters, so weights trained without it load; layer norms act on single tokens and stay as they are.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from gen3dface.errors import MissingExtraError


class JointAttnProcessor:
    """Joins the frames of a self-attention and leaves cross-attention alone.

    Args:
        joint: join the frames; False: each frame by itself.
        inner: the processor that attends, any of diffusers' own; None: `attend`, which follows the model's
            `set_attention_backend`.
    """

    _parallel_config = None  # diffusers asks every processor with a backend for it

    def __init__(self, joint: bool = True, inner: Callable[..., Tensor] | None = None) -> None:
        self.joint = joint
        self.inner = None if isinstance(inner, AttnProcessor2_0) else inner  # diffusers' default, which has no backend
        self._attention_backend: Any = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        frames: int = 1,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states [(b frames), l, c] -> the same shape; `frames` comes through `cross_attention_kwargs`."""
        if encoder_hidden_states is not None or not self.joint or frames == 1:
            return self._inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs)
        rows, tokens, channels = hidden_states.shape
        joined = hidden_states.reshape(rows // frames, frames * tokens, channels)
        return self._inner(attn, joined, None, attention_mask, temb, **kwargs).reshape(rows, tokens, channels)

    def _inner(self, attn: Attention, x: Tensor, context: Tensor | None, mask: Any, temb: Any, **kwargs: Any) -> Tensor:
        if self.inner is not None:
            return self.inner(attn, x, context, mask, temb, **kwargs)
        return attend(attn, x, context, mask, self._attention_backend)


def attend(
    attn: Attention, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, backend: Any = None
) -> Tensor:
    """softmax(q k / sqrt(d)) v of x [R, L, C] on itself or on a context [R, T, E], by one of diffusers' backends.

    A context of one token has all the weight, so queries and keys make no difference and every position reads the same.
    That is taken as it is where no gradients are wanted (in training, they must reach every weight).
    """
    if context is not None and context.shape[1] == 1 and mask is None and not torch.is_grad_enabled():
        return attn.to_out[1](attn.to_out[0](attn.to_v(context))).expand(-1, x.shape[1], -1)
    source = x if context is None else context
    query, key, value = (
        layer(given).unflatten(-1, (attn.heads, -1))
        for layer, given in ((attn.to_q, x), (attn.to_k, source), (attn.to_v, source))
    )
    out = dispatch_attention_fn(query, key, value, attn_mask=mask, backend=backend)
    return attn.to_out[1](attn.to_out[0](out.flatten(2)))


def require_xformers() -> None:
    """Raise `MissingExtraError` unless xformers is installed."""
    if importlib.util.find_spec("xformers") is None:
        raise MissingExtraError(
            "xformers is not installed: pip install 'gen3dface[cuda]'. "
            "PyTorch's own fused attention, which is on by default, needs nothing."
        )
