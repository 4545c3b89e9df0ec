"""Has a file or a folder changed since it was measured?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def stamp_of(path: str | os.PathLike[str]) -> str:
    """Names, sizes and times of a file, or of all files of a folder; another text when any of them changes."""
    path = Path(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    found = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]
