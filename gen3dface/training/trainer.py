"""The training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.errors import ConfigError, MissingExtraError
from gen3dface.models.build import build_models
from gen3dface.pipelines import Gen3DFacePipeline, codec
from gen3dface.pipelines.prepared import Wanted
from gen3dface.training.batch_norm import share_batch_norms
from gen3dface.training.checkpoints import Checkpoints, Progress
from gen3dface.training.config import TrainConfig
from gen3dface.training.denoiser import TrainingDenoiser
from gen3dface.training.draws import Draws, Item
from gen3dface.training.optimiser import build_optimiser, set_learning_rates
from gen3dface.training.prepared import Preparation
from gen3dface.training.run_folder import RunFolder
from gen3dface.training.sources import Heads, Mixture, open_source
from gen3dface.training.validation import Validator

logger = logging.getLogger(__name__)


def build_pipeline(config: TrainConfig) -> Gen3DFacePipeline:
    """The pipeline that a run starts from; fresh weights follow from the seed alone."""
    if config.init is not None:
        return Gen3DFacePipeline.from_pretrained(config.init, **config.pipeline)
    assert config.model is not None
    torch.manual_seed(config.seed)
    return Gen3DFacePipeline.from_models(build_models(config.model), **config.pipeline)


class Trainer:
    """One run in one folder; constructing it again with the same configuration goes on where it stopped.

    Raises:
        ConfigError, DataError, CheckpointError: what was asked for cannot be; the message says why.
    """

    def __init__(self, config: TrainConfig, folder: str | Path, pipe: Gen3DFacePipeline | None = None) -> None:
        self.config, self.run = config, RunFolder(folder)
        self.accelerator = _accelerator(config, self.run.folder)
        self.share = _share(config, self.accelerator.num_processes)
        self.pipe = pipe or build_pipeline(config)
        self.pipe.set_progress_bar_config(disable=True)
        self.draws = self._open_data()
        self.model = TrainingDenoiser(self.pipe, config.objective, config.frozen, config.batch_norm)
        share_batch_norms(self.model)
        if config.gradient_checkpointing:
            self.pipe.unet.enable_gradient_checkpointing()
        self.model.move_others(self.accelerator.device)
        self.model.train()
        optimiser = build_optimiser(self.model, config.optimiser)
        self.wrapped, self.optimiser = self.accelerator.prepare(self.model, optimiser)
        self.ema = EMAModel(self._parameters(), config.optimiser.ema, foreach=True) if config.optimiser.ema else None
        self.checkpoints = Checkpoints(self.run.checkpoints, config.checkpoint.keep)
        self.progress = self._resume()
        self.validator = self._validator()

    def fit(self) -> Progress:
        """Train to the last step or the time limit, save a checkpoint, and the pipeline when the run is complete."""
        config, begun, saved = self.config, time.monotonic(), time.monotonic()
        limit = None if config.max_minutes is None else begun + 60 * config.max_minutes
        before, step = self.progress, self.progress.step
        items = self.batches(step)
        bar = tqdm(total=config.iterations, initial=step, disable=not self.accelerator.is_main_process)
        while step < config.iterations:
            row = self._step(step, items)
            step += 1
            self.progress = Progress(step, before.seconds + time.monotonic() - begun)
            self._tell(row, bar)
            if self.validator is not None and config.validation and step % config.validation.every == 0:
                self._validate()
            over = limit is not None and time.monotonic() > limit
            if self._agreed(over) or step == config.iterations or self._due(step, saved):
                self._save()
                saved = time.monotonic()
            if self._agreed(over):
                break
        bar.close()
        if step == config.iterations:
            self.save_pipeline(self.run.pipeline)
        self.accelerator.end_training()
        return self.progress

    def save_pipeline(self, folder: Path) -> None:
        """Write the pipeline, with the moving average of the weights where there is one."""
        if self.accelerator.is_main_process:
            with self.averaged():
                _save_as(self.pipe, folder, getattr(torch, self.config.checkpoint.dtype))
        self.accelerator.wait_for_everyone()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The pipeline with the averaged weights, in evaluation mode."""
        parameters = self._parameters()
        if self.ema is not None:
            self.ema.store(parameters)
            self.ema.copy_to(parameters)
        self.model.eval()
        try:
            yield
        finally:
            if self.ema is not None:
                self.ema.restore(parameters)
            self.model.train()

    def _step(self, step: int, batches: Iterator[list[Item]]) -> dict[str, float]:
        """One step of the optimiser; its figures."""
        # nothing draws from torch's own generator, but what a future network might draw must survive a restart too
        torch.manual_seed((self.config.seed << 32) + step)
        settings, started, waited = self.config.optimiser, time.monotonic(), 0.0
        set_learning_rates(self.optimiser, settings, step, self.config.iterations)
        losses = []
        for part in range(settings.accumulate):
            asked = time.monotonic()
            items = next(batches)
            waited += time.monotonic() - asked
            with self._synchronised(part == settings.accumulate - 1):
                loss = self.wrapped(items)
                self.accelerator.backward(loss / settings.accumulate)
            losses.append(loss.detach())
        norm = self._clip()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.step(self._parameters())
        loss = self.accelerator.reduce(torch.stack(losses).mean(), "mean").item()
        if not torch.isfinite(torch.tensor(loss)):
            raise ConfigError(
                f"The loss is {loss} at step {step + 1}: lower the learning rates, or raise the precision."
            )
        taken = time.monotonic() - started
        return {
            "step": step + 1,
            "loss": loss,
            "gradient_norm": norm,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "heads_per_second": settings.batch / taken,
            "waiting": waited / taken,
        }

    def _synchronised(self, last: bool) -> Any:
        """Gradients go between the processes once a step, with its last part."""
        return nullcontext() if last else self.accelerator.no_sync(self.wrapped)

    def _clip(self) -> float:
        limit = self.config.optimiser.clip_norm or float("inf")
        norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), limit)
        return float(norm) if norm is not None else float("nan")

    def _tell(self, row: dict[str, float], bar: tqdm) -> None:
        bar.update()
        if not self.accelerator.is_main_process:
            return
        self.run.log(row)
        if row["step"] % self.config.log.every == 0:
            bar.set_postfix(loss=f"{row['loss']:.4f}", heads_s=f"{row['heads_per_second']:.1f}")
            self.accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    def _due(self, step: int, saved: float) -> bool:
        """Whether a checkpoint is, by steps or by the clock."""
        settings = self.config.checkpoint
        by_steps = settings.steps is not None and step % settings.steps == 0
        by_clock = settings.minutes is not None and time.monotonic() - saved > 60 * settings.minutes
        return self._agreed(by_steps or by_clock)

    def _agreed(self, flag: bool) -> bool:
        """The first process decides for all: their clocks differ."""
        if self.accelerator.num_processes == 1:
            return flag
        decision = [flag]
        broadcast_object_list(decision)
        return decision[0]

    def _save(self) -> None:
        named = zip(self._names(), self.ema.shadow_params, strict=True) if self.ema is not None else ()
        ema = {name: tensor.detach().cpu().contiguous() for name, tensor in named}
        if self.ema is not None:
            ema["optimization_step"] = torch.tensor(self.ema.optimization_step)
        self.checkpoints.save(self.accelerator, self.progress, ema)

    def _resume(self) -> Progress:
        if self.accelerator.is_main_process:
            self.checkpoints.clean()
        self.accelerator.wait_for_everyone()
        found = self.checkpoints.load(self.accelerator)
        progress, ema = found or (Progress(), {})
        if self.ema is not None and found is not None:
            self.ema.optimization_step = int(ema.pop("optimization_step"))
            self.ema.shadow_params = [ema[name].to(self.accelerator.device) for name in self._names()]
        if self.accelerator.is_main_process:
            self.run.rewind(progress.step)
        if progress.step:
            logger.info("going on after step %d", progress.step)
        return progress

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _names(self) -> list[str]:
        return [name for name, p in self.model.named_parameters() if p.requires_grad]

    def _open_data(self) -> Draws:
        config, pipe = self.config, self.pipe
        sources = [open_source(s) for s in config.data.sources]
        if self.accelerator.is_main_process:
            self.run.begin(config, sources)
        self.accelerator.wait_for_everyone()
        preparation = preparation_for(pipe)
        heads = [Heads(s, preparation, config.data.cache) for s in sources]
        for each in heads:
            each.fill(config.data.workers, self.accelerator.process_index, self.accelerator.num_processes)
        self.accelerator.wait_for_everyone()
        side = pipe.config["image_size"] // codec.latent_factor(pipe.vae)
        shape = (pipe.unet.config["latent_channels"], side, side)
        mixture = Mixture.of(sources, config.data, config.seed)
        return Draws(config, heads, mixture, shape, len(pipe.scheduler.alphas_cumprod))

    def batches(self, step: int) -> Iterator[list[Item]]:
        """This process's parts of the steps from `step` on."""
        positions = Positions(self.config, self.share, self.accelerator.process_index, step)
        workers = self.config.data.workers
        loader = DataLoader(self.draws, batch_sampler=positions, num_workers=workers, collate_fn=_as_list)
        return iter(loader)

    def _validator(self) -> Validator | None:
        if self.config.validation is None or not self.accelerator.is_main_process:
            return None
        held_out = ShardSet(self.config.validation.path)
        samples = [held_out[i] for i in range(min(self.config.validation.heads, len(held_out)))]
        return Validator(self.config.validation, samples, self.pipe.config["image_size"])

    def _validate(self) -> None:
        assert self.validator is not None
        folder = self.run.folder / "validation"
        folder.mkdir(exist_ok=True)
        with self.averaged():
            found = self.validator(self.pipe, folder / f"step-{self.progress.step:09d}.png", self.config.seed)
        self.run.log({"step": self.progress.step, **found})
        self.accelerator.log(found, step=self.progress.step)


