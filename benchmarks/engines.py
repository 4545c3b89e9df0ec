"""The diffusion model against the projection baseline, on heads whose true views are known.

    python benchmarks/engines.py MODEL [--heads 24] [--steps N] [--json engines.json] [--sheet engines.png]

MODEL is a pipeline's folder or name. Two sets, apart:

- rendered: heads of `gen3dface.data_synth.rendered` of seeds that no training run takes (from 900,000,000 on): photo
  and head as the estimator sees them, 16 true views;
- openpeople: OpenPeople P008-P010, which nothing here was trained on: the studio portrait in, the front, side and back
  panels of the character sheet as references. These are uncalibrated, so each engine's view is compared after the scale
  and shift at which the silhouettes agree best, above the chin; the side panels, at 90 degrees or a little less, count
  in the bin 45-90.

Both engines get the same photo, the same head and the same cameras, at the model's resolution. LPIPS on AlexNet, PSNR
over the whole picture, IoU of the silhouettes, SFace cosine to the photo, and `found`: in how many views a face was
found. `truth` are the true views themselves: how much like the photo the person is from there. An engine may well be
above it, since light, expression and the estimate's errors are the photo's in its own pixels and not in true views.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gen3dface.cameras import Cameras, rig
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.errors import NoFaceError
from gen3dface.estimators import HeadFit, estimate
from gen3dface.evaluation.openpeople import PEOPLE, Panel, aligned, panels, portrait_bytes
from gen3dface.evaluation.view_scores import AZIMUTH_BINS, MEASURES, ViewJudge, ViewScores
from gen3dface.photo import Portrait, load_portrait
from gen3dface.pipelines import Gen3DFacePipeline, MultiViewOutput, project_views

FIRST_SEED = 900_000_000
TRUTH = "truth"
CHIN = -0.13  # metres below the head's centre: shoulders are not compared on the panels
Engine = Callable[[Portrait, HeadFit, Cameras], MultiViewOutput]


@dataclass(frozen=True)
class Case:
    """One head with its true views."""

    name: str
    portrait: Portrait
    head: HeadFit
    cameras: Cameras
    images: Tensor  # [N, 3, S, S]
    masks: Tensor  # [N, 1, S, S]


def main() -> None:
    arguments = _arguments()
    pipe = Gen3DFacePipeline.from_pretrained(arguments.model)
    pipe.set_progress_bar_config(disable=True)
    engines = {"projection": projection, "diffusion": diffusion(pipe, arguments.steps)}
    judge, size = ViewJudge(), pipe.config["image_size"]
    report = {
        "setting": _setting(arguments),
        "rendered": rendered(engines, judge, arguments.heads, size, arguments.sheet),
        "openpeople": open_people(engines, judge, size),
    }
    print(markdown(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


def projection(portrait: Portrait, head: HeadFit, cameras: Cameras) -> MultiViewOutput:
    """The baseline."""
    return project_views(portrait, head, cameras)


def diffusion(pipe: Gen3DFacePipeline, steps: int | None) -> Engine:
    """The model, with one seed for all heads."""

    def run(portrait: Portrait, head: HeadFit, cameras: Cameras) -> MultiViewOutput:
        generator = torch.Generator().manual_seed(0)
        made = pipe(portrait, head, cameras, num_inference_steps=steps, generator=generator, output_type="pt")
        assert isinstance(made, MultiViewOutput)
        return made

    return run


def rendered(
    engines: dict[str, Engine], judge: ViewJudge, heads: int, size: int, sheet: Path | None
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by engine and bin."""
    scores: dict[str, list[ViewScores]] = {name: [] for name in (*engines, TRUTH)}
    rows: list[Tensor] = []
    for case in tqdm(_rendered_cases(heads, size), total=heads, unit="head"):
        person = _person(judge, case.portrait)
        made = {name: engine(case.portrait, case.head, case.cameras) for name, engine in engines.items()}
        for name, views in made.items():
            found = judge(views.tensor(), views.masks, case.images, case.masks, case.cameras.azimuths, person)
            scores[name].append(found)
        true = case.images, case.masks
        scores[TRUTH].append(judge(*true, *true, case.cameras.azimuths, person))
        if len(rows) < 3 * 6:
            rows += [torch.cat(list(v[::2]), 2) for v in (*(m.tensor() for m in made.values()), case.images)]
    if sheet:
        picture = torch.cat(rows, 1).clamp(0, 1).mul(255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(sheet)
    return {name: _binned(ViewScores.joined(parts)) for name, parts in scores.items()}


def _rendered_cases(heads: int, size: int) -> Iterator[Case]:
    for seed in range(FIRST_SEED, FIRST_SEED + heads):
        sample = make_sample(seed, rig("head360", size))
        views = sample.views.float() / 255
        yield Case(sample.key, sample.portrait, sample.head, sample.cameras, views[:, :3], views[:, 3:])


def open_people(engines: dict[str, Engine], judge: ViewJudge, size: int) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by engine and bin against the panels."""
    scores: dict[str, list[ViewScores]] = {name: [] for name in (*engines, TRUTH)}
    for person in tqdm(PEOPLE, unit="person"):
        portrait = load_portrait(portrait_bytes(person))
        head, identity = estimate(portrait), _person(judge, portrait)
        cameras = rig("head360", size)[[0, 4, 8, 12]]
        for name, engine in engines.items():
            views = engine(portrait, head, cameras)
            scores[name] += [_against_panel(judge, panel, views, identity) for panel in panels(person)]
        scores[TRUTH] += [_against_panel(judge, panel, views, identity, itself=True) for panel in panels(person)]
    return {name: _binned(ViewScores.joined(parts)) for name, parts in scores.items()}


def _against_panel(
    judge: ViewJudge, panel: Panel, views: MultiViewOutput, person: np.ndarray | None, itself: bool = False
) -> ViewScores:
    """The view among those that the panel may show whose silhouette fits best; or the panel itself in its place."""
    azimuths = views.cameras.azimuths.round().tolist()
    fits = []
    for angle in panel.azimuths:
        index = azimuths.index(angle if angle in azimuths else -angle)
        fits.append((aligned(panel, views.masks[index]), index))
    (image, mask, valid, _), index = max(fits, key=lambda f: f[0][3])
    valid = valid * _above_chin(views.cameras[[index]])
    true = (image * valid + 1 - valid)[None], (mask * valid)[None]
    made = (views.tensor()[index] * valid + 1 - valid)[None], (views.masks[index] * valid)[None]
    return judge(
        *(true if itself else made),
        *true,
        views.cameras.azimuths[[index]],
        person,
    )


def _above_chin(camera: Cameras) -> Tensor:
    """[1, S, S], 1 above the chin."""
    line = camera.project(torch.tensor([[0.0, CHIN, 0.0]]))[0][0, 0, 1]
    rows = torch.arange(camera.height) + 0.5 < line
    return rows.float()[:, None].expand(camera.height, camera.width)[None]


def _person(judge: ViewJudge, portrait: Portrait) -> np.ndarray | None:
    try:
        return judge.photo(portrait.image)
    except NoFaceError:
        return None


def _binned(scores: ViewScores) -> dict[str, dict[str, float]]:
    return {f"{low:.0f}-{high:.0f}": scores.means(low, high) for low, high in AZIMUTH_BINS}


def markdown(report: dict) -> str:
    """A table a set: rows are engine and bin."""
    lines = [", ".join(f"{k} {v}" for k, v in report["setting"].items()), ""]
    for name in ("rendered", "openpeople"):
        lines += [f"| {name} | azimuth | LPIPS | PSNR | IoU | identity | found |", "|---|---|---|---|---|---|---|"]
        for engine, bins in report[name].items():
            for span, values in bins.items():
                cells = [f"{values[m]:.3f}" if m != "psnr" else f"{values[m]:.2f}" for m in MEASURES]
                lines.append(f"| {engine} | {span} | {' | '.join(cells)} | {100 * values['detected']:.0f} % |")
        lines.append("")
    return "\n".join(lines)


def _setting(arguments: argparse.Namespace) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "model": arguments.model,
        "rendered heads": arguments.heads,
        "steps": arguments.steps or "the model's",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip() or "unknown",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--heads", type=int, default=24)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
