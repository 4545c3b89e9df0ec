"""What a model makes of a person's half-noised true views, beside these views.

As in SDEdit (Meng et al., 2022) the sampler starts from true views with noise: what it makes has the faults of its own
samples, and lies where the truth lies, so that the two can be compared pixel by pixel.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from gen3dface.data_synth.rendered.people.skin_library import load_skins
from gen3dface.data_synth.rendered.samples.make import make_sample
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.errors import EstimationError
from gen3dface.pipelines import Gen3DFacePipeline, codec
from gen3dface.pipelines.conditions import build_scene
from gen3dface.pipelines.steps import predict, step_arguments
from gen3dface.pipelines.subjects import load_subjects

NOISIEST = 1  # of the sampler's steps: the first that a start may be at; what is made from pure noise lies elsewhere


class PairMaker:
    """Pairs of one model's views and true ones, each person from a seed."""

    def __init__(self, model: str) -> None:
        self._pipe = Gen3DFacePipeline.from_pretrained(model)
        self._skins = load_skins()

    def __call__(self, seed: int) -> dict[str, Tensor]:
        """`made` and `true`: latents float16 [N, C, h, w]."""
        sample = make_sample(seed, size=self._pipe.config["image_size"], skins=self._skins)
        views = sample.views.float() / 255
        true = codec.encode(self._pipe.vae, views[:, :3], views[:, 3:])[None]
        made = self._sampled(sample, true, torch.Generator().manual_seed(seed))
        return {"made": made[0].half(), "true": true[0].half()}

    @torch.no_grad()
    def _sampled(self, sample: TrainingSample, true: Tensor, generator: torch.Generator) -> Tensor:
        """[1, N, C, h, w] from true ones with noise, by the rest of the sampler's steps."""
        pipe, config = self._pipe, self._pipe.config
        subjects = load_subjects(sample.portrait, sample.head, None, config["image_size"], config["crop_side"])
        scene = build_scene(pipe, subjects, sample.cameras, generator)
        pipe.scheduler.set_timesteps(config["num_inference_steps"])
        times = pipe.scheduler.timesteps
        start = int(torch.randint(NOISIEST, len(times) - 2, (), generator=generator))
        noise = torch.randn(true.shape, generator=generator)
        latents: Tensor = pipe.scheduler.add_noise(true, noise, times[start : start + 1])
        for i, t in enumerate(times[start:], start):
            prediction = predict(pipe, latents, t, scene, scene, 1.0)
            extra = step_arguments(pipe.scheduler, 1.0, generator, latents, final=i == len(times) - 1)
            latents = pipe.scheduler.step(prediction, t, latents, return_dict=False, **extra)[0]
        return latents


def make_pairs(model: str, folder: Path, first: int, count: int) -> None:
    """One file a person; those that are there already are kept."""
    maker = PairMaker(model)
    folder.mkdir(parents=True, exist_ok=True)
    for seed in tqdm(range(first, first + count), unit="person"):
        path = folder / f"{seed}.safetensors"
        if path.exists():
            continue
        try:
            pair = maker(seed)
        except EstimationError:
            continue
        save_file(pair, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)


def load_pairs(folder: Path) -> tuple[Tensor, Tensor]:
    """Made and true latents, float16 [R, C, h, w] each, of all people in the seeds' order."""
    found = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return torch.cat([pair["made"] for pair in found]), torch.cat([pair["true"] for pair in found])