class Positions:
    """Positions of one process's parts: step by step, `accumulate` parts a step. Sized as the rest of the run."""

    def __init__(self, config: TrainConfig, share: int, rank: int, start: int) -> None:
        self.config, self.share, self.rank, self.start = config, share, rank, start

    def __len__(self) -> int:
        return (self.config.iterations - self.start) * self.config.optimiser.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        settings = self.config.optimiser
        ranks = settings.batch // (self.share * settings.accumulate)
        for step in range(self.start, self.config.iterations):
            for part in range(settings.accumulate):
                first = step * settings.batch + (part * ranks + self.rank) * self.share
                yield list(range(first, first + self.share))


def preparation_for(pipe: Gen3DFacePipeline) -> Preparation:
    """What a pipeline's model wants to have prepared."""
    return Preparation(pipe.config["image_size"], pipe.config["crop_side"], Wanted.by(pipe.unet.config, pipe.config))


def _share(config: TrainConfig, processes: int) -> int:
    """Heads that a process takes at once. Raises `ConfigError` when the batch cannot be divided."""
    parts = processes * config.optimiser.accumulate
    if config.optimiser.batch % parts:
        raise ConfigError(
            f"optimiser.batch {config.optimiser.batch} cannot be shared by {processes} processes with "
            f"{config.optimiser.accumulate} parts each; make it a multiple of {parts}."
        )
    return config.optimiser.batch // parts


def _accelerator(config: TrainConfig, folder: Path) -> Accelerator:
    precision: str | None = config.precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    accelerator = Accelerator(
        mixed_precision=precision, log_with=_trackers(config.log.trackers) or None, project_dir=str(folder)
    )
    accelerator.init_trackers("gen3dface")
    return accelerator


def _trackers(names: Sequence[str]) -> list[str]:
    for name in names:
        try:
            __import__(name)
        except ImportError as error:
            raise MissingExtraError(
                f"The tracker {name} is not installed: pip install 'gen3dface[train]' (tensorboard) or wandb."
            ) from error
    return list(names)


def _save_as(pipe: Gen3DFacePipeline, folder: Path, dtype: torch.dtype) -> None:
    """`save_pretrained` with the weights in a dtype; the pipeline stays as it is."""
    modules = [c for c in pipe.components.values() if isinstance(c, nn.Module)]
    kept: list[tuple[nn.Parameter, Tensor]] = [(p, p.data) for m in modules for p in m.parameters()]
    try:
        for parameter, data in kept:
            parameter.data = data.to(dtype)
        pipe.save_pretrained(folder)
    finally:
        for parameter, data in kept:
            parameter.data = data


def _as_list(items: list[Item]) -> list[Item]:
    return items
