"""Arguments of single steps."""

import pytest
import torch

from gen3dface.models.build import build_models
from gen3dface.pipelines.steps import step_arguments


@pytest.mark.parametrize("steps", [2, 6, 8, 50])
def test_full_noise_from_a_terminal_snr_of_zero_is_finite(steps: int) -> None:
    with torch.device("meta"):
        scheduler = build_models("mini").scheduler
    scheduler = type(scheduler).from_config(scheduler.config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 64, generator=generator)
    for index, t in enumerate(scheduler.timesteps):
        clean = torch.randn(1, 64, generator=generator)
        extra = step_arguments(scheduler, 1.0, generator, sample, final=index == steps - 1)
        sample = scheduler.step(clean, t, sample, return_dict=False, **extra)[0]
        assert torch.isfinite(sample).all(), int(t)
    torch.testing.assert_close(sample, clean, atol=0.05, rtol=0)  # the last step may stop a little short of zero noise
