"""Train a model for so many minutes on rendered people that are made while it learns: how `mini` was trained on a GPU.

    python tools/train_beside_rendering.py --init mini -o run --minutes 10 --workers 14

Worker processes render heads, fit the estimator's head to each and lay them down prepared; the training draws from all
that are there. So a GPU that is rented by the minute learns from the first one on, and no data set has to be brought to
it. The order of the heads depends on the machine's speed: for runs that can be repeated and resumed exactly, render
shards first and use `gen3dface.train`. Losses, dropout and learning rates are those of the training configuration;
the latter fall to zero at the end of the time. `run/pipeline` is the result, `run/log.jsonl` the course.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.data_synth.rendered.people.skin_library import load_skins
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.errors import EstimationError
from gen3dface.pipelines.conditions import networks_of
from gen3dface.training.average import Average, save_in_dtype
from gen3dface.training.config import TrainConfig, load_train_config
from gen3dface.training.denoiser import TrainingDenoiser
from gen3dface.training.draws import KEPT, Item, dropped_kind
from gen3dface.training.latents import encode_views
from gen3dface.training.objective import timestep_of
from gen3dface.training.optimiser import build_optimiser
from gen3dface.training.prepared import PackedHead, Preparation, PreparedFolder, chosen_views
from gen3dface.training.start import build_pipeline, preparation_for

_LEVEL = 0.7  # share of the heads whose views are those of head360
_STEADY = 0.5  # share of the time before the learning rates fall
_AT_ONCE = 8  # heads that are taken up between two steps


def main() -> None:
    arguments = _arguments()
    started = time.monotonic()
    start = {"init": arguments.init, "model": None} if arguments.init else {}
    config = load_train_config(arguments.config, {"optimiser.batch": arguments.batch, **start})
    pipe = build_pipeline(config)
    heads = PreparedFolder(arguments.out / "heads")
    stop = multiprocessing.get_context("spawn").Event()
    makers = _start_makers(arguments, preparation_for(pipe), heads, stop)
    try:
        run = Run(config, pipe, heads, arguments)
        run.until(started + 60 * arguments.minutes)
    finally:
        stop.set()
        for maker in makers:
            maker.join()


class Run:
    """The model, and the heads that it has met."""

    def __init__(self, config: TrainConfig, pipe: Any, heads: PreparedFolder, arguments: argparse.Namespace) -> None:
        self.config, self.pipe, self.heads, self.out = config, pipe, heads, arguments.out
        self.device, self.views = torch.device(arguments.device), arguments.views
        self.mixed = bool(arguments.bf16)
        self.model = TrainingDenoiser(pipe, config.objective, config.frozen, config.batch_norm).to(self.device)
        self.model.move_others(self.device)
        self.model.train()
        self.optimiser = build_optimiser(self.model, config.optimiser)
        self.average = Average(self.model, config.optimiser.ema)
        self.random = np.random.default_rng(config.seed)
        self.pool: dict[str, PackedHead] = {}
        self.order: list[str] = []

    def until(self, end: float) -> None:
        """Train, log every 50 steps, save."""
        while len(self.pool) < self.config.optimiser.batch:
            self._take_up(self.config.optimiser.batch)
            time.sleep(0.2)
        begun, step, losses = time.monotonic(), 0, []
        while (now := time.monotonic()) < end:
            self._take_up(_AT_ONCE)
            losses.append(self._step(step, (now - begun) / (end - begun)))
            step += 1
            if step % 50 == 0:
                self._log(step, float(torch.stack(losses).mean()), time.monotonic() - begun)
                losses.clear()
        with self.average.applied():
            save_in_dtype(self.pipe, self.out / "pipeline", getattr(torch, self.config.checkpoint.dtype))

    def _step(self, step: int, share: float) -> Tensor:
        settings = self.config.optimiser
        fall = 1.0 if share < _STEADY else 0.5 + 0.5 * math.cos(math.pi * (share - _STEADY) / (1 - _STEADY))
        for group in self.optimiser.param_groups:
            group["lr"] = getattr(settings, group["name"]) * min(1.0, (step + 1) / settings.warmup) * fall
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            loss = self.model(list(self._items(settings.batch)))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm or math.inf)
        if bool(norm.isfinite()):
            self.optimiser.step()
            self.average.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    def _items(self, count: int) -> Iterator[Item]:
        """Heads in a shuffled order, none twice in a round."""
        for _ in range(count):
            if not self.order:
                self.order = [str(key) for key in self.random.permutation(list(self.pool))]
            head = self.pool[self.order.pop()]
            rows = np.sort(self.random.choice(len(head.targets) - 1, self.views, replace=False)).tolist()
            kept = KEPT[dropped_kind(self.config.dropout, self.random.random())]
            steps, power = len(self.pipe.scheduler.alphas_cumprod), self.config.objective.timestep_power
            latents = head.latents
            assert latents is not None
            noise = torch.randn(self.views, *latents.shape[1:], device=self.device)
            yield Item(chosen_views(head, rows), noise, timestep_of(self.random.random(), steps, power), kept)

    @torch.no_grad()
    def _take_up(self, most: int) -> None:
        """Bring what is newly made to the device, latents and all."""
        fresh = [p.stem for p in self.heads.folder.glob("*.safetensors") if p.stem not in self.pool]
        for key in fresh[:most]:
            head = self.heads.get(key, range(self.heads.views(key)))
            head = PackedHead(**{n: None if v is None else v.to(self.device) for n, v in vars(head).items()})
            nets = replace(networks_of(self.pipe), device=self.device)
            self.pool[key] = replace(head, latents=encode_views(nets, head.targets.float() / 255).half())

    def _log(self, step: int, loss: float, seconds: float) -> None:
        row = {"step": step, "loss": loss, "heads": len(self.pool), "seconds": round(seconds, 3)}
        print(json.dumps(row), flush=True)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def _start_makers(arguments: argparse.Namespace, preparation: Preparation, heads: PreparedFolder, stop: Any) -> list:
    load_skins()  # bake once, before the workers ask for it
    heads.folder.mkdir(parents=True, exist_ok=True)
    context, makers = multiprocessing.get_context("spawn"), []
    for worker in range(arguments.workers):
        seeds = range(arguments.first_seed + worker, 2**31, arguments.workers)
        makers.append(context.Process(target=_make, args=(seeds, preparation, heads, stop)))
        makers[-1].start()
    return makers


def _make(seeds: range, preparation: Preparation, heads: PreparedFolder, stop: Any) -> None:
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    os.nice(10)  # the training waits for its process, not for these
    for seed in seeds:
        if stop.is_set():
            return
        try:
            sample = make_sample(seed, _cameras(seed, preparation.image_size), preparation.image_size)
            heads.put(sample.key, preparation(sample))
        except EstimationError:
            continue


def _cameras(seed: int, size: int) -> Cameras:
    """head360, or now and then such a ring from higher or lower."""
    random, level = np.random.default_rng([77, seed]), rig("head360", size)
    if random.random() < _LEVEL:
        return level
    focal = float(level.intrinsics[0, 0, 0]) / size
    elevations = torch.from_numpy(random.uniform(-40, 40, len(level))).float()
    return orbit(level.azimuths, elevations, radius=float(level.centers[0].norm()), focal=focal, size=size)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="mini", help="training configuration: losses, dropout, learning rates")
    parser.add_argument("--init", help="pipeline to start from (default: fresh weights of the configuration's model)")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="in all, the first heads included")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--first-seed", type=int, default=930_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--views", type=int, default=12, help="of each head a step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    return parser.parse_args()


if __name__ == "__main__":
    main()
