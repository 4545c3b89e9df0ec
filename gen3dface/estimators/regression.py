"""Identity from detected landmarks by ridge regression, learned from pictures of random heads.

The detector draws towards its own average face and errs in patches; a regression from what it says of known heads
undoes what can be undone. Features are the principal components of the landmarks, turned to the front by Procrustes
alignment to the mean head, their products with the viewing direction, and the expression network's weights, so that
an expression is not taken for an identity. It is learned from pictures of OpenHead's sliders, carried over to a
population of heads that goes back to scans of real people (ICT-FaceKit Light), and refined on pictures of that
population itself. Its mean and covariance come along for photos that the regression does not understand.
tools/train_estimator.py makes the data file.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from gen3dface.errors import EstimationError
from gen3dface.estimators.priors import ShapePrior
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES

if TYPE_CHECKING:
    from gen3dface.heads import HeadModel

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
INTERACTIONS = 30  # components that are also multiplied with the viewing direction
KNOWN_WEIGHTS = 51  # expression weights that the network gives; tongueOut is always 0


@dataclass(frozen=True)
class Regressor:
    """identity = features @ weights + intercept, with Gaussian residuals."""

    model_digest: str  # of the head model's identity basis, see `model_digest`
    population_mean: Array  # [K]
    population_covariance: Array  # [K, K]
    reference: Array  # [478, 3] landmarks of the mean head, metres
    trust: Array  # [478] weights of the alignment, sum 1
    centre: Array  # [1434] mean of the aligned landmarks' offsets from the reference
    components: Array  # [1434, C] to unit-variance components
    feature_mean: Array  # [F]
    feature_scale: Array  # [F]
    weights: Array  # [F, K]
    intercept: Array  # [K]
    covariance: Array  # [K, K] of the residual, measured on pictures kept out of the fit
    range_precision: Array  # [C + 2, C + 2] of components and viewing direction over the training pictures
    range_limit: float  # squared Mahalanobis distance beyond which an input is foreign

    def population(self) -> ShapePrior:
        """What is believed of a person before the photo is seen."""
        return ShapePrior.from_covariance(self.population_mean, self.population_covariance)

    def predict(self, landmarks: NDArray[np.floating], blendshapes: NDArray[np.floating]) -> ShapePrior | None:
        """A Gaussian over identity, or None when the landmarks lie outside the training range.

        Args:
            landmarks: [478, 3] px as in Portrait. blendshapes: [52] in 0..1.
        """
        components, view = self.components_of(landmarks[None].astype(np.float64))
        place = np.concatenate([components[0], view[0]]) - self.feature_mean[: components.shape[1] + 2]
        if place @ self.range_precision @ place > self.range_limit:
            return None
        mean = self.features(landmarks[None], blendshapes[None])[0] @ self.weights + self.intercept
        return replace(ShapePrior.from_covariance(mean, self.covariance), landmarks_read=True)

    def features(self, landmarks: NDArray[np.floating], blendshapes: NDArray[np.floating]) -> Array:
        """[N, 478, 3] px and [N, 52] -> standardised features [N, F]."""
        components, view = self.components_of(landmarks.astype(np.float64))
        stacked = stack_features(components, view, blendshapes.astype(np.float64))
        return np.asarray((stacked - self.feature_mean) / self.feature_scale)

    def components_of(self, landmarks: Array) -> tuple[Array, Array]:
        """[N, 478, 3] px -> components [N, C] and viewing direction [N, 2] (x, y of the camera in the head's frame)."""
        aligned, rotations = frontalise(landmarks, self.reference, self.trust)
        offsets = (aligned - self.reference).reshape(len(landmarks), -1)
        return (offsets - self.centre) @ self.components, rotations[:, :2, 2]


def stack_features(components: Array, view: Array, blendshapes: Array) -> Array:
    """[N, F]: components, view, its square, products, expression weights (in this order)."""
    leading = components[:, :INTERACTIONS]
    return np.concatenate(
        [components, view, view**2, view[:, :1] * leading, view[:, 1:] * leading, blendshapes[:, :KNOWN_WEIGHTS]], 1
    )


def frontalise(landmarks: Array, reference: Array, trust: Array) -> tuple[Array, Array]:
    """Weighted similarity alignment (Umeyama 1991) of detected landmarks to the mean head's.

    Args:
        landmarks: [N, 478, 3] px, MediaPipe's axes (y down, z smaller nearer the camera).
        reference: [478, 3] metres. trust: [478], sum 1.

    Returns:
        aligned landmarks [N, 478, 3] metres and the rotations [N, 3, 3] that turned them.
    """
    points = landmarks * np.array([1.0, -1.0, -1.0])
    points = points - (points * trust[:, None]).sum(1, keepdims=True)
    centre = (reference * trust[:, None]).sum(0)
    left, values, right = np.linalg.svd(np.einsum("nli,lj,l->nji", points, reference - centre, trust))
    signs = np.ones_like(values)
    signs[:, 2] = np.sign(np.linalg.det(left @ right))
    rotations = (left * signs[:, None]) @ right
    scale = (values * signs).sum(-1) / np.einsum("nli,nli,l->n", points, points, trust)
    return scale[:, None, None] * points @ rotations.mT + centre, rotations


def mirrored(landmarks: NDArray, blendshapes: NDArray, reference: Array) -> tuple[NDArray, NDArray]:
    """Landmarks [N, 478, 3] and expression weights [N, 52] of the pictures turned over, left for right."""
    swapped = [n.replace("Left", "#").replace("Right", "Left").replace("#", "Right") for n in BLENDSHAPE_NAMES]
    order = [BLENDSHAPE_NAMES.index(name) for name in swapped]
    return landmarks[:, _partners(reference.tobytes())] * np.array([-1, 1, 1]), blendshapes[:, order]


@cache
def _partners(reference: bytes) -> NDArray[np.int64]:
    """[478] which landmark lies on the other side, by the mean head's landmarks (float64 [478, 3])."""
    points = np.frombuffer(reference).reshape(-1, 3)
    return np.asarray(cKDTree(points).query(points * [-1, 1, 1])[1], np.int64)


def model_digest(model: HeadModel) -> str:
    """What ties a regressor to the coefficients it was trained for."""
    return hashlib.sha256(model.template.numpy().tobytes() + model.identity_basis.numpy().tobytes()).hexdigest()


@cache
def bundled_regressor() -> Regressor:
    """The regressor for OpenHead that ships with the package.

    Raises:
        EstimationError: its data file is missing or damaged.
    """
    try:
        path = resources.files("gen3dface.estimators") / "data" / "regressor.npz"
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return read_regressor(archive)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise EstimationError(
            f"The regressor's data file is missing or damaged; reinstall gen3dface. ({error!r})"
        ) from error


def read_regressor(archive: Mapping[str, NDArray]) -> Regressor:
    """A regressor from its data file's arrays; raises KeyError, ValueError or TypeError where these are not such."""
    values: dict[str, Any] = {
        "model_digest": str(archive["model_digest"]),
        "range_limit": float(archive["range_limit"]),
    }
    names = [f.name for f in fields(Regressor) if f.name not in values]
    values |= {name: archive[name].astype(np.float64) for name in names}
    return Regressor(**values)


def regressor_for(model: HeadModel) -> Regressor | None:
    """The bundled regressor if it was trained for this very model, else None (a landmark fit alone is used)."""
    if model.name != "openhead":
        return None
    regressor = bundled_regressor()
    if regressor.model_digest != model_digest(model):
        logger.warning("The bundled regressor was trained for another OpenHead; identity comes from the fit alone.")
        return None
    return regressor
