"""Arguments and components that cannot work are refused before any work is done."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.errors import CameraError, ConfigError
from gen3dface.models.embeddings import VIEW_CHANNELS
from gen3dface.models.photo_encoder import PhotoEncoder
from gen3dface.models.photo_projection import condition_planes
from gen3dface.pipelines.codec import latent_channels, latent_factor
from gen3dface.pipelines.preview import PREVIEW_PLANES
from gen3dface.pipelines.scene import vertex_feature_channels

if TYPE_CHECKING:
    from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

logger = logging.getLogger(__name__)

VIEW_CONDITIONS = ("photo", "preview")
OUTPUT_TYPES = ("pil", "pt", "np", "latent")
PAPER_RANGE = {"elevation": [-40.0, 40.0]}  # degrees
_RANGES = {"azimuth": "azimuths", "elevation": "elevations", "distance": "distances"}


def check_call(steps: int, guidance: float, eta: float, output_type: str, interval: tuple[float, float]) -> None:
    """Raise `ConfigError` on a number out of its range; warn when the photo is to be ignored."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"num_inference_steps is {steps!r}; it must be a whole number of at least 1.")
    if not (math.isfinite(guidance) and guidance >= 0):
        raise ConfigError(f"guidance_scale is {guidance}; it must be 0 or more (1 is without guidance).")
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta is {eta}; it must lie in 0..1.")
    if output_type not in OUTPUT_TYPES:
        raise ConfigError(f"Unknown output_type {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}.")
    if not 0 <= interval[0] <= interval[1] <= 1:
        raise ConfigError(f"guidance_interval is {interval}; give the first and last share of the steps, in 0..1.")
    if guidance == 0:
        logger.warning("guidance_scale 0 ignores the photo and the head; use 1 to sample without guidance.")


def check_cache(pipe: Gen3DFacePipeline, interval: tuple[float, float]) -> None:
    """Raise `ConfigError` when features would be reused between steps with and without the unconditional half."""
    if pipe.unet.is_cache_enabled and tuple(interval) != (0.0, 1.0):
        raise ConfigError("Features cannot be cached while guidance_interval leaves steps out: use one or the other.")


