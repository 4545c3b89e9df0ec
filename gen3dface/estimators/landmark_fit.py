"""Maximum a posteriori fit of a head and a perspective camera to 478 landmarks.

Minimises   shared * sum_l (nu + 2) / 2 log(1 + |r_l|^2 / (nu s_l^2))  +  |W (z - m)|^2 / 2  +  other Gaussian priors
by Levenberg-Marquardt with analytic derivatives and iteratively reweighted Student-t landmarks, in float64. `r_l` is
a landmark's reprojection error and `s_l` its spread. Landmark errors come in patches (a whole brow, a whole jaw), so
the 478 count as `shared` times as many independent ones. Expression weights stay in 0..1 by an active set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import EstimationError
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.pose import perspective_start, skew, turn, weak_perspective_pose
from gen3dface.estimators.priors import FitPriors, LensPrior, ShapePrior, far_side_factor, landmark_spread

Array = NDArray[np.float64]

STUDENT_NU = 4.0
SHARED = 0.1
GAZE_LIMIT = np.radians(35)
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
_ITERATIONS = 60
# Pose unknowns: rotation step 3, the head's origin in the picture 2 (px), log scale (px per metre), log distance.
# In these, zooming out while stepping nearer, which the landmarks hardly feel, is one unknown by itself.
POSE = 7


@dataclass(frozen=True)
class FitState:
    """All unknowns."""

    rotation: Array  # [3, 3] head to camera
    translation: Array  # [3] metres
    focal: float  # px
    identity: Array  # [K]
    expression: Array  # [E]
    gaze: Array  # [2, 2] radians: left, right eye; yaw, pitch


@dataclass(frozen=True)
class FitProblem:
    """What is given."""

    model: LandmarkModel
    pixels: Array  # [L, 2] relative to the principal point
    spread: Array  # [L] px
    shape: ShapePrior
    expression: Array  # [E] prior mean
    lens: LensPrior
    priors: FitPriors
    shared: float = SHARED


@dataclass(frozen=True)
class LandmarkFit:
    """The best state of a problem, each landmark's reprojection error, and the inter-ocular distance, both in px."""

    problem: FitProblem
    state: FitState
    residual: Array  # [L] px
    interocular: float  # px, outer corners, as if seen from the front at its distance


def fit_landmarks(
    model: LandmarkModel,
    pixels: Array,
    lens: LensPrior,
    shape: ShapePrior | None = None,
    expression: Array | None = None,
    priors: FitPriors | None = None,
    shared: float = SHARED,
) -> LandmarkFit:
    """Fit `model` to `pixels` [478, 2], relative to the principal point, y down.

    Args:
        lens: belief about the focal length. shape: belief about identity (default: the model's own).
        expression: [E] expected weights 0..1 (default 0). shared: see the module.

    Raises:
        EstimationError: the landmarks are not numbers or admit no pose in front of the camera.
    """
    shape = shape or ShapePrior.standard(model.identity_size)
    expected = np.zeros(model.expression_size) if expression is None else np.clip(expression, 0.0, 1.0)
    problem, state = prepare(model, checked_pixels(model, pixels), lens, shape, expected, shared, priors)
    return finished(problem, _levenberg_marquardt(problem, state, None))


def checked_pixels(model: LandmarkModel, pixels: Array) -> Array:
    """[478, 2] -> the [L, 2] that the model carries. Raises EstimationError unless they are numbers."""
    pixels = np.asarray(pixels, np.float64)[model.index]
    if not np.isfinite(pixels).all():
        raise EstimationError("Some landmarks are not numbers.")
    return pixels


def prepare(
    model: LandmarkModel,
    pixels: Array,
    lens: LensPrior,
    shape: ShapePrior,
    expression: Array,
    shared: float = SHARED,
    priors: FitPriors | None = None,
) -> tuple[FitProblem, FitState]:
    """The problem, and a start whose pose fits the mean head; the landmarks' spread follows from that pose."""
    state = _start(model, pixels, lens, shape, expression)
    spread = _spread(model, state)
    problem = FitProblem(model, pixels, spread, shape, expression, lens, priors or FitPriors(), shared)
    state = _levenberg_marquardt(problem, state, np.arange(POSE - 1))
    return replace(problem, spread=_spread(model, state)), state


def finished(problem: FitProblem, state: FitState) -> LandmarkFit:
    """A state with what it leaves open."""
    residual = np.linalg.norm(project(problem.model, state) - problem.pixels, axis=-1)
    return LandmarkFit(problem, state, residual, interocular_pixels(problem.model, state))


