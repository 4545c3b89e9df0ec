"""ICC profiles against the formula: matrix/gamma profiles built here byte by byte."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms

from gen3dface.photo import decode_image

WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
# sRGB primaries adapted to D50 (the ICC's own table for sRGB), columns r, g, b.
SRGB_D50 = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
ADOBE_D50 = np.array(
    [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]]
)
ADOBE_GAMMA = 563 / 256


def icc(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC v2 display profile."""
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x02100000, b"mntr", kind, b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + xyz_numbers(WHITE_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz_numbers(values: np.ndarray) -> bytes:
    return struct.pack(">3i", *(round(v * 65536) for v in values))


def shared_tags(name: bytes) -> dict[bytes, bytes]:
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" + b"\0" * 78
    return {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": b"XYZ \0\0\0\0" + xyz_numbers(WHITE_D50)}


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def matrix_profile(name: bytes, primaries: np.ndarray, gamma: float) -> bytes:
    tags = shared_tags(name)
    for letter, column in zip(b"rgb", primaries.T, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + xyz_numbers(column)
        tags[bytes([letter]) + b"TRC"] = gamma_curve(gamma)
    return icc(b"RGB ", tags)


def png(image: Image.Image, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=profile)
    return buffer.getvalue()


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_adobe_rgb_is_converted_by_the_formula():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rgb = decode_image(png(Image.fromarray(pixels), matrix_profile(b"wide", ADOBE_D50, ADOBE_GAMMA))).rgb
    linear = (pixels / 255) ** ADOBE_GAMMA @ ADOBE_D50.T @ np.linalg.inv(SRGB_D50).T
    inside = ((linear > 0.002) & (linear < 0.998)).all(-1)
    assert inside.sum() > 80
    assert np.abs(rgb[inside] - encode_srgb(linear[inside])).max() <= 1.6


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", shared_tags(b"grey") | {b"kTRC": gamma_curve(gamma)})


def test_grey_profile_is_converted_by_the_formula():
    levels = np.arange(256, dtype=np.uint8)[None]
    rgb = decode_image(png(Image.fromarray(levels), grey_profile(1.75))).rgb
    assert np.abs(rgb[..., 1] - encode_srgb((levels / 255) ** 1.75)).max() <= 2
    assert np.abs(rgb.astype(int) - rgb[..., :1]).max() <= 1


def test_srgb_profile_changes_nothing():
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode_image(png(Image.fromarray(pixels), profile)).rgb, pixels)


def test_a_damaged_profile_is_noted_and_ignored():
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    decoded = decode_image(png(Image.fromarray(pixels), b"no profile at all" * 20))
    assert np.array_equal(decoded.rgb, pixels)
    assert "colour profile" in decoded.warnings[0]


def test_a_profile_of_another_colour_space_is_noted_and_ignored():
    pixels = np.full((8, 8, 3), 77, np.uint8)
    decoded = decode_image(png(Image.fromarray(pixels), grey_profile(2.25)))
    assert np.array_equal(decoded.rgb, pixels) and "colour profile" in decoded.warnings[0]
