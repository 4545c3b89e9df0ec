import numpy as np

from gen3dface.photo.colour import bytes_to_linear, composite, linear_to_bytes, linear_to_srgb, srgb_to_linear


def test_known_values_of_the_transfer_function():
    # IEC 61966-2-1: the linear part below 0.04045, and the level that is half the light.
    np.testing.assert_allclose(srgb_to_linear(np.array([0, 0.04045, 1.0])), [0, 0.04045 / 12.92, 1], atol=1e-7)
    np.testing.assert_allclose(linear_to_srgb(np.array([0.5])), [0.7353569831], atol=1e-6)


def test_every_byte_survives_the_round_trip():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(linear_to_bytes(bytes_to_linear(levels)), levels)


def test_half_transparent_black_over_white_is_half_the_light():
    mixed = composite(np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 0.5, np.float32))
    assert mixed.ravel().tolist() == [188, 188, 188]  # 255 * 0.73536, not 128


def test_composite_over_a_given_background():
    image = np.full((1, 1, 3), 10, np.uint8)
    mixed = composite(image, np.zeros((1, 1), np.float32), background=(1.0, 0.0, 1.0))
    assert mixed.ravel().tolist() == [255, 0, 255]