def project(model: LandmarkModel, state: FitState) -> Array:
    """[L, 2] px from the principal point."""
    local = model.positions(state.identity, state.expression, state.gaze) @ state.rotation.T + state.translation
    return state.focal * local[:, :2] / local[:, 2:]


def interocular_pixels(model: LandmarkModel, state: FitState) -> float:
    """Distance of the outer eye corners in px, as if seen from the front at the eyes' distance."""
    points = model.positions(state.identity, state.expression, state.gaze)
    corners = points[np.searchsorted(model.index, [RIGHT_EYE_OUTER, LEFT_EYE_OUTER])]
    depth = (corners.mean(0) @ state.rotation.T + state.translation)[2]
    return float(state.focal * np.linalg.norm(corners[1] - corners[0]) / depth)


def _start(model: LandmarkModel, pixels: Array, lens: LensPrior, shape: ShapePrior, expression: Array) -> FitState:
    gaze = np.zeros((2, 2))
    points = model.positions(shape.mean, expression, gaze)
    weights = 1 / landmark_spread()[model.index] ** 2
    rotation, scale, origin = weak_perspective_pose(points, pixels, weights)
    # the focal length at which both beliefs are equally (un)happy: log f = log f0, log d = log d0, f = scale d
    trust, other = lens.focal_spread**-2, lens.distance_spread**-2
    log_focal = (trust * np.log(lens.focal) + other * np.log(lens.distance * scale)) / (trust + other)
    focal = float(np.exp(log_focal))
    return FitState(rotation, perspective_start(scale, origin, focal), focal, shape.mean, expression, gaze)


def _spread(model: LandmarkModel, state: FitState) -> Array:
    """[L] px."""
    points = model.positions(state.identity, state.expression, state.gaze) @ state.rotation.T + state.translation
    facing = -(model.normals @ state.rotation.T * points).sum(-1) / np.linalg.norm(points, axis=-1)
    return landmark_spread()[model.index] * far_side_factor(facing) * interocular_pixels(model, state)


def _levenberg_marquardt(problem: FitProblem, state: FitState, free: NDArray[np.int64] | None) -> FitState:
    """Minimise over the `free` unknowns (all when None)."""
    damping, cost = 1e-4, cost_of(problem, state)
    for _ in range(_ITERATIONS):
        gradient, hessian = normal_equations(problem, state)
        active = active_unknowns(state, gradient, free)
        while damping < 1e8:
            candidate = advance(state, _damped_step(gradient, hessian, active, damping))
            reached = cost_of(problem, candidate)
            if reached < cost:
                break
            damping *= 8
        else:
            return state
        small = cost - reached < 1e-9 * (1 + cost)
        state, cost, damping = candidate, reached, max(damping / 10, 1e-10)
        if small:
            return state
    return state


def _damped_step(gradient: Array, hessian: Array, active: NDArray[np.int64], damping: float) -> Array:
    block = hessian[np.ix_(active, active)]
    block = block + damping * np.diag(block.diagonal())
    step = np.zeros_like(gradient)
    step[active] = -np.linalg.solve(block, gradient[active])
    return step


