"""How long something takes, and how much memory it adds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.02  # seconds between two looks


@dataclass
class Cost:
    """Of what ran inside `measured`."""

    seconds: float = 0.0
    added_mib: float = float("nan")  # at the peak, over what the process held before; NaN where it is not told


@contextmanager
def measured() -> Iterator[Cost]:
    """Watch what runs inside."""
    cost, done = Cost(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(cost, done, resident()), daemon=True)
    started = time.perf_counter()
    watcher.start()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        done.set()
        watcher.join()


def _watch(cost: Cost, done: threading.Event, before: float) -> None:
    peak = before
    while not done.wait(_EVERY):
        peak = max(peak, resident())
    cost.added_mib = max(peak, resident()) - before


def resident() -> float:
    """MiB that this process holds in memory; NaN where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
