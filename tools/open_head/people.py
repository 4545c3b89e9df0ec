"""Plausible random people as weights of MakeHuman's morph targets.

Two layers: "macro" targets (age, gender, ethnicity, muscle, weight, height, proportions), blended multilinearly by the
tokens in their file names, and independent local sliders of the head, small enough not to make caricatures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from open_head.makehuman import FloatArray, MakeHumanData

AGE_ANCHORS = {"baby": 1.0, "child": 11.0, "young": 25.0, "old": 90.0}  # years, as MakeHuman labels them
ETHNICITIES = ("african", "asian", "caucasian")
GRADES = ("min", "average", "max")

# Standard deviation of the local sliders by folder; 1.0 is the end of MakeHuman's slider. Chosen so that the spread
# of head measures matches that of adults (see measures.py).
SLIDER_SPREAD = {
    "head": 0.20,
    "forehead": 0.25,
    "eyebrows": 0.28,
    "eyes": 0.22,
    "nose": 0.25,
    "mouth": 0.25,
    "cheek": 0.28,
    "chin": 0.25,
    "ears": 0.25,
    "neck": 0.20,
}
ASYMMETRY_SPREAD = 0.12  # the asym folder, and the difference between paired left and right sliders
SLIDER_LIMIT = 0.8
# Rigid motions of the whole head, fantasy ears, and shapes that only exist to be blended in elsewhere.
SKIPPED = re.compile(r"head-trans|head-angle|ear-shape-pointed|asymm-|neck-trans-in|neck-trans-out")


@dataclass(frozen=True)
class Slider:
    """One signed slider: the target for positive and for negative values; empty where there is none."""

    folder: str
    positive: str
    negative: str
    mirrored: tuple[str, str] | None  # the right side's (positive, negative) of a paired slider


def local_sliders(data: MakeHumanData) -> list[Slider]:
    """The head's sliders of MakeHuman's target table, and its asymmetries."""
    table = data.json("targets/target.json")
    sliders = []
    for folder in SLIDER_SPREAD:
        for entry in table[folder]["categories"]:
            if SKIPPED.search(entry["name"]):
                continue
            ends = entry.get("opposites")
            if ends is None:
                sliders.append(Slider(folder, entry["targets"][0], "", None))
            elif entry["has_left_and_right"]:
                right = (ends["positive-right"], ends["negative-right"])
                sliders.append(Slider(folder, ends["positive-left"], ends["negative-left"], right))
            else:
                sliders.append(Slider(folder, ends["positive-unsided"], ends["negative-unsided"], None))
    for name in data.target_names("asym"):
        if name.endswith("-l") and not SKIPPED.search(name):
            sliders.append(Slider("asym", name, name[:-1] + "r", None))
    return sliders


def macro_factors(data: MakeHumanData) -> dict[str, tuple[str, ...]]:
    """Each macro target with the attribute grades whose product weighs it."""
    factors = {}
    for folder in ("macrodetails", "macrodetails/height", "macrodetails/proportions"):
        for name in data.target_names(folder):
            factors[f"{folder}/{name}"] = tuple(t for t in name.split("-") if t != "universal")
    return factors


def _grades(value: FloatArray, suffix: str) -> dict[str, FloatArray]:
    """Linear weights of min, average and max at 0, 0.5 and 1."""
    low, high = np.clip(1 - 2 * value, 0, 1), np.clip(2 * value - 1, 0, 1)
    return {f"min{suffix}": low, f"average{suffix}": 1 - low - high, f"max{suffix}": high}


def sample_attributes(rng: np.random.Generator, count: int) -> dict[str, FloatArray]:
    """Grade weights [count] of random people: mostly adults of all ages, one in twelve between 5 and 18."""
    years = np.where(rng.random(count) < 1 / 12, rng.uniform(5, 18, count), rng.uniform(18, 80, count))
    anchors = list(AGE_ANCHORS.values())
    weights = {
        age: np.interp(years, anchors, np.eye(len(anchors))[i]) for i, age in enumerate(AGE_ANCHORS)
    }
    male = np.where(rng.random(count) < 0.5, rng.beta(8, 1.5, count), rng.beta(1.5, 8, count))
    weights |= {"male": male, "female": 1 - male}
    ethnicity = rng.dirichlet([0.45] * 3, count)
    weights |= {name: ethnicity[:, i] for i, name in enumerate(ETHNICITIES)}
    weights |= _grades(np.clip(rng.normal(0.5, 0.15, count), 0.05, 0.95), "muscle")
    weights |= _grades(np.clip(rng.normal(0.52, 0.2, count), 0.1, 0.95), "weight")
    weights |= _grades(np.clip(rng.normal(0.5, 0.1, count), 0.2, 0.8), "height")
    proportions = np.clip(rng.normal(0.55, 0.15, count), 0.2, 0.9)
    weights |= {
        "idealproportions": np.clip(2 * proportions - 1, 0, 1),
        "uncommonproportions": np.clip(1 - 2 * proportions, 0, 1),
    }
    return weights


def sample_people(data: MakeHumanData, rng: np.random.Generator, count: int) -> dict[str, FloatArray]:
    """Weights [count] of every target that shapes a head."""
    attributes = sample_attributes(rng, count)
    weights = {
        target: np.prod([attributes[grade] for grade in grades], axis=0)
        for target, grades in macro_factors(data).items()
    }
    for slider in local_sliders(data):
        _add_slider(weights, slider, rng, count)
    return weights


def _add_slider(weights: dict[str, FloatArray], slider: Slider, rng: np.random.Generator, count: int) -> None:
    spread = SLIDER_SPREAD.get(slider.folder, ASYMMETRY_SPREAD)
    value = rng.normal(0.0, spread, count)
    if slider.mirrored is None:
        sides = [((slider.positive, slider.negative), value)]
    else:
        skew = rng.normal(0.0, ASYMMETRY_SPREAD / 2, count)
        sides = [((slider.positive, slider.negative), value + skew), (slider.mirrored, value - skew)]
    for (positive, negative), side_value in sides:
        side_value = np.clip(side_value, -SLIDER_LIMIT, SLIDER_LIMIT)
        if positive:
            weights[f"{slider.folder}/{positive}"] = np.maximum(side_value, 0)
        if negative:
            weights[f"{slider.folder}/{negative}"] = np.maximum(-side_value, 0)
