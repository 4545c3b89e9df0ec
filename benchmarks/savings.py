"""What the savings that change the result cost in quality, and what they bring.

    python benchmarks/savings.py MODEL [--heads 8] [--views 16] [--steps 20] [--guidance 2.0]

MODEL is a pipeline's folder or name. All of them are off unless asked for: guidance on part of the steps
(`guidance_interval`), self-attention reused at every second step (`unet.enable_cache`, diffusers' pyramid attention
broadcast). Fewer steps and no guidance are the yardsticks: a saving is worth its code only if it beats them at the same
cost. Photos, heads and true views come from `gen3dface.data_synth.rendered`, with seeds that no training run takes; all
variants start from the same noise. Seconds are those of a whole call, the best over the heads; they take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers import PyramidAttentionBroadcastConfig
from torch import Tensor
from tqdm import tqdm

from gen3dface.cameras import rig
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.evaluation.lpips import LPIPS
from gen3dface.evaluation.view_scores import psnr
from gen3dface.pipelines import Gen3DFacePipeline

FIRST_SEED = 900_000_000  # from here on no training run takes any
Variant = Callable[[Gen3DFacePipeline, dict[str, Any]], Any]
REUSED = (100, 900)  # the training steps between which attention is reused


def _plain(**changed: Any) -> Variant:
    return lambda pipe, arguments: pipe(**arguments | changed)


def _reused(pipe: Gen3DFacePipeline, arguments: dict[str, Any]) -> Any:
    settings: dict[str, Any] = {
        "spatial_attention_block_skip_range": 2,
        "spatial_attention_timestep_skip_range": REUSED,
        "current_timestep_callback": lambda: pipe.current_timestep,
    }
    pipe.unet.enable_cache(PyramidAttentionBroadcastConfig(**settings))
    try:
        return pipe(**arguments)
    finally:
        pipe.unet.disable_cache()


def variants(steps: int) -> dict[str, Variant]:
    """By name; the first is what the others are compared with."""
    return {
        "all steps, all guided": _plain(),
        "guidance on the first half": _plain(guidance_interval=(0.0, 0.5)),
        "guidance on the middle half": _plain(guidance_interval=(0.25, 0.75)),
        "attention at every second step": _reused,
        "three quarters of the steps": _plain(num_inference_steps=max(1, 3 * steps // 4)),
        "half the steps": _plain(num_inference_steps=max(1, steps // 2)),
        "no guidance": _plain(guidance_scale=1.0),
    }


class Tally:
    """What one variant did over the heads."""

    def __init__(self) -> None:
        self.seconds, self.lpips, self.psnr, self.apart = float("inf"), list[float](), list[float](), list[float]()

    def add(self, seconds: float, lpips: Tensor, images: Tensor, truth: Tensor, full: Tensor) -> None:
        self.seconds = min(self.seconds, seconds)
        self.lpips += lpips.tolist()
        self.psnr += psnr(images, truth).tolist()
        self.apart.append(-10 * (images - full).square().mean().clamp(min=1e-10).log10().item())

    def row(self, name: str, full: float) -> str:
        apart = np.mean(self.apart)
        near = "-" if apart >= 99.9 else f"{apart:.1f}"
        quality = f"{np.mean(self.lpips):.4f} | {np.mean(self.psnr):.2f} | {near}"
        return f"| {name} | {self.seconds:.2f} | {self.seconds / full:.2f} x | {quality} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.0)
    options = parser.parse_args()
    pipe = Gen3DFacePipeline.from_pretrained(options.model)
    pipe.set_progress_bar_config(disable=True)
    lpips, tallies = LPIPS(), {name: Tally() for name in variants(options.steps)}
    cameras = rig("head360", pipe.config["image_size"])
    cameras = cameras[[i * len(cameras) // options.views for i in range(options.views)]]
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + options.heads), unit="head"):
        sample = make_sample(seed, cameras)
        truth, full = sample.views[:, :3].float() / 255, None
        arguments: dict[str, Any] = {
            "image": sample.portrait,
            "head": sample.head,
            "cameras": sample.cameras,
            "num_inference_steps": options.steps,
            "guidance_scale": options.guidance,
            "output_type": "pt",
        }
        for name, run in variants(options.steps).items():
            start = time.perf_counter()
            made = run(pipe, arguments | {"generator": torch.Generator().manual_seed(0)})
            seconds = time.perf_counter() - start
            full = made.images if full is None else full
            with torch.no_grad():
                tallies[name].add(seconds, lpips(made.images, truth), made.images, truth, full)
    print(f"{options.model}, {options.heads} heads, {options.views} views, {options.steps} steps\n")
    print("| variant | s | of the full call | LPIPS to the truth | PSNR to the truth | PSNR to the full call |")
    print("|---|---|---|---|---|---|")
    full_seconds = next(iter(tallies.values())).seconds
    for name, tally in tallies.items():
        print(tally.row(name, full_seconds))


if __name__ == "__main__":
    main()