def active_unknowns(state: FitState, gradient: Array, free: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Unknowns that may move: a weight at its bound is held when the cost would push it further out."""
    first = POSE + len(state.identity)
    held = np.zeros(len(gradient), bool)
    slope = gradient[first : first + len(state.expression)]
    held[first : first + len(state.expression)] = ((state.expression <= 0) & (slope > 0)) | (
        (state.expression >= 1) & (slope < 0)
    )
    allowed = np.arange(len(gradient)) if free is None else free
    return allowed[~held[allowed]]


def advance(state: FitState, step: Array) -> FitState:
    pose, identity, expression, gaze = np.split(step, _sections(state))
    x, y, depth = state.translation
    scale = state.focal / depth
    zoomed, away = scale * np.exp(np.clip(pose[5], -1, 1)), depth * np.exp(np.clip(pose[6], -1, 1))
    return FitState(
        turn(state.rotation, pose[:3]),
        np.array([(x * scale + pose[3]) / zoomed, (y * scale + pose[4]) / zoomed, away]),
        float(zoomed * away),
        state.identity + identity,
        np.clip(state.expression + expression, 0, 1),
        np.clip(state.gaze + gaze.reshape(2, 2), -GAZE_LIMIT, GAZE_LIMIT),
    )


def _lens_basis(state: FitState) -> Array:
    """Derivatives [4, 4] of (translation, log focal) by the last four pose unknowns (rows)."""
    x, y, depth = state.translation
    metre = depth / state.focal
    return np.array([[metre, 0, 0, 0], [0, metre, 0, 0], [-x, -y, 0, 1], [0, 0, depth, 1]])


def _sections(state: FitState) -> list[int]:
    return np.cumsum([POSE, len(state.identity), len(state.expression)]).tolist()


def cost_of(problem: FitProblem, state: FitState) -> float:
    depth = problem.model.positions(state.identity, state.expression, state.gaze) @ state.rotation[2]
    if (depth + state.translation[2]).min() < 0.02:  # behind the camera or touching it
        return np.inf
    squared = (((project(problem.model, state) - problem.pixels) / problem.spread[:, None]) ** 2).sum(-1)
    data = problem.shared * (STUDENT_NU + 2) / 2 * np.log1p(squared / STUDENT_NU).sum()
    residual, _ = _prior_terms(problem, state)
    return float(data + residual @ residual / 2)


def normal_equations(problem: FitProblem, state: FitState) -> tuple[Array, Array]:
    """Gradient and Gauss-Newton Hessian over (pose 7, identity, expression, gaze 4)."""
    residual, jacobian = residuals(problem, state)
    scaled = residual / problem.spread[:, None]
    weight = problem.shared * (STUDENT_NU + 2) / (STUDENT_NU + (scaled**2).sum(-1)) / problem.spread**2
    flat = (jacobian * weight[:, None]).reshape(len(jacobian), -1)
    prior_residual, prior_jacobian = _prior_terms(problem, state)
    gradient = flat @ residual.ravel() + prior_jacobian.T @ prior_residual
    hessian = flat @ jacobian.reshape(len(jacobian), -1).T + prior_jacobian.T @ prior_jacobian
    return gradient, hessian


def residuals(problem: FitProblem, state: FitState) -> tuple[Array, Array]:
    """Reprojection errors [L, 2] px and their derivatives [unknowns, L, 2]."""
    points, by_shape = problem.model.derivatives(state.identity, state.expression, state.gaze)
    turned = points @ state.rotation.T
    x, y, z = (turned + state.translation).T
    pixels = state.focal * np.column_stack([x / z, y / z])
    scale = state.focal / z
    lens = np.zeros((len(z), 2, 3))  # derivative of the projection by the camera-frame point
    lens[:, 0, 0] = lens[:, 1, 1] = scale
    lens[:, :, 2] = -pixels / z[:, None]
    by_turn = lens @ -skew(turned)
    rows = np.einsum("lij,plj->pli", lens, by_shape @ state.rotation.T, optimize=True)
    by_lens = np.tensordot(_lens_basis(state), np.concatenate([np.moveaxis(lens, -1, 0), pixels[None]]), 1)
    return pixels - problem.pixels, np.concatenate([np.moveaxis(by_turn, -1, 0), by_lens, rows])


def _prior_terms(problem: FitProblem, state: FitState) -> tuple[Array, Array]:
    """Whitened prior residuals [M] and their derivatives [M, unknowns]."""
    shape, lens, priors = problem.shape, problem.lens, problem.priors
    k, e = len(state.identity), len(state.expression)
    first_expression, first_gaze = POSE + k, POSE + k + e
    difference = state.gaze[0] - state.gaze[1]
    residual = np.concatenate(
        [
            shape.whitening @ (state.identity - shape.mean),
            (state.expression - problem.expression) / priors.expression,
            state.gaze.ravel() / priors.gaze,
            difference / priors.squint,
            [np.log(state.focal / lens.focal) / lens.focal_spread],
            [np.log(state.translation[2] / lens.distance) / lens.distance_spread],
        ]
    )
    jacobian = np.zeros((len(residual), first_gaze + 4))
    jacobian[:k, POSE:first_expression] = shape.whitening
    jacobian[k : k + e, first_expression:first_gaze] = np.eye(e) / priors.expression
    row = k + e
    jacobian[row : row + 4, first_gaze:] = np.eye(4) / priors.gaze
    jacobian[row + 4 : row + 6, first_gaze:] = np.hstack([np.eye(2), -np.eye(2)]) / priors.squint
    jacobian[row + 6, 5:POSE] = 1 / lens.focal_spread
    jacobian[row + 7, POSE - 1] = 1 / lens.distance_spread
    return residual, jacobian
