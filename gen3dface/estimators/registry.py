"""Estimators by name: the default one, and networks whose checkpoints the user has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from gen3dface.errors import ConfigError
from gen3dface.estimators.deca import DecaEstimator, read_deca
from gen3dface.estimators.default import estimate
from gen3dface.estimators.mica import MicaEstimator, read_mica
from gen3dface.estimators.smirk import SmirkEstimator, read_smirk
from gen3dface.heads import HeadModel, load_head_model

if TYPE_CHECKING:
    from gen3dface.estimators.head_fit import HeadFit
    from gen3dface.photo.portrait import Portrait


class Estimator(Protocol):
    """A photo to a head."""

    @property
    def model(self) -> HeadModel:
        """That the heads belong to."""

    def __call__(self, portrait: Portrait) -> HeadFit:
        """The head in a photo. Raises EstimationError where it finds none."""


@dataclass(frozen=True)
class DefaultEstimator:
    """`estimate` with a head model of one's choice."""

    model: HeadModel

    def __call__(self, portrait: Portrait) -> HeadFit:
        """See `estimate`."""
        return estimate(portrait, self.model)


@dataclass(frozen=True)
class _Network:
    """How a checkpoint becomes an estimator."""

    read: Callable[[str | Path], torch.nn.Module]
    estimator: Callable[[Any, HeadModel, torch.device | str], Estimator]


DEFAULT = "default"
_NETWORKS = {
    "deca": _Network(read_deca, DecaEstimator),
    "smirk": _Network(read_smirk, SmirkEstimator),
    "mica": _Network(read_mica, MicaEstimator),
}
ESTIMATORS = (DEFAULT, *_NETWORKS)


def load_estimator(
    name: str = DEFAULT,
    checkpoint: str | Path | None = None,
    head: str | Path | HeadModel | None = None,
    device: torch.device | str | None = None,
) -> Estimator:
    """An estimator by name.

    Args:
        name: default, deca, smirk or mica.
        checkpoint: the network's file, as its authors published it; none for the default.
        head: a head model, or the name or folder of one; FLAME 2020 for the networks (default: the bundled head).
        device: where the network computes (default: cpu).

    Raises:
        ConfigError: the name is unknown, or does not go with what else was given.
        CheckpointError: the file is missing, unsafe, or holds another network.
        HeadModelError: the head model cannot be read, or is not what the network was trained with.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"There is no estimator named {name!r}; choose one of {', '.join(ESTIMATORS)}.")
    if name == DEFAULT:
        if checkpoint is not None:
            raise ConfigError("The default estimator comes with the package and takes no checkpoint.")
        return DefaultEstimator(_head(head))
    if checkpoint is None or head is None:
        raise ConfigError(f"The estimator {name} needs its checkpoint and FLAME 2020; the package may ship neither.")
    network = _NETWORKS[name]
    where = torch.device("cpu" if device is None else device)
    # the head first: it is read sooner
    model = _head(head)
    return network.estimator(network.read(checkpoint).to(where), model, where)


def _head(head: str | Path | HeadModel | None) -> HeadModel:
    if isinstance(head, HeadModel):
        return head
    return load_head_model() if head is None else load_head_model(str(head))
