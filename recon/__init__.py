"""From views to a textured head."""

from gen3dface.recon.preview import contact_sheet, render_head
from gen3dface.recon.registered import reconstruct
from gen3dface.recon.surface import SurfaceConfig, reconstruct_surface
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.recon.view_folder import load_views

__all__ = [
    "SurfaceConfig",
    "TexturedHead",
    "contact_sheet",
    "load_views",
    "reconstruct",
    "reconstruct_surface",
    "render_head",
]
