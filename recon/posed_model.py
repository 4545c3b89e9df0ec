"""A head model where the views show a head: at rest and in their expression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.estimators import HeadFit
from gen3dface.heads import HeadModel


@dataclass(frozen=True)
class PosedModel:
    """A head model's V vertices in the world, metres."""

    rest: Tensor  # [V, 3] without expression
    posed: Tensor  # [V, 3] as the views show it
    joints: Tensor  # [J, 3] at rest
    turn: Tensor  # [3, 3] from the model's frame to the world's, with its scale: how expressions move the vertices
    expression: Tensor  # [M] in 0..1

    @classmethod
    def of_fit(cls, fit: HeadFit, model: HeadModel) -> PosedModel:
        """The head that an estimator found; hanging hair is left out."""
        neutral = fit.neutral_mesh(model)
        return cls(neutral.vertices, fit.mesh(model).vertices, neutral.joints, torch.eye(3), fit.expression)
