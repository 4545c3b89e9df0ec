"""Untrusted bytes to upright sRGB pixels: sizes are checked before anything is decoded."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gen3dface.errors import Gen3DFaceError, ImageDecodeError, MissingExtraError
from gen3dface.photo.colour import composite
from gen3dface.photo.lens import exif_focal
from gen3dface.photo.profiles import to_srgb
from gen3dface.photo.sniff import is_heif, is_tiff, looks_like

ImageSource: TypeAlias = "str | PathLike[str] | bytes | Image.Image | NDArray[np.generic]"

MAX_BYTES = 256 << 20  # of the file
MAX_PIXELS = 128_000_000  # of the stored picture: the largest common phone camera mode is 108 million
WORKING_SIDE = 2048  # px; a longer picture is reduced to this

# Only decoders that Pillow carries itself: no helper programs, no rarely tested formats.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
_MAX_TIFF_BYTES = 1 << 30  # unpacked, of a layout with up to 16 bytes a pixel
_BLOCK_ROWS = 256
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


@dataclass(frozen=True)
class DecodedImage:
    """rgb uint8 [H,W,3] sRGB, upright; alpha float32 [H,W] 0..1 or None where the file had none (rgb is then over
    white already); source: a name for messages; warnings: what was changed on the way; scale: of this picture over
    the stored one, at most 1; focal: focal length in px of this picture, where the camera noted it.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.float32] | None
    source: str
    warnings: tuple[str, ...] = ()
    scale: float = 1.0
    focal: float | None = None


def decode_image(source: ImageSource, max_side: int = WORKING_SIDE) -> DecodedImage:
    """A photo from a path, encoded bytes, a PIL image or an array, with its longer side at most max_side px.

    Arrays are sRGB [H,W], [H,W,1], [H,W,3] or [H,W,4], uint8, uint16 or float in 0..1. JPEG, PNG, WebP, TIFF, AVIF,
    GIF, BMP and HEIC are read; of several frames the first. Raises ImageDecodeError.
    """
    name = _name(source)
    with _decoding(name):
        if isinstance(source, np.ndarray):
            source = _from_array(source)
        if isinstance(source, Image.Image):
            _check_pixels(*source.size)
            return _finish(source, source.size, name, max_side, [])
        content = source if isinstance(source, bytes) else _read(Path(source))
        return _decode_bytes(content, name, max_side)


