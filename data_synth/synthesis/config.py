"""The settings of a synthesis."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gen3dface.cameras import RIGS
from gen3dface.config_files import Section, read_config, validated
from gen3dface.data_synth.sample_pictures import PictureFormat
from gen3dface.errors import ConfigError, DataError

FORMAT = "gen3dface.synthesis.1"  # grows when the same settings give other bytes
Angle = Annotated[float, Field(ge=0, le=90)]


class GeneratorChoice(Section):
    """Who makes the identities. What means nothing for a kind is refused.

    Args:
        kind: `rendered` (people drawn by `gen3dface.data_synth.rendered`), `panohead`, `eg3d`, or `folder` (your own
            captures).
        path: of a generator that `gen3dface convert` wrote, or of captures, a folder each; none for `rendered`.
        licence: of captures.
        psi: truncation of w, of `panohead` and `eg3d`. yaw: degrees to each side from which the photo is taken; not of
            captures.
        bfloat16: of `panohead` and `eg3d`, whose convolutions are then faster on a GPU.
    """

    kind: Literal["rendered", "panohead", "eg3d", "folder"] = "rendered"
    path: Annotated[str, Field(min_length=1)] | None = None
    licence: str = "unknown"
    psi: Annotated[float, Field(ge=0, le=1)] = 0.7
    yaw: Angle = 60.0
    bfloat16: bool = False

    @model_validator(mode="after")
    def _means_something(self) -> GeneratorChoice:
        unmeant = {"rendered": ("licence", "psi", "bfloat16"), "folder": ("psi", "yaw", "bfloat16")}
        _refuse(self, unmeant.get(self.kind, ("licence",)), self.kind)
        return self


def _refuse(section: Section, names: tuple[str, ...], kind: str) -> None:
    """Raises ValueError for the first of some fields that is not as usual."""
    for name in names:
        if getattr(section, name) != type(section).model_fields[name].default:
            raise ValueError(f"{name} means nothing for {kind}")


class SynthConfig(Section):
    """What is made: identities number `first` to `first + identities - 1`, each from its number alone.

    Args:
        views: a rig's name; captures have their own. size: px of a view. per_shard: identities of a shard.
        pictures: `webp` is lossless too, smaller, and slower to make. depth: keep depth maps, where the generator has
            them (`folder` has none).
    """

    generator: GeneratorChoice = GeneratorChoice()
    identities: Annotated[int, Field(ge=1, le=10_000_000)]
    first: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    views: str = "orbit48"
    size: Annotated[int, Field(ge=16, le=2048)] = 128
    per_shard: Annotated[int, Field(ge=1, le=10_000)] = 16
    pictures: PictureFormat = "png"
    depth: bool = False

    @model_validator(mode="after")
    def _fits(self) -> SynthConfig:
        if self.generator.kind == "folder":
            _refuse(self, ("views", "depth"), "folder")
        return self

    def settled(self) -> SynthConfig:
        """With the generator's place as seen from everywhere on this machine, and no more identities than captures.

        Raises `DataError` where there are no captures, or all of them come before `first`.
        """
        path = self.generator.path
        if path is None:
            return self
        chosen = self.generator.model_copy(update={"path": str(Path(path).absolute())})
        return self.model_copy(update={"generator": chosen, "identities": self._available()})

    def _available(self) -> int:
        if self.generator.kind != "folder":
            return self.identities
        from gen3dface.data_synth.synthesis.captures import captures_in

        count = len(captures_in(Path(self.generator.path or "")))
        if count <= self.first:
            raise DataError(f"There are {count} captures; identity {self.first} was asked for.")
        return min(self.identities, count - self.first)

    @property
    def shards(self) -> int:
        """How many there will be."""
        return -(-self.identities // self.per_shard)

    def seeds(self, shard: int) -> range:
        """Of one shard's identities."""
        start = self.first + shard * self.per_shard
        return range(start, min(start + self.per_shard, self.first + self.identities))

    @property
    def fingerprint(self) -> str:
        """Of everything that the bytes of a shard depend on; more identities may be asked for later.

        Captures are read for it, so ask once. A generator counts by its checkpoint, captures by their files, wherever
        they lie. Raises `CheckpointError` or `DataError` where there are none.
        """
        values = self.model_dump(exclude={"identities": True, "generator": {"path"}})
        path = self.generator.path
        if self.generator.kind == "rendered":  # compiled loops and their plain twin differ in last bits
            values["compiled"] = bool(importlib.util.find_spec("numba"))
        if path is not None and self.generator.kind == "folder":
            from gen3dface.data_synth.synthesis.captures import content_hash

            values["captures"] = content_hash(Path(path))
        elif path is not None and self.generator.kind != "rendered":
            from gen3dface.data_synth.panohead.checkpoint import read_note

            values["checkpoint"] = read_note(
                Path(path), self.generator.kind
            )  # with the sha256 of its weights, which loading checks
        values["format"] = FORMAT
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def load_synth_config(config: str | Path, overrides: dict[str, Any] | None = None) -> SynthConfig:
    """A configuration by name (`rendered`, `panohead`) or YAML file; arguments and errors as for `read_config`."""
    found = validated(SynthConfig, *read_config("synth", config, overrides))
    if found.views not in RIGS:
        raise ConfigError(f"views is {found.views!r}; there are {', '.join(RIGS)}.")
    if (found.generator.kind == "rendered") != (found.generator.path is None):
        raise ConfigError("generator.path is a converted panohead or eg3d, or captures; `rendered` has none.")
    return found
