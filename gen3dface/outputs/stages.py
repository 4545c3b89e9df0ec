"""The stages between a photo and a head, one function each, so that an engine is a set of functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gen3dface.estimators import HeadFit
    from gen3dface.photo import Portrait
    from gen3dface.pipelines import MultiViewOutput
    from gen3dface.recon.textured_head import TexturedHead


class Engine(str, Enum):
    """Ways to make the views."""

    projection = "projection"


SEEDLESS = frozenset({Engine.projection})  # these draw nothing at random: a seed makes no difference


@dataclass(frozen=True)
class Stages:
    """What is called for each photo, in this order."""

    load_portrait: Callable[[Path, int | None], Portrait]  # photo, which face
    estimate: Callable[[Portrait], HeadFit]
    make_views: Callable[[Portrait, HeadFit, int, int], MultiViewOutput]  # ..., size in pixels, seed
    reconstruct: Callable[[Portrait, HeadFit, MultiViewOutput], TexturedHead]


def stages_of(engine: Engine) -> Stages:
    """The stages of an engine. Projection draws nothing at random: it takes a seed, as engines do, and needs none."""
    from gen3dface.estimators import estimate
    from gen3dface.photo import load_portrait
    from gen3dface.pipelines import project_views
    from gen3dface.recon import reconstruct

    return Stages(
        load_portrait=lambda photo, face: load_portrait(photo, face=face),
        estimate=estimate,
        make_views=lambda portrait, fit, size, seed: project_views(portrait, fit, cameras="head360", size=size),
        reconstruct=reconstruct,
    )
