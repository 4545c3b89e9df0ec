"""Faces that people make: combinations of ARKit's shapes as muscles combine them, and where the eyes look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.estimators.landmark_model import EYE_JOINTS, gaze_rotation
from gen3dface.heads import HeadModel

Array = NDArray[np.float64]

_NEUTRAL = 0.45  # of all faces
_BLINK = 0.03
_AT_CAMERA = 0.7  # of all gazes
_GAZE_LIMIT = 24.0  # degrees
_UNEVEN = 0.12  # relative difference between left and right

# Weights at full strength; a plain name stands for both sides. Duchenne's smile raises cheeks and narrows eyes (FACS
# AU 6 + 12), surprise lifts brows, lids and jaw (1 + 2 + 5 + 26), anger 4 + 5 + 7 + 23, sadness 1 + 4 + 15,
# disgust 9 + 15, fear 1 + 2 + 4 + 5 + 20.
_MOODS: dict[str, tuple[float, dict[str, float]]] = {
    "smile": (
        0.3,
        {"mouthSmile": 0.75, "cheekSquint": 0.6, "eyeSquint": 0.3, "mouthDimple": 0.15, "mouthUpperUp": 0.1},
    ),
    "laugh": (
        0.17,
        {"mouthSmile": 0.85, "cheekSquint": 0.75, "eyeSquint": 0.45, "jawOpen": 0.28, "mouthUpperUp": 0.35,
         "mouthLowerDown": 0.25},
    ),
    "surprise": (0.09, {"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.6, "jawOpen": 0.35}),
    "anger": (0.07, {"browDown": 0.8, "eyeSquint": 0.4, "mouthPress": 0.5, "noseSneer": 0.3}),
    "sadness": (0.07, {"browInnerUp": 0.6, "mouthFrown": 0.6, "mouthShrugLower": 0.3}),
    "disgust": (0.04, {"noseSneer": 0.7, "mouthUpperUp": 0.4, "browDown": 0.4, "mouthFrown": 0.2}),
    "pout": (0.06, {"mouthPucker": 0.6, "mouthFunnel": 0.15}),
    "doubt": (0.05, {"browOuterUpLeft": 0.7, "browDownRight": 0.5, "mouthLeft": 0.25}),
    "pressed": (0.05, {"mouthRollLower": 0.4, "mouthRollUpper": 0.4, "mouthPress": 0.3}),
    "puff": (0.02, {"cheekPuff": 0.5, "mouthPucker": 0.3}),
}  # fmt: skip
# what lips do in speech, beside the jaw
_SOUNDS: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.4},
    {"jawOpen": 0.22, "mouthStretch": 0.25, "mouthLowerDown": 0.3},
    {"jawOpen": 0.2, "mouthFunnel": 0.5},
    {"jawOpen": 0.1, "mouthPucker": 0.5},
    {"jawOpen": 0.12, "mouthUpperUp": 0.3, "mouthLowerDown": 0.35},
    {"mouthRollLower": 0.35, "mouthRollUpper": 0.2},
)
_TALKING = 0.18


def random_expression(names: tuple[str, ...], generator: np.random.Generator) -> Array:
    """[E] weights in 0..1: nearly half of the time a calm face, else a mood, speech or both."""
    weights = dict.fromkeys(names, 0.0)
    for name in generator.choice(names, 4, replace=False):  # no face is quite at rest
        if not name.startswith(("jaw", "mouthClose", "eyeBlink", "eyeLook", "tongue", "cheekPuff")):
            _add(weights, name, generator.beta(1, 10), generator)
    if generator.random() >= _NEUTRAL:
        chances = np.array([chance for chance, _ in _MOODS.values()])
        mood = list(_MOODS.values())[generator.choice(len(chances), p=chances / chances.sum())][1]
        _perform(weights, mood, generator.beta(2.5, 1.6), generator)
    if generator.random() < _TALKING:
        _perform(weights, _SOUNDS[generator.integers(len(_SOUNDS))], generator.uniform(0.4, 1.0), generator)
    if generator.random() < _BLINK:
        _add(weights, "eyeBlink", generator.uniform(0.5, 1.0), generator)
    return np.clip([weights[name] for name in names], 0, 1)


def _perform(
    weights: dict[str, float], shapes: dict[str, float], strength: float, generator: np.random.Generator
) -> None:
    for name, weight in shapes.items():
        _add(weights, name, weight * strength * np.exp(generator.normal(0, 0.2)), generator)


def _add(weights: dict[str, float], name: str, weight: float, generator: np.random.Generator) -> None:
    """Raise a shape, or both of a pair, a little unevenly."""
    for key in [name] if name in weights else [f"{name}Left", f"{name}Right"]:
        if key in weights:
            weights[key] = max(weights[key], weight * (1 + generator.normal(0, _UNEVEN)))


def random_gaze(generator: np.random.Generator, toward: tuple[float, float]) -> tuple[float, float]:
    """Yaw (to the subject's left) and pitch (down) of both eyes in degrees; mostly `toward` the camera."""
    if generator.random() < _AT_CAMERA:
        wanted = np.array(toward) + generator.normal(0, [1.5, 1.0])
    else:
        wanted = generator.normal(0, [11, 6])
    return float(np.clip(wanted[0], -_GAZE_LIMIT, _GAZE_LIMIT)), float(np.clip(wanted[1], -14, 14))


def gaze_rotations(model: HeadModel, yaw: float, pitch: float) -> Array:
    """[J, 3] axis-angle that turns both eyes; degrees in."""
    out = np.zeros((len(model.joint_names), 3))
    turned, _, _ = gaze_rotation(np.radians(yaw), np.radians(pitch))
    for name in EYE_JOINTS:
        out[model.joint_names.index(name)] = Rotation.from_matrix(turned).as_rotvec()
    return out


def follow_lids(weights: Array, names: tuple[str, ...], yaw: float, pitch: float) -> Array:
    """Expression weights with the lids where the eyes look (ARKit's eyeLook shapes)."""
    out = weights.copy()
    up, down = max(-pitch, 0) / 30, max(pitch, 0) / 30
    left, right = max(yaw, 0) / 35, max(-yaw, 0) / 35
    looks = {"Up": (up, up), "Down": (down, down), "Out": (left, right), "In": (right, left)}
    for direction, sides in looks.items():
        for side, weight in zip(("Left", "Right"), sides, strict=True):
            name = f"eyeLook{direction}{side}"
            if name in names:
                out[names.index(name)] = min(weight, 1.0)
    return out
