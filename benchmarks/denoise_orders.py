"""The same denoising step in several orders of work, which must give the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from gen3dface.cameras import rig
from gen3dface.models.build import build_models, load_config
from gen3dface.models.depth_attention import DepthTransformer
from gen3dface.models.embeddings import view_embedding
from gen3dface.models.frustum_network import FrustumNetwork
from gen3dface.models.photo_encoder import PhotoEncoder
from gen3dface.pipelines.scene import Scene
from gen3dface.pipelines.steps import predict

GUIDANCE = 2.0
# what the denoising step does not need is made small
UNUSED = {"vae": {"block_out_channels": [32, 32, 32, 32]}, "image_encoder": {"num_hidden_layers": 1}}


@dataclass(frozen=True)
class Order:
    """Which of the savings are on."""

    name: str
    geometry_once: bool = True  # grids and index tables of the volumes: once a call, not once a step
    halves_batched: bool = True  # both guidance halves in one call of the UNet
    channels_last: bool = True  # memory layout of the UNet
    frames_together: bool = True  # all frames of a head in one call of each layer
    token_read_once: bool = True  # a single image token is read once a frame, not once a position
    compiled: bool = False  # the UNet by torch.compile


COMPILED = Order("all savings, compiled", compiled=True)
ORDERS = (
    Order("all savings"),
    Order("geometry at every step", geometry_once=False),
    Order("guidance halves apart", halves_batched=False),
    Order("channels first", channels_last=False),
    Order("one view at a time", frames_together=False),
    Order("single tokens attended to", token_read_once=False),
    Order("naive: none of them", False, False, False, False, False),
)


class Bench:
    """A model with random weights, and a scene for it: N views of a head's size in points."""

    def __init__(self, size: str, views: int, device: str, dtype: torch.dtype, pixels: int | None = None) -> None:
        torch.manual_seed(0)
        config: dict[str, Any] = {"extends": size, **(UNUSED if size != "mini" else {})}
        if pixels is not None:
            settings = load_config(size)["settings"]
            latent = pixels * settings["latent_size"] // settings["image_size"]
            config["settings"] = {"image_size": pixels, "latent_size": latent}
        models = build_models(config)
        for module in (models.unet, models.conditioner):
            _fill_zeros(module)
            module.to(device, dtype)
        self.models, self.views, self.device, self.dtype = models, views, torch.device(device), dtype
        # what `predict` looks at of a pipeline
        self.pipe: Any = SimpleNamespace(unet=models.unet, conditioner=models.conditioner, scheduler=models.scheduler)
        self.compiled: Any = SimpleNamespace(**vars(self.pipe) | {"unet": torch.compile(models.unet, fullgraph=True)})
        self.vertices = 0.1 * nn.functional.normalize(torch.randn(1, 5023, 3), dim=-1)  # as many as FLAME has
        self.scene = self._scene()
        self.guided = self.scene.guided()
        shape = (1, views, models.unet.config["latent_channels"], *[models.settings.latent_size] * 2)
        self.latents = torch.randn(shape, device=device)

    def lay_out(self, order: Order) -> None:
        """Bring the UNet's weights into the order's memory layout."""
        layout = torch.channels_last if order.channels_last else torch.contiguous_format
        self.models.unet.to(memory_format=layout)

    def step(self, order: Order, latents: Tensor, t: Tensor) -> Tensor:
        """The guided prediction [1, N, C, h, w] at step t in this order of work, after `lay_out`."""
        scene = self.scene if order.geometry_once else self._with_geometry(self.scene)
        modules = () if order.frames_together else (self.models.unet, self.models.conditioner.frustum)
        tokens = nullcontext() if order.token_read_once else attending_to_single_tokens(self.models.unet)
        with torch.no_grad(), frame_by_frame(*modules), tokens:
            if order.halves_batched:
                return predict(self.compiled if order.compiled else self.pipe, latents, t, scene, self.guided, GUIDANCE)
            # guidance 1 asks for one half alone; the other has no volumes
            conditional = predict(self.pipe, latents, t, scene, scene, 1.0)
            unconditional = predict(self.pipe, latents, t, _second_half(self.guided), self.guided, 1.0)
            return unconditional + GUIDANCE * (conditional - unconditional)

    def _scene(self) -> Scene:
        models, cameras = self.models, self._cameras()
        unet, count, side = models.unet.config, self.views, models.settings.latent_size
        tokens = models.image_encoder.tokens if isinstance(models.image_encoder, PhotoEncoder) else 1
        azimuth = torch.cat([cameras.azimuths, cameras.azimuths[:1]])[: count + models.settings.frustum_photo]
        flat = torch.zeros(1)
        view = view_embedding(azimuth[None], 0 * azimuth[None], flat, flat, models.settings.view_convention)
        scene = Scene(
            tokens=torch.randn(1, tokens, models.unet.unet.config["cross_attention_dim"]),
            input_latent=torch.randn(1, unet["latent_channels"], side, side),
            view=view,
        )
        if unet["condition_channels"]:
            scene = replace(scene, conditions=torch.randn(1, count, unet["condition_channels"], side, side))
        if unet["gate_channels"]:
            copied = torch.randn(1, count, unet["latent_channels"], side, side)
            scene = replace(scene, copy=(copied, torch.rand(1, count, unet["gate_channels"], side, side)))
        return self._with_geometry(scene.to(self.device, self.dtype))

    def _with_geometry(self, scene: Scene) -> Scene:
        """Grids and index tables, and what is read through them once."""
        settings, conditioner, cameras = self.models.settings, self.models.conditioner, self._cameras()
        w2c, intrinsics = cameras.world_to_camera[None], cameras.intrinsics[None]
        geometry = conditioner.geometry(
            w2c,
            intrinsics,
            settings.image_size,
            settings.latent_size,
            self.vertices,
            (w2c[:, :1], intrinsics[:, :1]),
            settings.frustum_photo,
        ).to(self.device)
        channels, photo = conditioner.volume.config["photo_channels"], None
        if channels:
            side = settings.latent_size
            features = torch.linspace(-1, 1, channels * side * side, device=self.device).view(1, channels, side, side)
            photo = conditioner.volume.unproject_photo(features, geometry.volume).to(self.dtype)
        return replace(scene, geometry=geometry, photo_volume=photo)

    def _cameras(self) -> Any:
        cameras = rig("head360", self.models.settings.image_size)
        return cameras[[i * len(cameras) // self.views for i in range(self.views)]]


def _fill_zeros(module: nn.Module) -> None:
    """Draw what starts at zero, or orders that lose the volumes would agree."""
    with torch.no_grad():
        for p in module.parameters():
            if p.ndim > 1 and not p.any():
                p.normal_(0, p[0].numel() ** -0.5)


def _second_half(scene: Scene) -> Scene:
    """The unconditional half, without volumes."""
    cut: dict[str, Any] = {
        f.name: value.chunk(2)[1]
        for f in fields(scene)
        if isinstance(value := getattr(scene, f.name), Tensor) and f.name not in ("view", "photo_volume")
    }
    copy = None if scene.copy is None else (scene.copy[0].chunk(2)[1], scene.copy[1].chunk(2)[1])
    return replace(scene, geometry=None, copy=copy, **cut)


@contextmanager
def attending_to_single_tokens(root: nn.Module) -> Iterator[None]:
    """Attend by diffusers' own processor, which forms queries and keys whether or not they make a difference."""
    found = [m.processor for m in root.modules() if isinstance(m, Attention)]
    plain = AttnProcessor2_0()
    for processor in found:
        processor.inner = plain
    try:
        yield
    finally:
        for processor in found:
            processor.inner = None


_Forward = Callable[..., Any]
_BY_ROW = (ResnetBlock2D, FeedForward, Downsample2D, Upsample2D, nn.Conv2d, nn.GroupNorm, FrustumNetwork)


@contextmanager
def frame_by_frame(*roots: nn.Module) -> Iterator[None]:
    """Run every layer on one frame after the other.

    A model with attention between the views cannot finish one view before the next begins; this is the nearest to one
    view at a time that it allows. Attention between the frames itself still sees them all.
    """
    changed = []
    for root in roots:
        for module in root.modules():
            wrap: Callable[[Any, _Forward], _Forward] | None = None
            if isinstance(module, DepthTransformer):
                wrap = _depth_by_row
            elif isinstance(module, Attention):
                wrap = _attention_by_row
            elif isinstance(module, _BY_ROW):
                wrap = _by_row
            if wrap is not None:
                module.forward = wrap(module, module.forward)
                changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _by_row(module: nn.Module, forward: _Forward) -> _Forward:
    def run(x: Tensor, *rest: Any, **named: Any) -> Any:
        count = len(x)
        if count == 1:
            return forward(x, *rest, **named)

        def row(value: Any, i: int) -> Any:
            return value[i : i + 1] if isinstance(value, Tensor) and value.ndim and len(value) == count else value

        found = [
            forward(row(x, i), *(row(v, i) for v in rest), **{k: row(v, i) for k, v in named.items()})
            for i in range(count)
        ]
        if isinstance(found[0], tuple):
            return tuple(torch.cat(level) for level in zip(*found, strict=True))
        return torch.cat(found)

    return run


def _attention_by_row(module: Any, forward: _Forward) -> _Forward:
    split = _by_row(module, forward)

    def run(x: Tensor, encoder_hidden_states: Tensor | None = None, **named: Any) -> Any:
        joint = encoder_hidden_states is None and module.processor.joint
        return (forward if joint else split)(x, encoder_hidden_states=encoder_hidden_states, **named)

    return run


def _depth_by_row(module: nn.Module, forward: _Forward) -> _Forward:
    def run(x: Tensor, volume: Tensor | None, rows: Tensor | None = None) -> Tensor:
        places = {} if volume is None else dict(enumerate(range(len(x)) if rows is None else rows.tolist()))
        where = {place: i for i, place in places.items()}
        found = []
        for i in range(len(x)):
            mine = None if volume is None or i not in where else volume[where[i] : where[i] + 1]
            found.append(forward(x[i : i + 1], mine))
        return torch.cat(found)

    return run
