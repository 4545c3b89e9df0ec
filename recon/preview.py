"""Pictures of a finished head."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.files import write_atomically
from gen3dface.pipelines.output import to_pil
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface, render

logger = logging.getLogger(__name__)

_VIEWS, _COLUMNS = 8, 4
_NOTE = "gen3dface preview"


def render_head(head: TexturedHead, cameras: Cameras, supersample: int = 2) -> Tensor:
    """Unlit pictures [N, 3, H, W] in 0..1, over white, of a head in its starting expression."""
    arrays = (head.starting_vertices(), head.faces, head.uvs, head.uv_faces)
    surface = Surface(*(torch.from_numpy(a) for a in arrays))
    texture = torch.from_numpy(head.texture).permute(2, 0, 1).float() / 255
    return render(surface, texture, cameras, supersample)[0]


def contact_sheet(head: TexturedHead, size: int = 256) -> Image.Image:
    """A turntable of eight views, 45 degrees apart from the front, four to a row of `size` pixels each."""
    cameras = rig("head360", size)
    pictures = render_head(head, cameras[:: len(cameras) // _VIEWS])
    rows = [torch.cat(list(row), 2) for row in pictures.split(_COLUMNS)]
    return to_pil(torch.cat(rows, 1)[None])[0]


def write_preview(head: TexturedHead, beside: Path) -> Path | None:
    """Write the contact sheet beside a head's file: NAME.png, or NAME.preview.png where NAME.png is the texture (.obj).

    A picture of that name that is no preview is left alone, and None returned. Raises `OutputError`.
    """
    path = beside.with_suffix(".preview.png" if beside.suffix.lower() == ".obj" else ".png")
    if path.exists() and not _is_preview(path):
        logger.warning("no preview is written: %s is another picture", path)
        return None
    note, encoded = PngImagePlugin.PngInfo(), io.BytesIO()
    note.add_text("Software", _NOTE)
    contact_sheet(head).save(encoded, "png", pnginfo=note)
    write_atomically(path, encoded.getvalue())
    return path


def _is_preview(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == _NOTE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
