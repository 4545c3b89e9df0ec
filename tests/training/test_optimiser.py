"""Learning rates, moving average and batch norm against their closed forms."""

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from gen3dface.training.batch_norm import SharedBatchNorm, share_batch_norms
from gen3dface.training.config import ObjectiveConfig, OptimiserConfig
from gen3dface.training.denoiser import TrainingDenoiser
from gen3dface.training.optimiser import build_optimiser, learning_rate_factor, set_learning_rates
from tests.pipelines.tiny_models import SMALL, tiny_pipeline


def test_every_trained_parameter_is_in_one_of_the_two_groups() -> None:
    pipe = tiny_pipeline(SMALL)
    optimiser = build_optimiser(TrainingDenoiser(pipe, ObjectiveConfig()), OptimiserConfig(unet=1e-5, new=1e-3))
    groups = {group["name"]: group for group in optimiser.param_groups}
    assert {name: group["lr"] for name, group in groups.items()} == {"unet": 1e-5, "new": 1e-3}
    found = {name: {id(p) for p in group["params"]} for name, group in groups.items()}
    assert found["unet"] == {id(p) for p in pipe.unet.parameters()}
    assert found["new"] == {id(p) for c in (pipe.conditioner, pipe.image_encoder) for p in c.parameters()}


def test_both_rates_warm_up_and_cool_down_together() -> None:
    """The peers' warm-up: from 0.02 over 100 steps, then constant; here with a linear end."""
    config = OptimiserConfig(unet=5e-5, new=5e-4, cooldown=0.25)
    factors = {step: learning_rate_factor(config, step, 1000) for step in (0, 50, 100, 700, 750, 875, 999)}
    assert factors == pytest.approx({0: 0.02, 50: 0.51, 100: 1.0, 700: 1.0, 750: 1.0, 875: 0.5, 999: 0.004})
    assert learning_rate_factor(OptimiserConfig(), 47_999, 48_000) == 1.0
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [p], "name": n, "lr": 0.0} for p, n in zip(parameters, ("unet", "new"), strict=True)]
    optimiser = torch.optim.AdamW(groups)
    set_learning_rates(optimiser, config, 50, 1000)
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.51 * 5e-5, 0.51 * 5e-4])


def test_the_moving_average_is_its_closed_form() -> None:
    """m_n = d_n m_(n-1) + (1 - d_n) w_n with d_n = min(decay, n / (9 + n)) for n > 0 after the first step."""
    weight = nn.Parameter(torch.zeros(3))
    average, expected = EMAModel([weight], 0.9, foreach=True), torch.zeros(3)
    for step in range(1, 200):
        weight.data = torch.tensor([1.0, step, step**0.5])
        average.step([weight])
        decay = min(0.9, step / (9 + step)) if step > 1 else 0.0
        expected = decay * expected + (1 - decay) * weight.data
    torch.testing.assert_close(average.shadow_params[0], expected, rtol=1e-4, atol=1e-4)


def test_on_one_process_shared_batch_norm_is_batch_norm() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm1d(4, eps=1e-3, momentum=0.01))
    shared = nn.Sequential(nn.BatchNorm1d(4, eps=1e-3, momentum=0.01))
    share_batch_norms(shared)
    assert isinstance(shared[0], SharedBatchNorm)
    x = 3 * torch.randn(50, 4) + 1
    for module in (plain, shared):
        module.train()
    torch.testing.assert_close(shared(x), plain(x))
    torch.testing.assert_close(shared.state_dict(), plain.state_dict())
