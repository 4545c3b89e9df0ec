"""Does training learn? 200 steps on four rendered identities must fit them.

    python benchmarks/overfit.py -o out/overfit

It holds when the loss falls below 20 % of its start and the training views, front and back of each identity, are remade
by the sampler, from noise, with more than 24 dB (`network_psnr`). The model is `mini` at 64 pixels, without its head
start from the copied picture. `validation_psnr` is of the finished views, which take the photo's pixels, in the photo's
light, where it shows the face; true views are in white light.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gen3dface.cameras import rig
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.data_synth.shards import manifest_path, shard_path, write_shard
from gen3dface.pipelines import Gen3DFacePipeline, MultiViewOutput, codec
from gen3dface.training.config import ValidationConfig, parse_train_config
from gen3dface.training.trainer import Trainer
from gen3dface.training.validation import Validator, psnr

IDENTITIES, VIEWS, STEPS, SIDE = 4, 2, 200, 64
FIRST, LAST = 5, 20  # steps over which the loss at the start and at the end is averaged
MODEL = {
    "extends": "mini",
    "settings": {"image_size": SIDE, "latent_size": SIDE // 4},
    "image_encoder": {"image_size": SIDE, "feature_size": SIDE // 4},
    "unet": {"copy_residual": False, "unet_config": {"sample_size": SIDE // 4}},
}


def main() -> int:
    """Print the figures; 1 when they miss the mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    if not manifest_path(shard_path(out / "data", 0)).exists():
        cameras = rig("head360", SIDE)[:: 16 // VIEWS]
        write_shard(out / "data", 0, (make_sample(seed, cameras) for seed in range(IDENTITIES)))
    trainer = Trainer(parse_train_config(_settings(out)), out / "run")
    started, cpu = time.monotonic(), time.process_time()
    trainer.fit()
    figures = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - cpu}
    figures |= _loss(out / "run" / "metrics.jsonl")
    samples = ShardSet(out / "data")
    validator = Validator(ValidationConfig(path=""), [samples[i] for i in range(IDENTITIES)], SIDE)
    with trainer.average.applied():
        figures |= validator(trainer.pipe, out / "views.png")
        figures["network_psnr"] = sum(_remade(trainer.pipe, samples[i]) for i in range(IDENTITIES)) / IDENTITIES
    for name, value in figures.items():
        print(f"{name:20s} {value:.4g}")
    return int(not (figures["share"] < 0.2 and figures["network_psnr"] > 24))


def _remade(pipe: Gen3DFacePipeline, sample: TrainingSample) -> float:
    """PSNR of what the network alone makes of a training head."""
    made = pipe(
        sample.portrait,
        sample.head,
        sample.cameras,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    )
    assert isinstance(made, MultiViewOutput) and made.latents is not None
    pictures, _ = codec.decode(pipe.vae, made.latents)
    return psnr(pictures, sample.views[:, :3].float() / 255)


def _settings(out: Path) -> dict[str, Any]:
    return {
        "model": MODEL,
        "iterations": STEPS,
        "data": {"sources": [{"path": str(out / "data")}], "cache": str(out / "cache"), "views": VIEWS},
        "dropout": {"all": 0.0, "concat": 0.0, "volume": 0.0, "clip": 0.0},
        "objective": {"weighting": "truncated", "gamma": 4.0, "timestep_power": 0.5, "pixels": 3.0},
        "optimiser": {"unet": 2e-3, "new": 2e-3, "warmup": 20, "cooldown": 0.4, "batch": 4, "ema": 0.9},
        "checkpoint": {"steps": 100, "minutes": None},
    }


def _loss(metrics: Path) -> dict[str, float]:
    losses = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    start, end = sum(losses[:FIRST]) / FIRST, sum(losses[-LAST:]) / LAST
    return {"loss_start": start, "loss_end": end, "share": end / start}


if __name__ == "__main__":
    sys.exit(main())
