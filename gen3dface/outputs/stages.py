"""The stages between a photo and a head, one function each, so that an engine is a set of functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from gen3dface.estimators import Estimator, HeadFit
    from gen3dface.heads import HeadModel
    from gen3dface.photo import Portrait
    from gen3dface.pipelines import MultiViewOutput
    from gen3dface.recon.textured_head import TexturedHead


MakeViews: TypeAlias = "Callable[[Portrait, HeadFit, int, int], MultiViewOutput]"  # ..., size in pixels, seed
PROJECTION = "projection"  # the engine without learning; any other is a model
DEFAULT = "mini"  # the model that comes with the package
SEEDLESS = frozenset({PROJECTION})  # these draw nothing at random: a seed makes no difference


@dataclass(frozen=True)
class Stages:
    """What is called for each photo, in this order."""

    load_portrait: Callable[[Path, int | None], Portrait]  # photo, which face
    estimate: Callable[[Portrait], HeadFit]
    make_views: MakeViews
    reconstruct: Callable[[Portrait, HeadFit, MultiViewOutput], TexturedHead]


def is_engine(name: str) -> bool:
    """Whether `stages_of` knows it: "projection", a model that comes with the package, or the folder of a saved one."""
    from gen3dface.pipelines.shipped import resolved

    return name == PROJECTION or (Path(resolved(name)) / "model_index.json").is_file()


def stages_of(engine: str, estimator: Estimator | None = None) -> Stages:
    """The stages of an engine (see `is_engine`); a pipeline is read here, once for all photos.

    estimator: of the heads, whose model all stages work with (default: the bundled head's).
    """
    from gen3dface.estimators import load_estimator
    from gen3dface.photo import load_portrait
    from gen3dface.recon import reconstruct

    estimate = estimator or load_estimator()
    head = estimate.model
    return Stages(
        load_portrait=lambda photo, face: load_portrait(photo, face=face),
        estimate=estimate,
        make_views=partial(_projected_views, head) if engine == PROJECTION else _diffusion_views(engine, head),
        reconstruct=partial(reconstruct, model=head),
    )


def _projected_views(head: HeadModel, portrait: Portrait, fit: HeadFit, size: int, seed: int) -> MultiViewOutput:
    """Projection draws nothing at random: it takes a seed, as engines do, and needs none."""
    from gen3dface.pipelines import project_views

    return project_views(portrait, fit, cameras="head360", size=size, model=head)


def _diffusion_views(model: str, head: HeadModel) -> MakeViews:
    """A pipeline's views, with the projection's detail where they are to be larger than the model makes them."""
    import torch

    from gen3dface.pipelines import Gen3DFacePipeline
    from gen3dface.pipelines.detail import with_detail

    pipe = Gen3DFacePipeline.from_pretrained(model)
    pipe.set_progress_bar_config(leave=False)

    def make(portrait: Portrait, fit: HeadFit, size: int, seed: int) -> MultiViewOutput:
        generator = torch.Generator().manual_seed(seed)
        views = cast("MultiViewOutput", pipe(portrait, fit, generator=generator, output_type="pt", head_model=head))
        return with_detail(views, _projected_views(head, portrait, fit, max(size, views.cameras.height), seed))

    return make
