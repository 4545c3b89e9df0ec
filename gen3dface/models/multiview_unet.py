"""The denoiser: diffusers' own UNet, walked block by block, with volumes, joint attention and the input view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel, UNet2DConditionOutput
from torch import Tensor, nn

from gen3dface.errors import ConfigError, MissingExtraError
from gen3dface.models.copy_gate import blend_copy, copy_gate
from gen3dface.models.depth_attention import DepthTransformer
from gen3dface.models.frames import Frames
from gen3dface.models.joint_attention import JointAttnProcessor, require_xformers
from gen3dface.models.pixel_head import PixelHead

InputView = Literal["extra_frame", "none"]


class MultiViewUNet(ModelMixin, ConfigMixin, CacheMixin):
    """Denoises N views of each head together (Gen3D-Face; SyncDreamer and Morphable Diffusion by configuration).

    Args:
        unet_config: settings of `UNet2DConditionModel`, whose in and out channels follow from the values below.
        latent_channels: of a view.
        volume_channels: of the frustum volumes, the finest first, one for each level of the UNet; None for no volumes.
            They enter after the middle block and in every up block but the first, as in SyncDreamer.
        depth_heads: of the depth attention.
        joint_attention_levels: levels of the UNet (0 is the finest) whose self-attention joins the frames. None: all,
            the paper's reading. (): none, as in SyncDreamer and Morphable Diffusion.
        input_view: `extra_frame`: the input view's clean latent is one more frame, with a zero camera, whose output is
            dropped (ImageDream's way, taken for the paper's, which does not say). `none`: it enters only where
            `concat_input` puts it.
        input_frame_timestep: of that frame; `same` as the others (ImageDream), or `zero`, as it is clean.
        concat_input: concatenate the input latent to every view's (zero123, SyncDreamer, the paper).
        concat_scale: factor on the concatenated latent. The descendants of zero123 undo the autoencoder's scale there
            (1 / 0.18215), by accident; their weights need it.
        condition_channels: further channels of each frame, such as the photo projected through the mesh; 0 in the
            paper and its peers.
        gate_channels: of the copy gate (see `copy_gate`), which needs a network that predicts the clean sample; 0: no
            gate, as in the paper and its peers.
        copy_residual: the network's output is what it changes of the copied picture, nothing at first, instead of the
            picture itself: it starts from the copy, and small models learn sooner. Off in the paper and its peers.
        pixel_head: `channels` and `factor` of a `PixelHead`, for latents that are blocks of factor x factor pixels.
            None: no such head, as in the paper and its peers.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        unet_config: dict[str, Any] | None = None,
        latent_channels: int = 4,
        volume_channels: Sequence[int] | None = (64, 128, 256, 512),
        depth_heads: int = 4,
        joint_attention_levels: Sequence[int] | None = None,
        input_view: InputView = "extra_frame",
        input_frame_timestep: Literal["same", "zero"] = "same",
        concat_input: bool = True,
        concat_scale: float = 1.0,
        condition_channels: int = 0,
        gate_channels: int = 0,
        copy_residual: bool = False,
        pixel_head: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        if input_view not in ("extra_frame", "none"):
            raise ConfigError(f"Unknown input_view {input_view!r}; choose extra_frame or none.")
        if gate_channels and latent_channels % gate_channels:
            raise ConfigError(f"{gate_channels} gate channels do not divide {latent_channels} latent channels.")
        self.unet = UNet2DConditionModel(
            **(unet_config or {}),
            in_channels=latent_channels * (2 if concat_input else 1) + condition_channels,
            out_channels=latent_channels + gate_channels,
        )
        if copy_residual:
            if not gate_channels:
                raise ConfigError("copy_residual is for a model with a copy gate; set gate_channels.")
            nn.init.zeros_(self.unet.conv_out.weight)
            nn.init.zeros_(cast(Tensor, self.unet.conv_out.bias))
        self.levels = len(self.unet.config["block_out_channels"])
        if volume_channels and len(volume_channels) != self.levels:
            raise ConfigError(f"The UNet has {self.levels} levels, volume_channels {tuple(volume_channels)}.")
        self.mid_depth, self.up_depth = self._depth_transformers(volume_channels, depth_heads)
        self.pixel_layers = self._pixel_head(pixel_head) if pixel_head else None
        self.gradient_checkpointing = False
        self._joins = self._find_joins(joint_attention_levels)
        self._join()

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        encoder_hidden_states: Tensor,
        volumes: Sequence[Tensor] | None = None,
        input_latent: Tensor | None = None,
        conditions: Tensor | None = None,
        copy: tuple[Tensor, Tensor] | None = None,
        return_dict: bool = True,
    ) -> UNet2DConditionOutput | tuple[Tensor]:
        """The prediction for each target view, [B, N, C, h, w].

        Args:
            sample: [B, N, C, h, w] noisy latents; h and w are multiples of 2^(levels - 1).
            timestep: [] or [B].
            encoder_hidden_states: image tokens [B, T, E] for all frames of a head, or [B, F, T, E].
            volumes: from `VolumeConditioner`, [B', F', c_l, D_l, h_l, w_l] for each level. The rows beyond B' and the
                frames beyond F' see zero volumes, at no cost: put the unconditional half last. None: all zero.
            input_latent: [B, C, h, w] the input view's clean latent, scaled; zero for an unconditional row.
            conditions: [B, F or N, condition_channels, h, w]; frames beyond the given ones get zeros.
            copy: clean latents [B, N, C, h, w] of the photo projected into each view, and their visibility
                [B, N, gate_channels, h, w] in 0..1, zero where nothing is to be copied. None: nothing is.
        """
        self._join()
        frames = Frames.of(sample, self.config["input_view"] == "extra_frame")
        x = self._inputs(frames, sample, input_latent, conditions)
        time = frames.timesteps(timestep, x.device, self.config["input_frame_timestep"] == "zero")
        embedding = self.unet.time_embedding(self.unet.time_proj(time).to(x.dtype))
        tokens = frames.tokens(encoder_hidden_states)
        features = self._walk(x, embedding, tokens, frames, None if volumes is None else tuple(volumes))
        out = self._gated(self._said(frames.targets(features), frames.targets(x)), copy)
        return UNet2DConditionOutput(sample=out) if return_dict else (out,)

    def set_attention_backend(self, backend: str) -> None:
        """Attend by one of diffusers' backends (`native`, `flash`, `xformers`, ...).

        Raises:
            MissingExtraError: it needs a package that is not installed.
        """
        try:
            super().set_attention_backend(backend)
        except (ImportError, RuntimeError) as error:
            hint = " It is in gen3dface[cuda]." if "xformers" in backend else ""
            raise MissingExtraError(f"{error}{hint}") from error

    def set_use_memory_efficient_attention_xformers(
        self, valid: bool, attention_op: Callable[..., Any] | None = None
    ) -> None:
        """Called by `enable_xformers_memory_efficient_attention`. Raises `MissingExtraError` without xformers."""
        if valid:
            require_xformers()
        super().set_use_memory_efficient_attention_xformers(valid, attention_op)

    def _inputs(self, frames: Frames, sample: Tensor, input_latent: Tensor | None, conditions: Tensor | None) -> Tensor:
        """What the UNet sees of every frame: [B F, channels, h, w]."""
        concat = self.config["concat_input"]
        if input_latent is None and (concat or frames.extra):
            raise ConfigError("This model looks at the input view: pass input_latent (zeros for an unconditional row).")
        if (conditions is None) == bool(self.config["condition_channels"]):
            raise ConfigError(f"This model takes {self.config['condition_channels']} condition channels.")
        parts = [frames.append(sample, input_latent)]
        if concat and input_latent is not None:
            parts.append((input_latent * self.config["concat_scale"])[:, None].expand_as(parts[0]))
        if conditions is not None:
            parts.append(frames.pad(conditions).to(sample.dtype))
        return torch.cat(parts, 2).flatten(0, 1)

    def _walk(
        self, x: Tensor, time: Tensor, tokens: Tensor, frames: Frames, volumes: tuple[Tensor, ...] | None
    ) -> Tensor:
        """`UNet2DConditionModel.forward` up to its last convolution, with the depth transformers in the decoder:
        [B F, channels, h, w]."""
        unet, attention = (
            self.unet,
            {"encoder_hidden_states": tokens, "cross_attention_kwargs": {"frames": frames.count}},
        )
        rows = None if volumes is None else frames.rows(volumes[0])
        flat = (None,) * self.levels if volumes is None else tuple(v.flatten(0, 1) for v in volumes)
        x = unet.conv_in(x)
        skips = [x]
        for block in unet.down_blocks:
            x, states = block(x, time, **(attention if _attends(block) else {}))
            skips.extend(states)
        x = unet.mid_block(x, time, **(attention if _attends(unet.mid_block) else {}))
        if self.mid_depth is not None:
            x = self._run(self.mid_depth, x, flat[-1], rows)
        for index, block in enumerate(unet.up_blocks):
            x = self._up(index, block, x, skips, time, attention, flat, rows)
        return unet.conv_act(unet.conv_norm_out(x))

    def _up(
        self,
        index: int,
        block: Any,
        x: Tensor,
        skips: list[Tensor],
        time: Tensor,
        attention: dict[str, Any],
        volumes: tuple[Tensor | None, ...],
        rows: Tensor | None,
    ) -> Tensor:
        """One block of the decoder; a depth transformer follows each layer, the last one after the upsampler."""
        depth = cast(nn.ModuleList, self.up_depth[index - 1]) if self.up_depth is not None and index else None
        level, layers = self.levels - 1 - index, len(block.resnets)
        for layer, resnet in enumerate(block.resnets):
            x = self._run(resnet, torch.cat([x, skips.pop()], 1), time)
            if _attends(block):
                x = block.attentions[layer](x, **attention, return_dict=False)[0]
            rises = layer == layers - 1 and block.upsamplers is not None
            if rises:
                x = block.upsamplers[0](x)
            if depth is not None:
                x = self._run(depth[layer], x, volumes[level - rises], rows)
        return x

    def _said(self, features: Tensor, inputs: Tensor) -> Tensor:
        """The last layers, on the target views' features and inputs [B, N, channels, h, w]."""
        count = features.shape[1]
        features, inputs = features.flatten(0, 1), inputs.flatten(0, 1)
        out = self.unet.conv_out(features)
        if self.pixel_layers is not None:
            out = out + self._run(self.pixel_layers, features, inputs)
        return out.unflatten(0, (-1, count))

    def _gated(self, out: Tensor, copy: tuple[Tensor, Tensor] | None) -> Tensor:
        """Copies the photo where the gate is open."""
        latent = self.config["latent_channels"]
        clean, logits = out[:, :, :latent], out[:, :, latent:]
        if copy is None:
            return clean
        if not self.config["gate_channels"]:
            raise ConfigError("This model has no copy gate; leave copy out.")
        copied, visibility = (t.to(clean.dtype) for t in copy)
        if self.config["copy_residual"]:
            clean = copied + clean
        return blend_copy(clean, copied, copy_gate(logits, visibility))

    def _run(self, module: nn.Module, *inputs: Tensor | None) -> Tensor:
        """Call a module, without keeping its activations when checkpointing is on."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(module, *inputs)
        return module(*inputs)

    def _depth_transformers(
        self, volume_channels: Sequence[int] | None, heads: int
    ) -> tuple[DepthTransformer | None, nn.ModuleList | None]:
        """After the middle block, and for each layer of each up block but the first."""
        if not volume_channels:
            return None, None
        widths = list(self.unet.config["block_out_channels"])[::-1]
        middle = DepthTransformer(widths[0], volume_channels[-1], heads)
        blocks = []
        for index, block in enumerate(self.unet.up_blocks[1:], 1):
            level, last = self.levels - 1 - index, len(block.resnets) - 1
            levels = [level - (i == last and block.upsamplers is not None) for i in range(last + 1)]
            blocks.append(nn.ModuleList(DepthTransformer(widths[index], volume_channels[i], heads) for i in levels))
        return middle, nn.ModuleList(blocks)

    def _pixel_head(self, config: dict[str, int]) -> PixelHead:
        """Raises `ConfigError` where some channels are no whole blocks of pixels."""
        inner, block = self.unet.config, config.get("factor", 4) ** 2
        if inner["in_channels"] % block or inner["out_channels"] % block:
            raise ConfigError(
                f"A pixel head takes blocks of {block} pixels; the UNet's {inner['in_channels']} inputs and "
                f"{inner['out_channels']} outputs are none."
            )
        features = inner["block_out_channels"][0]
        return PixelHead(features, inner["in_channels"] // block, inner["out_channels"] // block, **config)

    def _find_joins(self, levels: Sequence[int] | None) -> list[tuple[Attention, bool]]:
        """Every attention of the UNet, and whether it joins the frames."""
        last = self.levels - 1
        places = [*enumerate(self.unet.down_blocks), (last, self.unet.mid_block)]
        places += [(last - index, block) for index, block in enumerate(self.unet.up_blocks)]
        found = [(m, level) for level, block in places for m in block.modules() if isinstance(m, Attention)]
        return [(attn, levels is None or level in levels) for attn, level in found]

    def _join(self) -> None:
        """Wrap whatever processors are set, so that a call that sets others (xformers, slicing) loses no frame."""
        for attn, joint in self._joins:
            if not isinstance(attn.processor, JointAttnProcessor):
                attn.set_processor(JointAttnProcessor(joint, attn.processor))


def _attends(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))
