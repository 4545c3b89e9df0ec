"""Official pickles: converted bit for bit, and hostile ones refused with nothing run."""

import functools
import io
import json
import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.data_synth.panohead.checkpoint import convert_generator, load_generator
from gen3dface.data_synth.panohead.generator import Generator, GeneratorConfig
from gen3dface.data_synth.panohead.pickle_reader import read_pickle
from gen3dface.data_synth.panohead.rendering import RenderingConfig
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.generators import open_generator
from gen3dface.data_synth.synthesis.run import synthesise
from gen3dface.errors import CheckpointError, OutputError
from gen3dface.files import file_sha256
from tests.data_synth.panohead.official_pickle import Call, replacing_a_class, write_official

TINY = GeneratorConfig(
    side=128, raw_side=16, base=256, most=8, plane_side=32, rendering=RenderingConfig(coarse=6, fine=5, near=2.2)
)
OPTIONS = {"depth_resolution": 6, "depth_resolution_importance": 5, "ray_start": 2.2, "ray_end": 3.3, "box_warp": 1}


@pytest.fixture
def official(tmp_path: Path) -> tuple[Generator, Path]:
    torch.manual_seed(0)
    generator = Generator(TINY)
    write_official(tmp_path / "official.pkl", generator, OPTIONS, 16)
    return generator, tmp_path / "official.pkl"


def test_a_genuine_pickle_converts_bit_for_bit(official: tuple[Generator, Path], tmp_path: Path) -> None:
    generator, path = official
    arguments = ["convert", "panohead", str(path), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found, note = load_generator(tmp_path / "out")
    assert found.config == TINY
    ours, theirs = found.state_dict(), generator.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert note["sha256"] == file_sha256(path) and "non-commercial" in note["licence"]
    with pytest.raises(OutputError, match="not empty"):
        convert_generator("panohead", path, tmp_path / "out")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call(os.system, "touch {}"), "system"),
        (Call(subprocess.check_output, ["touch", "{}"]), "check_output"),
        (Call(functools.partial, os.system, "touch {}"), "partial"),
        (Call(eval, "open('{}', 'w')"), "eval"),
        (Call(getattr, "os", "system"), "getattr"),
        (Call(torch.load, "{}"), "load"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_hostile_calls_are_refused_by_name(call: Call, named: str, nested: bool, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    function, arguments = call.made
    harm = Call(function, *(_aimed(argument, marker) for argument in arguments))
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({"G_ema": [harm]} if nested else harm))
    with pytest.raises(CheckpointError, match=rf"{named}, which no generator needs"):
        convert_generator("panohead", path, tmp_path / "out")
    assert not marker.exists() and not (tmp_path / "out").exists()


def _aimed(argument: Any, marker: Path) -> Any:
    if isinstance(argument, list):
        return [_aimed(part, marker) for part in argument]
    return argument.format(marker) if isinstance(argument, str) else argument


def test_hostile_storage_is_refused(tmp_path: Path) -> None:
    """A tensor's bytes are a pickle of their own."""
    marker = tmp_path / "executed"
    inner = io.BytesIO()
    torch.save(Call(os.system, f"touch {marker}"), inner, _use_new_zipfile_serialization=False)
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(Call(torch.storage._load_from_bytes, inner.getvalue())))
    with pytest.raises(CheckpointError, match="system"):
        read_pickle(path)
    assert not marker.exists()


