"""Work whose workers die, to be sent to other processes."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from gen3dface.data_synth.synthesis.engines import Work
from gen3dface.data_synth.synthesis.shard_run import Note, make_shard
from gen3dface.errors import AssetError
from tests.data_synth.samples import random_sample


@dataclass(frozen=True)
class Dying(Work):
    """Shard 1's worker kills itself, `times` times; the samples are of random pixels."""

    times: int = 0

    def made(self, shard: int) -> Note:
        deaths = len(list(self.folder.glob("death-*")))
        if shard == 1 and deaths < self.times:
            (self.folder / f"death-{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return make_shard(self.config, self.folder, shard, lambda s: random_sample(f"id{s}", s), self.fingerprint)


class Failing(Work):
    """What is wrong is the machine's."""

    def made(self, shard: int) -> Note:
        raise AssetError(f"no network for shard {shard}")
