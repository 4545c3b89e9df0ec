"""Official generators' pickles to folders of safetensors and JSON, and folders to generators."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gen3dface.data_synth.panohead.bounds import LENGTHS, SAMPLES, checked, config_from, number, whole
from gen3dface.data_synth.panohead.generator import EG3D, Generator, GeneratorConfig
from gen3dface.data_synth.panohead.pickle_reader import StoredTensor, read_pickle
from gen3dface.data_synth.panohead.rendering import RenderingConfig
from gen3dface.errors import CheckpointError, OutputError
from gen3dface.files import file_sha256, write_atomically, write_failure
from gen3dface.inert_pickle import Shell

GeneratorKind = Literal["panohead", "eg3d"]
LICENCES = {
    "panohead": "non-commercial (PanoHead: its statements conflict, the strictest is taken)",
    "eg3d": "non-commercial (EG3D: NVIDIA Source Code License)",
}
_WEIGHTS, _CONFIG = "generator.safetensors", "config.json"
_FORMAT = "gen3dface.generator.1"
# of ours, the names in the pickle
_OPTIONS = {"coarse": "depth_resolution", "fine": "depth_resolution_importance"}
_OPTIONS |= {"near": "ray_start", "far": "ray_end", "side": "box_warp"}
# options that change what is drawn
_BUILT_IN = {"c_gen_conditioning_zero": False, "c_scale": 1, "decoder_lr_mul": 1, "decoder_activation": "none"}
_BUILT_IN |= {"clamp_mode": "softplus", "disparity_space_sampling": False, "white_back": False}
_BUILT_IN |= {"superresolution_noise_mode": "none", "sr_antialias": True}
_MOST_NOTE_BYTES = 1 << 20
_DEEPEST = 16  # modules within modules
_MOST_TENSORS = 4096
_FILTER = "resample_filter"
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


def convert_generator(kind: GeneratorKind, path: Path, out: Path) -> Path:
    """Write the averaged generator of an official pickle into a folder.

    Nothing of the pickle is executed, see `pickle_reader`. The folder notes the pickle's sha256 and licence.

    Raises:
        CheckpointError: no such generator is in the file, or what is there does not fit.
        OutputError: the folder cannot be written, or is not empty.
    """
    content = read_pickle(path)
    shell = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(shell, Shell):
        raise CheckpointError(f"'{path}' holds no averaged generator (G_ema).")
    tensors = dict(islice(_tensors(shell, "", iter(range(_MOST_TENSORS))), _MOST_TENSORS + 1))
    if len(tensors) > _MOST_TENSORS:
        raise CheckpointError(f"'{path}': a generator has some hundred tensors, this one thousands.")
    state = {name: t.contiguous() for name, t in tensors.items() if not name.endswith(_FILTER)}
    _check_filters({name: t for name, t in tensors.items() if name.endswith(_FILTER)})
    config = _config(kind, state, shell.state, path)
    _filled(config, state, str(path))
    # parameters may share memory in the pickle, and are apart in the file
    weights = save({name: values.clone() for name, values in state.items()})
    note = {"format": _FORMAT, "kind": kind, "licence": LICENCES[kind], "sha256": file_sha256(path)}
    note |= {"weights": hashlib.sha256(weights).hexdigest(), **asdict(config)}
    _write(out, {_WEIGHTS: weights, _CONFIG: json.dumps(note, indent=1, sort_keys=True).encode()})
    return out


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """Into a new or empty folder, which is gone again when it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
    except OSError as error:
        raise OutputError(write_failure(out, error)) from error
    if occupied:
        raise OutputError(f"'{out}' is not empty; choose another folder.")
    try:
        for name, content in files.items():
            write_atomically(out / name, content)
    except OutputError:
        with contextlib.suppress(OSError):
            for name in files:
                (out / name).unlink(missing_ok=True)
            out.rmdir()
        raise


def load_generator(folder: Path, kind: str | None = None) -> tuple[Generator, dict[str, Any]]:
    """The generator of a folder that `convert_generator` wrote, in evaluation mode, and the folder's note.

    Raises:
        CheckpointError: files are missing or damaged, weights and configuration do not fit, or it is of another kind.
    """
    note = read_note(folder, kind)
    try:
        config = config_from(note)
        if file_sha256(folder / _WEIGHTS) != note["weights"]:
            raise CheckpointError(f"{_WEIGHTS} is not what was converted")
        state = load_file(folder / _WEIGHTS)
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"'{folder}' holds no generator ({error!r}); convert its checkpoint again.") from error
    return _filled(config, state, str(folder)).for_inference(), note


