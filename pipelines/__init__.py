"""From a portrait to views from all around."""

from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.pipelines.projection import project_views

__all__ = ["MultiViewOutput", "project_views"]
