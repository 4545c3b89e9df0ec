"""A synthesis gives the same bytes however it was shared out, broken off or damaged on the way."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.data_synth.prune.scoring import Scorer, open_scorer, score_folder
from gen3dface.data_synth.sample import TrainingSample, unpacked_depth
from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.data_synth.synthesis import engines
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.run import synthesise
from gen3dface.errors import (
    AssetError,
    CheckpointError,
    ConfigError,
    DataError,
    EstimationError,
    Gen3DFaceError,
    OutputError,
)
from tests.data_synth.samples import random_sample

RENDERED = {"identities": 3, "views": "head360", "size": 32, "per_shard": 1}


def contents(folder: Path) -> dict[str, bytes]:
    """Shards, manifests and notes."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith("shard-")}


def config(**values: object) -> SynthConfig:
    return SynthConfig.model_validate({"identities": 10, "per_shard": 3, **values})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In the generator's place: samples of random pixels; every seed ending in 7 fails. Seeds in the order made."""
    asked: list[int] = []

    def make(seed: int) -> TrainingSample:
        asked.append(seed)
        if seed % 10 == 7:
            raise EstimationError("no face")
        return random_sample(f"id{seed}", seed)

    engines._generator.cache_clear()
    monkeypatch.setattr(engines, "open_generator", lambda config, device: make)
    return asked


def test_every_seed_is_made_once_and_failures_are_noted(quick: list[int], tmp_path: Path) -> None:
    notes = synthesise(config(first=5), tmp_path, progress=False)
    assert quick == list(range(5, 15))
    assert [n.made for n in notes] == [2, 3, 3, 1]
    assert notes[0].skipped == {"7": "no face"}
    assert sorted(ShardSet(tmp_path).keys) == sorted(f"id{s}" for s in range(5, 15) if s != 7)
    assert Image.open(tmp_path / "preview.jpg").height > 0
    assert synthesise(config(first=5), tmp_path, progress=False) == []


def test_scored_meanwhile_nothing_is_left_for_pruning(quick: list[int], tmp_path: Path) -> None:
    synthesise(config(), tmp_path, judge="detector", progress=False)
    scorer = open_scorer("detector")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.scores.json")}
    assert sorted(score_folder(tmp_path, scorer, progress=False)) == sorted(f"id{s}" for s in range(10) if s != 7)
    assert len(before) == 4 and {p: p.stat().st_mtime_ns for p in before} == before


def test_a_wrong_judge_is_named_before_anything_is_made(quick: list[int], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="detectr"):
        synthesise(config(), tmp_path / "out", judge="detectr", progress=False)
    assert quick == [] and not (tmp_path / "out").exists()


