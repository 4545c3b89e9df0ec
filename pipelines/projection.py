"""Views without learning: the photo laid on the fitted head and looked at from all around.

The fast preview, the reference that the diffusion model must beat, and a condition for it.
"""

from __future__ import annotations

from gen3dface.cameras import Cameras, rig
from gen3dface.estimators import HeadFit
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import Portrait
from gen3dface.pipelines.appearance import photo_texture
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.render import render


def project_views(
    portrait: Portrait,
    fit: HeadFit,
    cameras: str | Cameras = "head360",
    size: int = 512,
    model: HeadModel | None = None,
    texture_size: int = 1024,
) -> MultiViewOutput:
    """Views of the head in a photo, by projection alone.

    Args:
        cameras: a rig's name, or cameras. size: side of the views in pixels when a rig is named.
        model: the head model that `fit` belongs to (default: OpenHead).
        texture_size: texels a side of the texture that the views show, and that the output hands on.
    """
    model = model or load_head_model()
    surface = fit.surface(model)
    texture = photo_texture(portrait, fit.camera, surface, model, texture_size).colour
    chosen = rig(cameras, size) if isinstance(cameras, str) else cameras
    images, masks = render(surface, texture, chosen)
    return MultiViewOutput(images, masks, chosen, fit, texture=texture)
