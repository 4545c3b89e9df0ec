"""The models of a saved pipeline with the tensors of its files as they are: not copied, and in their dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from gen3dface.errors import CheckpointError, ConfigError
from gen3dface.models.build import Models, ModelSettings
from gen3dface.models.conditioner import VolumeConditioner
from gen3dface.models.multiview_unet import MultiViewUNet
from gen3dface.models.token_projection import ViewTokenProjection

_CLASSES: dict[str, Any] = {
    "vae": AutoencoderKL,
    "token_projection": ViewTokenProjection,
    "conditioner": VolumeConditioner,
    "unet": MultiViewUNet,
}


def saved_models(folder: Path) -> Models:
    """Read what `save_pretrained` wrote of a pipeline of Stable Diffusion's kind.

    Raises:
        CheckpointError: the folder holds no such pipeline, or its weights are damaged or do not fit its configuration.
    """
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"'{folder}' holds no saved pipeline: it has no model_index.json.")
    found: dict[str, Any] = {name: _component(folder / name) for name in (*_CLASSES, "image_encoder")}
    missing = [name for name, module in found.items() if module is None and name != "token_projection"]
    if missing:
        raise CheckpointError(f"'{folder}' holds no {', '.join(missing)}.")
    size = int(found["vae"].config.sample_size)
    return Models(settings=ModelSettings(size, size), scheduler=DDIMScheduler(), **found)


def _component(folder: Path) -> nn.Module | None:
    if not folder.is_dir():
        return None
    try:
        with torch.device("meta"):
            if folder.name == "image_encoder":
                module = CLIPVisionModelWithProjection(CLIPVisionConfig.from_pretrained(folder, local_files_only=True))
            else:
                kind = _CLASSES[folder.name]
                module = kind.from_config(kind.load_config(folder, local_files_only=True))
        module.load_state_dict(_tensors(folder), assign=True)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError, ConfigError) as error:
        raise CheckpointError(f"'{folder}' holds no {folder.name} that can be read: {error}") from error
    return module


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Of all shards, without variants such as `model.fp16.safetensors`."""
    shards = [path for path in sorted(folder.glob("*.safetensors")) if path.name.count(".") == 1]
    return {name: tensor for path in shards for name, tensor in load_file(path).items()}