def check_callback(inputs: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise `ConfigError` unless a callback asks for what it can have."""
    unknown = [name for name in inputs if name not in allowed]
    if unknown:
        raise ConfigError(f"callback_on_step_end_tensor_inputs {unknown} are unknown; choose from {list(allowed)}.")


def check_latents(latents: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Given latents as [B, N, C, h, w]; a single photo's may be [N, C, h, w]. Raises `ConfigError` on another shape."""
    if shape[0] == 1 and latents.ndim == 4:
        latents = latents[None]
    if tuple(latents.shape) != shape:
        raise ConfigError(f"latents are {tuple(latents.shape)}, expected {shape}: photos, views, channels, h, w.")
    if not torch.isfinite(latents).all():
        raise ConfigError("latents hold values that are not finite numbers.")
    return latents


def check_cameras(
    cameras: str | Cameras, size: int, trained: Mapping[str, Sequence[float]] | None, views: int | None
) -> Cameras:
    """Cameras at the model's resolution.

    Args:
        cameras: a rig's name, or square cameras. size: pixels a side.
        trained: what the model saw in training, as (lowest, highest): `azimuth` and `elevation` in degrees, `distance`
            in metres; outside it a warning is logged.
        views: the number that the model is fixed to, if any.

    Raises:
        CameraError: not square, or values that are not finite. ConfigError: another number of views.
    """
    chosen = rig(cameras, size) if isinstance(cameras, str) else cameras
    if chosen.height != chosen.width:
        raise CameraError(f"The model makes square views; these cameras have {chosen.height} x {chosen.width} px.")
    if not all(torch.isfinite(t).all() for t in (chosen.world_to_camera, chosen.intrinsics)) or not len(chosen):
        raise CameraError("These cameras are empty or hold values that are not finite numbers.")
    if views is not None and len(chosen) != views:
        raise ConfigError(f"This model joins exactly {views} views (view_fusion concat), got {len(chosen)} cameras.")
    _warn_outside(chosen, trained or {})
    return chosen.to("cpu", torch.float32).resized(size, size)


def fixed_views(pipe: Gen3DFacePipeline) -> int | None:
    """The number of views that a model is fixed to, if it is."""
    if pipe.conditioner is None or pipe.conditioner.volume.dense is None:
        return None
    settings = pipe.conditioner.volume.config
    return settings["num_views"] if settings["view_fusion"] == "concat" else None


def _warn_outside(cameras: Cameras, trained: Mapping[str, Sequence[float]]) -> None:
    values = {"azimuths": cameras.azimuths, "elevations": cameras.elevations, "distances": cameras.centers.norm(dim=-1)}
    for name, (low, high) in trained.items():
        if name not in _RANGES:
            raise ConfigError(f"trained_range has no {name!r}; it may hold {', '.join(_RANGES)}.")
        found, slack = values[_RANGES[name]], 1e-3
        outside = ((found < low - slack) | (found > high + slack)).nonzero()[:, 0].tolist()
        if outside:
            logger.warning(
                "Views %s have %s outside the trained range %g..%g; expect worse views there.", outside, name, low, high
            )


def check_components(pipe: Gen3DFacePipeline) -> None:
    """Raise `ConfigError` naming the two settings that contradict each other."""
    if pipe.vae is None or pipe.unet is None:
        return
    if pipe.config["view_condition"] not in VIEW_CONDITIONS:
        raise ConfigError(f"Unknown view_condition {pipe.config['view_condition']!r}; choose photo or preview.")
    for (first, a), (second, b) in _pairs(pipe):
        if a != b:
            raise ConfigError(f"Mismatched components: {first} is {a}, {second} is {b}.")
    levels = 2 ** (pipe.unet.levels - 1)
    if pipe.config["image_size"] % (latent_factor(pipe.vae) * levels):
        raise ConfigError(
            f"image_size {pipe.config['image_size']} is no multiple of {latent_factor(pipe.vae) * levels}, the "
            "autoencoder's factor times the UNet's."
        )
    if pipe.config["frustum_photo"] and pipe.unet.config["input_view"] != "extra_frame":
        raise ConfigError("frustum_photo is for a UNet whose input_view is extra_frame.")
    prediction = pipe.scheduler.config.get("prediction_type") if pipe.scheduler is not None else "sample"
    if pipe.unet.config["gate_channels"] and prediction != "sample":
        raise ConfigError(f"The UNet's copy gate needs prediction_type sample; the scheduler has {prediction!r}.")


_Setting = tuple[str, Any]
_Pair = tuple[_Setting, _Setting]


def _pairs(pipe: Gen3DFacePipeline) -> list[_Pair]:
    """Pairs of (name, value) that must be equal."""
    unet, config = pipe.unet.config, pipe.config
    latent = ("vae latent_channels", latent_channels(pipe.vae))
    width = ("unet cross_attention_dim", pipe.unet.unet.config["cross_attention_dim"])
    pairs: list[_Pair] = [(latent, ("unet latent_channels", unet["latent_channels"]))]
    if unet["condition_channels"]:
        kind = config["view_condition"]
        planes = PREVIEW_PLANES if kind == "preview" else condition_planes(len(config["shells"]))
        given = (f"channels of the view condition {kind}", planes * latent_factor(pipe.vae) ** 2)
        pairs.append((given, ("unet condition_channels", unet["condition_channels"])))
    if pipe.token_projection is not None:
        pairs.append((width, ("token_projection token_dim", pipe.token_projection.config["token_dim"])))
    if pipe.image_encoder is not None:
        pairs += _encoder_pairs(pipe, width)
    return pairs + (_volume_pairs(pipe) if pipe.conditioner is not None else [])


def _encoder_pairs(pipe: Gen3DFacePipeline, width: _Setting) -> list[_Pair]:
    config = pipe.image_encoder.config
    if not isinstance(pipe.image_encoder, PhotoEncoder):
        return [(width, ("image_encoder projection_dim", config.projection_dim))]
    return [
        (width, ("image_encoder token_dim", config["token_dim"])),
        (("pipeline image_size", pipe.config["image_size"]), ("image_encoder image_size", config["image_size"])),
    ]


def _volume_pairs(pipe: Gen3DFacePipeline) -> list[_Pair]:
    volume, latent = pipe.conditioner.volume.config, latent_channels(pipe.vae)
    mesh = volume["vertex_channels"] if pipe.conditioner.volume.mesh is not None else 0
    pairs: list[_Pair] = [
        (("vae latent_channels", latent), ("conditioner latent_channels", volume["latent_channels"])),
        (("view embedding", VIEW_CHANNELS), ("conditioner view_dim", volume["view_dim"])),
        (
            ("unet volume_channels", list(pipe.unet.config["volume_channels"] or ())),
            ("conditioner frustum_channels", list(pipe.conditioner.config["frustum_channels"])),
        ),
        (
            ("channels of the pipeline's vertex_features", vertex_feature_channels(pipe.config["vertex_features"])),
            ("conditioner vertex_channels", mesh),
        ),
    ]
    if volume["photo_channels"]:
        pairs.append((_photo_features(pipe, latent), ("conditioner photo_channels", volume["photo_channels"])))
    return pairs


def _photo_features(pipe: Gen3DFacePipeline, latent: int) -> _Setting:
    """What is unprojected: the photo encoder's features, else the photo's latent, colour and matte."""
    if isinstance(pipe.image_encoder, PhotoEncoder) and pipe.image_encoder.config["feature_channels"]:
        return "image_encoder feature_channels", pipe.image_encoder.config["feature_channels"]
    return "the photo's latent, colour and matte", latent + 4
