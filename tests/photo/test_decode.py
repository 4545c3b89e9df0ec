"""Formats, orientations and colour kinds, each against the exact pixels it must give."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from gen3dface.errors import MissingExtraError
from gen3dface.photo import decode_image

DATA = Path(__file__).parent / "data"

# Four corners, all different, in blocks of 8 px so that lossy formats keep them.
BLOCKS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
PICTURE = np.ascontiguousarray(BLOCKS.repeat(16, 0).repeat(24, 1))  # [32,48,3]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_lossless_formats_give_the_exact_pixels(kind):
    assert np.array_equal(decode_image(encoded(Image.fromarray(PICTURE), kind)).rgb, PICTURE)


def test_webp_lossless():
    assert np.array_equal(decode_image(encoded(Image.fromarray(PICTURE), "WEBP", lossless=True)).rgb, PICTURE)


def test_jpeg_within_its_loss():
    rgb = decode_image(encoded(Image.fromarray(PICTURE), "JPEG", quality=98, subsampling=0)).rgb
    assert np.abs(rgb.astype(int) - PICTURE).max() <= 4


# What a viewer must do for each EXIF orientation, from the EXIF 2.3 table: where row 0 and column 0 lie.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(kind, {})
    rgb = decode_image(encoded(Image.fromarray(PICTURE), kind, exif=exif, **options)).rgb
    expected = UPRIGHT[orientation](PICTURE)
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize(("name", "orientation"), [("blocks.heic", 1), ("blocks_turned.heic", 6)])
def test_heic_is_turned_once(name, orientation):
    pytest.importorskip("pi_heif")
    rgb = decode_image(DATA / name).rgb
    expected = UPRIGHT[orientation](BLOCKS.repeat(32, 0).repeat(48, 1))
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected)[8::16, 8::16].max() <= 2


def test_heic_without_its_reader_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(MissingExtraError, match="pi-heif"):
        decode_image(DATA / "blocks.heic")


def test_damaged_exif_is_noted_and_the_picture_still_read():
    content = encoded(Image.fromarray(PICTURE), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12")
    assert np.array_equal(decode_image(content).rgb, PICTURE)


def photo_with_exif(size: tuple[int, int], film: object, taken: tuple[int, int] | None = None) -> bytes:
    exif = Image.Exif()
    entries = exif.get_ifd(ExifTags.IFD.Exif)
    entries[ExifTags.Base.FocalLengthIn35mmFilm] = film
    if taken:
        entries[ExifTags.Base.ExifImageWidth], entries[ExifTags.Base.ExifImageHeight] = taken
    return encoded(Image.new("RGB", size), "JPEG", exif=exif)


@pytest.mark.parametrize("size", [(600, 400), (400, 600)])
def test_focal_length_from_exif_is_in_pixels_of_the_reduced_picture(size):
    """On 36 x 24 mm film, an 85 mm lens over 36 mm of width is 85 / 36 of the longer side."""
    assert decode_image(photo_with_exif(size, 85)).focal == pytest.approx(85 / 36 * 600)
    assert decode_image(photo_with_exif(size, 85, (6000, 4000)), max_side=300).focal == pytest.approx(85 / 36 * 300)
    assert decode_image(photo_with_exif((800, 600), 50)).focal == pytest.approx(50 / 43.2666 * 1000, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "film", "taken"),
    [((600, 400), 0, None), ((600, 400), 60000, None), ((500, 400), 85, None), ((600, 400), 85, (6000, 5000))],
)
def test_focal_length_that_is_unknown_or_of_a_cropped_picture_is_left_out(size, film, taken):
    assert decode_image(photo_with_exif(size, film, taken)).focal is None
    assert decode_image(encoded(Image.new("RGB", (600, 400)), "JPEG")).focal is None


def test_cmyk():
    inks = np.array([[[255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 0, 255], [100, 50, 25, 64]]], np.uint8)
    rgb = decode_image(encoded(Image.fromarray(inks, "CMYK"), "TIFF")).rgb
    expected = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    assert np.abs(rgb - expected).max() <= 1


def test_sixteen_bit_grey_png_is_rounded():
    grey = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
    rgb = decode_image(encoded(Image.fromarray(grey), "PNG")).rgb
    assert rgb[0, :, 0].tolist() == [round(v / 257) for v in grey[0].tolist()]
    assert np.array_equal(rgb[..., 0], rgb[..., 2])


def test_sixteen_bit_colour_tiff():
    wide = PICTURE.astype(np.uint16) * 257
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, wide, photometric="rgb")
    assert np.array_equal(decode_image(buffer.getvalue()).rgb, PICTURE)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_float_colour_tiff(planar):
    values = (PICTURE / 255).astype(np.float32)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, values if planar == "contig" else np.moveaxis(values, -1, 0), photometric="rgb", planarconfig=planar
    )
    assert np.array_equal(decode_image(buffer.getvalue()).rgb, PICTURE)


def test_palette_with_and_without_transparency():
    palette = Image.fromarray(PICTURE).quantize(4)
    assert np.array_equal(decode_image(encoded(palette, "PNG")).rgb, PICTURE)
    clear = palette.getpixel((0, 0))
    decoded = decode_image(encoded(palette, "PNG", transparency=clear))
    assert decoded.rgb[0, 0].tolist() == [255, 255, 255] and decoded.alpha[0, 0] == 0
    assert decoded.rgb[0, -1].tolist() == [0, 255, 0] and decoded.alpha[0, -1] == 1


def test_one_bit_and_grey():
    grey = np.array([[0, 255], [255, 0]], np.uint8)
    bilevel = Image.fromarray(grey).convert("1")
    assert np.array_equal(decode_image(encoded(bilevel, "PNG")).rgb[..., 1], grey)
    assert np.array_equal(decode_image(encoded(Image.fromarray(grey), "TIFF")).rgb[..., 1], grey)


def test_alpha_is_composited_on_white_in_linear_light_and_kept():
    rgba = np.dstack([np.zeros((2, 2, 3), np.uint8), np.array([[0, 255], [128, 128]], np.uint8)])
    decoded = decode_image(encoded(Image.fromarray(rgba), "PNG"))
    light = 1 - 128 / 255
    half = round(255 * (1.055 * light ** (1 / 2.4) - 0.055))
    assert decoded.rgb[..., 0].tolist() == [[255, 0], [half, half]]
    np.testing.assert_allclose(decoded.alpha, [[0, 1], [128 / 255, 128 / 255]], atol=1e-6)


def test_opaque_alpha_is_no_matte():
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    assert decode_image(encoded(Image.fromarray(rgba), "PNG")).alpha is None


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_with_a_note(kind):
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.array_equal(decoded.rgb, PICTURE)
    assert "first" in decoded.warnings[0]


def test_a_large_picture_is_reduced_and_says_so():
    big = Image.fromarray(PICTURE).resize((3000, 2000), Image.Resampling.NEAREST)
    for kind in ("PNG", "JPEG"):
        decoded = decode_image(encoded(big, kind), max_side=600)
        assert decoded.rgb.shape == (400, 600, 3)
        assert "3000 x 2000" in decoded.warnings[0] and "600" in decoded.warnings[0]
        centres = decoded.rgb[100::200, 150::300].astype(int)
        assert np.abs(centres - BLOCKS).max() <= 3


def test_a_path_a_pil_image_and_arrays_are_the_same_picture(tmp_path):
    (tmp_path / "foto ä.png").write_bytes(encoded(Image.fromarray(PICTURE), "PNG"))
    sources = [
        tmp_path / "foto ä.png",
        str(tmp_path / "foto ä.png"),
        Image.fromarray(PICTURE),
        PICTURE,
        PICTURE.astype(np.uint16) * 257,
        PICTURE / 255,
    ]
    for source in sources:
        assert np.array_equal(decode_image(source).rgb, PICTURE)
    assert decode_image(sources[0]).source.endswith("foto ä.png")


def test_the_source_is_left_as_it_was():
    image = Image.fromarray(PICTURE)
    image.getexif()[0x0112] = 6
    decode_image(image)
    assert image.size == (48, 32) and image.getexif()[0x0112] == 6
