"""What a file's first bytes say it is, whatever its name says."""

from __future__ import annotations

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"glTF", "a GLB model"),
    (b"\x80\x04", "a Python pickle"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"II+\x00", "a BigTIFF image"),
    (b"MM\x00+", "a BigTIFF image"),
)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))


def looks_like(content: bytes) -> str:
    """A noun phrase for the kind of file, "something unknown" at worst."""
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP image"
    if content[4:8] == b"ftyp":
        return _iso_media(content[8:12])
    return _text(content)


def is_heif(content: bytes) -> bool:
    """True for HEIC and its relatives (not for AVIF)."""
    return content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS


def is_tiff(content: bytes) -> bool:
    return content[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def _iso_media(brand: bytes) -> str:
    if brand in _HEIF_BRANDS:
        return "a HEIC image"
    return "an AVIF image" if brand in (b"avif", b"avis") else "an MP4 or QuickTime video"


def _text(content: bytes) -> str:
    start = content[:512].lstrip().lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    try:
        start.decode("utf-8")
    except UnicodeDecodeError:
        return "something unknown"
    return "a text file" if b"\x00" not in start else "something unknown"
