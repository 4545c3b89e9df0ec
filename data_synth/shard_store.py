"""Where shards lie: a folder, or anything that fsspec reads (https, s3, gs, az, ...), a sample at a time."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shards import (
    MOST_MANIFEST_BYTES,
    Entry,
    Manifest,
    manifest_path,
    parse_entry,
    parse_manifest,
    read_entry,
    read_manifest,
)
from gen3dface.errors import DataError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class ShardStore(Protocol):
    """A place with shards."""

    def names(self) -> list[str]:
        """Of the tars, sorted."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a tar."""
        ...

    def manifest(self, name: str) -> Manifest:
        """Of a tar. Raises `DataError` when it is missing or damaged."""
        ...

    def sample(self, name: str, entry: Entry) -> TrainingSample:
        """One of a tar's samples; nothing else is read. Raises `DataError` when it is damaged."""
        ...


def open_store(place: str | os.PathLike[str]) -> ShardStore:
    """A folder's or a URL's. Raises `DataError` for a URL that nothing reads."""
    return RemoteStore(str(place)) if isinstance(place, str) and _URL.match(place) else FolderStore(Path(place))


class FolderStore:
    """Shards on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """See `ShardStore`, as for all below."""
        return sorted(path.name for path in self._folder.glob("*.tar"))

    def size(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def manifest(self, name: str) -> Manifest:
        return read_manifest(self._folder / name)

    def sample(self, name: str, entry: Entry) -> TrainingSample:
        return read_entry(self._folder / name, entry)


class RemoteStore:
    """Shards behind a URL: manifests at once, samples by ranges of bytes.

    The server must list its folder. It is opened anew in each process: connections do not survive a fork.
    """

    def __init__(self, url: str) -> None:
        self._url, self._opened = url, -1
        self._files: Any = None

    def names(self) -> list[str]:
        """See `ShardStore`, as for all below."""
        found = self._asked("list", lambda files, root: files.glob(f"{root}/*.tar"))
        return sorted(PurePosixPath(path).name for path in found)

    def size(self, name: str) -> int:
        return int(self._asked("read", lambda files, root: files.size(f"{root}/{name}")))

    def manifest(self, name: str) -> Manifest:
        beside = manifest_path(Path(name)).name
        data = self._read(beside, 0, MOST_MANIFEST_BYTES + 1)
        return parse_manifest(data, f"{self._url}/{beside}", name)

    def sample(self, name: str, entry: Entry) -> TrainingSample:
        data = self._read(name, entry.offset, entry.offset + entry.size)
        return parse_entry(data, entry, f"{self._url}/{name}")

    def _read(self, name: str, start: int, end: int) -> bytes:
        def part(files: Any, root: str) -> bytes:
            return bytes(files.cat_file(f"{root}/{name}", start=start, end=end))

        return bytes(self._asked("read", part))

    def _asked(self, what: str, ask: Any) -> Any:
        """The answer of the file system that the URL names, opened once a process."""
        import fsspec

        try:
            if self._opened != os.getpid():
                self._files, self._root = fsspec.core.url_to_fs(self._url, skip_instance_cache=True)
                self._opened = os.getpid()
            return ask(self._files, self._root.rstrip("/"))
        except (OSError, ValueError, ImportError) as error:
            raise DataError(f"{self._url}: cannot {what} shards: {error}") from error
