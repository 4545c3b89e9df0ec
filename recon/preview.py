"""Pictures of a finished head."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface, render


def render_head(head: TexturedHead, cameras: Cameras, supersample: int = 2) -> Tensor:
    """Unlit pictures [N, 3, H, W] in 0..1, over white, of a head in its starting expression."""
    arrays = (head.starting_vertices(), head.faces, head.uvs, head.uv_faces)
    surface = Surface(*(torch.from_numpy(a) for a in arrays))
    texture = torch.from_numpy(head.texture).permute(2, 0, 1).float() / 255
    return render(surface, texture, cameras, supersample)[0]
