"""A sheet of rendered people: each one's photo, then true views at 0, 45, 90, 135 and 180 degrees.

python tools/rendered_sheet.py docs/rendered_people.jpg --first 0 --count 16 --workers 2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gen3dface.data_synth.rendered.samples import make_samples
from gen3dface.data_synth.sample import TrainingSample

SIZE = 128
AZIMUTHS = (0, 2, 4, 6, 8)  # numbers of the rig head360's views


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quality", type=int, default=86)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.count)
    rows = [row_of(sample) for sample in make_samples(seeds, arguments.workers, size=SIZE)]
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % arguments.columns)
    height = len(rows) // arguments.columns
    columns = [np.concatenate(rows[k * height : (k + 1) * height]) for k in range(arguments.columns)]
    Image.fromarray(np.concatenate(columns, 1)).save(arguments.output, quality=arguments.quality)


def row_of(sample: TrainingSample) -> np.ndarray:
    """uint8 [SIZE, 6 SIZE, 3]"""
    photo = np.asarray(Image.fromarray(sample.portrait.image).resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    views: torch.Tensor = sample.views[list(AZIMUTHS), :3]
    return np.concatenate([photo, *views.permute(0, 2, 3, 1).numpy()], 1)


if __name__ == "__main__":
    main()
