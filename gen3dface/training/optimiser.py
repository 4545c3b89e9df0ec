"""AdamW with two learning rates, their course, and the moving average of the weights."""

from __future__ import annotations

from torch import nn, optim

from gen3dface.training.config import OptimiserConfig


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> optim.AdamW:
    """AdamW over the trained parameters: the UNet in one group, all newer modules in the other."""
    groups: dict[str, list[nn.Parameter]] = {"unet": [], "new": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups["unet" if name.startswith("unet.") else "new"].append(parameter)
    named = [
        {"params": parameters, "name": name, "lr": getattr(config, name)}
        for name, parameters in groups.items()
        if parameters
    ]
    return optim.AdamW(named, betas=config.betas, weight_decay=config.weight_decay)


def learning_rate_factor(config: OptimiserConfig, step: int, iterations: int) -> float:
    """What both learning rates are multiplied by at a step (from 0): warm-up, plateau, linear cooldown."""
    if step < config.warmup:
        return config.warmup_start + (1 - config.warmup_start) * step / config.warmup
    cooldown = config.cooldown * iterations
    return min(1.0, (iterations - step) / cooldown) if cooldown else 1.0


def set_learning_rates(optimiser: optim.Optimizer, config: OptimiserConfig, step: int, iterations: int) -> None:
    """Bring both groups to a step: nothing has to be remembered from one to the next."""
    factor = learning_rate_factor(config, step, iterations)
    for group in optimiser.param_groups:
        group["lr"] = factor * getattr(config, group["name"])
