"""3D self-attention: the tokens of all frames of a head attend to each other.

Every self-attention reshapes [(b f), l, c] to [b, (f l), c], attends and reshapes back (MVDream, Shi et al., 2023).
There are no new parameters, so weights trained without it load; layer norms act on single tokens and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor


class JointAttnProcessor:
    """Joins the frames of a self-attention and leaves cross-attention alone.

    Args:
        joint: join the frames; False: each frame by itself.
        inner: the processor that attends, any of diffusers' own.
    """

    def __init__(self, joint: bool = True, inner: Callable[..., Tensor] | None = None) -> None:
        self.joint = joint
        self.inner = inner or AttnProcessor2_0()

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
            return self.inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs)
        rows, tokens, channels = hidden_states.shape
        joined = hidden_states.reshape(rows // frames, frames * tokens, channels)
        return self.inner(attn, joined, None, attention_mask, temb, **kwargs).reshape(rows, tokens, channels)
