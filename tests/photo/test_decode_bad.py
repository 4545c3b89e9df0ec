"""Hostile and broken input: one clear ImageDecodeError each, before any large allocation."""

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gen3dface.errors import ImageDecodeError
from gen3dface.photo import decode, decode_image

SMALL = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_zeros(width: int, height: int, rows: int) -> bytes:
    """A PNG header that promises width x height grey pixels, with only some rows of data."""
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((width + 1) * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_empty():
    with pytest.raises(ImageDecodeError, match="0 bytes"):
        decode_image(b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.15, 0.6])
def test_truncated(kind, part):
    content = encoded(SMALL, kind)
    with pytest.raises(ImageDecodeError, match="damaged"):
        decode_image(content[: int(len(content) * part)])


def test_truncated_heic():
    pytest.importorskip("pi_heif")
    content = (Path(__file__).parent / "data" / "blocks.heic").read_bytes()
    with pytest.raises(ImageDecodeError, match="damaged"):
        decode_image(content[:500])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\0\0\0\x18ftypisom" + bytes(30), "an MP4"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"just words", "a text file"),
        (bytes(range(128, 200)), "something unknown"),
    ],
)
def test_a_file_of_another_kind_is_named_whatever_its_suffix(tmp_path, content, kind):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageDecodeError, match=kind) as caught:
        decode_image(path)
    assert str(path) in str(caught.value)


def test_twenty_thousand_square_is_refused_before_decoding():
    content = png_of_zeros(20_000, 20_000, rows=0)
    tracemalloc.start()
    with pytest.raises(ImageDecodeError, match=r"400000000.*limit of 128000000"):
        decode_image(content)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_just_over_the_limit_gives_both_sides():
    with pytest.raises(ImageDecodeError, match="12000 x 12000 = 144000000"):
        decode_image(png_of_zeros(12_000, 12_000, rows=0))


def test_decompression_bomb_is_small_on_disk_and_refused():
    content = png_of_zeros(20_000, 20_000, rows=500)
    assert len(content) < 50_000
    with pytest.raises(ImageDecodeError, match="limit"):
        decode_image(content)


def test_tiff_that_unpacks_to_too_much(monkeypatch):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((64, 64, 3), np.float32), photometric="rgb", compression="zlib")
    monkeypatch.setattr(decode, "_MAX_TIFF_BYTES", 1000)
    with pytest.raises(ImageDecodeError, match="more than 1000"):
        decode_image(buffer.getvalue())


def test_too_many_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(decode, "MAX_BYTES", 1 << 20)
    (tmp_path / "big.jpg").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ImageDecodeError, match="larger than 1 MiB"):
        decode_image(tmp_path / "big.jpg")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 3)])
def test_not_a_number_in_a_tiff(value, shape):
    pixels = np.full(shape, 0.5, np.float32)
    pixels[3, 4] = value
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    with pytest.raises(ImageDecodeError, match="NaN or infinite"):
        decode_image(buffer.getvalue())


def test_float_out_of_range_is_refused_with_its_range():
    with pytest.raises(ImageDecodeError, match=r"from 0 to 255; expected 0\.\.1"):
        decode_image(np.linspace(0, 255, 300).reshape(10, 10, 3))


@pytest.mark.parametrize("shape", [(5,), (5, 5, 2), (5, 5, 5), (1, 5, 5, 3), (0, 5, 3)])
def test_arrays_of_no_picture_shape(shape):
    with pytest.raises(ImageDecodeError):
        decode_image(np.zeros(shape, np.uint8))


def test_array_of_a_wrong_type():
    with pytest.raises(ImageDecodeError, match="int64"):
        decode_image(np.zeros((5, 5, 3), np.int64))
    with pytest.raises(ImageDecodeError, match="NoneType"):
        decode_image(None)


def test_missing_file_folder_and_device(tmp_path):
    with pytest.raises(ImageDecodeError, match="no such file"):
        decode_image(tmp_path / "nobody.jpg")
    with pytest.raises(ImageDecodeError, match="folder"):
        decode_image(tmp_path)
    with pytest.raises(ImageDecodeError, match="not a regular file"):
        decode_image(os.devnull)
    with pytest.raises(ImageDecodeError, match="bad\x00name"):
        decode_image("bad\x00name.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read anything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "locked.jpg"
    path.write_bytes(encoded(SMALL, "JPEG"))
    path.chmod(0)
    with pytest.raises(ImageDecodeError, match="cannot be read"):
        decode_image(path)


def test_a_file_that_fails_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"x")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decode.Path, "open", refuse)
    with pytest.raises(ImageDecodeError, match="Permission denied"):
        decode_image(path)


SEEDS = [encoded(SMALL, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12))
def test_flipped_bytes_give_a_picture_or_the_one_error(content, changes):
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        decoded = decode_image(bytes(damaged))
    except ImageDecodeError:
        return
    assert decoded.rgb.dtype == np.uint8 and decoded.rgb.ndim == 3
