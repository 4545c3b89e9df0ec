"""Strand hair: styles, growth on a head, beards and brows."""

from gen3dface.data_synth.rendered.hair.facial import BEARD_SHARES, FacialStyle, sample_facial
from gen3dface.data_synth.rendered.hair.grower import HairGrower
from gen3dface.data_synth.rendered.hair.style import COLOURS, CUT_SHARES, HairStyle, sample_style

__all__ = [
    "BEARD_SHARES",
    "COLOURS",
    "CUT_SHARES",
    "FacialStyle",
    "HairGrower",
    "HairStyle",
    "sample_facial",
    "sample_style",
]
