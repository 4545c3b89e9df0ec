"""Held-out heads as the pipeline makes them: pictures to look at, and their PSNR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.pipelines import Gen3DFacePipeline, project_views
from gen3dface.pipelines.output import MultiViewOutput, to_pil
from gen3dface.pipelines.photo_crop import crop_photo
from gen3dface.training.config import ValidationConfig


def psnr(made: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in 0..1; infinite for equal ones."""
    error = (made.double() - truth.double()).square().mean().item()
    return -10 * math.log10(error) if error else math.inf


def spread_views(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` numbers, evenly apart, the first among them."""
    wanted = min(wanted, count)
    return [i * count // wanted for i in range(wanted)]


class Validator:
    """Runs a pipeline on the same heads each time."""

    def __init__(self, config: ValidationConfig, samples: Sequence[TrainingSample], image_size: int) -> None:
        self.config, self.samples, self.size = config, list(samples[: config.heads]), image_size
        self._baseline: dict[str, Tensor] = {}

    def __call__(self, pipe: Gen3DFacePipeline, sheet: Path, seed: int = 0) -> dict[str, float]:
        """Make every head's views, write a contact sheet, and return the mean PSNR, the projection baseline's too.

        A head has four rows: its photo, the projection baseline, the prediction, the truth.
        """
        rows, made_db, projected_db = [], [], []
        for sample in self.samples:
            chosen = spread_views(len(sample.cameras), self.config.views)
            cameras = sample.cameras[chosen].resized(self.size, self.size)
            truth = _pictures(sample.views[chosen], self.size)
            made = pipe(
                sample.portrait,
                sample.head,
                cameras,
                num_inference_steps=self.config.steps,
                guidance_scale=self.config.guidance,
                generator=torch.Generator().manual_seed(seed),
                output_type="pt",
            )
            assert isinstance(made, MultiViewOutput)
            projected = self._projected(sample, chosen)
            made_db.append(psnr(made.images, truth))
            projected_db.append(psnr(projected, truth))
            photo = crop_photo(sample.portrait, sample.head.camera, self.size).image
            photos = torch.cat([photo[None], torch.ones(len(chosen) - 1, *photo.shape)])
            rows += [photos, projected, made.images, truth]
        contact_sheet(rows).save(sheet)
        return {
            "validation_psnr": sum(made_db) / len(made_db),
            "projection_psnr": sum(projected_db) / len(projected_db),
        }

    def _projected(self, sample: TrainingSample, chosen: Sequence[int]) -> Tensor:
        if sample.key not in self._baseline:
            cameras = sample.cameras[list(chosen)].resized(self.size, self.size)
            self._baseline[sample.key] = project_views(sample.portrait, sample.head, cameras).tensor()
        return self._baseline[sample.key]


def contact_sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Rows of pictures [N, 3, S, S] in 0..1, one below the other; shorter rows are filled up in white."""
    most = max(len(row) for row in rows)
    lines = [torch.cat([*row, *[torch.ones_like(row[0])] * (most - len(row))], 2) for row in rows]
    return to_pil(torch.cat(lines, 1)[None])[0]


def _pictures(views: Tensor, size: int) -> Tensor:
    """uint8 [N, 4, S, S] -> [N, 3, size, size] in 0..1."""
    pictures = views[:, :3].float() / 255
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
