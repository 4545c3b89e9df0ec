"""The public checkpoints that can be converted."""

from __future__ import annotations

from enum import Enum


class Peer(str, Enum):
    """Models that a checkpoint can be written for."""

    syncdreamer = "syncdreamer"
    morphable_diffusion = "morphable-diffusion"


class Source(str, Enum):
    """What a checkpoint may come from."""

    syncdreamer = "syncdreamer"
    morphable_diffusion = "morphable-diffusion"
    zero123 = "zero123"
    sd15 = "sd15"


class GeneratorSource(str, Enum):
    """Generators of heads that training data are made with."""

    panohead = "panohead"
    eg3d = "eg3d"
