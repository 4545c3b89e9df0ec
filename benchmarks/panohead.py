"""PanoHead's generator, of its true shape with random weights: planes once an identity against planes for every view.

    python benchmarks/panohead.py [--views 48] [--device cpu]

Both orders in one run, by turns; the pictures are the same. Work is counted in multiplications of matrices and
convolutions.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gen3dface.data_synth.panohead.generator import Generator, GeneratorConfig
from gen3dface.data_synth.panohead.samples import generator_cameras


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    config = GeneratorConfig()
    generator = Generator(config).to(arguments.device).for_inference()
    z = torch.randn(1, config.z_dim, generator=torch.Generator().manual_seed(0)).to(arguments.device)
    turns = torch.arange(arguments.views) * (360.0 / arguments.views)
    cameras = generator_cameras(turns, torch.zeros(arguments.views)).to(arguments.device)
    seconds = {"naive": 0.0, "shared": 0.0}
    pictures: dict[str, Tensor] = {}
    for name in seconds:
        started = time.perf_counter()
        identity = None
        for camera in cameras:
            if identity is None or name == "naive":
                identity = generator.identity(z, cameras[:1])
            pictures[name] = generator.shown(identity, camera[None]).image.cpu()
        seconds[name] = time.perf_counter() - started
    once, view = _work(config)
    saved = 1 - (once + arguments.views * view) / (arguments.views * (once + view))
    rates = {name: arguments.views / taken for name, taken in seconds.items()}
    sys.stdout.write(
        f"{arguments.views} views, {arguments.device}, {torch.get_num_threads()} threads: naive {rates['naive']:.3f}, "
        f"shared {rates['shared']:.3f} images a second: {rates['shared'] / rates['naive']:.2f} times; work {saved:.0%} "
        f"less ({once / 1e9:.1f} GFLOP an identity, {view / 1e9:.1f} a view); "
        f"last pictures differ by {(pictures['naive'] - pictures['shared']).abs().max():.1e}\n"
    )


def _work(config: GeneratorConfig) -> tuple[int, int]:
    with torch.device("meta"):
        generator, z, c = Generator(config), torch.zeros(1, config.z_dim), torch.zeros(1, config.c_dim)
        with FlopCounterMode(display=False) as once:
            identity = generator.identity(z, c)
        with FlopCounterMode(display=False) as view:
            generator.shown(identity, c, lambda shape: torch.zeros(tuple(shape)))
    return once.get_total_flops(), view.get_total_flops()


if __name__ == "__main__":
    main()
