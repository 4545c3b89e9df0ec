"""Plausible random people as weights of MakeHuman's morph targets.

Two layers: "macro" targets (age, gender, ethnicity, muscle, weight, height, proportions), blended multilinearly by the
tokens in their file names, and independent local sliders of the head, small enough not to make caricatures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from open_head.makehuman import FloatArray, MakeHumanData

AGE_ANCHORS = {"baby": 1.0, "child": 11.0, "young": 25.0, "old": 90.0}  # years, as MakeHuman labels them
ETHNICITIES = ("african", "asian", "caucasian")
GRADES = ("min", "average", "max")

# Peak displacement (mm) of one standard deviation of a local slider, by folder. Sliders are very unequal in reach
# (2 to 59 mm), so their spread is set in millimetres, not in slider units; the numbers were chosen so that head
# measures vary as in the ANSUR survey of adults (see measures.py).
SLIDER_SPREAD = {
    "head": 1.1,
    "forehead": 0.9,
    "eyebrows": 1.0,
    "eyes": 0.7,
    "nose": 0.95,
    "mouth": 0.95,
    "cheek": 1.0,
    "chin": 1.2,
    "ears": 1.4,
    "neck": 1.5,
    "asym": 0.5,
}
# MakeHuman's average has, against the surveys, eyes too close and too small, a narrow mouth and a deep and
# low skull. This is where the mean of these sliders is moved to.
SLIDER_CENTRE = {
    "eye-trans-in-out": 0.5,
    "eye-scale-decr-incr": 0.3,
    "mouth-scale-horiz-decr-incr": 0.4,
    "head-back-scale-depth-decr-incr": -0.12,
    "head-scale-vert-decr-incr": 0.05,
}
# The few sliders that carry the classical measures vary more than their folder.
WIDE_SLIDERS = {
    "eye-trans-in-out": 1.6,
    "head-scale-horiz-decr-incr": 1.8,
    "head-scale-vert-decr-incr": 2.0,
    "chin-height-decr-incr": 2.4,
    "chin-bones-decr-incr": 2.0,
    "chin-width-decr-incr": 1.8,
}
SIDE_SPREAD = 0.25  # of a paired slider's spread: how far its left and right side differ
SPREAD_LIMIT = 0.4  # of the slider's range
SLIDER_LIMIT = 0.8
# Rigid motions of the whole head, fantasy ears, and shapes that only exist to be blended in elsewhere.
SKIPPED = re.compile(r"head-trans|eyefold-concave|head-angle|ear-shape-pointed|asymm-|neck-trans-in|neck-trans-out")


@dataclass(frozen=True)
class Slider:
    """One signed slider: the target for positive and for negative values; empty where there is none."""

    name: str
    folder: str
    positive: str
    negative: str
    mirrored: tuple[str, str] | None  # the right side's (positive, negative) of a paired slider


def local_sliders(data: MakeHumanData) -> list[Slider]:
    """The head's sliders of MakeHuman's target table, and its asymmetries."""
    table = data.json("targets/target.json")
    sliders = []
    for folder in [name for name in SLIDER_SPREAD if name != "asym"]:
        for entry in table[folder]["categories"]:
            if SKIPPED.search(entry["name"]):
                continue
            ends = entry.get("opposites")
            if ends is None:
                sliders.append(Slider(entry["name"], folder, entry["targets"][0], "", None))
            elif entry["has_left_and_right"]:
                right = (ends["positive-right"], ends["negative-right"])
                sliders.append(Slider(entry["name"], folder, ends["positive-left"], ends["negative-left"], right))
            else:
                sliders.append(Slider(entry["name"], folder, ends["positive-unsided"], ends["negative-unsided"], None))
    for name in data.target_names("asym"):
        if name.endswith("-l") and not SKIPPED.search(name):
            sliders.append(Slider(name, "asym", name, name[:-1] + "r", None))
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
    """Grade weights [count] of random people: mostly adults of all ages, one in 25 between 8 and 18."""
    years = np.where(rng.random(count) < 1 / 25, rng.uniform(8, 18, count), rng.uniform(18, 80, count))
    anchors = list(AGE_ANCHORS.values())
    weights = {age: np.interp(years, anchors, np.eye(len(anchors))[i]) for i, age in enumerate(AGE_ANCHORS)}
    male = np.where(rng.random(count) < 0.5, rng.beta(6, 2, count), rng.beta(2, 6, count))
    weights |= {"male": male, "female": 1 - male}
    ethnicity = rng.dirichlet([0.45] * 3, count)
    weights |= {name: ethnicity[:, i] for i, name in enumerate(ETHNICITIES)}
    weights |= _grades(np.clip(rng.normal(0.5, 0.13, count), 0.1, 0.9), "muscle")
    weights |= _grades(np.clip(rng.normal(0.5, 0.16, count), 0.1, 0.95), "weight")
    weights |= _grades(np.clip(rng.normal(0.5, 0.06, count), 0.3, 0.7), "height")
    proportions = np.clip(rng.normal(0.55, 0.15, count), 0.2, 0.9)
    weights |= {
        "idealproportions": np.clip(2 * proportions - 1, 0, 1),
        "uncommonproportions": np.clip(1 - 2 * proportions, 0, 1),
    }
    return weights


def sample_people(
    data: MakeHumanData, rng: np.random.Generator, count: int, reach: Callable[[str], float]
) -> dict[str, FloatArray]:
    """Weights [count] of every target that shapes a head.

    Args:
        reach: peak displacement (mm) that a target at weight 1 gives the head.
    """
    attributes = sample_attributes(rng, count)
    weights = {
        target: np.prod([attributes[grade] for grade in grades], axis=0)
        for target, grades in macro_factors(data).items()
    }
    for slider in local_sliders(data):
        _add_slider(weights, slider, rng, count, reach)
    return weights


def _add_slider(
    weights: dict[str, FloatArray],
    slider: Slider,
    rng: np.random.Generator,
    count: int,
    reach: Callable[[str], float],
) -> None:
    ends = [f"{slider.folder}/{end}" for end in (slider.positive, slider.negative) if end]
    peak = WIDE_SLIDERS.get(slider.name, SLIDER_SPREAD[slider.folder])
    spread = min(peak / np.mean([reach(end) for end in ends]), SPREAD_LIMIT)
    value = rng.normal(SLIDER_CENTRE.get(slider.name, 0.0), spread, count)
    if slider.mirrored is None:
        sides = [((slider.positive, slider.negative), value)]
    else:
        skew = rng.normal(0.0, spread * SIDE_SPREAD / 2, count)
        sides = [((slider.positive, slider.negative), value + skew), (slider.mirrored, value - skew)]
    for (positive, negative), side_value in sides:
        side_value = np.clip(side_value, -SLIDER_LIMIT, SLIDER_LIMIT)
        if positive:
            weights[f"{slider.folder}/{positive}"] = np.maximum(side_value, 0)
        if negative:
            weights[f"{slider.folder}/{negative}"] = np.maximum(-side_value, 0)