def test_what_is_whole_but_unscored_is_scored_without_being_made_again(
    quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges: list[str] = []

    def opened(judge: str) -> Scorer:
        judges.append(judge)
        return Scorer(NoFace(judge))

    monkeypatch.setattr(engines, "open_scorer", opened)
    monkeypatch.chdir(tmp_path)
    engines._scorer.cache_clear()
    synthesise(config(), tmp_path / "out", progress=False)
    before = contents(tmp_path / "out")
    scorers = []
    for judge in ("clip", "other"):  # scores by one judge are none by another
        assert synthesise(config(), tmp_path / "out", judge=judge, progress=False) == []
        notes = sorted((tmp_path / "out").glob("*.scores.json"))
        assert len(notes) == 4
        scorers.append({json.loads(note.read_text())["scorer"].split()[0] for note in notes})
    engines._scorer.cache_clear()
    assert len(quick) == 10 and before.items() <= contents(tmp_path / "out").items()
    assert judges == [str(tmp_path / "clip"), str(tmp_path / "other")]  # as seen from everywhere
    assert scorers == [{judges[0]}, {judges[1]}]


class NoFace:
    """A judge of fronts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, pictures: torch.Tensor) -> np.ndarray:
        return np.zeros(len(pictures))


def test_pictures_and_depth_are_kept_as_asked(tmp_path: Path, skins: object) -> None:
    values = {"identities": 1, "views": "head360", "size": 24}
    plain, full = (SynthConfig.model_validate({**values, **more}) for more in ({}, {"pictures": "webp", "depth": True}))
    assert plain.fingerprint != full.fingerprint
    synthesise(plain, tmp_path / "plain", progress=False)
    synthesise(full, tmp_path / "full", progress=False)
    without, found = ShardSet(tmp_path / "plain")[0], ShardSet(tmp_path / "full")[0]
    assert without.depth is None and torch.equal(without.views, found.views)
    assert found.depth is not None
    depth, covered = unpacked_depth(found.depth), found.views[:, 3:] > 0
    assert torch.equal(depth.isfinite(), covered)
    distance = found.cameras.centers.norm(dim=1)[:, None, None, None]
    assert ((depth - distance).abs()[covered] < 0.45).all()  # nothing is further from the head's middle


def test_more_identities_add_to_what_is_there(quick: list[int], tmp_path: Path) -> None:
    synthesise(config(), tmp_path / "grown", progress=False)
    del quick[:]
    synthesise(config(identities=13), tmp_path / "grown", progress=False)
    assert quick == [9, 10, 11, 12]  # the last shard had one of its three
    synthesise(config(identities=13), tmp_path / "whole", progress=False)
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")


def test_a_shard_without_any_identity_is_done_too(quick: list[int], tmp_path: Path) -> None:
    notes = synthesise(config(first=7, identities=1), tmp_path, progress=False)
    assert notes[0].made == 0 and not list(tmp_path.glob("*.tar"))
    assert synthesise(config(first=7, identities=1), tmp_path, progress=False) == []


def test_a_manifest_that_lost_an_identity_is_noticed(quick: list[int], tmp_path: Path) -> None:
    synthesise(config(), tmp_path, progress=False)
    before = contents(tmp_path)
    manifest = json.loads((tmp_path / "shard-000001.json").read_text())
    manifest["samples"].pop()
    (tmp_path / "shard-000001.json").write_text(json.dumps(manifest))
    assert [n.first for n in synthesise(config(), tmp_path, progress=False)] == [3]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("victim", ["shard-000001.tar", "shard-000001.json", "shard-000001.note.json"])
def test_what_is_damaged_is_named_and_alone_made_again(
    quick: list[int], tmp_path: Path, victim: str, caplog: pytest.LogCaptureFixture
) -> None:
    synthesise(config(), tmp_path, progress=False)
    before = contents(tmp_path)
    damaged = bytearray(before[victim])
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / victim).write_bytes(damaged)
    del quick[:]
    synthesise(config(), tmp_path, progress=False)
    assert quick == [3, 4, 5]
    assert "shard-000001.tar" in caplog.text
    assert contents(tmp_path) == before


NESTED = b"[" * 100_000


def test_what_is_nested_too_deeply_is_damaged(quick: list[int], tmp_path: Path) -> None:
    synthesise(config(), tmp_path, progress=False)
    (tmp_path / "shard-000001.note.json").write_bytes(NESTED)
    (tmp_path / "shard-000002.scores.json").write_bytes(NESTED)
    assert [n.first for n in synthesise(config(), tmp_path, judge="detector", progress=False)] == [3]
    assert len(score_folder(tmp_path, open_scorer("detector"), progress=False)) == 9
    (tmp_path / "kept.json").write_bytes(NESTED)
    with pytest.raises(DataError, match=r"kept\.json"):
        ShardSet(tmp_path, tmp_path / "kept.json")
    (tmp_path / "synthesis.json").write_bytes(NESTED)
    with pytest.raises(DataError, match=r"synthesis\.json is damaged"):
        synthesise(config(), tmp_path, progress=False)


def test_a_full_disk_leaves_nothing_half_written(
    quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    synthesise(config(identities=3), tmp_path, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"shard-000001\.tar.*No space left"):
            synthesise(config(), tmp_path, progress=False)
    assert not [p.name for p in tmp_path.iterdir() if "tmp" in p.name or "000001" in p.name]
    synthesise(config(), tmp_path, progress=False)
    assert len(ShardSet(tmp_path)) == 9


def test_a_folder_that_cannot_be_written_is_named(quick: list[int], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        synthesise(config(), tmp_path / "file" / "below", progress=False)


@pytest.mark.parametrize("victim", ["shard-000001.note.json", "shard-000000.tar"])
def test_a_file_that_cannot_be_removed_is_named(
    quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    """As in a folder that may be read only; root's rights would hide it."""
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name == victim and path.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, missing_ok)

    first = config(first=7, identities=2, per_shard=1)  # seed 7 gives nothing
    synthesise(first, tmp_path, progress=False)
    if victim.endswith(".tar"):
        (tmp_path / "shard-000000.note.json").unlink()
        (tmp_path / victim).write_bytes(b"left over")
    else:
        (tmp_path / victim).write_text("{")
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OutputError, match=rf"{victim}.*Permission denied"):
        synthesise(first, tmp_path, progress=False)


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_the_generator_lacks_is_no_full_disk(
    quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def make(seed: int) -> TrainingSample:
        if seed == number:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/data/skin.png")
        return random_sample(f"id{seed}", seed)

    monkeypatch.setattr(engines, "open_generator", lambda config, device: make)
    with pytest.raises(DataError, match=rf"Identity {number} .*skin\.png") as caught:
        synthesise(config(), tmp_path, progress=False)
    engines._generator.cache_clear()
    assert "space" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("RANK", "x"), ("WORLD_SIZE", "0"), ("RANK", "-1"), ("RANK", "4")])
