"""All models of one size from one configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from diffusers import AutoencoderKL, DDIMScheduler
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from gen3dface.errors import ConfigError
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.models.conditioner import VolumeConditioner
from gen3dface.models.embeddings import VIEW_CONVENTIONS, ViewConvention
from gen3dface.models.feature_volume import FeatureVolume
from gen3dface.models.multiview_unet import MultiViewUNet
from gen3dface.models.photo_encoder import PhotoEncoder
from gen3dface.models.token_projection import ViewTokenProjection

ViewCondition = Literal["photo", "preview"]
_MOST_BYTES = 2**20  # of a configuration file
_SECTIONS = {"extends", "settings", "vae", "image_encoder", "token_projection", "conditioner", "unet", "scheduler"}


@dataclass(frozen=True)
class ModelSettings:
    """What the models' users must know and no single model holds."""

    image_size: int  # side of a view in pixels
    latent_size: int  # side of its latents
    num_views: int = 16
    view_convention: ViewConvention = "relative"
    frustum_photo: bool = False  # whether the input frame looks into the volume
    view_condition: ViewCondition = "photo"  # what the UNet is told of each view, where it takes conditions
    shells: tuple[float, ...] = (0.0,)  # metres, of the photo's projection
    num_inference_steps: int = 50  # of a call that does not say (SyncDreamer's)
    guidance_scale: float = 2.0  # of a call that does not say (SyncDreamer's)
    trained_range: dict[str, list[float]] | None = None  # of the cameras, see `Gen3DFacePipeline`; None: the paper's

    def __post_init__(self) -> None:
        if self.image_size % self.latent_size:
            raise ConfigError(f"image_size {self.image_size} is not a multiple of latent_size {self.latent_size}.")
        if self.view_convention not in VIEW_CONVENTIONS:
            raise ConfigError(f"Unknown view_convention {self.view_convention!r}.")
        object.__setattr__(self, "shells", tuple(self.shells))


@dataclass(frozen=True)
class Models:
    """The components of a pipeline."""

    settings: ModelSettings
    vae: AutoencoderKL | PixelAutoencoder
    image_encoder: CLIPVisionModelWithProjection | PhotoEncoder
    token_projection: ViewTokenProjection | None
    conditioner: VolumeConditioner
    unet: MultiViewUNet
    scheduler: DDIMScheduler

    def modules(self) -> dict[str, nn.Module]:
        """The components with weights, by name."""
        names = ("vae", "image_encoder", "token_projection", "conditioner", "unet")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def load_config(config: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """A configuration by name (`mini`, `sd15`, ...), file or mapping, with what it extends merged in.

    Raises:
        ConfigError: it cannot be read, or has unknown sections.
    """
    data = dict(config) if isinstance(config, Mapping) else _read(config)
    unknown = data.keys() - _SECTIONS
    if unknown:
        raise ConfigError(f"Unknown sections {sorted(unknown)} in a model configuration; known: {sorted(_SECTIONS)}.")
    base = data.pop("extends", None)
    return _merged(load_config(base), data) if base else data


def _read(config: str | Path) -> dict[str, Any]:
    path = Path(config)
    if path.suffix != ".yaml":
        if not str(config).replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"{str(config)!r} is neither the name of a configuration nor a .yaml file.")
        path = Path(str(resources.files("gen3dface.configs") / "model" / f"{config}.yaml"))
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise ConfigError(f"There is no model configuration at {path}.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} does not hold a mapping.")
    return data


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section; null takes a value away."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = _merged(out[key], value) if both else value
    return out


def build_models(config: str | Path | Mapping[str, Any]) -> Models:
    """Build every component, with fresh weights, on torch's default device (`with torch.device("meta")` is enough to
    learn their names and shapes).

    Raises:
        ConfigError: the configuration is unknown, incomplete or contradicts itself.
    """
    data = load_config(config)
    missing = {"settings", "vae", "image_encoder", "conditioner", "unet", "scheduler"} - data.keys()
    if missing:
        raise ConfigError(f"The model configuration lacks {', '.join(sorted(missing))}.")
    check_keywords(FeatureVolume, data["conditioner"].get("volume_config", {}), "conditioner.volume_config")
    models = Models(
        settings=_made(ModelSettings, data["settings"], "settings"),
        vae=_chosen({"kl": AutoencoderKL, "pixel": PixelAutoencoder}, data["vae"], "vae"),
        image_encoder=_chosen({"clip": _clip, "photo": PhotoEncoder}, data["image_encoder"], "image_encoder"),
        token_projection=_made(ViewTokenProjection, data["token_projection"], "token_projection")
        if data.get("token_projection") is not None
        else None,
        conditioner=_made(VolumeConditioner, data["conditioner"], "conditioner"),
        unet=_made(MultiViewUNet, data["unet"], "unet"),
        scheduler=_made(DDIMScheduler, data["scheduler"], "scheduler"),
    )
    _check(models)
    for module in models.modules().values():
        module.eval()
    return models


def _clip(**settings: Any) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**settings))


def _chosen(kinds: Mapping[str, Any], section: Mapping[str, Any], name: str) -> Any:
    """Build what the section's `kind` names."""
    rest = dict(section)
    kind = rest.pop("kind", None)
    if kind not in kinds:
        raise ConfigError(f"{name}.kind is {kind!r}; choose one of {', '.join(kinds)}.")
    return _made(kinds[kind], rest, name)


def _made(maker: Any, section: Mapping[str, Any], name: str) -> Any:
    check_keywords(maker, section, name)
    try:
        return maker(**section)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"The section {name} of the model configuration does not hold: {error}.") from error


def check_keywords(maker: Any, section: Mapping[str, Any], name: str) -> None:
    """Raise `ConfigError` for a value that the class does not know."""
    parameters = inspect.signature(maker).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = section.keys() - parameters.keys()
    if unknown:
        raise ConfigError(f"{name} has no {', '.join(sorted(unknown))}; it knows {', '.join(parameters)}.")


def _check(models: Models) -> None:
    """The components must fit together."""
    latent = models.unet.config["latent_channels"]
    inner = models.conditioner.volume.config
    made = models.vae.latent_channels if isinstance(models.vae, PixelAutoencoder) else models.vae.config.latent_channels
    widths = models.unet.config["volume_channels"]
    given = models.conditioner.config["frustum_channels"]
    if not latent == made == inner["latent_channels"]:
        raise ConfigError(f"Latent channels differ: vae {made}, conditioner {inner['latent_channels']}, unet {latent}.")
    if widths is not None and list(widths) != list(given):
        raise ConfigError(f"The conditioner gives volumes of {list(given)} channels, the unet takes {list(widths)}.")
    if inner["view_fusion"] == "concat" and inner["dense_channels"] and inner["num_views"] != models.settings.num_views:
        raise ConfigError(
            f"The dense volume joins {inner['num_views']} views, settings have {models.settings.num_views}."
        )
    if models.unet.config["gate_channels"] and models.scheduler.config["prediction_type"] != "sample":
        raise ConfigError("The copy gate needs a scheduler whose prediction_type is sample.")
