"""Hair, beard and brows that go with a person's sex, age and descent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.hair import BEARD_SHARES, FacialStyle, HairStyle, sample_facial, sample_style
from gen3dface.data_synth.rendered.people.traits import Traits

# relative chances of each cut for women and men; age and descent change them below
_WOMEN = {
    "buzz": 0.01, "short": 0.08, "crop": 0.03, "swept": 0.03, "bob": 0.19, "fringe": 0.12, "long": 0.21, "wavy": 0.13,
    "ponytail": 0.08, "bun": 0.07, "curly": 0.1, "afro": 0.02, "bald": 0.004,
}  # fmt: skip
_MEN = {
    "buzz": 0.13, "short": 0.3, "crop": 0.15, "swept": 0.13, "receding": 0.07, "ring": 0.05, "bald": 0.05, "bob": 0.01,
    "long": 0.025, "wavy": 0.015, "curly": 0.05, "afro": 0.02, "bun": 0.01,
}  # fmt: skip
_LOSING = ("receding", "ring", "bald")
# linear albedo: black, dark brown, brown, light brown, blond, red
_COLOURS = np.array(
    [[0.012, 0.010, 0.009], [0.035, 0.022, 0.015], [0.085, 0.05, 0.03], [0.17, 0.11, 0.065], [0.34, 0.23, 0.125],
     [0.2, 0.072, 0.027]]
)  # fmt: skip


@dataclass(frozen=True)
class Hairdo:
    """Everything that grows on a head."""

    hair: HairStyle
    facial: FacialStyle


def random_hairdo(
    traits: Traits, brows_in_skin: bool, generator: np.random.Generator, styles: torch.Generator
) -> Hairdo:
    """brows_in_skin: whether the skin's own texture shows brows. styles: draws the styles' numbers."""
    colour, grey = random_colour(traits, generator)
    style = sample_style(styles, _draw(_cut_chances(traits), generator), grey=grey)
    style = replace(style, colour=(float(colour[0]), float(colour[1]), float(colour[2])))
    facial = sample_facial(styles, _draw(_beard_chances(traits), generator), brows=not brows_in_skin)
    return Hairdo(style, facial)


def _draw(chances: dict[str, float], generator: np.random.Generator) -> str:
    weights = np.array(list(chances.values()))
    return list(chances)[generator.choice(len(weights), p=weights / weights.sum())]


def _cut_chances(traits: Traits) -> dict[str, float]:
    man = traits.male > 0.5
    chances = dict(_MEN if man else _WOMEN)
    for cut in _LOSING:
        if man:
            chances[cut] *= 0.15 + 3.5 * traits.age
    if traits.african > 0.6:
        chances |= {"afro": 0.16, "curly": 0.14, "buzz": chances["buzz"] * 2.2}
        for cut in ("wavy", "fringe", "swept"):
            chances[cut] = chances.get(cut, 0.0) * 0.3
    if traits.asian > 0.6:
        for cut in ("curly", "afro", "wavy"):
            chances[cut] *= 0.25
    if traits.age > 0.55 and not man:
        chances |= {"short": 0.3, "long": 0.08, "ponytail": 0.03}
    return chances


def _beard_chances(traits: Traits) -> dict[str, float]:
    if traits.male < 0.5 or traits.years < 19:
        return {"none": 1.0}
    chances = dict(BEARD_SHARES) | {"none": 0.5}
    if traits.asian > 0.6:
        chances["none"] *= 2.5
    return chances


def random_colour(traits: Traits, generator: np.random.Generator) -> tuple[NDArray[np.float32], float]:
    """[3] linear, and the share of grey strands: dark for dark skin, grey with age, sometimes dyed."""
    pale, dark = np.array([0.1, 0.24, 0.24, 0.2, 0.16, 0.06]), np.array([0.72, 0.23, 0.04, 0.005, 0.005, 0.0])
    share = np.clip(1.9 * traits.melanin + 0.9 * traits.asian, 0, 1)
    chances = share * dark + (1 - share) * pale
    colour = _COLOURS[generator.choice(len(_COLOURS), p=chances / chances.sum())]
    colour = colour * np.exp(generator.normal(0, 0.2) + generator.normal(0, 0.08, 3))
    grey = float(np.clip(generator.normal((traits.years - 52) / 26, 0.25), 0, 1))
    if traits.male < 0.5 and generator.random() < 0.55:  # dyed
        grey *= 0.15
    if generator.random() < 0.02:
        colour = np.exp(generator.normal(-2.5, 0.7, 3))
    return np.clip(colour, 0.006, 0.7).astype(np.float32), grey
