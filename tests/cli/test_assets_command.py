"""`gen3dface assets`: list and verify against a cache with known content."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.asset_table import ASSETS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEN3DFACE_HOME", str(tmp_path))
    (tmp_path / "assets").mkdir()
    return tmp_path / "assets"


def test_list_names_every_asset_with_its_licence(cache: Path) -> None:
    result = CliRunner().invoke(cli.app, ["assets", "list"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == list(ASSETS)
    assert all("missing" in line and asset.licence in line for line, asset in zip(lines, ASSETS.values(), strict=True))


def test_verify_finds_the_damaged_file(cache: Path) -> None:
    assert CliRunner().invoke(cli.app, ["assets", "verify"]).exit_code == 0
    (cache / ASSETS["yunet"].file_name).write_bytes(b"not the network")
    result = CliRunner().invoke(cli.app, ["assets", "verify"])
    assert result.exit_code == 1
    assert "yunet" in next(line for line in result.output.splitlines() if "damaged" in line)
