"""report.json: how a head was made, without anything about the machine's folders."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from gen3dface import __version__
from gen3dface.files import file_sha256
from gen3dface.outputs.stages import DEFAULT, SEEDLESS

FORMAT = "gen3dface.report.1"
MAX_REPORT_BYTES = 1 << 20
PACKAGES = ("torch", "numpy", "scipy", "pillow", "onnxruntime", "ai-edge-litert", "diffusers")


@dataclass(frozen=True)
class Settings:
    """What a user chose; two runs with the same settings and the same photo make the same head."""

    engine: str = DEFAULT
    face: int | None = None  # None: the largest
    seed: int = 0  # for engines that draw at random
    views_size: int = 512  # pixels
    estimator: str = "default"
    estimator_checkpoint: str = ""  # sha256 of its file
    head_model: str = ""  # name and version; empty: the bundled one


@dataclass
class Report:
    """Facts about one run, collected while it goes."""

    photo: str  # the file's name without its folder
    settings: Settings
    sha256: str = ""  # of the photo's bytes
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> wall clock
    head: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, announce: Callable[[str], None]) -> Iterator[None]:
        """Time what happens inside as the stage `name`."""
        announce(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)

    @property
    def total_seconds(self) -> float:
        """All stages together."""
        return round(sum(self.seconds.values()), 3)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": FORMAT,
            "photo": {"name": self.photo, "sha256": self.sha256},
            "settings": asdict(self.settings),
            "seconds": {**self.seconds, "total": self.total_seconds},
            "peak_memory_mib": peak_memory(),
            "head": self.head,
            "warnings": self.warnings,
            "versions": versions(),
        }


def peak_memory() -> dict[str, int]:
    """The most memory that this process has held so far, in MiB: of the machine, and of the GPU if one is used."""
    peaks = {}
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        peaks["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["gpu"] = torch.cuda.max_memory_allocated() >> 20
    return peaks


def versions() -> dict[str, str]:
    """Versions of the program, of Python, and of the packages that decide the result."""
    found = {"gen3dface": __version__, "python": platform.python_version(), "platform": platform.system()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_report(path: Path) -> dict[str, Any] | None:
    """What `report.json` holds, or None where there is none that can be read."""
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None


def is_report(path: Path) -> bool:
    """Whether gen3dface wrote this file, so that the folder around it may be replaced."""
    return read_report(path) is not None


def is_finished(folder: Path, photo: Path, settings: Settings) -> bool:
    """Whether `folder` holds the head of this very photo, made by this version with these settings."""
    report = read_report(folder / "report.json")
    if report is None or not (folder / "head.glb").is_file() or not photo.is_file():
        return False
    try:
        same_photo = report.get("photo", {}).get("sha256") == file_sha256(photo)
    except OSError:  # a photo that cannot be read any more: let the run say so
        return False
    same_program = report.get("versions", {}).get("gen3dface") == __version__
    same_settings = _decisive(report.get("settings")) == _decisive(asdict(settings))
    return same_program and same_settings and same_photo


def _decisive(settings: object) -> object:
    """The settings that the head depends on."""
    if not isinstance(settings, dict) or settings.get("engine") not in SEEDLESS:
        return settings
    return {name: value for name, value in settings.items() if name != "seed"}
