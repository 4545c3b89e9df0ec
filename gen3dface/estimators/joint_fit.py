"""The landmark fit of several photos of one person: one identity, each photo's own pose, lens, expression and gaze.

The cost is the sum of the photos' costs (see `landmark_fit`), with the belief about identity counted once. Given the
identity the photos know nothing of each other, so each Levenberg-Marquardt step solves for the identity with the
photos' own unknowns eliminated (Schur complement), then for each photo's own: the time grows with the number of
photos, not with its cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import EstimationError
from gen3dface.estimators.landmark_fit import (
    POSE,
    SHARED,
    FitProblem,
    FitState,
    LandmarkFit,
    active_unknowns,
    advance,
    checked_pixels,
    cost_of,
    finished,
    normal_equations,
    prepare,
)
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.priors import LensPrior, ShapePrior

Array = NDArray[np.float64]
_ITERATIONS = 60


@dataclass(frozen=True)
class View:
    """What one photo gives."""

    pixels: Array  # [478, 2] relative to the principal point, y down
    lens: LensPrior
    expression: Array  # [E] expected weights 0..1


@dataclass(frozen=True)
class OwnStep:
    """One photo's share of the normal equations: its own unknowns' (active ones only) and their ties to identity."""

    own: NDArray[np.int64]  # [A] which unknowns move
    gain: Array  # [A, K]: own step = -(offset + gain @ identity step)
    offset: Array  # [A]


def fit_together(
    model: LandmarkModel, views: Sequence[View], shape: ShapePrior | None = None, shared: float = SHARED
) -> list[LandmarkFit]:
    """Fit `model` to all `views` at once, in their order; all results have the same identity.

    Args:
        shape: belief about identity (default: the model's own). shared: how many independent landmarks one counts as.

    Raises:
        EstimationError: there is no view, or one's landmarks are not numbers or admit no pose before its camera.
    """
    if not views:
        raise EstimationError("A person is fitted to one photo or more, got none.")
    shape = shape or ShapePrior.standard(model.identity_size)
    nothing = ShapePrior(shape.mean, np.zeros_like(shape.whitening))
    problems, states = [], []
    for view in views:
        pixels = checked_pixels(model, view.pixels)
        problem, state = prepare(model, pixels, view.lens, shape, np.clip(view.expression, 0.0, 1.0), shared)
        problems.append(replace(problem, shape=nothing))
        states.append(state)
    states = _levenberg_marquardt(problems, states, shape)
    return [finished(problem, state) for problem, state in zip(problems, states, strict=True)]


def _levenberg_marquardt(problems: list[FitProblem], states: list[FitState], shape: ShapePrior) -> list[FitState]:
    damping, cost = 1e-4, _cost(problems, states, shape)
    for _ in range(_ITERATIONS):
        blocks = [block_of(problem, state) for problem, state in zip(problems, states, strict=True)]
        while damping < 1e8:
            candidates = _stepped(blocks, states, shape, damping)
            reached = _cost(problems, candidates, shape)
            if reached < cost:
                break
            damping *= 8
        else:
            return states
        small = cost - reached < 1e-9 * (1 + cost)
        states, cost, damping = candidates, reached, max(damping / 10, 1e-10)
        if small:
            return states
    return states


def block_of(problem: FitProblem, state: FitState) -> tuple[Array, Array, NDArray[np.int64]]:
    """Gradient and Hessian of one photo's cost, and which unknowns may move."""
    gradient, hessian = normal_equations(problem, state)
    return gradient, hessian, active_unknowns(state, gradient)


def _cost(problems: list[FitProblem], states: list[FitState], shape: ShapePrior) -> float:
    away = shape.standardise(states[0].identity)
    return sum(cost_of(p, s) for p, s in zip(problems, states, strict=True)) + float(away @ away) / 2


def _stepped(
    blocks: list[tuple[Array, Array, NDArray[np.int64]]], states: list[FitState], shape: ShapePrior, damping: float
) -> list[FitState]:
    """All states after one damped step."""
    size = len(shape.mean)
    identity = np.arange(POSE, POSE + size)
    gradient = shape.whitening.T @ shape.standardise(states[0].identity)
    hessian = shape.whitening.T @ shape.whitening
    hessian = hessian + sum(h[np.ix_(identity, identity)] for _, h, _ in blocks)
    hessian[np.diag_indices(size)] *= 1 + damping
    steps = []
    for slope, curvature, active in blocks:
        step = eliminated(slope, curvature, np.setdiff1d(active, identity), identity, damping)
        ties = curvature[np.ix_(identity, step.own)]
        gradient = gradient + slope[identity] - ties @ step.offset
        hessian = hessian - ties @ step.gain
        steps.append(step)
    moved = -np.linalg.solve(hessian, gradient)
    out = []
    for state, step, (slope, _, _) in zip(states, steps, blocks, strict=True):
        whole = np.zeros_like(slope)
        whole[identity] = moved
        whole[step.own] = -(step.offset + step.gain @ moved)
        out.append(advance(state, whole))
    return out


def eliminated(
    gradient: Array, hessian: Array, own: NDArray[np.int64], identity: NDArray[np.int64], damping: float
) -> OwnStep:
    block = hessian[np.ix_(own, own)]
    block[np.diag_indices(len(own))] *= 1 + damping
    right = np.column_stack([hessian[np.ix_(own, identity)], gradient[own]])
    solved = np.asarray(np.linalg.solve(block, right), np.float64)
    return OwnStep(own, solved[:, :-1], solved[:, -1])
