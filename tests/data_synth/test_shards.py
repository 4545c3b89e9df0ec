"""Shards keep what they were given, tell what is wrong with them, and are read once each."""

import io
import itertools
import json
import pickle
import tarfile
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch

from gen3dface.data_synth import shards
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shard_set import ShardSet, ShuffledOrder
from gen3dface.data_synth.verify import verify_shards
from gen3dface.errors import DataError, OutputError
from tests.data_synth.samples import random_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of 3, 1 and 3 samples."""
    folder = tmp_path_factory.mktemp("shards")
    for index, keys in enumerate((["a", "b", "c"], ["d"], ["e", "f", "g"])):
        shards.write_shard(folder, index, (random_sample(key, ord(key)) for key in keys))
    return folder


def _copy(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_samples_come_back_from_their_shards(folder: Path) -> None:
    found = ShardSet(folder)
    assert found.keys == list("abcdefg")
    assert found.licences == ["CC0-1.0"]
    for index, key in enumerate("abcdefg"):
        assert found[index].to_members() == random_sample(key, ord(key)).to_members()
    assert list(verify_shards(folder)) == []


def test_a_source_without_licence_makes_the_shard_s_unknown(tmp_path: Path) -> None:
    silent = replace(random_sample("b"), provenance={})
    assert shards.write_shard(tmp_path, 0, [random_sample("a"), silent]).licences == ["CC0-1.0", "unknown"]
    with pytest.raises(DataError, match="licences"):
        replace(silent, provenance={"licences": 5})


def test_the_same_samples_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    shards.write_shard(tmp_path, 1, [random_sample("d", ord("d"))])
    for name in ("shard-000001.tar", "shard-000001.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_webdataset_reads_them(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="needs the train extra")
    rows = list(webdataset.WebDataset(str(folder / "shard-000000.tar"), shardshuffle=False))
    assert [row["__key__"] for row in rows] == ["a", "b", "c"]
    members = {k: v for k, v in rows[1].items() if not k.startswith("__")}
    assert torch.equal(TrainingSample.from_members("b", members).views, random_sample("b", ord("b")).views)


def test_a_flipped_bit_is_named_by_its_shard_alone(folder: Path, tmp_path: Path) -> None:
    path = _copy(folder, tmp_path) / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (problem,) = verify_shards(tmp_path)
    assert problem.startswith("shard-000001.tar") and "sha256" in problem


def test_a_shard_without_manifest_or_cut_short_is_refused(folder: Path, tmp_path: Path) -> None:
    path = _copy(folder, tmp_path) / "shard-000002.tar"
    path.write_bytes(path.read_bytes()[:-1024])
    with pytest.raises(DataError, match=r"shard-000002\.tar has"):
        ShardSet(tmp_path)
    path.with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"shard-000002\.json is missing"):
        ShardSet(tmp_path)


def test_an_identity_in_two_shards_is_refused(tmp_path: Path) -> None:
    for index in range(2):
        shards.write_shard(tmp_path, index, [random_sample("same")])
    with pytest.raises(DataError, match="same"):
        ShardSet(tmp_path)
    assert len(list(verify_shards(tmp_path))) == 1
    with pytest.raises(DataError, match="same"):
        shards.write_shard(tmp_path, 2, [random_sample("same"), random_sample("same")])


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing():
        yield random_sample("a")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        shards.write_shard(tmp_path, 0, failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil.json", "other.json", "a/../../b.json"])
def test_foreign_members_are_refused(tmp_path: Path, name: str) -> None:
    manifest = shards.write_shard(tmp_path, 0, [random_sample("a")])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    path = shards.shard_path(tmp_path, 0)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="no member of the sample a"):
        shards.read_entry(path, manifest.samples[0])


def sparse(real: int) -> bytes:
    """A tar of one member with 512 bytes that says it is `real` bytes long once its holes are filled (GNU)."""
    header = bytearray(tarfile.TarInfo("a.json").tobuf(tarfile.GNU_FORMAT))
    for place, value in ((124, 512), (386, 0), (398, 512), (483, real)):
        header[place : place + 12] = b"%011o\0" % value
    header[156:157], header[257:265], header[148:156] = b"S", b"ustar  \0", b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x" * 512 + bytes(1024)


def with_headers(**headers: str) -> bytes:
    """A tar whose member's pax headers are these."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.json")
        member.pax_headers = headers
        tar.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        sparse(300 << 20),
        with_headers(**{"GNU.sparse.size": "1000000", "GNU.sparse.map": "0,0"}),
        with_headers(**{"GNU.sparse.size": "zz", "GNU.sparse.map": "q,w"}),
        b"".join(with_headers(comment="x")[:1024] for _ in range(3000)),  # each header asks for the next one
    ],
)
def test_hostile_tars_are_named_and_not_unpacked(data: bytes) -> None:
    entry = shards.Entry(key="a", offset=0, size=len(data), views=1)
    tracemalloc.start()
    with pytest.raises(DataError, match="sample a of x"):
        shards.parse_entry(data, entry, "x")
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_manifest_cannot_ask_for_more_than_a_sample(tmp_path: Path) -> None:
    shards.write_shard(tmp_path, 0, [random_sample("a")])
    path = shards.manifest_path(shards.shard_path(tmp_path, 0))
    note = json.loads(path.read_text())
    note["samples"][0]["size"] = 1 << 40
    path.write_text(json.dumps(note))
    with pytest.raises(DataError, match="damaged"):
        ShardSet(tmp_path)


