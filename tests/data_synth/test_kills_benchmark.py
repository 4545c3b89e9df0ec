"""The benchmark of killed runs tells by its exit code whether the bytes were the same."""

import importlib.util
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", [0, 1])
def test_other_bytes_are_a_failure(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("kills", ROOT / "benchmarks" / "kills.py")
    assert spec is not None and spec.loader is not None
    kills = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kills)

    def started(folder: Path, arguments: Namespace) -> nullcontext[SimpleNamespace]:
        folder.mkdir(exist_ok=True)
        (folder / "shard-000000.tar").write_text(folder.name if code else "same")
        return nullcontext(SimpleNamespace(pid=0, wait=lambda seconds=None: 0))

    monkeypatch.setattr(kills, "_started", started)
    monkeypatch.setattr(sys, "argv", ["kills.py", "--kills", "1"])
    with pytest.raises(SystemExit) as ended:
        kills.main()
    assert ended.value.code == code
