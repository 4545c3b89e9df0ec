"""From views to a textured head."""

from gen3dface.recon.preview import render_head
from gen3dface.recon.registered import reconstruct
from gen3dface.recon.surface import SurfaceConfig, reconstruct_surface
from gen3dface.recon.textured_head import TexturedHead

__all__ = ["SurfaceConfig", "TexturedHead", "reconstruct", "reconstruct_surface", "render_head"]
