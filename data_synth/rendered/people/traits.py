"""Who a person is: the latents that shape, skin, hair and clothes share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.makehuman_skin import people_data
from gen3dface.estimators.regression import bundled_regressor

Array = NDArray[np.float64]

_REACH = np.array([1.7, 1.4, 1.4, 1.3, 1.0])  # of the population's deviations: sexes and ages lie further apart
_SPREAD = 0.85  # of the population's identities: its tails look like caricatures


@dataclass(frozen=True)
class Traits:
    """Sex, age and looks of a person."""

    male: float  # 0 female .. 1 male
    years: float  # 16 .. 85
    melanin: float  # 0 pale .. 1 very dark
    african: float  # 0 .. 1, how far the face's shape goes that way
    asian: float  # 0 .. 1
    heavy: float  # about N(0, 1)

    @property
    def age(self) -> float:
        """0 young .. 1 old."""
        return float(np.clip((self.years - 20) / 60, 0, 1))


def random_traits(generator: np.random.Generator) -> Traits:
    """Adults of all ages and descents, half of them women."""
    male = generator.beta(6, 1.5) if generator.random() < 0.5 else generator.beta(1.5, 6)
    years = 16 + 69 * generator.beta(1.3, 1.9)
    african, asian, _ = generator.dirichlet([0.45] * 3)
    melanin = 0.75 * african + 0.28 * asian + 0.15 * (1 - african - asian) + generator.normal(0, 0.12)
    if generator.random() < 0.2:  # South Asia, the Americas: dark skin with other shapes
        melanin = generator.uniform(0.3, 0.75)
    return Traits(float(male), float(years), float(np.clip(melanin, 0, 1)), african, asian, generator.normal())


def random_identity(traits: Traits, generator: np.random.Generator) -> Array:
    """[K] coefficients of OpenHead: drawn from the learned population, given what the traits say of them.

    Conditioning by Matheron's rule: z + C G^T (G C G^T)^-1 (a - G z), with C the population's covariance and G the
    readout of tools/build_people_data.py. The traits are taken in the population's own units, since the readout was
    learned from MakeHuman's heads and people vary around another mean.
    """
    regressor = bundled_regressor()
    mean, covariance = regressor.population_mean, regressor.population_covariance
    readout = people_data()["readout"].astype(np.float64)
    shared = readout @ covariance @ readout.T
    drawn = mean + _SPREAD * np.linalg.cholesky(covariance) @ generator.normal(size=len(mean))
    wanted = readout @ mean + np.sqrt(np.diag(shared)) * _REACH * _standardised(traits)
    gain = covariance @ readout.T @ np.linalg.inv(shared)
    return np.asarray(drawn + gain @ (wanted - readout @ drawn))


def _standardised(traits: Traits) -> Array:
    """[5] male, old, african, asian, heavy, about unit variance over `random_traits`, within two deviations."""
    raw = np.array(
        [
            (traits.male - 0.5) / 0.36,
            (traits.age - 0.4) / 0.27,
            (traits.african - 0.33) / 0.31,
            (traits.asian - 0.33) / 0.31,
            0.8 * traits.heavy,
        ]
    )
    return np.clip(raw, -2, 2)