def read_note(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """What `convert_generator` noted: kind, licence, sha256 of the pickle and of the weights, shape.

    Raises `CheckpointError`, also when it is not of the kind asked for; the shape is checked by `load_generator`.
    """
    try:
        with open(folder / _CONFIG, "rb") as file:
            note: dict[str, Any] = json.loads(file.read(_MOST_NOTE_BYTES))
        texts = [note[name] for name in ("licence", "sha256", "weights")]
        if note["format"] != _FORMAT or note["kind"] not in LICENCES or not all(isinstance(t, str) for t in texts):
            raise CheckpointError(f"'{folder}' is no generator of this package.")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"'{folder}' holds no generator ({error!r}); convert its checkpoint again.") from error
    if kind not in (None, note["kind"]):
        raise CheckpointError(f"'{folder}' holds a generator of the kind {note['kind']}, not {kind}.")
    return note


def _tensors(
    shell: Shell, prefix: str, left: Iterator[int], above: tuple[int, ...] = ()
) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by their full names.

    left: one for each module that may still come. above: the modules that this one is a part of.
    """
    if id(shell) in above or len(above) > _DEEPEST or next(left, None) is None:
        raise CheckpointError("its modules are nested too deeply, or too many")
    for group in ("_parameters", "_buffers"):
        for name, value in _entries(shell, group):
            if isinstance(value, StoredTensor):
                yield prefix + name, value.tensor()
    for name, module in _entries(shell, "_modules"):
        if isinstance(module, Shell):
            yield from _tensors(module, f"{prefix}{name}.", left, (*above, id(shell)))


def _entries(shell: Shell, group: str) -> Iterator[tuple[str, object]]:
    found = shell.state.get(group) or {}
    if not isinstance(found, Mapping):
        raise CheckpointError(f"its {group} are no dictionary")
    for name, value in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise CheckpointError(f"a part of it is called {name!r:.80}")
        yield name, value


def _check_filters(filters: Mapping[str, Tensor]) -> None:
    """All of them are the one that is built in here."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    for name, values in filters.items():
        if values.shape != (4, 4) or not torch.allclose(values.float(), torch.outer(taps, taps), atol=1e-6):
            raise CheckpointError(f"{name} is another filter than StyleGAN2's, which this generator has built in.")


def _config(
    kind: GeneratorKind, state: Mapping[str, Tensor], attributes: dict[str, Any], path: Path
) -> GeneratorConfig:
    """From shapes, and from the sampling options that the pickle notes."""
    base = EG3D if kind == "eg3d" else GeneratorConfig()
    try:
        w_dim = len(state["backbone.mapping.w_avg"])
        plane_side = max(int(n.split(".")[2][1:]) for n in state if n.startswith("backbone.synthesis.b"))
        last = state[f"backbone.synthesis.b{plane_side}.torgb.weight"]
        config = replace(
            base,
            side=len(state["superresolution.block1.conv0.noise_const"]),
            raw_side=attributes.get("neural_rendering_resolution", base.raw_side),
            z_dim=state["backbone.mapping.fc0.weight"].shape[1] - w_dim,
            c_dim=state["backbone.mapping.embed.weight"].shape[1],
            w_dim=w_dim,
            base=last.shape[1] * plane_side,
            most=len(state["backbone.synthesis.b4.const"]),
            plane_side=plane_side,
            depth=last.shape[0] // 96,
            rendering=_rendering(attributes.get("rendering_kwargs"), base.rendering),
        )
        return checked(config)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from error
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(f"'{path}' is no generator of {kind}: {error}") from error


def _rendering(options: object, base: RenderingConfig) -> RenderingConfig:
    if not isinstance(options, dict):
        return base
    for name, only in _BUILT_IN.items():
        if options.get(name, only) not in (only, None):
            raise CheckpointError(f"its {name} is {options[name]!r:.80}; only {only!r} is built in here")
    given = {ours: options.get(theirs, getattr(base, ours)) for ours, theirs in _OPTIONS.items()}
    for name, (least, most) in SAMPLES.items():
        whole({_OPTIONS[name]: given[name]}, _OPTIONS[name], least, most)
    for name, (low, high) in LENGTHS.items():
        number(given[name], low, high, _OPTIONS[name])
    return replace(base, **given)


def _filled(config: GeneratorConfig, state: Mapping[str, Tensor], source: str) -> Generator:
    """Raises `CheckpointError` unless names and shapes are those of the configuration, and the numbers finite."""
    with torch.device("meta"):
        try:
            generator = Generator(config)
        except (KeyError, RuntimeError, ZeroDivisionError) as error:
            raise CheckpointError(f"'{source}': no generator has the shape that it says ({error}).") from error
    wrong = [name for name, values in state.items() if not (values.is_floating_point() and values.isfinite().all())]
    if wrong:
        raise CheckpointError(f"'{source}': {wrong[0]} holds NaN, infinite or complex values.")
    try:
        generator.load_state_dict({n: t.float() for n, t in state.items()}, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"'{source}': {error}") from error
    return generator
