"""From a portrait to views from all around."""

from typing import TYPE_CHECKING, Any

from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.pipelines.projection import project_views

if TYPE_CHECKING:
    from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

__all__ = ["Gen3DFacePipeline", "MultiViewOutput", "project_views"]


def __getattr__(name: str) -> Any:
    """`Gen3DFacePipeline` on first use: it needs diffusers and transformers, which take seconds to import."""
    if name == "Gen3DFacePipeline":
        from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

        return Gen3DFacePipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
