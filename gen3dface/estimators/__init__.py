"""From a photo to a head: shape, expression, pose and camera."""

from gen3dface.estimators.default import estimate
from gen3dface.estimators.head_fit import HeadFit

__all__ = ["HeadFit", "estimate"]
