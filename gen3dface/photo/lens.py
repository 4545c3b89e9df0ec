"""The focal length that a camera wrote into a photo's EXIF data."""

from __future__ import annotations

import math

from PIL import ExifTags, Image

_FILM_DIAGONAL = math.hypot(36, 24)  # mm: EXIF 2.3 gives focal lengths for 35 mm film, compared by the diagonal (CIPA)
_LENSES = (10.0, 600.0)  # mm of film: outside of it the entry is damaged
_SENSORS = (4 / 3, 3 / 2, 16 / 9)  # sides of whole pictures; another shape has been cropped
_SHAPE_TOLERANCE = 0.01  # relative


def exif_focal(image: Image.Image, stored: tuple[int, int]) -> float | None:
    """Focal length in pixels of the stored picture (width, height), or None where EXIF does not settle it.

    Cropping keeps the entry and changes the angle of view, so it counts for pictures of a sensor's shape alone, and
    only where the camera's own picture had that shape too.
    """
    try:
        entries = image.getexif().get_ifd(ExifTags.IFD.Exif)
        film = float(entries[ExifTags.Base.FocalLengthIn35mmFilm])
        taken = [
            float(entries.get(tag, side))
            for tag, side in zip((ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight), stored, strict=True)
        ]
    except Exception:  # missing in most pictures, and as hostile as the rest of the file
        return None
    shape = _shape(*stored)
    of_a_sensor = any(abs(shape / sensor - 1) < _SHAPE_TOLERANCE for sensor in _SENSORS)
    whole = min(taken) > 0 and abs(_shape(*taken) / shape - 1) < _SHAPE_TOLERANCE
    if not (of_a_sensor and whole and _LENSES[0] <= film <= _LENSES[1]):
        return None
    return film / _FILM_DIAGONAL * math.hypot(*stored)


def _shape(width: float, height: float) -> float:
    """Longer over shorter side: a photo may lie on its side."""
    return max(width, height) / min(width, height)
