"""The photo's own ways into the model: projection, pixel latents, gate, encoder."""

import pytest
import torch
import torch.nn.functional as F

from gen3dface.cameras import orbit
from gen3dface.errors import ConfigError
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.models.copy_gate import blend_copy, clearly_seen, copy_gate, own_view
from gen3dface.models.photo_encoder import PhotoEncoder
from gen3dface.models.photo_projection import Photo, condition_planes, pack, project_photo
from gen3dface.render import Surface

SIZE = 64


def sphere(rings: int = 24) -> Surface:
    """A ball of 0.1 m with latitude-longitude faces, counter-clockwise from outside."""
    theta = torch.linspace(0.02, torch.pi - 0.02, rings)
    phi = torch.arange(2 * rings) * torch.pi / rings
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    vertices = 0.1 * torch.stack([t.sin() * p.sin(), t.cos(), t.sin() * p.cos()], -1).reshape(-1, 3)
    columns = 2 * rings
    i, j = torch.meshgrid(torch.arange(rings - 1), torch.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    faces = torch.stack([torch.stack([a, a + columns, b], -1), torch.stack([b, a + columns, b + columns], -1)])
    return Surface(vertices, faces.reshape(-1, 3), torch.zeros(1, 2), torch.zeros_like(faces.reshape(-1, 3)))


def cameras(*azimuths: float):  # type: ignore[no-untyped-def]
    return orbit(torch.tensor(azimuths), torch.zeros(len(azimuths)), radius=1.8, focal=4.5, size=SIZE)


def photo() -> Photo:
    ramp = torch.linspace(0, 1, SIZE)
    image = torch.stack([ramp.expand(SIZE, SIZE), ramp[:, None].expand(SIZE, SIZE), torch.full((SIZE, SIZE), 0.25)])
    return Photo(image, torch.ones(SIZE, SIZE), cameras(0.0))


def test_the_photos_own_view_gets_the_photo_back() -> None:
    out = project_photo(photo(), sphere(), cameras(0.0, 180.0))
    sure = out.visibility[0, 0, 0] > 0.9
    assert sure.sum() > 200
    apart = (out.colour[0, 0] - photo().image).abs().amax(0)
    assert apart[sure].max() < 0.02
    assert out.visibility[1].max() == 0 and out.colour[1].abs().max() == 0, "the back is not in the photo"
    assert out.mask.mean((1, 2, 3)).tolist() == pytest.approx([torch.pi * (0.25 * SIZE) ** 2 / SIZE**2] * 2, rel=0.03)


def test_position_and_normal_are_the_spheres() -> None:
    out = project_photo(photo(), sphere(), cameras(30.0))
    inside = out.mask[0, 0] > 0
    position, normal = out.position[0][:, inside], out.normal[0][:, inside]
    torch.testing.assert_close(position, 0.1 * normal, atol=2e-3, rtol=0)


def test_the_mirror_shows_the_other_side() -> None:
    surface = sphere()
    rows = surface.vertices.reshape(24, 48, 3)
    mirror = torch.arange(24 * 48).reshape(24, 48)[:, (-torch.arange(48)) % 48].flatten()
    torch.testing.assert_close(surface.vertices[mirror].reshape(rows.shape), rows * torch.tensor([-1.0, 1, 1]))
    out = project_photo(photo(), surface, cameras(0.0), mirror)
    sure = out.mirrored[0, 3] > 0.9
    apart = (out.mirrored[0, :3] - photo().image.flip(-1)).abs().amax(0)
    assert apart[sure].max() < 0.03 and sure.sum() > 200


def test_conditions_have_the_channels_that_the_model_is_told() -> None:
    out = project_photo(photo(), sphere(), cameras(0.0, 90.0), shells=(0.0, 0.02))
    planes = out.conditions()
    assert planes.shape == (2, condition_planes(2), SIZE, SIZE) and planes.abs().max() <= 1 + 1e-5
    assert out.visibility[0, 1].sum() > out.visibility[0, 0].sum(), "the shell is larger"
    assert pack(planes, 4).shape == (2, condition_planes(2) * 16, SIZE // 4, SIZE // 4)
    with pytest.raises(ConfigError, match="shell"):
        project_photo(photo(), sphere(), cameras(0.0), shells=(0.02,))


def test_pixel_latents_are_lossless() -> None:
    codec, x = PixelAutoencoder(4, 4), torch.rand(2, 4, 16, 16)
    latents = codec.encode(x).latents  # type: ignore[union-attr]
    assert latents.shape == (2, codec.latent_channels, 4, 4)
    assert codec.decode(latents).sample.equal(x)  # type: ignore[union-attr]


def test_gating_pixel_latents_is_gating_pixels() -> None:
    codec = PixelAutoencoder(4, 4)
    clean, copied, gate = torch.rand(1, 4, 16, 16), torch.rand(1, 4, 16, 16), torch.rand(1, 1, 16, 16)
    encoded = [codec.encode(x).latents for x in (clean, copied)]  # type: ignore[union-attr]
    blended = codec.decode(blend_copy(*encoded, F.pixel_unshuffle(gate, 4))).sample  # type: ignore[union-attr]
    torch.testing.assert_close(blended, gate * copied + (1 - gate) * clean)


def test_straight_colours_come_back_over_white() -> None:
    """A disc with a soft edge, to the bytes that pictures are kept in; what is not covered has the disc's colours."""
    codec = PixelAutoencoder(4, 4, straight=True)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    alpha = (10 - ((x - 15.5) ** 2 + (y - 15.5) ** 2).sqrt()).clamp(0, 1)[None, None]
    colour = torch.tensor([0.8, 0.3, 0.1]).view(1, 3, 1, 1)
    picture = torch.cat([alpha * colour + 1 - alpha, alpha], 1)
    latents = codec.encode(2 * picture - 1).latents  # type: ignore[union-attr]
    torch.testing.assert_close(codec.decode(latents).sample / 2 + 0.5, picture, atol=1e-5, rtol=0)  # type: ignore[union-attr]
    straight = F.pixel_shuffle(latents, 4)[:, :3] / 2 + 0.5
    torch.testing.assert_close(straight, colour.expand_as(straight), atol=1e-4, rtol=0)


def test_straight_colours_of_an_empty_picture_are_white_and_wider_coverage_shows_the_nearest() -> None:
    codec = PixelAutoencoder(4, 2, straight=True)
    picture = torch.ones(2, 4, 16, 16)
    picture[0, 3] = 0  # nothing
    picture[1, :3, :, 6:] = 0.0  # a red stripe on the left, black beside it, half of the picture empty
    picture[1, 1:3, :, :6] = 0.0
    picture[1, :3, :, 8:], picture[1, 3, :, 8:] = 1.0, 0.0
    latents = codec.encode(2 * picture - 1).latents  # type: ignore[union-attr]
    assert (F.pixel_shuffle(latents, 2)[0, :3] == 1).all()
    grown = F.pixel_shuffle(latents, 2)
    grown[1, 3] = 1
    shown = codec.decode(F.pixel_unshuffle(grown, 2)).sample[1, :3] / 2 + 0.5  # type: ignore[union-attr]
    assert shown[:, :, 8].max() < 0.6, "the neighbour was black"
    assert (shown[0, :, :6] == 1).all() and (shown[1:, :, :6] == 0).all()


def test_the_gate_opens_with_visibility() -> None:
    visibility = torch.tensor([0.0, 0.04, 0.05, 0.25, 1.0])
    found = copy_gate(torch.zeros(5), visibility)
    expected = torch.tensor([0.0, 0.0, torch.tensor(-2.0).sigmoid(), 0.5, torch.tensor(7.5).sigmoid()])
    torch.testing.assert_close(found, expected)


def test_photo_encoder_shapes() -> None:
    model = PhotoEncoder(4, 32, (8, 16, 16), 12, 5, 8)
    out = model(torch.rand(2, 4, 32, 32))
    assert out.tokens.shape == (2, model.tokens, 12)
    assert out.features is not None and out.features.shape == (2, 5, 8, 8)
    with pytest.raises(ConfigError):
        PhotoEncoder(image_size=100)


def test_a_view_from_the_photo_s_place_is_the_photo() -> None:
    """Smooth between 5 and 20 degrees, half way at their mean, whatever the distance; elevations count."""
    own = own_view(cameras(30.0, 35.0, 42.5, 17.5, 50.0, 200.0), cameras(30.0))
    torch.testing.assert_close(own, torch.tensor([1.0, 1.0, 0.5, 0.5, 0.0, 0.0]), atol=1e-3, rtol=0)
    above = orbit(torch.tensor([30.0]), torch.tensor([12.5]), radius=0.7, focal=1.0, size=SIZE)
    torch.testing.assert_close(own_view(above, cameras(30.0)), torch.tensor([0.5]), atol=1e-3, rtol=0)
    assert copy_gate(torch.tensor(-5.0), torch.tensor(2.0)) > 0.99, "even against the network"


def test_what_the_photo_shows_clearly_is_copied_whatever_the_network_says() -> None:
    """Smooth between visibilities of 0.25 and 0.5, half way at their mean."""
    seen = torch.tensor([0.0, 0.25, 0.3125, 0.375, 0.5, 1.0])
    torch.testing.assert_close(clearly_seen(seen), torch.tensor([0.0, 0.0, 0.15625, 0.5, 1.0, 1.0]))
    assert copy_gate(torch.tensor(-5.0), seen + clearly_seen(seen))[4:].min() > 0.99
