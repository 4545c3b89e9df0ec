"""The moving average of the trained weights (diffusers' `EMAModel`), and the pipeline that is saved from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from gen3dface.pipelines import Gen3DFacePipeline


class Average:
    """m <- d m + (1 - d) w after each step, with d = min(decay, n / (9 + n)) at step n.

    Args:
        model: whose trained parameters are averaged. decay: 0: there is no average, and nothing is done.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._names, self._parameters = [name for name, _ in named], [p for _, p in named]
        self._ema = EMAModel(self._parameters, decay, foreach=True) if decay else None

    def step(self) -> None:
        """After a step of the optimiser."""
        if self._ema is not None:
            self._ema.step(self._parameters)

    def state(self) -> dict[str, Tensor]:
        """All of it on the CPU, for a checkpoint."""
        if self._ema is None:
            return {}
        named = zip(self._names, self._ema.shadow_params, strict=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in named}
        return state | {"optimization_step": torch.tensor(self._ema.optimization_step)}

    def load(self, state: dict[str, Tensor]) -> None:
        """What `state` gave. Raises `KeyError` when it belongs to another model."""
        if self._ema is not None:
            self._ema.optimization_step = int(state["optimization_step"])
            pairs = zip(self._names, self._parameters, strict=True)
            self._ema.shadow_params = [state[name].to(p.device) for name, p in pairs]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights, in evaluation mode."""
        if self._ema is not None:
            self._ema.store(self._parameters)
            self._ema.copy_to(self._parameters)
        self._model.eval()
        try:
            yield
        finally:
            if self._ema is not None:
                self._ema.restore(self._parameters)
            self._model.train()


def save_in_dtype(pipe: Gen3DFacePipeline, folder: Path, dtype: torch.dtype) -> None:
    """`save_pretrained` with the weights in a dtype; the pipeline stays as it is."""
    modules = [c for c in pipe.components.values() if isinstance(c, nn.Module)]
    kept = [(p, p.data) for m in modules for p in m.parameters()]
    try:
        for parameter, data in kept:
            parameter.data = data.to(dtype)
        pipe.save_pretrained(folder)
    finally:
        for parameter, data in kept:
            parameter.data = data