def test_storage_that_would_inflate_is_refused(tmp_path: Path) -> None:
    """A hundred kilobytes that become 32 MB; the true ones are no archives."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save(torch.zeros(8 << 20).storage(), plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert len(packed.getvalue()) < 1 << 17
    path = tmp_path / "bomb.pkl"
    path.write_bytes(pickle.dumps(Call(torch.storage._load_from_bytes, packed.getvalue())))
    with pytest.raises(CheckpointError, match="archive"):
        read_pickle(path)


@pytest.mark.parametrize("opcode", [b"r\xff\xff\xff\x0f", b"p268435455\n"])
def test_a_memo_as_large_as_memory_is_refused(opcode: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x02]" + opcode + b".")
    with pytest.raises(CheckpointError, match="memo's numbers go up to 268,435,455"):
        read_pickle(path)
    path.write_bytes(b"\x80\x02]q\xffh\xff\x86.")
    assert read_pickle(path) == ([], [])


def test_modules_that_multiply_are_refused(tmp_path: Path) -> None:
    """Each holds the next one thirty times, ten deep."""
    inner = b"ctraining.net\nNet\n)\x81"
    module = inner + b"}X\x08\x00\x00\x00_modules}sb"
    for level in range(10):
        names = b"".join(b"X\x02\x00\x00\x00%02dh%c" % (i, level) for i in range(30))
        module += b"q%c0" % level + inner + b"}X\x08\x00\x00\x00_modules}(" + names + b"usb"
    path = tmp_path / "many.pkl"
    path.write_bytes(b"\x80\x02}X\x05\x00\x00\x00G_ema" + module + b"s.")
    with pytest.raises(CheckpointError, match="too many"):
        convert_generator("panohead", path, tmp_path / "out")


def test_parameters_that_share_memory_are_converted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = Generator(TINY)
    mapping = generator.backbone.mapping
    mapping.fc0.bias = mapping.embed.bias
    write_official(tmp_path / "tied.pkl", generator, OPTIONS, 16)
    found, _ = load_generator(convert_generator("panohead", tmp_path / "tied.pkl", tmp_path / "out"))
    assert torch.equal(found.backbone.mapping.fc0.bias, mapping.embed.bias)


def test_a_failed_conversion_leaves_no_folder(
    official: tuple[Generator, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        convert_generator("panohead", official[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"plane_side": "a"},
        {"side": [1]},
        {"w_dim": 10**30},
        {"plane_side": 10**60},
        {"z_dim": -5},
        {"axes": [[0, 1, 9]] * 3},
        {"axes": 5},
        {"raw_side": 10**6},
        {"depth": 1.5},
        {"depth": True},
        {"background": "no"},
        {"licence": None},
        {"kind": ["x"]},
        {"rendering": {"coarse": 10**9}},
        {"rendering": {"coarse": "x"}},
        {"rendering": {"near": float("nan")}},
        {"rendering": {"crop": "all"}},
        {"rendering": 3},
    ],
)
def test_nonsense_in_a_folder_s_note_is_refused(
    change: dict[str, Any], official: tuple[Generator, Path], tmp_path: Path
) -> None:
    out = convert_generator("panohead", official[1], tmp_path / "out")
    note = json.loads((out / "config.json").read_text())
    inner = change.get("rendering")
    changed = {"rendering": {**note["rendering"], **inner}} if isinstance(inner, dict) else change
    (out / "config.json").write_text(json.dumps({**note, **changed}))
    with pytest.raises(CheckpointError, match=str(out)):
        load_generator(out)
    (out / "config.json").write_bytes(b"[" * 100_000)
    with pytest.raises(CheckpointError, match="holds no generator"):
        load_generator(out)


def test_a_generator_of_another_kind_is_refused(official: tuple[Generator, Path], tmp_path: Path) -> None:
    out = convert_generator("panohead", official[1], tmp_path / "out")
    wrong = SynthConfig.model_validate({"identities": 1, "generator": {"kind": "eg3d", "path": str(out)}})
    for asked in (lambda: synthesise(wrong, tmp_path / "made", progress=False), lambda: open_generator(wrong)):
        with pytest.raises(CheckpointError, match="of the kind panohead, not eg3d"):
            asked()
    assert not (tmp_path / "made").exists()


def test_other_weights_are_noticed_and_are_another_synthesis(official: tuple[Generator, Path], tmp_path: Path) -> None:
    out = convert_generator("panohead", official[1], tmp_path / "out")
    weights = load_file(out / "generator.safetensors")
    save_file({name: values + 1 for name, values in weights.items()}, out / "generator.safetensors")
    with pytest.raises(CheckpointError, match="not what was converted"):
        load_generator(out)
    wanted = SynthConfig.model_validate({"identities": 1, "generator": {"kind": "panohead", "path": str(out)}})
    before, note = wanted.fingerprint, json.loads((out / "config.json").read_text())
    note["weights"] = file_sha256(out / "generator.safetensors")
    (out / "config.json").write_text(json.dumps(note))
    assert load_generator(out)[1]["weights"] == note["weights"] and wanted.fingerprint != before


@pytest.mark.parametrize("name", ["b1000000000000", "b" + "9" * 25, "b70000"])
def test_planes_of_any_size_are_not_made(name: str, tmp_path: Path) -> None:
    generator = Generator(TINY)
    synthesis = generator.backbone.synthesis
    large = nn.Module()
    large.add_module("torgb", synthesis.get_submodule("b32.torgb"))
    synthesis.add_module(name, large)
    write_official(tmp_path / "large.pkl", generator, OPTIONS, 16)
    with pytest.raises(CheckpointError, match=r"its (base|plane_side) is \d+"):
        convert_generator("panohead", tmp_path / "large.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (120_000,), (1,)),
        (0, (10**9,), (1,)),
        (0, (10**12,), (0,)),
        (3, (2,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), ()),
    ],
)
def test_tensors_beyond_their_data_are_refused(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path
) -> None:
    """PyTorch itself would grow the storage, with whatever the memory held before."""
    inner = io.BytesIO()
    torch.save(torch.zeros(4).storage(), inner, _use_new_zipfile_serialization=False)
    storage = Call(torch.storage._load_from_bytes, inner.getvalue())
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})))
    with pytest.raises(CheckpointError, match="tensor"):
        read_pickle(path).tensor()


@pytest.mark.parametrize("victim", ["torch._utils\n_rebuild_parameter", "collections\nOrderedDict", "training.x\nNet"])
def test_what_a_pickle_may_name_it_cannot_change(victim: str, tmp_path: Path) -> None:
    """BUILD with attributes for the named thing itself."""
    path = tmp_path / "hostile.pkl"
    path.write_bytes(b"\x80\x02c" + victim.encode() + b"\nN}X\x07\x00\x00\x00__doc__X\x01\x00\x00\x00xs\x86b.")
    with pytest.raises(CheckpointError):
        read_pickle(path)


@pytest.mark.parametrize("target", ["os.system", "builtins.type", "gen3dface.cli.app"])
def test_class_replacement_is_refused(target: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(replacing_a_class(target))
    with pytest.raises(CheckpointError, match=target.replace(".", r"\.")):
        read_pickle(path)


def test_source_in_the_pickle_is_not_executed(official: tuple[Generator, Path]) -> None:
    """`SystemExit` would end this test."""
    assert b"raise SystemExit" in official[1].read_bytes()
    assert isinstance(read_pickle(official[1]), dict)


def test_what_does_not_fit_is_named(official: tuple[Generator, Path], tmp_path: Path) -> None:
    generator, path = official
    for number, (change, message) in enumerate(
        [
            ({"ray_start": "auto"}, "ray_start"),
            ({"depth_resolution": 10**9}, "depth_resolution"),
            ({"box_warp": float("nan")}, "box_warp"),
            ({"depth_resolution": 6.5}, "no whole number"),
            ({"decoder_activation": "lrelu"}, "decoder_activation"),
        ]
    ):
        write_official(path, generator, {**OPTIONS, **change}, 16)
        with pytest.raises(CheckpointError, match=message):
            convert_generator("panohead", path, tmp_path / str(number))
    write_official(path, generator, OPTIONS, 16)
    with pytest.raises(CheckpointError, match=r"Unexpected key\(s\).*bcg_synthesis"):
        convert_generator("eg3d", path, tmp_path / "eg3d")
    with torch.no_grad():
        generator.torgb.weight[0, 0] = torch.nan
    write_official(path, generator, OPTIONS, 16)
    with pytest.raises(CheckpointError, match=r"torgb\.weight holds NaN"):
        convert_generator("panohead", path, tmp_path / "nan")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"official\.pkl"):
        convert_generator("panohead", path, tmp_path / "short")
    path.write_bytes(pickle.dumps({"G_ema": {}}))
    with pytest.raises(CheckpointError, match="no averaged generator"):
        convert_generator("panohead", path, tmp_path / "none")


def test_a_damaged_folder_is_named(official: tuple[Generator, Path], tmp_path: Path) -> None:
    out = convert_generator("panohead", official[1], tmp_path / "out")
    note = json.loads((out / "config.json").read_text())
    for wrong in ({**note, "side": 100}, {**note, "kind": "other"}, {"format": 1}, {**note, "plane_side": 64}):
        (out / "config.json").write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match=str(out)):
            load_generator(out)
    (out / "config.json").write_text(json.dumps(note))
    (out / "generator.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(CheckpointError, match="holds no generator"):
        load_generator(out)
