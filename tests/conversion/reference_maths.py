"""The peers' modules once more, as plain formulas in float64; no class or function of the package is used.

Each function draws the weights that it first asks for, under the peer's names, so that running one makes a fixture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Weights:
    """Weights by name, drawn on first use and kept in float32, as a checkpoint keeps them."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors: dict[str, Tensor] = {}
        self.prefix = ""

    def under(self, prefix: str) -> Weights:
        """The same weights, seen from below a prefix."""
        inner = Weights.__new__(Weights)
        inner.generator, inner.tensors, inner.prefix = self.generator, self.tensors, self.prefix + prefix
        return inner

    def get(self, name: str, shape: Sequence[int], scale: float, middle: float = 0.0) -> Tensor:
        full = self.prefix + name
        if full not in self.tensors:
            self.tensors[full] = middle + scale * torch.randn(tuple(shape), generator=self.generator)
        return self.tensors[full].double()

    def noise(self, *shape: int) -> Tensor:
        """Inputs, as they are in a fixture."""
        return torch.randn(shape, generator=self.generator)

    def conv(self, name: str, x: Tensor, out: int, kernel: int = 3, stride: int = 1, bias: bool = True) -> Tensor:
        dims, inputs = x.ndim - 2, x.shape[1]
        weight = self.get(f"{name}.weight", (out, inputs, *[kernel] * dims), (inputs * kernel**dims) ** -0.5)
        shift = self.get(f"{name}.bias", (out,), 0.3) if bias else None
        return (F.conv2d if dims == 2 else F.conv3d)(x, weight, shift, stride, kernel // 2)

    def rise(self, name: str, x: Tensor, out: int) -> Tensor:
        """Transposed convolution that doubles each side: a convolution of the input with zeros between its values."""
        weight = self.get(f"{name}.weight", (x.shape[1], out, 3, 3, 3), (x.shape[1] * 4) ** -0.5)
        wide = x.new_zeros(*x.shape[:2], *[2 * n for n in x.shape[2:]])
        wide[:, :, ::2, ::2, ::2] = x
        flipped = weight.transpose(0, 1).flip(2, 3, 4)
        return F.conv3d(wide, flipped, self.get(f"{name}.bias", (out,), 0.3), padding=1)

    def linear(self, name: str, x: Tensor, out: int, bias: bool = True) -> Tensor:
        made = x @ self.get(f"{name}.weight", (out, x.shape[-1]), x.shape[-1] ** -0.5).T
        return made + self.get(f"{name}.bias", (out,), 0.3) if bias else made

    def affine(self, name: str, x: Tensor, axis: int) -> Tensor:
        """Scale and shift of a normalisation."""
        shape = [1] * x.ndim
        shape[axis] = -1
        count = x.shape[axis]
        scale, shift = self.get(f"{name}.weight", (count,), 0.3, 1.0), self.get(f"{name}.bias", (count,), 0.3)
        return x * scale.view(shape) + shift.view(shape)

    def group_norm(self, name: str, x: Tensor, groups: int = 8, eps: float = 1e-5) -> Tensor:
        parts = x.reshape(len(x), groups, -1)
        centred = parts - parts.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return self.affine(name, scaled.view_as(x), 1)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.affine(name, centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt(), -1)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """Angles in float32 as the peers take them: a rounding of a step near 1000 is larger than the tolerance."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(dim // 2, dtype=torch.float32) / (dim // 2))
    angles = (t[:, None].float() * frequencies).double()
    return torch.cat([angles.cos(), angles.sin()], -1)


def time_embedding(w: Weights, t: Tensor, dim: int) -> Tensor:
    return w.linear("time_embed.2", silu(w.linear("time_embed.0", sinusoid(t, dim), dim)), dim)


def _embedded(w: Weights, name: str, vector: Tensor, x: Tensor) -> Tensor:
    """A vector through a 1x1 convolution, ready to be added to x."""
    return w.conv(name, vector.reshape(*vector.shape, *[1] * (x.ndim - 2)), x.shape[1], 1)


def view_encoder(w: Weights, x: Tensor, t: Tensor, v: Tensor, width: int, out: int) -> dict[str, Tensor]:
    stages = {"init_conv": w.conv("init_conv", x, width)}
    x = stages["init_conv"]
    for i in range(3):
        name = f"out_conv{i}"
        inner = x + _embedded(w, f"{name}.time_embed", t, x) + _embedded(w, f"{name}.view_embed", v, x)
        inner = w.conv(f"{name}.conv.2", silu(w.group_norm(f"{name}.conv.0", inner)), width)
        x = x + w.conv(f"{name}.conv.5", silu(w.group_norm(f"{name}.conv.3", inner)), width)
        stages[name] = x
    return {**stages, "output": w.conv("final_out.2", silu(w.group_norm("final_out.0", x)), out)}


def block_3d(w: Weights, name: str, x: Tensor, vectors: dict[str, Tensor], out: int, kind: int) -> Tensor:
    """kind: stride 1 or 2, or 0 to rise."""
    for embedding, vector in vectors.items():
        x = x + _embedded(w, f"{name}.{embedding}", vector, x)
    x = silu(w.group_norm(f"{name}.{'bn' if kind else 'norm'}", x))
    return w.conv(f"{name}.conv", x, out, stride=kind) if kind else w.rise(f"{name}.conv", x, out)


def volume_network(w: Weights, x: Tensor, t: Tensor, dims: Sequence[int]) -> Tensor:
    vectors = {"t_conv": t}
    x = block_3d(w, "conv0", w.conv("init_conv", x, dims[0]), vectors, dims[0], 1)
    skips = []
    for level, width in enumerate(dims[1:]):
        skips.append(x)
        x = block_3d(w, f"conv{2 * level + 1}", x, vectors, width, 2)
        for half in (0, 1):
            x = block_3d(w, f"conv{2 * level + 2}_{half}", x, vectors, width, 1)
    for rise, width in enumerate(reversed(dims[:-1])):
        x = skips.pop() + block_3d(w, f"conv{2 * len(dims) - 1 + rise}", x, vectors, width, 0)
    return x


def frustum_network(w: Weights, x: Tensor, t: Tensor, v: Tensor, dims: Sequence[int]) -> list[Tensor]:
    """Levels, the finest first."""
    vectors = {"t_conv": t, "v_conv": v}
    levels = [w.conv("conv0", x, dims[0])]
    for level, width in enumerate(dims[1:]):
        x = block_3d(w, f"conv{2 * level + 1}", levels[-1], vectors, width, 2)
        levels.append(block_3d(w, f"conv{2 * level + 2}", x, vectors, width, 1))
    for rise, level in enumerate(reversed(range(len(dims) - 1))):
        levels[level] = levels[level] + block_3d(w, f"up{rise}", levels[level + 1], vectors, dims[level], 0)
    return levels


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Head by head: [R, L, C], [R, M, C] -> [R, L, C]."""
    out = []
    for q, k, v in zip(query.chunk(heads, -1), key.chunk(heads, -1), value.chunk(heads, -1), strict=True):
        logits = (q @ k.mT / q.shape[-1] ** 0.5).exp()
        out.append(logits / logits.sum(-1, keepdim=True) @ v)
    return torch.cat(out, -1)


def attention(w: Weights, name: str, x: Tensor, context: Tensor, heads: int) -> Tensor:
    width = x.shape[-1]
    query = w.linear(f"{name}.to_q", x, width, bias=False)
    key, value = (w.linear(f"{name}.to_{n}", context, width, bias=False) for n in "kv")
    return w.linear(f"{name}.to_out.0", attend(query, key, value, heads), width)


def transformer_block(w: Weights, x: Tensor, context: Tensor, heads: int, frames: int = 1) -> dict[str, Tensor]:
    """[R, L, C]; self-attention over all tokens of `frames` rows together."""
    normed = w.layer_norm("norm1", x)
    joined = normed.reshape(len(x) // frames, -1, x.shape[-1])
    attn1 = attention(w, "attn1", joined, joined, heads)
    x = x + attn1.reshape(x.shape)
    attn2 = attention(w, "attn2", w.layer_norm("norm2", x), context, heads)
    x = x + attn2
    value, gate = w.linear("ff.net.0.proj", w.layer_norm("norm3", x), 8 * x.shape[-1]).chunk(2, -1)
    gelu = gate * 0.5 * (1 + torch.erf(gate / 2**0.5))
    ff = w.linear("ff.net.2", value * gelu, x.shape[-1])
    return {"attn1": attn1, "attn2": attn2, "ff": ff, "output": x + ff}


def spatial_transformer(w: Weights, x: Tensor, context: Tensor, heads: int, groups: int, frames: int = 1) -> Tensor:
    tokens = w.conv("proj_in", w.group_norm("norm", x, groups, 1e-6), x.shape[1], 1).flatten(2).mT
    tokens = transformer_block(w.under("transformer_blocks.0."), tokens, context, heads, frames)["output"]
    return x + w.conv("proj_out", tokens.mT.reshape(x.shape), x.shape[1], 1)


def depth_transformer(w: Weights, x: Tensor, context: Tensor, heads: int, head_dim: int) -> dict[str, Tensor]:
    dim = heads * head_dim
    inner = silu(w.group_norm("proj_in.1", w.conv("proj_in.0", x, dim, 1)))
    rays = w.group_norm("proj_context.1", w.conv("proj_context.0", context, context.shape[1], 1, bias=False)).relu()
    query = w.conv("depth_attn.to_q", inner, dim, 1, bias=False)
    key, value = (w.conv(f"depth_attn.to_{n}", rays, dim, 1, bias=False) for n in "kv")

    def per_pixel(t: Tensor) -> Tensor:  # [R, C, D, h, w] -> [R h w, D, C]
        return t.permute(0, 3, 4, 2, 1).flatten(0, 2)

    read = attend(per_pixel(query[:, :, None]), per_pixel(key), per_pixel(value), heads)
    read = read.reshape(len(x), *x.shape[2:], dim).permute(0, 3, 1, 2)
    attended = w.conv("depth_attn.to_out", read, dim, 1, bias=False)
    out = w.conv("proj_out.2", w.group_norm("proj_out.0", attended).relu(), dim, bias=False)
    out = w.conv("proj_out.5", w.group_norm("proj_out.3", out).relu(), x.shape[1], bias=False)
    stages = {"proj_in": inner, "proj_context": rays, "depth_attn": attended, "proj_out": out}
    return {**stages, "output": x + out}


def _residual(w: Weights, x: Tensor, time: Tensor, out: int, groups: int) -> Tensor:
    h = w.conv("in_layers.2", silu(w.group_norm("in_layers.0", x, groups)), out)
    h = h + w.linear("emb_layers.1", silu(time), out)[:, :, None, None]
    h = w.conv("out_layers.3", silu(w.group_norm("out_layers.0", h, groups)), out)
    return h + (x if x.shape[1] == out else w.conv("skip_connection", x, out, 1))


def unet(
    w: Weights, x: Tensor, t: Tensor, context: Tensor, volumes: dict[int, Tensor], settings: dict, groups: int
) -> Tensor:
    """The latent diffusion UNet with depth transformers; `volumes` by the width of the feature."""
    base, mult, layers = settings["model_channels"], settings["channel_mult"], settings["num_res_blocks"]
    heads = settings["num_heads"]
    time = w.linear("time_embed.2", silu(w.linear("time_embed.0", sinusoid(t, base), 4 * base)), 4 * base)

    def layer(name: str, x: Tensor, out: int, level: int) -> Tensor:
        x = _residual(w.under(f"{name}.0."), x, time, out, groups)
        if 2**level in settings["attention_resolutions"]:
            x = spatial_transformer(w.under(f"{name}.1."), x, context, heads, groups)
        return x

    def look(name: str, x: Tensor) -> Tensor:
        volume = volumes[x.shape[-1]]
        return depth_transformer(w.under(name), x, volume, 4, volume.shape[1] // 2)["output"]

    x = w.conv("input_blocks.0.0", x, base)
    skips, number = [x], 0
    for level, m in enumerate(mult):
        for _ in range(layers):
            number += 1
            x = layer(f"input_blocks.{number}", x, base * m, level)
            skips.append(x)
        if level < len(mult) - 1:
            number += 1
            x = w.conv(f"input_blocks.{number}.0.op", x, base * m, stride=2)
            skips.append(x)
    x = _residual(w.under("middle_block.0."), x, time, x.shape[1], groups)
    x = spatial_transformer(w.under("middle_block.1."), x, context, heads, groups)
    x = look("middle_conditions.", _residual(w.under("middle_block.2."), x, time, x.shape[1], groups))
    number = -1
    for level in reversed(range(len(mult))):
        for i in range(layers + 1):
            number += 1
            x = layer(f"output_blocks.{number}", torch.cat([x, skips.pop()], 1), base * mult[level], level)
            if level and i == layers:
                place = 1 + (2**level in settings["attention_resolutions"])
                doubled = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
                x = w.conv(f"output_blocks.{number}.{place}.conv", doubled, x.shape[1])
            if number > layers:
                x = look(f"output_conditions.{number - layers - 1}.", x)
    return w.conv("out.2", silu(w.group_norm("out.0", x, groups)), settings["out_channels"])
