"""Training samples whose every value is known and which cost nothing to make."""

from __future__ import annotations

import torch

from gen3dface.cameras import orbit
from gen3dface.data_synth.sample import TrainingSample
from tests.synthetic_head import synthetic_head


def random_sample(key: str = "id0", seed: int = 0, views: int = 3, side: int = 32) -> TrainingSample:
    """Noise for views of the synthetic head."""
    head = synthetic_head(20.0)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (views, 4, side, side), generator=generator, dtype=torch.uint8)
    cameras = orbit(torch.arange(views) * 360.0 / views, torch.zeros(views), radius=1.8, focal=4.5, size=side)
    return TrainingSample(key, head.portrait, head.fit, pixels, cameras, {"licences": ["CC0-1.0"], "seed": seed})
