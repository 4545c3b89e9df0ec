"""What is believed before the landmarks are seen: shape, lens, gaze, and how far detected landmarks stray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gen3dface.photo.landmarks import FACE_OVAL

Array = NDArray[np.float64]

# Eyes (lids and iris), nose ridge and wings, lips: corners and edges that the detector finds to about a pixel.
EYES = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 263, 249, 390, 373, 374, 380, 381,
    382, 362, 398, 384, 385, 386, 387, 388, 466, *range(468, 478),
)  # fmt: skip
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 294, 278, 344, 440, 275, 45, 220, 115, 48, 64)
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87,
    14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip

READ_SHARE = 0.4
_LEAST_MEASURED = 0.02  # least precision of a measurement over the population's


@dataclass(frozen=True)
class ShapePrior:
    """Gaussian over identity: whitening (z - mean) ~ N(0, 1)."""

    mean: Array  # [K]
    whitening: Array  # [K, K]
    landmarks_read: bool = False  # whether it already knows the landmarks that a fit around it will be given

    @classmethod
    def standard(cls, size: int) -> ShapePrior:
        """The head model's own prior: unit normal around the mean head."""
        return cls(np.zeros(size), np.eye(size))

    @classmethod
    def from_covariance(cls, mean: Array, covariance: Array) -> ShapePrior:
        return cls(mean, np.linalg.inv(np.linalg.cholesky(covariance)))

    def standardise(self, identity: Array) -> Array:
        """[K] coefficients that are N(0, 1) under this belief."""
        return self.whitening @ (identity - self.mean)

    @classmethod
    def combined(cls, beliefs: Sequence[ShapePrior], population: ShapePrior, common: float) -> ShapePrior:
        """What several photos of one person tell together, each having been asked alone.

        Every belief is a measurement of the person times the population, so that its precision is the population's
        plus the measurement's. Errors of two measurements correlate by `common` (0: independent, 1: the same), so n of
        them weigh as much as n / (1 + (n - 1) common). Directions in which a belief is wider than the population count
        as hardly measured.

        Raises:
            ValueError: there is no belief, or `common` lies outside 0..1.
        """
        if not beliefs or not 0 <= common <= 1:
            raise ValueError(f"Needs a belief or more and errors in common of 0..1, got {len(beliefs)}, {common}.")
        share = 1 / (1 + (len(beliefs) - 1) * common)
        back = np.linalg.inv(population.whitening)
        precision, pull = np.eye(len(back)), np.zeros(len(back))  # where the population is N(0, 1)
        for belief in beliefs:
            root = belief.whitening @ back
            values, axes = np.linalg.eigh(root.T @ root)
            own = (axes * np.maximum(values, 1 + _LEAST_MEASURED)) @ axes.T
            precision += share * (own - np.eye(len(own)))
            pull += share * own @ population.standardise(belief.mean)
        mean = population.mean + back @ np.linalg.solve(precision, pull)
        whitening = np.linalg.cholesky(precision).T @ population.whitening
        return cls(mean, whitening, any(belief.landmarks_read for belief in beliefs))

    def before_landmarks(self) -> ShapePrior:
        """The belief to fit landmarks around: one that has read them is held tighter, or they would count twice.

        On 24 tuning heads (benchmark seeds 1000-1023) a fit around the belief as it stands is farther from the truth
        than the belief; around one of READ_SHARE of its covariance it no longer is, at a quarter or less as well.
        """
        return replace(self, whitening=self.whitening / math.sqrt(READ_SHARE)) if self.landmarks_read else self

    def with_settled_size(self, size_slope: Array, spread: float = 0.01) -> ShapePrior:
        """The same belief, but the head's size is all but settled at the mean's.

        Landmarks show shape, never size: left free, a fit takes odd shapes for small heads or large ones.

        Args:
            size_slope: [K] relative change of size by each coefficient. spread: of the size, relative.
        """
        precision = self.whitening.T @ self.whitening + np.outer(size_slope, size_slope) / spread**2
        return replace(self, whitening=np.linalg.cholesky(precision).T)


@dataclass(frozen=True)
class LensPrior:
    """Log-normal beliefs about the focal length (px): by the field of view, and by the distance to the face.

    A cropped photo betrays its lens badly and a face's distance is seldom under 0.4 m, so both have a say. A focal
    length known from EXIF replaces the first with a narrow one.
    """

    focal: float  # px
    focal_spread: float  # standard deviation of log focal
    distance: float = 1.2  # metres
    distance_spread: float = 0.6  # standard deviation of log distance

    @classmethod
    def for_image(cls, height: int, width: int, focal: float | None = None) -> LensPrior:
        """Portraits: 25 degrees over the longer side, give or take a third; a known `focal` (px) to 3 %."""
        if focal is not None:
            return cls(focal, 0.03)
        return cls(max(height, width) / (2 * math.tan(math.radians(12.5))), 0.35)


@dataclass(frozen=True)
class FitPriors:
    """Standard deviations of the fit's other beliefs."""

    expression: float = 0.15  # of each ARKit weight around what the expression network read
    gaze: float = math.radians(15)  # of each eye's yaw and pitch
    squint: float = math.radians(3)  # of the difference between the two eyes


def landmark_spread() -> Array:
    """[478] standard deviation of detected landmarks over the inter-ocular distance, seen from the front."""
    spread = np.full(478, 0.022)
    spread[list(NOSE)] = 0.015
    spread[list(EYES)] = 0.012
    spread[list(LIPS)] = 0.015
    spread[list(FACE_OVAL)] = 0.04  # the detector slides them along the cheek
    return spread


def far_side_factor(facing: Array) -> Array:
    """How much looser landmarks are whose surface turns away; facing [L] is the cosine to the viewer."""
    return 1 + 2.5 * np.clip(0.45 - facing, 0, 1)
