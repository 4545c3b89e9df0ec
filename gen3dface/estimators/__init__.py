"""From a photo to a head: shape, expression, pose and camera."""

from gen3dface.estimators.default import estimate
from gen3dface.estimators.head_fit import HeadFit
from gen3dface.estimators.registry import ESTIMATORS, Estimator, load_estimator
from gen3dface.estimators.together import estimate_together
from gen3dface.estimators.uncertainty import Uncertainty

__all__ = ["ESTIMATORS", "Estimator", "HeadFit", "Uncertainty", "estimate", "estimate_together", "load_estimator"]
