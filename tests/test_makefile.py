"""`make head` hands the names on as they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
AWKWARD = 'it\'s "me" $HOME $(PYTHON) `x`.jpg'


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ["head", "-o", "out", "--example", "astronaut"]),
        (["PHOTO=astronaut pic.jpg"], ["head", "-o", "out", "--", "astronaut pic.jpg"]),
        (
            ['PHOTO=it\'s "me" $HOME $(PYTHON) `x`.jpg'],
            ["head", "-o", "out", "--", 'it\'s "me" $HOME $(PYTHON) `x`.jpg'],
        ),
        (["PHOTO=-a.jpg", "OUT=a $b"], ["head", "-o", "a $b", "--", "-a.jpg"]),
    ],
)
def test_names_reach_the_command_as_they_are(tmp_path: Path, given: list[str], words: list[str]) -> None:
    command = tmp_path / "bin" / "gen3dface"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    (tmp_path / ".installed").touch()
    made = subprocess.run(
        ["make", "-s", "head", f"VENV={tmp_path}", *given], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert made.stdout.splitlines() == words
