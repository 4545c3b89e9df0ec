"""Turning the head: do adjacent views agree, compared with true renders of the same heads?

    python benchmarks/consistency.py MODEL [--heads 8] [--steps N]

Heads of `gen3dface.data_synth.rendered` of seeds that no training run takes. Each view's colours are carried to the
next one (22.5 degrees on) through the estimated head's surface, for the model's views, the projection's and the true
renders alike; what true renders disagree by (loose hair, highlights, errors of the estimated surface) is the measure.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from engines import FIRST_SEED, diffusion, projection
from tqdm import tqdm

from gen3dface.cameras import rig
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.evaluation.consistency import adjacent_errors
from gen3dface.heads import load_head_model
from gen3dface.pipelines import Gen3DFacePipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    pipe = Gen3DFacePipeline.from_pretrained(arguments.model)
    pipe.set_progress_bar_config(disable=True)
    engines = {"projection": projection, "diffusion": diffusion(pipe, arguments.steps)}
    errors: dict[str, list[float]] = {"true renders": [], **{name: [] for name in engines}}
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + arguments.heads), unit="head"):
        sample = make_sample(seed, rig("head360", pipe.config["image_size"]))
        surface, true = sample.head.surface(load_head_model()), sample.views.float() / 255
        sets = {"true renders": (true[:, :3], true[:, 3:])}
        for name, engine in engines.items():
            views = engine(sample.portrait, sample.head, sample.cameras)
            sets[name] = (views.tensor(), views.masks)
        for name, (images, masks) in sets.items():
            errors[name].append(torch.nanmean(adjacent_errors(images, masks, sample.cameras, surface)).item())
    reference = float(np.mean(errors["true renders"]))
    print("| views | colour error, % | of the true renders' |\n|---|---|---|")
    for name, values in errors.items():
        print(f"| {name} | {100 * np.mean(values):.2f} | {np.mean(values) / reference:.2f} |")


if __name__ == "__main__":
    main()
