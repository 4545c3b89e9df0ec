"""Joint attention and depth attention against their definitions."""

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor

from gen3dface.models.depth_attention import DepthAttention, DepthTransformer
from gen3dface.models.joint_attention import JointAttnProcessor
from tests.models.small import randomised


def attention() -> Attention:
    module = Attention(query_dim=16, heads=2, dim_head=8)
    randomised(module)
    return module


@pytest.mark.parametrize("inner", [None, AttnProcessor()])
def test_frames_attend_to_each_other(inner: AttnProcessor | None) -> None:
    module, x = attention(), torch.randn(6, 5, 16)
    plain = module(x.reshape(2, 15, 16)).reshape(6, 5, 16)
    module.set_processor(JointAttnProcessor(inner=inner))
    torch.testing.assert_close(module(x, frames=3), plain)
    assert not torch.allclose(module(x, frames=1), plain, atol=1e-2)


def test_one_frame_is_plain_attention() -> None:
    module, x = attention(), torch.randn(3, 5, 16)
    plain = module(x)
    module.set_processor(JointAttnProcessor())
    assert module(x, frames=1).equal(plain)


def test_joint_off_and_cross_attention_stay_apart() -> None:
    module, x = attention(), torch.randn(4, 5, 16)
    context = torch.randn(4, 3, 16)
    plain, cross = module(x), module(x, context)
    module.set_processor(JointAttnProcessor(joint=False))
    assert module(x, frames=2).equal(plain)
    module.set_processor(JointAttnProcessor())
    assert module(x, context, frames=2).equal(cross)


def direct(module: DepthAttention, x: Tensor, context: Tensor) -> Tensor:
    """Keys and values formed, one pixel at a time."""
    out = torch.zeros_like(x)
    for row in range(x.shape[0]):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                ray = context[row, :, :, i, j].T  # [D, c]
                q = module.to_q(x[row, :, i, j]).reshape(module.heads, 1, -1)
                k = module.to_k(ray).reshape(len(ray), module.heads, -1).transpose(0, 1)
                v = module.to_v(ray).reshape(len(ray), module.heads, -1).transpose(0, 1)
                weight = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
                out[row, :, i, j] = module.to_out((weight @ v).flatten())
    return out


def test_depth_attention_is_its_definition() -> None:
    module = DepthAttention(16, 8, 4)
    randomised(module)
    x, context = torch.randn(2, 16, 3, 2), torch.randn(2, 8, 5, 3, 2)
    with torch.no_grad():
        torch.testing.assert_close(module(x, context), direct(module, x, context), atol=1e-5, rtol=1e-5)


def test_rows_without_a_volume_see_a_zero_volume() -> None:
    module = DepthTransformer(16, 8)
    randomised(module)
    x, volume = torch.randn(4, 16, 6, 6), torch.randn(2, 8, 5, 6, 6)
    rows = torch.tensor([0, 2])
    padded = torch.zeros(4, 8, 5, 6, 6).index_copy(0, rows, volume)
    with torch.no_grad():
        expected = module(x, padded)
        torch.testing.assert_close(module(x, volume, rows), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(module(x, None), module(x, torch.zeros_like(padded)), atol=1e-4, rtol=1e-4)
        assert (expected - x)[1].abs().max() > 1e-2, "a zero volume is not the identity"


def test_a_fresh_depth_transformer_changes_nothing() -> None:
    x = torch.randn(1, 16, 6, 6)
    assert DepthTransformer(16, 8)(x, torch.randn(1, 8, 5, 6, 6)).equal(x)
