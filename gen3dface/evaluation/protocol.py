"""Protocols of evaluation as configurations: which systems make which views of whom, and what is measured."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from gen3dface.cameras import RIGS
from gen3dface.config_files import Section, read_config, validated
from gen3dface.errors import ConfigError

MEASURES = (
    "lpips", "lpips_vgg", "ssim", "psnr", "iou", "reid", "identity", "agreement", "clip", "consistency", "halves",
    "janus", "fid", "kid",
)  # fmt: skip
FORMAT = "gen3dface.evaluation.4"  # grows when the same protocol gives other numbers


_TITLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]{0,39}")
Titled = TypeVar("Titled", "SystemChoice", "SetChoice", "EstimatorChoice")


def _titled(choice: Titled) -> Titled:
    """Names become files' names and columns of tables."""
    if not _TITLE.fullmatch(choice.title):
        raise ValueError(f"give a name of letters, digits, spaces, . _ and -; {choice.title!r} is none")
    return choice


class SystemChoice(Section):
    """Who makes views.

    Args:
        kind: `truth` (the true views themselves), `mean_head` (the photo on the mean head), `projection`, `pipeline`,
            or `folder` (another system's views, see docs/evaluation.md).
        name: in the table; default: the kind, or the model's name. model: of a pipeline: a name or a folder.
        steps, guidance: of a pipeline's sampling; default: the model's. path: of a folder.
    """

    kind: Literal["truth", "mean_head", "projection", "pipeline", "folder"]
    name: str = ""
    model: str | None = None
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    guidance: Annotated[float | None, Field(ge=0, le=100)] = None
    path: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> SystemChoice:
        if (self.kind == "pipeline") != (self.model is not None) or (self.kind == "folder") != (self.path is not None):
            raise ValueError("a pipeline has a model, a folder a path, and others have neither")
        if self.kind != "pipeline" and (self.steps, self.guidance) != (None, None):
            raise ValueError(f"{self.kind} takes neither steps nor guidance")
        return _titled(self)

    @property
    def title(self) -> str:
        """Its name in tables and files."""
        return self.name or (Path(self.model or self.path or self.kind).name)


class SetChoice(Section):
    """Whose views are made.

    Args:
        kind: `rendered` (people drawn by this package, of seeds that no training takes), `openpeople` (P008-P010:
            portraits with uncalibrated views of front, sides and back), `shards` (training samples), `photos` (a
            folder of photos, without true views).
        heads: how many, of `rendered`, `shards` and `photos`; None: all. first: the first of `rendered`.
        path: of shards or photos. views: a rig's name, of `rendered` and `photos`; default: head360.
        name: in the table; default: the kind.
    """

    kind: Literal["rendered", "openpeople", "shards", "photos"]
    name: str = ""
    heads: Annotated[int | None, Field(ge=1, le=100_000)] = None
    first: Annotated[int | None, Field(ge=0)] = None
    path: str | None = None
    views: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> SetChoice:
        if (self.kind in ("shards", "photos")) != (self.path is not None):
            raise ValueError("shards and photos have a path, others have none")
        if self.kind == "rendered" and self.heads is None:
            raise ValueError("say how many heads are rendered")
        if self.views is not None and self.views not in RIGS:
            raise ValueError(f"views is {self.views!r}; there are {', '.join(RIGS)}")
        if self.views is not None and self.kind in ("shards", "openpeople"):
            raise ValueError(f"{self.kind} has views of its own")
        if self.first is not None and self.kind != "rendered":
            raise ValueError(f"{self.kind} has no seeds: first is for rendered")
        return _titled(self)

    @property
    def title(self) -> str:
        """Its name in tables and folders."""
        return self.name or self.kind

    @property
    def rig(self) -> str:
        """The name of its views' rig."""
        return self.views or "head360"


class EstimatorChoice(Section):
    """Who estimates shapes. Arguments as for `load_estimator`.

    Args:
        kind: `mean` is the average head, whoever is in the photo. name: in the table; default: the kind.
    """

    kind: Literal["mean", "default", "deca", "smirk", "mica"]
    name: str = ""
    checkpoint: str | None = None
    head: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> EstimatorChoice:
        return _titled(self)

    @property
    def title(self) -> str:
        """Its name in the table."""
        return self.name or self.kind


class ShapeChoice(Section):
    """Shapes of faces: the estimators' against true ones of rendered people.

    Args:
        heads: how many; 0: none. first: their first seed. estimators: whose shapes.
    """

    estimators: Annotated[tuple[EstimatorChoice, ...], Field(min_length=1)] = (
        EstimatorChoice(kind="mean"),
        EstimatorChoice(kind="default"),
    )
    heads: Annotated[int, Field(ge=0, le=10_000)] = 0
    first: Annotated[int, Field(ge=0)] = 900_000_000


class EvalConfig(Section):
    """A protocol.

    Args:
        size: px of the views. measures: which; None: all that need nothing of the user's.
        white_outside: made pixels become white where the true view is empty, as Morphable Diffusion does it.
        arcface: an ONNX recogniser in insightface's layout, for `identity` and `agreement` in SFace's place.
        clip: a folder with CLIP in transformers' format, for `clip`. reference: a folder of photos, for `fid` and
            `kid`; None: the set's true views. reid: who finds faces for `reid`: this package's YuNet, or `dlib` (extra
            `eval`) as published. draws: of the bootstrap. seed: of whatever draws at random.
    """

    systems: Annotated[tuple[SystemChoice, ...], Field(min_length=1)]
    sets: tuple[SetChoice, ...] = ()
    shapes: ShapeChoice = ShapeChoice()
    size: Annotated[int, Field(ge=32, le=1024)] = 128
    measures: tuple[str, ...] | None = None
    white_outside: bool = False
    arcface: str | None = None
    clip: str | None = None
    reference: str | None = None
    reid: Literal["yunet", "dlib"] = "yunet"
    draws: Annotated[int, Field(ge=100, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _known(self) -> EvalConfig:
        unknown = sorted(set(self.measures or ()) - set(MEASURES))
        if unknown:
            raise ValueError(f"unknown measures {', '.join(unknown)}; there are {', '.join(MEASURES)}")
        if "clip" in (self.measures or ()) and self.clip is None:
            raise ValueError("the measure `clip` needs a folder with CLIP: clip")
        for titles in ([one.title for one in what] for what in (self.systems, self.sets, self.shapes.estimators)):
            if len(set(titles)) < len(titles):
                raise ValueError(f"two are named alike: {', '.join(titles)}")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """The measures that are taken."""
        wanted = set(MEASURES if self.measures is None else self.measures) - {"clip"}
        return tuple(m for m in MEASURES if m in wanted or (m == "clip" and self.clip is not None))

    def fingerprint(self, *parts: Any) -> str:
        """Of everything that one head's scores depend on."""
        values = self.model_dump(include={"size", "white_outside", "arcface", "clip", "reference", "reid", "seed"})
        note = [FORMAT, values, self.measured, *parts]
        return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()[:16]


def load_eval_config(config: str | Path, overrides: dict[str, Any] | None = None) -> EvalConfig:
    """A protocol by name (`smoke`, `in_domain`, `out_of_domain`) or YAML file; errors as for `read_config`."""
    found = validated(EvalConfig, *read_config("eval", config, overrides))
    if not found.sets and not found.shapes.heads:
        raise ConfigError(f"{config} evaluates nothing: it has neither sets nor shapes.")
    return found