def test_every_sample_once_an_epoch_and_another_order_the_next() -> None:
    order = ShuffledOrder([3, 1, 5, 2], seed=4, window=2)
    epochs = [[order[11 * e + i] for i in range(11)] for e in range(3)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [ShuffledOrder([3, 1, 5, 2], 4, 2)[i] for i in range(33)] == list(itertools.chain(*epochs))
    assert [ShuffledOrder([3, 1, 5, 2], 5, 2)[i] for i in range(11)] != epochs[0]


def test_shards_of_a_window_are_read_before_the_next_ones() -> None:
    order = ShuffledOrder([4] * 6, seed=0, window=2)
    shards_read = [order[i] // 4 for i in range(24)]
    for start in range(0, 24, 8):
        assert len(set(shards_read[start : start + 8])) == 2


def test_processes_share_the_samples_and_resume_anywhere(folder: Path) -> None:
    found = ShardSet(folder)
    whole = [s.key for s in found.stream(seed=1, stop=14)]
    assert Counter(whole) == dict.fromkeys("abcdefg", 2)
    parts = [[s.key for s in found.stream(1, stop=14, rank=r, ranks=2)] for r in range(2)]
    assert list(itertools.chain(*zip(*parts, strict=True))) == whole
    assert [s.key for s in found.stream(1, start=5, stop=14)] == whole[5:]


def test_shards_are_streamed_from_a_url(folder: Path) -> None:
    """Samples by ranges of bytes; what is damaged or missing is named with its address."""
    files, root = fsspec.core.url_to_fs("memory://bucket/train")
    for path in folder.iterdir():
        files.pipe_file(f"{root}/{path.name}", path.read_bytes())
    found, local = ShardSet("memory://bucket/train"), ShardSet(folder)
    assert (found.keys, found.sizes, found.data_hash) == (local.keys, local.sizes, local.data_hash)
    assert pickle.loads(pickle.dumps(found))[4].to_members() == local[4].to_members()
    tar = f"{root}/shard-000001.tar"
    files.pipe_file(tar, bytes(len(files.cat_file(tar))))
    with pytest.raises(DataError, match=r"memory://bucket/train/shard-000001\.tar"):
        found[3]
    files.rm(f"{root}/shard-000001.json")
    with pytest.raises(DataError, match="memory://bucket/train"):
        ShardSet("memory://bucket/train")
    for nowhere in ("memory://bucket/none", "nothing-reads-this://x"):
        with pytest.raises(DataError, match=nowhere):
            ShardSet(nowhere)
