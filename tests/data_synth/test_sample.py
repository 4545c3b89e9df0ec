"""A sample survives its bytes, and damaged bytes are named."""

import dataclasses
import json
import struct
import zlib

import numpy as np
import pytest
import torch

from gen3dface.data_synth.sample import TrainingSample, packed_depth, unpacked_depth
from gen3dface.errors import DataError, HeadError
from tests.data_synth.samples import random_sample


def test_a_sample_comes_back_value_for_value() -> None:
    sample = random_sample(views=5)
    back = TrainingSample.from_members(sample.key, sample.to_members())
    assert torch.equal(back.views, sample.views)
    assert torch.equal(back.cameras.world_to_camera, sample.cameras.world_to_camera)
    assert torch.equal(back.cameras.intrinsics, sample.cameras.intrinsics)
    assert torch.equal(back.head.identity, sample.head.identity)
    np.testing.assert_array_equal(back.portrait.image, sample.portrait.image)
    assert back.provenance == sample.provenance
    assert back.licences == ["CC0-1.0"]
    assert back.to_members() == sample.to_members()


def test_what_is_known_of_the_views_comes_back() -> None:
    sample = random_sample(views=3)
    known = torch.zeros_like(sample.views[:, :1])
    known[1, :, 4:9] = 255
    back = TrainingSample.from_members("id0", dataclasses.replace(sample, known=known).to_members())
    assert back.known is not None and torch.equal(back.known, known)
    for wrong in (known.float(), known[:2], sample.views):
        with pytest.raises(DataError, match="known"):
            dataclasses.replace(sample, known=wrong)


def test_depth_comes_back_to_a_twentieth_of_a_millimetre() -> None:
    sample = random_sample(views=3)
    metres = 1.5 + 0.3 * torch.rand(sample.views[:, :1].shape)
    metres[0, 0, :3] = torch.inf
    packed = dataclasses.replace(sample, depth=packed_depth(metres))
    for pictures in ("png", "webp"):
        back = TrainingSample.from_members("id0", packed.to_members(pictures))
        assert back.depth is not None
        torch.testing.assert_close(unpacked_depth(back.depth), metres, atol=5.1e-5, rtol=0)
    with pytest.raises(DataError, match="depth"):
        dataclasses.replace(sample, depth=metres)


@pytest.mark.parametrize("metres", [6.56, 50.0, -0.01])
def test_depth_that_cannot_be_kept_is_not_cut_off(metres: float) -> None:
    kept = torch.tensor([6.5535, torch.inf, torch.nan, 0.0]).view(1, 1, 2, 2)
    assert packed_depth(kept).flatten().tolist() == [65535, 0, 0, 0]
    with pytest.raises(HeadError, match=f"{metres:.2f}"):
        packed_depth(torch.tensor([1.0, metres]).view(1, 1, 1, 2))


@pytest.mark.parametrize("stem", ["known", "depth"])
def test_a_first_picture_that_is_missing_is_named(stem: str) -> None:
    sample = random_sample()
    plane = sample.views[:, :1]
    full = dataclasses.replace(sample, **{stem: plane.to(torch.uint16) if stem == "depth" else plane})
    members = {name: data for name, data in full.to_members().items() if name != f"{stem}000.png"}
    with pytest.raises(DataError, match=rf"lacks '{stem}000\.png'"):
        TrainingSample.from_members("id0", members)


def test_webp_keeps_every_value_where_nothing_covers_too() -> None:
    sample = random_sample(views=3)
    opaque = dataclasses.replace(sample, views=sample.views.clone())
    opaque.views[0, 3] = 255
    opaque.views[1, 3] = 0
    known = torch.randint(0, 256, sample.views[:, :1].shape, dtype=torch.uint8)
    members = dataclasses.replace(opaque, known=known).to_members("webp")
    assert "view000.webp" in members and "view000.png" not in members
    back = TrainingSample.from_members("id0", members)
    assert torch.equal(back.views, opaque.views)
    assert back.known is not None and torch.equal(back.known, known)


@pytest.mark.parametrize("name", ["json", "portrait.safetensors", "head.safetensors", "view001.png"])
def test_a_damaged_or_missing_member_is_named(name: str) -> None:
    members = random_sample().to_members()
    with pytest.raises(DataError, match="id0 is damaged"):
        TrainingSample.from_members("id0", {**members, name: members[name][: len(members[name]) // 2]})
    with pytest.raises(DataError, match=f"lacks '{name}'"):
        TrainingSample.from_members("id0", {k: v for k, v in members.items() if k != name})


def test_a_picture_of_another_size_is_refused() -> None:
    small, large = random_sample(side=16).to_members(), random_sample(side=32).to_members()
    with pytest.raises(DataError, match="32"):
        TrainingSample.from_members("id0", {**large, "view000.png": small["view000.png"]})


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, more: bytes = b"") -> bytes:
    """A header of any size, and hardly any pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("view000.png", png(30_000, 30_000)),  # Pillow: a decompression bomb
        ("view000.png", png(32, 32, b"\0\0\0\4\xff\xff\xff\xff")),  # Pillow: a SyntaxError
        ("view000.png", b"\x89PNG\r\n\x1a\n\0\0\0\4IHDRabcd"),
        ("json", b"[" * 200_000),
        ("json", b'{"format": "gen3dface.sample.1", "cameras": 5}'),
        ("json", b"5"),
    ],
)
def test_hostile_members_are_named(name: str, data: bytes) -> None:
    with pytest.raises(DataError, match="id0"):
        TrainingSample.from_members("id0", {**random_sample().to_members(), name: data})


@pytest.mark.parametrize("key", ["", "../id", "a/b", "a.b", "-a", "a" * 65])
def test_keys_cannot_leave_a_shard(key: str) -> None:
    with pytest.raises(DataError, match="key"):
        dataclasses.replace(random_sample(), key=key)


def test_views_must_be_bytes_with_alpha() -> None:
    sample = random_sample()
    for views in (sample.views.float(), sample.views[:, :3], sample.views[:2], sample.views[..., :16]):
        with pytest.raises(DataError, match="uint8"):
            dataclasses.replace(sample, views=views)


def test_too_many_views_are_refused_before_any_is_read() -> None:
    members = random_sample().to_members()
    note = json.loads(members["json"])
    for name in ("world_to_camera", "intrinsics"):
        note["cameras"][name] = note["cameras"][name] * 300
    with pytest.raises(DataError, match="900 views"):
        TrainingSample.from_members("id0", {**members, "json": json.dumps(note).encode()})