def _name(source: ImageSource) -> str:
    if isinstance(source, np.ndarray):
        return "array"
    if isinstance(source, bytes):
        return "bytes"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "image")
    if isinstance(source, str | PathLike):
        return str(source)
    raise ImageDecodeError(f"{type(source).__name__} is no image: give a path, bytes, a PIL image or an array")


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into one ImageDecodeError that names the picture.

    The decoders' Python warnings are silenced: they are about metadata, or about sizes, for which our limit stands.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MissingExtraError:
        raise
    except Gen3DFaceError as error:
        raise ImageDecodeError(f"{name}: {error}") from error
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise ImageDecodeError(f"{name}: damaged image, it cannot be decoded ({error})") from error


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageDecodeError("this is a folder; give one image file")
        if not path.is_file():
            raise ImageDecodeError("no such file" if not path.exists() else "not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageDecodeError(f"the file cannot be read ({reason}); check path and permissions") from error
    return content


def _decode_bytes(content: bytes, name: str, max_side: int) -> DecodedImage:
    if not content:
        raise ImageDecodeError("the file is empty (0 bytes)")
    if len(content) > MAX_BYTES:
        raise ImageDecodeError(f"the file is larger than {MAX_BYTES >> 20} MiB; reduce it first")
    notes: list[str] = []
    image = _open(content)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        notes.append("the file holds several frames; the first is used")
    stored = image.size
    if image.format == "JPEG":
        image.draft(None, (max_side, max_side))  # lets the decoder itself halve a large picture
    image.load()
    return _finish(image, stored, name, max_side, notes)


def _open(content: bytes) -> Image.Image:
    """Only the header is read here, so that the size is checked before the pixels are decoded."""
    if is_heif(content):
        return _open_heif(content)
    try:
        Image.init()  # registers all of Pillow's plugins; at once after the first time
        image = Image.open(io.BytesIO(content), formats=[f for f in _FORMATS if f in Image.OPEN])
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise ImageDecodeError(_too_many(pixels.group() if pixels else "too many")) from error
    except Image.UnidentifiedImageError as error:
        if is_tiff(content):
            return _open_other_tiff(content)
        raise ImageDecodeError(_unidentified(content)) from error
    _check_pixels(*image.size)
    return image


def _open_heif(content: bytes) -> Image.Image:
    try:
        from pi_heif import HeifImageFile
    except ImportError as error:
        raise MissingExtraError(
            "HEIC images need the package pi-heif: pip install pi-heif, or save the photo as JPEG"
        ) from error
    image: Image.Image = HeifImageFile(io.BytesIO(content))
    _check_pixels(*image.size)
    return image


def _open_other_tiff(content: bytes) -> Image.Image:
    """TIFF layouts that Pillow does not know, such as floating-point colour."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        _check_pixels(page.imagewidth, page.imagelength)
        if page.nbytes > _MAX_TIFF_BYTES:
            raise ImageDecodeError(f"the picture takes {page.nbytes} bytes, more than {_MAX_TIFF_BYTES}; reduce it")
        array = page.asarray()
        return _from_array(np.moveaxis(array, 0, -1) if page.axes == "SYX" else array)


def _unidentified(content: bytes) -> str:
    kind = looks_like(content)
    if kind.endswith("image"):
        return f"it looks like {kind} but is damaged, or of a kind that cannot be read"
    return f"this is no image: it looks like {kind}; give a JPEG, PNG, WebP, TIFF or HEIC photo"


def _check_pixels(width: int, height: int) -> None:
    if min(width, height) < 1:
        raise ImageDecodeError(f"the picture has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageDecodeError(_too_many(f"{width} x {height} = {width * height}"))


def _too_many(pixels: str) -> str:
    return f"the picture has {pixels} pixels, more than the limit of {MAX_PIXELS}; reduce it first"


def _from_array(array: NDArray[np.generic]) -> Image.Image:
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageDecodeError(f"shape {shape} is no picture: expected [H,W], [H,W,3] or [H,W,4]")
    _check_pixels(shape[1], shape[0])
    return Image.fromarray(np.ascontiguousarray(_to_bytes(array)))


def _to_bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """uint8, uint16 (0..65535) or float (0..1) to uint8, rounded; by blocks of rows, as the picture may be large."""
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    narrowed = np.empty(array.shape, np.uint8)
    for start in range(0, array.shape[0], _BLOCK_ROWS):
        block = array[start : start + _BLOCK_ROWS]
        narrowed[start : start + _BLOCK_ROWS] = _block_to_bytes(block)
    return narrowed


def _block_to_bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8)
    if array.dtype == np.int32:  # Pillow's reading of some 16-bit files
        if array.min() < 0 or array.max() > 65535:
            raise ImageDecodeError(f"integer pixels run from {array.min()} to {array.max()}; expected 0..65535")
        return _block_to_bytes(array.astype(np.uint16))
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageDecodeError(f"pixels of type {array.dtype} are not supported: use uint8, uint16 or float in 0..1")
    values = array.astype(np.float32)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise ImageDecodeError(f"at least {bad} pixel values are NaN or infinite")
    if values.min() < 0 or values.max() > 1:
        raise ImageDecodeError(f"float pixels run from {values.min():g} to {values.max():g}; expected 0..1")
    return (values * 255 + 0.5).astype(np.uint8)


def _finish(image: Image.Image, stored: tuple[int, int], name: str, max_side: int, notes: list[str]) -> DecodedImage:
    """Upright, 8 bits, reduced, sRGB, over white. stored: (width, height) in the file."""
    focal = exif_focal(image, stored)
    image = _narrow(_upright(image, notes))
    if max(stored) > max_side:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        notes.append(f"the picture ({stored[0]} x {stored[1]} px) was reduced to a longer side of {max_side} px")
    colour, alpha = _split_alpha(image)
    rgb = np.asarray(to_srgb(colour, image.info.get("icc_profile"), notes))
    if alpha is not None:
        rgb = composite(rgb, alpha)
    scale = max(image.size) / max(stored)
    return DecodedImage(np.ascontiguousarray(rgb), alpha, name, tuple(notes), scale, focal and focal * scale)


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # EXIF is as hostile as the rest, and not needed to see the picture
        notes.append(f"the EXIF data is damaged and was ignored ({error})")
        return image.copy()


def _narrow(image: Image.Image) -> Image.Image:
    """Palettes resolved and more than 8 bits a channel brought to 8."""
    info = image.info
    if image.mode in _WIDE_MODES:
        array = np.asarray(image)
        image = Image.fromarray(_to_bytes(array.astype(array.dtype.newbyteorder("="), copy=False)))
    elif image.mode in ("P", "PA", "1"):
        image = image.convert("RGBA" if "transparency" in info or image.mode == "PA" else "RGB")
    elif "transparency" in info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    image.info = info
    return image


def _split_alpha(image: Image.Image) -> tuple[Image.Image, NDArray[np.float32] | None]:
    if image.mode not in ("RGBA", "LA", "RGBa", "La"):
        return image, None
    plain = image.convert("RGBA" if image.mode.startswith("RGB") else "LA")
    alpha = (np.asarray(plain.getchannel("A")) / np.float32(255)).astype(np.float32)
    colour = plain.convert("RGB" if plain.mode == "RGBA" else "L")
    return colour, None if alpha.min() == 1 else alpha
