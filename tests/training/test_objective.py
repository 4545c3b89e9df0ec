"""The loss against its formula, and against diffusers' own noise schedule."""

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from gen3dface.errors import ConfigError
from gen3dface.training.config import ObjectiveConfig
from gen3dface.training.objective import add_noise, loss_weights, multiview_loss, target, timestep_of

STEPS = torch.tensor([0, 250, 600, 999])


def _latents(seed: int) -> Tensor:
    return torch.randn(4, 3, 2, 5, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("zero_snr", [False, True])
def test_noise_and_velocity_are_the_scheduler_s(zero_snr: bool) -> None:
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=zero_snr)
    clean, noise, alpha = _latents(0), _latents(1), scheduler.alphas_cumprod[STEPS]
    torch.testing.assert_close(add_noise(clean, noise, alpha), scheduler.add_noise(clean, noise, STEPS))
    torch.testing.assert_close(target("v_prediction", clean, noise, alpha), scheduler.get_velocity(clean, noise, STEPS))
    assert target("epsilon", clean, noise, alpha) is noise
    assert target("sample", clean, noise, alpha) is clean
    with pytest.raises(ConfigError, match="flow"):
        target("flow", clean, noise, alpha)


def test_the_loss_is_its_formula() -> None:
    """Summed by hand, view by view."""
    predicted, wanted, weights = _latents(2), _latents(3), torch.tensor([1.0, 0.5, 2.0, 0.0])
    total = 0.0
    for b in range(4):
        views = [((predicted[b, n] - wanted[b, n]) ** 2).mean().item() for n in range(3)]
        total += weights[b].item() * sum(views) / 3 / 4
    assert multiview_loss(predicted, wanted, weights).item() == pytest.approx(total, rel=1e-5)


def test_min_snr_weights_are_the_paper_s() -> None:
    """Hang et al., 2023: min(SNR, g), over SNR for the noise, over SNR + 1 for the velocity."""
    alpha = torch.tensor([0.9, 0.5, 0.02])
    snr = alpha / (1 - alpha)
    settings = ObjectiveConfig(weighting="min_snr", gamma=3.0)
    capped = snr.clamp(max=3.0)
    torch.testing.assert_close(loss_weights(settings, "sample", alpha), capped)
    torch.testing.assert_close(loss_weights(settings, "epsilon", alpha), capped / snr)
    torch.testing.assert_close(loss_weights(settings, "v_prediction", alpha), capped / (snr + 1))
    assert (loss_weights(ObjectiveConfig(), "epsilon", alpha) == 1).all()


@pytest.mark.parametrize("weighting", ["min_snr", "truncated"])
def test_weights_make_the_predictions_equivalent(weighting: str) -> None:
    """The same wrong guess costs the same, however it is worded."""
    settings = ObjectiveConfig.model_validate({"weighting": weighting, "gamma": 4.0})
    clean, noise, guess, alpha = _latents(0), _latents(1), _latents(4), torch.tensor([0.95, 0.6, 0.2, 0.01])
    a, s = (x.sqrt()[:, None, None, None, None] for x in (alpha, 1 - alpha))
    noisy = add_noise(clean, noise, alpha)
    guesses = {"sample": guess, "epsilon": (noisy - a * guess) / s, "v_prediction": (a * noisy - guess) / s}
    losses = [
        multiview_loss(said, target(kind, clean, noise, alpha), loss_weights(settings, kind, alpha)).item()
        for kind, said in guesses.items()
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_truncated_weights_train_the_noisiest_step() -> None:
    """At zero SNR, where min-SNR gives nothing."""
    alpha = torch.tensor([0.0, 0.5, 0.9])
    truncated = ObjectiveConfig(weighting="truncated", gamma=4.0)
    torch.testing.assert_close(loss_weights(truncated, "sample", alpha), torch.tensor([1.0, 2.0, 4.0]))
    assert loss_weights(ObjectiveConfig(weighting="min_snr"), "sample", alpha)[0] == 0


def test_timesteps_follow_their_power() -> None:
    """P(t < T x) = x^(1/p)."""
    uniforms = [(i + 0.5) / 10_000 for i in range(10_000)]
    for power in (1.0, 0.6):
        drawn = torch.tensor([timestep_of(u, 1000, power) for u in uniforms])
        assert drawn.min() >= 0 and drawn.max() == 999
        for share in (0.25, 0.5, 0.75):
            assert (drawn < 1000 * share).float().mean().item() == pytest.approx(share ** (1 / power), abs=0.01)
    assert timestep_of(1.0, 1000, 1.0) == 999
