"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from tqdm import tqdm

from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.errors import CheckpointError, TrainingError
from gen3dface.training.average import Average, save_in_dtype
from gen3dface.training.batch_norm import share_batch_norms
from gen3dface.training.checkpoints import Checkpoints, Progress
from gen3dface.training.config import TrainConfig
from gen3dface.training.denoiser import TrainingDenoiser
from gen3dface.training.draws import Item, Positions
from gen3dface.training.optimiser import build_optimiser, set_learning_rates
from gen3dface.training.run_folder import RunFolder
from gen3dface.training.sources import open_source
from gen3dface.training.start import build_pipeline, open_draws, share_of, start_accelerator
from gen3dface.training.validation import Validator

logger = logging.getLogger(__name__)


class Trainer:
    """One run in one folder; constructing it again with the same configuration goes on where it stopped.

    Raises:
        ConfigError, DataError, CheckpointError: what was asked for cannot be; the message says why.
    """

    def __init__(self, config: TrainConfig, folder: str | Path) -> None:
        self.config, self.run = config, RunFolder(folder)
        self.accelerator = start_accelerator(config, self.run.folder)
        self.share = share_of(config, self.accelerator.num_processes)
        sources = [open_source(source) for source in config.data.sources]
        if self.accelerator.is_main_process:
            self.run.begin(config, sources)
        self.accelerator.wait_for_everyone()
        self.pipe = build_pipeline(config)
        self.draws = open_draws(config, self.pipe, sources, self.accelerator)
        self.model = TrainingDenoiser(self.pipe, config.objective, config.frozen, config.batch_norm)
        share_batch_norms(self.model)
        if config.gradient_checkpointing:
            self.pipe.unet.enable_gradient_checkpointing()
        self.model.move_others(self.accelerator.device)
        self.model.train()
        optimiser = build_optimiser(self.model, config.optimiser)
        self.wrapped, self.optimiser = self.accelerator.prepare(self.model, optimiser)
        self.average = Average(self.model, config.optimiser.ema)
        self.checkpoints = Checkpoints(self.run.checkpoints, config.checkpoint.keep)
        self.progress = self._resume()
        self.validator = self._validator()

    def fit(self) -> Progress:
        """Train to the last step or the time limit, save a checkpoint, and the pipeline when the run is complete."""
        config, begun = self.config, time.monotonic()
        before, saved = self.progress, begun
        batches = self.batches(before.step)
        bar = tqdm(total=config.iterations, initial=before.step, disable=not self.accelerator.is_main_process)
        while self.progress.step < config.iterations:
            row = self._step(self.progress.step, batches)
            self.progress = Progress(self.progress.step + 1, before.seconds + time.monotonic() - begun)
            self._tell(row, bar)
            self._validate()
            over = self._agreed(config.max_minutes is not None and time.monotonic() - begun > 60 * config.max_minutes)
            if over or self._due(saved):
                self._save()
                saved = time.monotonic()
            if over:
                break
        bar.close()
        if self.progress.step == config.iterations:
            self.save_pipeline(self.run.pipeline)
        self.accelerator.end_training()
        return self.progress

    def batches(self, step: int) -> Iterator[list[Item]]:
        """This process's parts of the steps from `step` on."""
        positions = Positions(self.config, self.share, self.accelerator.process_index, step)
        workers = self.config.data.workers
        return iter(DataLoader(self.draws, batch_sampler=positions, num_workers=workers, collate_fn=_as_list))

    def save_pipeline(self, folder: Path) -> None:
        """Write the pipeline, with the moving average of the weights where there is one."""
        if self.accelerator.is_main_process:
            with self.average.applied():
                save_in_dtype(self.pipe, folder, getattr(torch, self.config.checkpoint.dtype))
        self.accelerator.wait_for_everyone()

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
        self.average.step()
        taken = time.monotonic() - started
        return {
            "step": step + 1,
            "loss": self._mean_loss(torch.stack(losses), step + 1),
            "gradient_norm": norm,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "heads_per_second": settings.batch / taken,
            "waiting": waited / taken,
        }

    def _mean_loss(self, losses: torch.Tensor, step: int) -> float:
        """Over all parts and processes. Raises `TrainingError` when it is no number any more."""
        loss = float(self.accelerator.reduce(losses.mean(), "mean"))
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step {step}. Go on from the last checkpoint in another folder with lower "
                "learning rates, or in float32 (precision: no)."
            )
        return loss

    def _synchronised(self, last: bool) -> Any:
        """Gradients go between the processes once a step, with its last part."""
        return nullcontext() if last else self.accelerator.no_sync(self.wrapped)

    def _clip(self) -> float:
        """The gradients' norm, before it is limited."""
        limit = self.config.optimiser.clip_norm or math.inf
        norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), limit)
        return math.nan if norm is None else float(norm)

    def _tell(self, row: dict[str, float], bar: tqdm) -> None:
        bar.update()
        if not self.accelerator.is_main_process:
            return
        self.run.log(row)
        if row["step"] % self.config.log.every == 0:
            bar.set_postfix(loss=f"{row['loss']:.4f}", heads_s=f"{row['heads_per_second']:.1f}")
            self.accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    def _due(self, saved: float) -> bool:
        """Whether a checkpoint is: by steps, by the clock, or because the run is complete."""
        settings, step = self.config.checkpoint, self.progress.step
        by_steps = settings.steps is not None and step % settings.steps == 0
        by_clock = settings.minutes is not None and time.monotonic() - saved > 60 * settings.minutes
        return self._agreed(by_steps or by_clock or step == self.config.iterations)

    def _agreed(self, flag: bool) -> bool:
        """The first process decides for all: their clocks differ."""
        if self.accelerator.num_processes == 1:
            return flag
        decision = [flag]
        broadcast_object_list(decision)
        return decision[0]

    def _save(self) -> None:
        self.checkpoints.save(self.accelerator, self.progress, self.average.state())

    def _resume(self) -> Progress:
        if self.accelerator.is_main_process:
            self.checkpoints.clean()
        self.accelerator.wait_for_everyone()
        found = self.checkpoints.load(self.accelerator)
        progress = Progress()
        if found is not None:
            progress, average = found
            try:
                self.average.load(average)
            except KeyError as error:
                raise CheckpointError(f"The checkpoint in {self.run.folder} lacks the average of {error}.") from error
            logger.info("going on after step %d", progress.step)
        if self.accelerator.is_main_process:
            self.run.rewind(progress.step)
        return progress

    def _validator(self) -> Validator | None:
        if self.config.validation is None or not self.accelerator.is_main_process:
            return None
        held_out = ShardSet(self.config.validation.path)
        samples = [held_out[i] for i in range(min(self.config.validation.heads, len(held_out)))]
        return Validator(self.config.validation, samples, self.pipe.config["image_size"])

    def _validate(self) -> None:
        """When it is due: pictures, and figures beside those of the step."""
        step = self.progress.step
        if self.validator is None or step % self.validator.config.every:
            return
        self.run.pictures.mkdir(exist_ok=True)
        with self.average.applied():
            found = self.validator(self.pipe, self.run.pictures / f"step-{step:09d}.png", self.config.seed)
        self.run.log({"step": step, **found})
        self.accelerator.log(found, step=step)


def _as_list(items: list[Item]) -> list[Item]:
    return items
