"""The whole generator: z and cameras to pictures of one head from all around.

The planes and the background depend on the identity alone. They are made once a head (`Identity`) and shared by all of
its views, which is most of the work; noise is constant, so that all views show the same head.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.data_synth.panohead.layers import ToChannels
from gen3dface.data_synth.panohead.planes import PANOHEAD_AXES, Decoder, grid_features
from gen3dface.data_synth.panohead.rendering import Draws, Rendered, RenderingConfig, camera_rays, evenly, render_rays
from gen3dface.data_synth.panohead.stylegan import Mapping, Synthesis
from gen3dface.data_synth.panohead.super_resolution import SuperResolution

_FEATURES = 32
_SHARP = 0.001  # by which a sigmoid's range is widened, and a mask's


@dataclass(frozen=True)
class GeneratorConfig:
    """The shape of a generator: PanoHead's by default; `EG3D` below.

    Args:
        side: px of the pictures. raw_side: px of what is rendered before the super-resolution.
        base, most: channels of the synthesis networks, see `Synthesis`. plane_side, depth: of the three grids.
        axes: a grid's axes in terms of x, y, z. background: a second network behind the head, and colours by a layer
            of their own; without it the first three features are the colours.
    """

    side: int = 512
    raw_side: int = 64
    z_dim: int = 512
    c_dim: int = 25
    w_dim: int = 512
    base: int = 32768
    most: int = 512
    plane_side: int = 256
    depth: int = 3
    axes: tuple[tuple[int, int, int], ...] = PANOHEAD_AXES
    background: bool = True
    rendering: RenderingConfig = field(default_factory=RenderingConfig)


EG3D_AXES = ((0, 1, 2), (0, 2, 1), (2, 0, 1))  # not what the paper says, but what its checkpoints were trained with
EG3D = GeneratorConfig(raw_side=128, depth=1, axes=EG3D_AXES, background=False, rendering=RenderingConfig(crop=None))


@dataclass(frozen=True)
class Identity:
    """What B heads are, whatever the view."""

    ws: Tensor  # [B, L, w_dim]
    planes: Tensor  # [B, 3 * C * depth, P, P]
    background: Tensor | None  # [B, C, Q, Q]


@dataclass(frozen=True)
class Shown:
    """B views."""

    image: Tensor  # [B, 3, side, side] in -1..1 as trained
    raw: Tensor  # [B, 3, raw_side, raw_side], before the super-resolution
    depth: Tensor  # [B, 1, raw_side, raw_side] in the generator's units, from the camera
    mask: Tensor  # [B, 1, raw_side, raw_side] in about 0..1


class Backbone(nn.Module):
    """The mapping and the planes' network."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.mapping = Mapping(config.z_dim, config.c_dim, config.w_dim)
        channels = 3 * _FEATURES * config.depth
        self.synthesis = Synthesis(config.w_dim, config.plane_side, channels, config.base, config.most)


class Generator(nn.Module):
    """PanoHead's generator, or EG3D's. Parameters have the public checkpoints' names."""

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        self.in_bfloat16 = False  # planes, background and super-resolution; rays stay in float32
        self.backbone = Backbone(config)
        self.decoder = Decoder(_FEATURES, 64, _FEATURES)
        self.superresolution = SuperResolution(_FEATURES, config.w_dim, config.side)
        if config.background:
            self.t_mapping = Mapping(config.z_dim, config.c_dim, 3, linear=True)
            background_side = self.superresolution.input_side
            self.bcg_synthesis = Synthesis(config.w_dim, background_side, _FEATURES, config.base // 2, config.most)
            self.torgb = ToChannels(_FEATURES, 3, config.w_dim)

    def for_inference(self) -> Generator:
        """Ready to draw: no gradients, and a pixel's channels side by side, as convolutions like them."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self.eval().requires_grad_(False)

    def identity(self, z: Tensor, c: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Identity:
        """Heads of z [B, z_dim] as seen while w is asked for by cameras c [B, c_dim] (the same for all views).

        Args:
            psi, cutoff: truncation, see `Mapping.truncated`.
        """
        backbone, config = self.backbone, self.config
        ws = backbone.mapping.truncated(z, c, backbone.synthesis.layers, psi, cutoff)
        background = None
        if config.background:
            missing = self.bcg_synthesis.layers - ws.shape[1]
            padded = torch.cat([ws, ws[:, -1:].repeat(1, max(missing, 0), 1)], 1)[:, : self.bcg_synthesis.layers]
            with self._convolutions(z):
                background = self.bcg_synthesis(padded).float()
        with self._convolutions(z):
            planes = backbone.synthesis(ws).float()
        return Identity(ws, planes, background)

    def points(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, P, 32] and density before its softplus [B, P, 1] at points [B, P, 3]."""
        config = self.config
        found = grid_features(planes, points, config.depth, config.rendering.side, config.axes)
        colours, density = self.decoder(found)
        if not config.background:
            colours = colours.sigmoid() * (1 + 2 * _SHARP) - _SHARP
        return colours, density

    def rays(self, planes: Tensor, cameras: Tensor, draws: Draws = evenly, further: Tensor | None = None) -> Rendered:
        """What cameras [B, 25] see of heads with planes [B, ...], `raw_side` x `raw_side` rays each.

        Args:
            draws, further: see `render_rays`.
        """
        origins, directions = camera_rays(cameras, self.config.raw_side)
        return render_rays(
            lambda at: self.points(planes, at), origins, directions, self.config.rendering, draws, further
        )

    def shown(self, identity: Identity, cameras: Tensor, draws: Draws = evenly, further: Tensor | None = None) -> Shown:
        """Views of B heads by cameras [B, 25]; one head is shown by all of them.

        Args:
            draws, further: see `render_rays`.
        """
        one = [
            t if t is None or len(t) == len(cameras) else t.expand(len(cameras), *t.shape[1:])
            for t in vars(identity).values()
        ]
        ws, planes, background = one
        assert ws is not None and planes is not None
        found = self.rays(planes, cameras, draws, further)
        side = self.config.raw_side
        features, depth, opacity = (
            t.mT.unflatten(2, (side, side)) for t in (found.features, found.depth, found.opacity)
        )
        if background is None:
            features = 2 * features - 1
            raw = features[:, :3]
        else:
            behind = F.interpolate(background, (side, side), mode="bilinear", antialias=True)
            features = features + (1 - opacity) * behind
            raw = self.torgb(features, ws[:, -1])
        together = (t.contiguous(memory_format=torch.channels_last) for t in (raw, features))
        with self._convolutions(raw):
            image = self.superresolution(*together, ws).float()
        return Shown(image, raw, depth, opacity * (1 + 2 * _SHARP) - _SHARP)

    def _convolutions(self, like: Tensor) -> AbstractContextManager[None]:
        return torch.autocast(like.device.type, torch.bfloat16) if self.in_bfloat16 else nullcontext()