def test_ranks_that_are_none_are_named(
    quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"RANK.*{value}|{name}.*{value}"):
        synthesise(config(), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_what_is_the_machine_s_fault_ends_the_run(
    quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a seed would be given up for good because a worker had no network."""

    def make(seed: int) -> TrainingSample:
        raise AssetError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(engines, "open_generator", lambda config, device: make)
        engines._generator.cache_clear()
        with pytest.raises(AssetError):
            synthesise(config(), tmp_path, progress=False)
    engines._generator.cache_clear()
    assert len(synthesise(config(), tmp_path, progress=False)) == 4


def test_fewer_identities_take_nothing_away(quick: list[int], tmp_path: Path) -> None:
    synthesise(config(), tmp_path, progress=False)
    before = contents(tmp_path)
    assert synthesise(config(identities=4), tmp_path, progress=False) == []
    assert contents(tmp_path) == before


def test_old_temporary_files_go_and_new_ones_stay(quick: list[int], tmp_path: Path) -> None:
    for name, age in ((".shard-000000.tar.1.tmp", 7200), (".shard-000000.tar.2.tmp", 60)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    synthesise(config(), tmp_path, progress=False)
    assert [p.name for p in tmp_path.glob(".*.tmp")] == [".shard-000000.tar.2.tmp"]


def test_a_foreign_tar_does_not_stop_the_preview(quick: list[int], tmp_path: Path) -> None:
    (tmp_path / "photos.tar").write_bytes(b"")
    synthesise(config(), tmp_path, progress=False)
    assert (tmp_path / "preview.jpg").exists()


def test_another_synthesis_is_not_mixed_in(quick: list[int], tmp_path: Path) -> None:
    synthesise(config(), tmp_path, progress=False)
    with pytest.raises(DataError, match="another synthesis"):
        synthesise(config(size=64), tmp_path, progress=False)


def test_processes_share_the_shards_out(quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesise(config(), tmp_path / "one", progress=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, seeds in (("1", [3, 4, 5, 9]), ("0", [0, 1, 2, 6, 7, 8])):
        del quick[:]
        monkeypatch.setenv("RANK", rank)
        synthesise(config(), tmp_path / "two", progress=False)
        assert quick == seeds
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.usefixtures("skins")
def test_killed_and_resumed_it_is_the_unbroken_run(tmp_path: Path) -> None:
    """True processes, one of them killed while it writes its second shard; then two workers beside each other."""
    settings = [f"--set={name}={value}" for name, value in RENDERED.items()]
    command = [sys.executable, "-m", "gen3dface", "synth", "-o", str(tmp_path / "broken"), *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "broken" / "shard-000000.note.json").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "broken" / "shard-000002.note.json").exists()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    synthesise(SynthConfig.model_validate(RENDERED), tmp_path / "whole", workers=2, progress=False)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    result = CliRunner().invoke(cli.app, ["synth", "verify", str(tmp_path / "broken")])
    assert result.exit_code == 0 and "3 identities in 3 shards" in result.output, result.output
    assert "taken together: with attribution" in result.output
    (tmp_path / "broken" / "shard-000001.tar").write_bytes(b"")
    result = CliRunner().invoke(cli.app, ["synth", "verify", str(tmp_path / "broken")])
    assert result.exit_code == 1 and "shard-000001.tar" in result.stderr


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    engines._generator.cache_clear()
    lost = config(generator={"kind": "panohead", "path": str(tmp_path / "none")})
    with pytest.raises(Gen3DFaceError, match="none"):
        synthesise(lost, tmp_path / "out", progress=False)
