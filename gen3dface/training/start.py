"""What a run needs before its first step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch
from accelerate import Accelerator

from gen3dface.errors import ConfigError, MissingExtraError
from gen3dface.models.build import build_models
from gen3dface.pipelines import Gen3DFacePipeline, codec
from gen3dface.pipelines.conditions import networks_of
from gen3dface.pipelines.prepared import Wanted
from gen3dface.training.config import TrainConfig
from gen3dface.training.draws import Draws
from gen3dface.training.prepared import Preparation
from gen3dface.training.sources import Heads, Mixture, Source


def build_pipeline(config: TrainConfig) -> Gen3DFacePipeline:
    """The pipeline that a run starts from; fresh weights follow from the seed alone."""
    if config.init is not None:
        pipe = Gen3DFacePipeline.from_pretrained(config.init, torch_dtype=torch.float32, **config.pipeline)
    else:
        assert config.model is not None
        torch.manual_seed(config.seed)
        pipe = Gen3DFacePipeline.from_models(build_models(config.model), **config.pipeline)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def start_accelerator(config: TrainConfig, folder: Path) -> Accelerator:
    """accelerate, by its own configuration where it was launched with one.

    Raises:
        MissingExtraError: a tracker is not installed.
        ConfigError: the processes that were launched do not find each other.
    """
    precision: str | None = config.precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    trackers = _trackers(config.log.trackers) or None
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    # accelerate takes several processes on CPUs for as many runs of their own unless it is told
    cpu = launched > 1 and not torch.cuda.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision, log_with=trackers, project_dir=str(folder))
    if accelerator.num_processes != launched:
        raise ConfigError(f"{launched} processes were launched, accelerate joined {accelerator.num_processes}.")
    accelerator.init_trackers("gen3dface")
    return accelerator


def _trackers(names: Sequence[str]) -> list[str]:
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingExtraError(
                f"The tracker {name} is not installed: pip install 'gen3dface[train]' (tensorboard) or wandb."
            ) from error
    return list(names)


def share_of(config: TrainConfig, processes: int) -> int:
    """Heads that a process takes at once. Raises `ConfigError` when the batch cannot be divided."""
    parts = processes * config.optimiser.accumulate
    if config.optimiser.batch % parts:
        raise ConfigError(
            f"optimiser.batch {config.optimiser.batch} cannot be shared by {processes} processes with "
            f"{config.optimiser.accumulate} parts each; make it a multiple of {parts}."
        )
    return config.optimiser.batch // parts


def preparation_for(pipe: Gen3DFacePipeline) -> Preparation:
    """What a pipeline's model wants to have prepared."""
    config = pipe.config
    return Preparation(config["image_size"], config["crop_side"], Wanted.by(pipe.unet.config, config))


def open_draws(
    config: TrainConfig, pipe: Gen3DFacePipeline, sources: Sequence[Source], accelerator: Accelerator
) -> Draws:
    """The items of a run; what the cache lacks is prepared by all processes together."""
    preparation = preparation_for(pipe)
    heads = [Heads(source, preparation, config.data.cache) for source in sources]
    place = accelerator.process_index, accelerator.num_processes
    for each in heads:
        each.fill(config.data.workers, *place)
    accelerator.wait_for_everyone()
    pipe.vae.to(accelerator.device)
    for each in heads:
        each.fill_latents(networks_of(pipe), *place)
    accelerator.wait_for_everyone()
    side = pipe.config["image_size"] // codec.latent_factor(pipe.vae)
    shape = (pipe.unet.config["latent_channels"], side, side)
    return Draws(
        config, heads, Mixture.of(sources, config.data, config.seed), shape, len(pipe.scheduler.alphas_cumprod)
    )
