"""LiteRT networks, made without the line that their C++ code writes to stderr each time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

_STDERR = 2  # the file descriptor: what C++ writes never passes through sys.stderr
_lock = threading.Lock()  # two at a time could leave the descriptor on the null device


def interpreter(content: bytes, threads: int) -> Interpreter:
    """A network from the bytes of a .tflite file, ready to run. Errors are raised as LiteRT raises them."""
    from ai_edge_litert.interpreter import Interpreter

    with _quiet_stderr():
        network = Interpreter(model_content=content, num_threads=threads)
        network.allocate_tensors()
    return network


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    with _lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # a process without stderr: nothing to keep quiet
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
