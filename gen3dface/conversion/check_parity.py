"""Are our modules the peers' modules? `python -m gen3dface.conversion.check_parity DIR` answers number by number."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gen3dface.conversion import parity_denoiser, parity_modules, parity_volumes
from gen3dface.conversion.fixtures import Fixture, load_fixture
from gen3dface.errors import CheckpointError, Gen3DFaceError

CHECKS: dict[str, Callable[[Fixture], parity_modules.Outputs]] = {
    "ddim_sampler": parity_modules.ddim_sampler,
    "depth_transformer": parity_modules.depth_transformer,
    "frustum_tv_3d_net": parity_modules.frustum_tv_3d_net,
    "frustum_volume_morphable": parity_volumes.frustum_volume_morphable,
    "frustum_volume_sync": parity_volumes.frustum_volume_sync,
    "joint_attention_block": parity_modules.joint_attention_block,
    "joint_attention_transformer": parity_modules.joint_attention_transformer,
    "mesh_branch": parity_volumes.mesh_branch,
    "noise_prediction_morphable": parity_denoiser.noise_prediction_morphable,
    "noise_prediction_sync": parity_denoiser.noise_prediction_sync,
    "spatial_time_3d_net": parity_modules.spatial_time_3d_net,
    "target_view_encoder": parity_modules.target_view_encoder,
    "time_embedding": parity_modules.time_embedding,
    "unet_small": parity_denoiser.unet_small,
    "viewpoint_embedding_morphable": parity_modules.viewpoint_embedding_morphable,
    "viewpoint_embedding_sync": parity_modules.viewpoint_embedding_sync,
    "volume_unprojection_morphable": parity_volumes.volume_unprojection,
    "volume_unprojection_sync": parity_volumes.volume_unprojection,
}


@dataclass(frozen=True)
class Difference:
    """How far one output is from the peer's."""

    fixture: str
    output: str
    difference: float  # largest absolute; inf when the output is missing or misshapen
    tolerance: float
    scale: float  # largest absolute value of the peer's output

    @property
    def holds(self) -> bool:
        """Within the tolerance."""
        return self.difference <= self.tolerance

    @property
    def excess(self) -> float:
        """Difference in units of the tolerance, to sort by."""
        return self.difference / max(self.tolerance, 1e-30)


def compare(fixture: Fixture) -> list[Difference]:
    """Every output of a fixture against ours, the worst first.

    Raises:
        CheckpointError: there is no such module here, it holds no outputs, or its tensors do not fit the module.
    """
    # a set may hold several of a kind, told apart by what stands around the kind's name
    kinds = [kind for kind in CHECKS if f"_{kind}_" in f"_{fixture.name}_"]
    if not kinds:
        raise CheckpointError(f"There is no module for the fixture {fixture.name!r}; known are {', '.join(CHECKS)}.")
    if not fixture.outputs:
        raise CheckpointError(f"The fixture {fixture.name!r} holds no outputs to compare with.")
    try:
        with torch.no_grad():
            found = CHECKS[max(kinds, key=len)](fixture)
        return _differences(fixture, found)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"The fixture {fixture.name!r} does not fit its module: {said}.") from error


def _differences(fixture: Fixture, found: parity_modules.Outputs) -> list[Difference]:
    differences = []
    for name, expected in fixture.outputs.items():
        ours = found.get(name)
        apart = torch.inf
        if ours is not None and ours.shape == expected.shape:
            apart = (ours.double() - expected.double()).abs().max().nan_to_num(torch.inf).item()
        scale = expected.double().abs().max().item()
        differences.append(Difference(fixture.name, name, apart, fixture.tolerance(name), scale))
    return sorted(differences, key=lambda d: -d.excess)


def fixture_files(folder: Path) -> list[Path]:
    """The files of a folder that may be fixtures.

    Raises:
        CheckpointError: there are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no .safetensors file.")
    return files


def reproducible_exponentials() -> None:
    """Ask MKL for the same rounding on every processor; it listens until its first call in a process.

    By default its exponential rounds the frequencies of the step's sinusoid by one unit more or less from one processor
    to the next, which steps near 1000 turn into 3e-5: thirty times the tolerance, with the peer's own code as well.
    """
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; 1 when anything misses its tolerance."""
    parser = argparse.ArgumentParser(prog="python -m gen3dface.conversion.check_parity", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of fixtures")
    parser.add_argument("-v", "--verbose", action="store_true", help="every output, not each fixture's worst")
    options = parser.parse_args(arguments)
    reproducible_exponentials()
    failures = checked = 0
    write: Callable[[str], object] = sys.stdout.write
    try:
        files = fixture_files(options.folder)
    except Gen3DFaceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    write(f"{'fixture: output':56} {'max abs diff':>12} {'relative':>9} {'tolerance':>9}\n")
    for path in files:
        try:
            fixture = load_fixture(path)
            if fixture is None:  # weights of another
                continue
            rows = compare(fixture)
        except Gen3DFaceError as error:
            write(f"{path.stem:56} failed: {error}\n")
            failures += 1
            continue
        checked += 1
        for row in rows if options.verbose else rows[:1]:
            name = f"{row.fixture}: {row.output}"
            relative = row.difference / max(row.scale, 1e-30)
            verdict = "" if row.holds else "  MISSED"
            write(f"{name:56} {row.difference:12.2e} {relative:9.1e} {row.tolerance:9.0e}{verdict}\n")
        failures += any(not row.holds for row in rows)
    if not checked and not failures:
        sys.stderr.write(f"{options.folder} holds weights alone, nothing to compare.\n")
        return 1
    write(f"{f'all {checked} hold' if not failures else f'{failures} missed'}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
