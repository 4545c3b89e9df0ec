"""Settings of long jobs: read from YAML, replaced by name, validated."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gen3dface.errors import ConfigError

_MOST_BYTES = 1 << 20
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A part of a configuration: no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read_config(kind: str, config: str | Path, overrides: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """A configuration's values and its file's name.

    Args:
        kind: of the configurations that come with the package: the folder below `gen3dface.configs`.
        config: one of their names, or a YAML file.
        overrides: dotted names and values that replace the file's, such as {"data.cache": "/scratch"}.

    Raises:
        ConfigError: it cannot be read or is no mapping.
    """
    path = Path(config)
    if path.suffix != ".yaml":
        path = Path(str(resources.files("gen3dface.configs") / kind / f"{path.name}.yaml"))
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is too large for a configuration.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"There is no readable {kind} configuration at {path}: {error}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} does not hold a mapping.")
    for name, value in (overrides or {}).items():
        _put(data, name.split("."), value)
    return data, str(path)


def validated(model: type[Model], data: dict[str, Any], name: str) -> Model:
    """The mapping as a configuration. Raises `ConfigError` naming every value that does not hold."""
    try:
        return model.model_validate(data)
    except RecursionError as error:
        raise ConfigError(f"{name} does not hold: it is nested too deeply.") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{name} does not hold: {'; '.join(faults)}.") from error


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE texts, the values in YAML. Raises `ConfigError` for others."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (name and equals):
            raise ConfigError(f"--set takes NAME=VALUE, got {setting!r}.")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"--set {setting}: {error}") from error
    return found


def _put(data: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        inner = data.get(name)
        if not isinstance(inner, dict):
            inner = data[name] = {}
        data = inner
    data[names[-1]] = value
