"""From a photo to a head: shape, expression, pose and camera."""

from gen3dface.estimators.default import estimate
from gen3dface.estimators.head_fit import HeadFit
from gen3dface.estimators.registry import ESTIMATORS, Estimator, load_estimator

__all__ = ["ESTIMATORS", "Estimator", "HeadFit", "estimate", "load_estimator"]
