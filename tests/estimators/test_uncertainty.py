"""Standard deviations against the inverse of the whole normal matrix, and against what must be more or less certain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gen3dface.estimators import landmark_fit, uncertainty
from gen3dface.estimators.joint_fit import View, fit_together
from gen3dface.estimators.landmark_fit import fit_landmarks, normal_equations
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.priors import LensPrior, ShapePrior
from gen3dface.estimators.uncertainty import uncertainties
from gen3dface.heads import HeadModel
from tests.estimators.synthetic import draw

LENS = LensPrior(3000.0, 0.03)


def test_one_photo_by_the_whole_matrix(model: HeadModel, landmarks: LandmarkModel) -> None:
    belief = ShapePrior.standard(landmarks.identity_size)
    # every weight well inside its bounds, so that all unknowns are free
    expected = np.full(landmarks.expression_size, 0.3)
    fit = fit_landmarks(landmarks, draw(landmarks, model, 2, yaw=20).pixels, LENS, belief, expected)
    free = replace(fit.state, expression=expected)
    fit = replace(fit, state=free)
    found = uncertainties([fit], belief)[0]
    shared = fit.problem.shared * uncertainty.SHARED / landmark_fit.SHARED
    _, hessian = normal_equations(replace(fit.problem, shared=shared), free)
    variances = np.diag(np.linalg.inv(hessian))
    turn = np.degrees(np.sqrt(variances[1:3]))
    assert np.allclose(found.rotation[1:].numpy(), turn, rtol=1e-3)
    first = landmark_fit.POSE
    assert np.allclose(found.identity.numpy(), np.sqrt(variances[first : first + landmarks.identity_size]), rtol=1e-3)


def test_more_photos_leave_less_open(model: HeadModel, landmarks: LandmarkModel) -> None:
    belief = ShapePrior.standard(landmarks.identity_size)
    views = [
        View(draw(landmarks, model, 5, yaw=yaw).pixels, LENS, np.zeros(landmarks.expression_size))
        for yaw in (-30, 0, 30)
    ]
    one = uncertainties(fit_together(landmarks, views[1:2], belief), belief)[0]
    three = uncertainties(fit_together(landmarks, views, belief), belief)
    assert all((deviation.identity == three[0].identity).all() for deviation in three)
    assert (three[0].identity <= one.identity + 1e-4).all()
    assert three[0].identity.mean() < 0.97 * one.identity.mean()
    assert (one.identity <= 1 + 1e-4).all()  # never more than the belief's own
