"""Nothing that is gone, left over or said wrongly of shards passes for whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.data_synth import shards
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.shard_run import make_shard
from gen3dface.data_synth.verify import verify_shards
from gen3dface.errors import EstimationError
from tests.data_synth.samples import random_sample

CONFIG = SynthConfig.model_validate({"identities": 4, "per_shard": 2})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards with manifests and notes."""
    for shard in range(2):
        make_shard(CONFIG, tmp_path, shard, lambda seed: random_sample(f"id{seed}", seed), "")
    return tmp_path


def changed(path: Path, change: Callable[[Any], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_whole_shards_have_no_faults(folder: Path) -> None:
    assert list(verify_shards(folder)) == []

    def fails(seed: int) -> Any:
        raise EstimationError("no face")

    make_shard(CONFIG, folder, 1, fails, "")  # a shard without identities is its note alone
    assert list(verify_shards(folder)) == []


@pytest.mark.parametrize("left", [".json", ".note.json", ".scores.json"])
def test_a_shard_that_is_gone_is_named_by_whatever_is_left_of_it(folder: Path, left: str) -> None:
    tar = shards.shard_path(folder, 1)
    tar.with_suffix(".scores.json").write_text("{}")
    for suffix in {".tar", ".json", ".note.json", ".scores.json"} - {left}:
        tar.with_suffix(suffix).unlink()
    result = CliRunner().invoke(cli.app, ["synth", "verify", str(folder)])
    assert result.exit_code == 1 and "shard-000001.tar: it is gone" in result.stderr


def test_a_manifest_is_the_one_that_its_note_names(folder: Path) -> None:
    path = folder / "shard-000001.json"
    path.write_text(path.read_text() + "\n")
    (fault,) = verify_shards(folder)
    assert fault.startswith("shard-000001.tar") and "shard-000001.note.json names" in fault
    (folder / "shard-000001.note.json").write_bytes(b"[" * 100_000)
    (fault,) = verify_shards(folder)
    assert "shard-000001.note.json is damaged" in fault


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.update(licences=[]), "licences are"),
        (lambda m: m.update(licences=["public domain"]), "licences are"),
        (lambda m: m["samples"][0].update(views=99), "id2 has 3 views"),
        (lambda m: m["samples"].pop(), "leaves out what lies after"),
        (lambda m: m["samples"].pop(0), "leaves out what lies before"),
        (lambda m: m.update(samples=[]), "leaves out what lies after"),
        (lambda m: m["samples"][0].update(key="../x"), "missing or damaged"),
        (lambda m: m["samples"][0].update(key="other"), "no member of the sample"),
        (lambda m: m["samples"][0].update(key="id1"), "id1 is in shard-000000.tar too"),
        (lambda m: m["samples"][1].update(key="id2"), "id2 is in shard-000001.tar too"),
        (lambda m: m["samples"][0].update(size=512), "leaves out what lies before"),
    ],
)
def test_a_manifest_that_lies_is_found_out_without_a_note(
    folder: Path, change: Callable[[Any], None], named: str
) -> None:
    (folder / "shard-000001.note.json").unlink()
    changed(folder / "shard-000001.json", change)
    (fault,) = verify_shards(folder)
    assert fault.startswith("shard-000001.tar") and named in fault
