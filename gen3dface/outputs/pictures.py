"""Pictures for the output folder: the contact sheet of the views, JPEGs for the page."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gen3dface.files import write_atomically

SHEET_GAP = 4  # pixels between the views
PHOTO_SIDE = 900  # pixels: the photo's longer side on the page


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Images [N, C, H, W] in 0..1 as uint8 [N, H, W, C]."""
    scaled = images.detach().cpu().clamp(0, 1).mul(255).round()
    return scaled.byte().permute(0, 2, 3, 1).contiguous().numpy()


def contact_sheet(views: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Views [N, H, W, 3] on one white sheet, row by row, about as many rows as columns."""
    count, height, width, _ = views.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full(
        (rows * (height + SHEET_GAP) - SHEET_GAP, columns * (width + SHEET_GAP) - SHEET_GAP, 3), 255, np.uint8
    )
    for index, view in enumerate(views):
        top, left = (index // columns) * (height + SHEET_GAP), (index % columns) * (width + SHEET_GAP)
        sheet[top : top + height, left : left + width] = view
    return sheet


def encode(pixels: NDArray[np.uint8] | Image.Image, image_format: str) -> bytes:
    """uint8 [H, W] or [H, W, 3], or an image, as PNG or JPEG."""
    buffer = io.BytesIO()
    options = {"quality": 90} if image_format == "jpeg" else {}
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def photo_for_page(image: NDArray[np.uint8]) -> bytes:
    """The photo [H, W, 3] as a JPEG of moderate size, without the original's metadata."""
    picture = Image.fromarray(image)
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return encode(picture, "jpeg")


def write_json(path: Path, content: object) -> None:
    """Write JSON that people can read too, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
