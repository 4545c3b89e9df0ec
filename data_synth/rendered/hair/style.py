"""A hair style: everything that makes one head of hair, as numbers; and how styles are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from gen3dface.data_synth.rendered.hair.noise import normal, pick, spread
from gen3dface.errors import ConfigError

Comb = Literal["whorl", "parted", "back", "up"]


@dataclass(frozen=True)
class HairStyle:
    """Lengths in metres. The defaults are a short cut."""

    cut: str = "short"
    count: int = 9000  # strands
    points: int = 9  # a strand
    length: float = 0.045
    sides: float = 0.5  # length at the sides and the nape, relative to the top
    level: float | None = None  # height of a level cut, world y
    comb: Comb = "whorl"
    part: float = 0.0  # x of the parting
    fringe: float | None = None  # height of the fringe's ends, world y
    lift: float = 0.6  # how far hair stands off before it bends
    volume: float = 0.008  # thickness of the hair's body
    gravity: float = 0.4
    hug: float = 0.4  # pull toward the head
    reach: float = 0.03  # how far the comb's direction lasts
    recession: float = 0.0
    crown: float = 0.0  # radius of a bald crown
    clump: float = 0.45  # how far strands gather in locks, 0..1
    locks: int = 450
    curl: float = 0.0  # radius of the curls
    turns: float = 0.0  # curls a metre
    coil: float = 0.0  # share of a curl's phase that is the strand's own, 0..1
    frizz: float = 0.05
    tie: float | None = None  # height at which hair is tied behind the head
    tail: float = 0.0  # length of a ponytail
    bun: float = 0.0  # radius of a bun
    width: float = 0.00085
    colour: tuple[float, float, float] = (0.05, 0.03, 0.02)  # linear
    tip: float = 1.0  # brightness of the tips, relative
    root: float = 0.8  # brightness at the roots, relative
    grey: float = 0.0  # share of grey strands
    shine: float = 1.0
    cap: float = 0.96  # how much of the scalp's colour the hair hides, seen from afar


# linear albedo: black, dark brown, brown, blond, red, grey, white
COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.013, 0.0105, 0.0095),
    "dark brown": (0.042, 0.025, 0.016),
    "brown": (0.10, 0.057, 0.032),
    "blond": (0.31, 0.20, 0.11),
    "red": (0.19, 0.068, 0.028),
    "grey": (0.21, 0.205, 0.20),
    "white": (0.45, 0.44, 0.42),
}
COLOUR_SHARES = {
    "black": 0.3,
    "dark brown": 0.25,
    "brown": 0.18,
    "blond": 0.1,
    "red": 0.06,
    "grey": 0.08,
    "white": 0.03,
}
CUT_SHARES = {
    "buzz": 0.08, "short": 0.15, "crop": 0.08, "swept": 0.06, "receding": 0.05, "ring": 0.03, "bald": 0.03,
    "bob": 0.12, "fringe": 0.08, "long": 0.13, "wavy": 0.06, "ponytail": 0.05, "bun": 0.04, "curly": 0.07, "afro": 0.06,
}  # fmt: skip


def sample_style(
    generator: torch.Generator, cut: str | None = None, colour: str | None = None, grey: float | None = None
) -> HairStyle:
    """A random style; the generator is on the CPU.

    Args:
        cut: one of `CUT_SHARES`, drawn where None. colour: one of `COLOURS`, drawn where None.
        grey: share of grey strands, drawn where None.

    Raises:
        ConfigError: the cut or the colour is unknown.
    """
    cut = pick(CUT_SHARES, generator) if cut is None else cut
    if cut not in CUT_SHARES:
        raise ConfigError(f"There is no cut named {cut!r}; choose one of {', '.join(CUT_SHARES)}.")
    if colour is None:
        shares = COLOUR_SHARES | ({"black": 0.8, "blond": 0.02, "red": 0.02} if cut == "afro" else {})
        colour = pick(shares, generator)
    if colour not in COLOURS:
        raise ConfigError(f"There is no hair colour named {colour!r}; choose one of {', '.join(COLOURS)}.")
    style = replace(HairStyle(), cut=cut, **_common(generator), **_colours(colour, grey, generator))
    return replace(style, **_cut(cut, generator))


def _common(g: torch.Generator) -> dict[str, Any]:
    return {
        "part": spread(-0.035, 0.035, g) if spread(0, 1, g) < 0.7 else 0.0,
        "clump": spread(0.3, 0.65, g),
        "locks": int(spread(250, 700, g)),
        "frizz": spread(0.02, 0.1, g),
        "recession": max(0.0, normal(-0.002, 0.006, g)),
        "shine": spread(0.7, 1.5, g),
    }


def _colours(name: str, grey: float | None, g: torch.Generator) -> dict[str, Any]:
    bright = 2.7183 ** normal(0, 0.2, g)
    tint = [2.7183 ** normal(0, 0.03, g) for _ in range(3)]
    drawn = max(0.0, normal(-0.15, 0.2, g)) if name not in ("grey", "white") else spread(0.3, 0.9, g)
    fair = name in ("brown", "blond", "dark brown")
    return {
        "colour": tuple(c * bright * t for c, t in zip(COLOURS[name], tint, strict=True)),
        "tip": spread(0.95, 1.5, g) if fair else spread(0.9, 1.1, g),
        "root": spread(0.6, 1.0, g),
        "grey": drawn if grey is None else grey,
    }


def _cut(cut: str, g: torch.Generator) -> dict[str, Any]:
    """What makes a cut. Ponytail and bun are drawn tight to the head by `gathered`."""

    def u(low: float, high: float) -> float:
        return spread(low, high, g)

    wave = {"curl": u(0.0, 0.004), "turns": u(6, 14)}
    table: dict[str, dict[str, Any]] = {
        "bald": {"count": 0, "cap": 0.0},
        "buzz": {"count": 11000, "points": 4, "length": u(0.003, 0.009), "sides": u(0.5, 1), "lift": 1.6,
                 "volume": 0.001, "gravity": 0.05, "hug": 0.0, "clump": 0.0, "width": 0.00045, "cap": u(0.4, 0.6)},
        "short": {"length": u(0.025, 0.06), "sides": u(0.2, 0.7), "volume": u(0.006, 0.012),
                  "gravity": 0.3, "reach": 0.03},
        "crop": {"length": u(0.03, 0.055), "sides": u(0.12, 0.3), "fringe": u(0.045, 0.06), "volume": 0.008,
                 "gravity": 0.25, "lift": 0.8},
        "swept": {"length": u(0.05, 0.09), "sides": u(0.2, 0.6), "comb": "back", "volume": u(0.008, 0.016),
                  "gravity": 0.15, "lift": 0.9, "points": 12, "recession": 0.0},
        "receding": {"length": u(0.02, 0.045), "sides": u(0.4, 0.8), "recession": u(0.014, 0.028),
                     "crown": u(0, 0.03) if u(0, 1) < 0.4 else 0.0, "gravity": 0.3},
        "ring": {"count": 6000, "length": u(0.01, 0.03), "sides": 1.0, "crown": u(0.085, 0.1), "recession": 0.01,
                 "volume": 0.004, "hug": 0.5},
        "bob": {"length": 0.26, "level": u(-0.115, -0.06), "comb": "parted", "points": 15, "volume": u(0.008, 0.016),
                "gravity": 0.6, "reach": 0.06, "hug": 0.35, **wave},
        "fringe": {"length": 0.26 if u(0, 1) < 0.6 else 0.4, "level": u(-0.2, -0.06), "comb": "parted", "part": 0.0,
                   "fringe": u(0.022, 0.036), "points": 16, "volume": u(0.008, 0.015), "gravity": 0.6, "reach": 0.06,
                   "hug": 0.35, "recession": 0.0, "count": 10000, **wave},
        "long": {"length": u(0.34, 0.44), "level": u(-0.23, -0.15), "comb": "parted", "points": 16,
                 "volume": u(0.007, 0.014), "gravity": 0.6, "reach": 0.06, "hug": 0.3, **wave},
        "wavy": {"length": u(0.3, 0.4), "level": u(-0.21, -0.12), "comb": "parted", "points": 26,
                 "volume": u(0.012, 0.02), "gravity": 0.5, "reach": 0.06, "hug": 0.2, "curl": u(0.005, 0.009),
                 "turns": u(11, 18), "coil": 0.12, "clump": u(0.55, 0.75), "locks": int(u(200, 350))},
        "ponytail": {"count": 8000, "points": 22, "tie": u(0.0, 0.06), "tail": u(0.09, 0.2), "comb": "back",
                     "volume": u(0.003, 0.006), "recession": 0.0, "clump": 0.15, "locks": 1500},
        "bun": {"count": 7500, "points": 15, "tie": u(0.02, 0.085), "bun": u(0.021, 0.034), "comb": "back",
                "volume": u(0.003, 0.006), "recession": 0.0, "clump": 0.15, "locks": 1500},
        "curly": {"count": 7000, "points": 36, "length": u(0.10, 0.19), "level": u(-0.15, -0.07), "comb": "parted",
                  "volume": u(0.016, 0.03), "lift": 1.3, "gravity": 0.35, "hug": 0.12, "reach": 0.05,
                  "curl": u(0.005, 0.009), "turns": u(24, 40), "coil": 0.22, "clump": u(0.65, 0.85),
                  "locks": int(u(300, 550)), "frizz": 0.2},
        "afro": {"count": 9000, "points": 20, "length": u(0.03, 0.075), "sides": u(0.7, 1.0), "comb": "up", "lift": 3.5,
                 "volume": 0.03, "gravity": 0.02, "hug": 0.0, "curl": u(0.003, 0.005), "turns": u(50, 80), "coil": 1.0,
                 "clump": u(0.15, 0.45), "locks": int(u(900, 1800)), "frizz": 0.5, "cap": 0.97},
    }  # fmt: skip
    return table[cut]
