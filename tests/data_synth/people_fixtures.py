"""Skins that need no download: plain tones with some noise."""

import numpy as np

from gen3dface.data_synth.rendered.people.skin_library import SIZE, Skin, Source

_WEARERS = (("openpeople_x", 0.0, 25), ("openpeople_y", 1.0, 40), ("other", 1.0, 75))


def plain_skins() -> tuple[Skin, ...]:
    """A woman's, a man's and an old man's; the first two count as portraits, whose brows are in the skin."""
    out = []
    for number, (name, male, years) in enumerate(_WEARERS):
        noise = np.random.default_rng(number).normal(0, 4, (SIZE, SIZE, 1))
        albedo = np.clip(np.array([190, 140, 110]) + noise, 0, 255).astype(np.uint8)
        out.append(Skin(Source(name, male, years, f"licence {number}"), albedo, np.float32([0.51, 0.26, 0.16])))
    return tuple(out)
