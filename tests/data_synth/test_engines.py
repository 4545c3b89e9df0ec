"""Workers that die are replaced, and not for ever; their errors are told as what they are."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from gen3dface.data_synth.synthesis import engines, ray_engine
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.engines import by_processes
from gen3dface.data_synth.synthesis.ray_engine import by_ray
from gen3dface.data_synth.synthesis.run import synthesise
from gen3dface.errors import AssetError, DataError
from tests.data_synth.dying import Dying, Failing

CONFIG = SynthConfig.model_validate({"identities": 4, "per_shard": 2})
RENDERED = SynthConfig.model_validate({"identities": 3, "views": "head360", "size": 32, "per_shard": 1})


def shards_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def dying(folder: Path, times: int) -> Dying:
    folder.mkdir()
    return Dying(CONFIG, folder, "", times=times)


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    notes = [note for note in by_processes(dying(tmp_path / "broken", 1), [0, 1], 2) if note]
    assert sorted(note.first for note in notes) == [0, 2]
    assert len(list((tmp_path / "broken").glob("death-*"))) == 1
    list(by_processes(dying(tmp_path / "whole", 0), [0, 1], 1))
    assert shards_of(tmp_path / "broken") == shards_of(tmp_path / "whole")


def test_workers_that_die_again_and_again_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "DEATHS", 1)
    with pytest.raises(DataError, match="2 workers died"):
        list(by_processes(dying(tmp_path / "broken", 99), [1], 2))
    assert len(list((tmp_path / "broken").glob("death-*"))) == 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[ModuleType]:
    """Ray with two CPUs."""
    ray = pytest.importorskip("ray", reason="Ray is in the extra `scale`, which neither `dev` nor `synth` asks for")
    pytest.importorskip("pyarrow", reason="Ray Data needs it; it is in the extra `scale` too")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield ray
    ray.shutdown()


@pytest.mark.usefixtures("skins", "cluster")
def test_ray_s_workers_make_the_same_and_may_die(tmp_path: Path) -> None:
    synthesise(RENDERED, tmp_path / "alone", judge="detector", progress=False)
    killed: list[int] = []
    done = threading.Event()
    killer = threading.Thread(target=_kill_a_worker, args=(killed, done))
    killer.start()
    try:
        synthesise(RENDERED, tmp_path / "ray", engine="ray", judge="detector", progress=False)
    finally:
        done.set()
        killer.join()
    assert len(killed) == 1
    assert shards_of(tmp_path / "ray") == shards_of(tmp_path / "alone")
    assert len(list((tmp_path / "ray").glob("*.scores.json"))) == 3


@pytest.mark.usefixtures("cluster")
def test_ray_tells_its_workers_errors(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"^no network for shard \d$"):
        list(by_ray(Failing(CONFIG, tmp_path, "", judge="detector"), [0, 1]))


@pytest.mark.usefixtures("cluster")
def test_ray_s_workers_may_not_die_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "DEATHS", 1)
    with pytest.raises(DataError, match="died again and again"):
        list(by_ray(dying(tmp_path / "broken", 99), [1]))
    assert 1 <= len(list((tmp_path / "broken").glob("death-*"))) <= 4


@pytest.mark.parametrize(("found", "makers", "judges"), [({}, 1, 1), ({"CPU": 9.0}, 8, 2), ({"CPU": 1.0}, 1, 1)])
def test_the_cluster_s_cpus_are_shared_out(found: dict[str, float], makers: int, judges: int, tmp_path: Path) -> None:
    """One without any, as where the head has none and machines come later, is waited for."""
    asked: list[tuple[int, int]] = []

    class Rows:
        def map(self, function: Callable[..., object], concurrency: tuple[int, int], **more: object) -> "Rows":
            asked.append(concurrency)
            assert more["max_restarts"] == more["max_task_retries"] == engines.DEATHS
            return self

    ray_engine._mapped(Rows(), Dying(CONFIG, tmp_path, "", judge="detector"), found)
    assert asked == [(1, makers), (1, judges)]


def _kill_a_worker(killed: list[int], done: threading.Event) -> None:
    """The first worker of our own Ray that works on a shard."""
    while not done.is_set():
        for process, command in _workers(os.getpid()):
            if command.startswith(b"ray::MapWorker(Map(_Maker"):
                os.kill(process, signal.SIGKILL)
                killed.append(process)
                return
        time.sleep(0.01)


def _workers(driver: int) -> Sequence[tuple[int, bytes]]:
    """Number and command of all processes that the raylet of a driver started."""
    found, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (folder / "stat").read_text()
            parents[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
            found[int(folder.name)] = (folder / "cmdline").read_bytes()
    raylets = {p for p, parent in parents.items() if parent == driver and b"raylet" in found.get(p, b"")}
    return [(p, command) for p, command in found.items() if parents[p] in raylets]
