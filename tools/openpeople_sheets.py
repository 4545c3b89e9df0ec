"""Training samples from OpenPeople's character sheets: studio portraits with true side and back views.

    python tools/openpeople_sheets.py -o data/sheets [--variants 4]

P001 to P007 alone, P004 left out (its frames cut the hair off); P008-P010 are for tests only. A sample is a portrait,
or the sheet's front frame, in; front, both sides and the back as true views, brought into the place of `head360`'s
cameras by a similarity: the front by its landmarks, the sides by nose and chin, which were read off by hand with the
azimuth, the back by the front's outline. Each is made plain and mirrored, in several colours.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor
from tqdm import tqdm

from gen3dface.cameras import Cameras, orbit
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shards import write_shard
from gen3dface.estimators import HeadFit, estimate
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.evaluation.openpeople import Panel, panels, portrait_bytes
from gen3dface.heads import load_head_model
from gen3dface.photo import Portrait, load_portrait
from gen3dface.pipelines import project_views

Array = NDArray[np.float64]
SIZE = 128  # px of the views
RADIUS, FOCAL = 1.8, 4.5  # of `head360`
NOSE, CHIN = 1, 152  # numbers of the landmarks
SKIN = (33, 263, 1, 61, 291, 152, 168, 234, 454)  # those by which the front is placed
EDGE = 2  # px of a panel that the key leaves of the backdrop at the outline
COLLAR = -0.13  # metres, below the head's centre, from which on the shirts are
LICENCES = ["MIT (OpenPeople)"]


@dataclass(frozen=True)
class Side:
    """What was read off a side frame: degrees (positive: the face looks to the picture's left), px."""

    azimuth: float
    nose: tuple[float, float]
    chin: tuple[float, float] | None  # None: under a beard


SIDES = {
    "P001": (Side(-50, (375, 258), (340, 365)), Side(-76, (395, 258), (358, 362))),
    "P002": (Side(-90, (405, 252), (373, 354)), Side(-84, (415, 257), (378, 358))),
    "P003": (Side(-84, (393, 248), (355, 350)), Side(68, (79, 246), (116, 348))),
    "P005": (Side(-46, (362, 210), None), Side(-76, (371, 214), None)),
    "P006": (Side(64, (83, 240), (122, 333)), Side(-86, (392, 241), (350, 333))),
    "P007": (Side(-84, (378, 243), (325, 342)), Side(80, (96, 245), (148, 342))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--variants", type=int, default=4, help="colours of each person, photo and hand")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    total = len(SIDES) * 4 * arguments.variants
    write_shard(arguments.output, 0, tqdm(_samples(arguments.variants), total=total, unit="sample"))


def _samples(variants: int) -> Iterator[TrainingSample]:
    for person in SIDES:
        frames = [_cleaned(panel) for panel in panels(person)]
        for photo in ("portrait", "front"):
            for mirrored in (False, True):
                sample = _sample(person, photo, frames, mirrored)
                for variant in range(variants):
                    yield _recoloured(sample, variant)


def _sample(person: str, photo: str, frames: list[Panel], mirrored: bool) -> TrainingSample:
    content = portrait_bytes(person) if photo == "portrait" else _png(frames[0])
    portrait = load_portrait(_flipped(content) if mirrored else content)
    head = estimate(portrait)
    sides = list(SIDES[person])
    if mirrored:
        frames = [Panel(p.image.flip(-1), p.mask.flip(-1), p.azimuths) for p in frames]
        width = frames[0].mask.shape[-1]
        sides = [_mirrored(side, width) for side in sides]
    azimuths = torch.tensor([0.0, sides[0].azimuth, 180.0, sides[1].azimuth])
    cameras = orbit(azimuths, torch.zeros(4), radius=RADIUS, focal=FOCAL, size=SIZE)
    views = _matched(_placed_views(frames, sides, head, cameras), portrait, head, cameras)
    key = f"openpeople-{person}-{photo}{'-mirrored' if mirrored else ''}"
    note = {"generator": "openpeople.sheets.2", "licences": LICENCES}
    known = torch.stack([_above_collar(camera) for camera in cameras])
    return TrainingSample(key, portrait, head, (views * 255).round().to(torch.uint8), cameras, note, known)


def _above_collar(camera: Cameras) -> Tensor:
    """uint8 [1, S, S], 255 above the shirts: all six wear the same white ones, which a network would learn by heart."""
    line = camera.project(torch.tensor([[0.0, COLLAR, 0.0]]))[0][0, 0, 1]
    return ((torch.arange(SIZE) + 1 < line) * 255).to(torch.uint8)[:, None].expand(SIZE, SIZE)[None]


def _placed_views(frames: list[Panel], sides: list[Side], head: HeadFit, cameras: Cameras) -> Tensor:
    """[4, 4, S, S] in 0..1, colour over white and coverage."""
    known, points = _landmarks(head)
    front = load_portrait(_png(frames[0]))
    scale, shift = _similarity(
        front.landmarks[list(SKIN), :2] / 2, _projected(cameras[[0]], points[_rows(known, SKIN)])
    )
    placed = [(scale, shift)]
    for camera, side in zip((cameras[[1]], cameras[[3]]), sides, strict=True):
        marks, numbers = ([side.nose], [NOSE]) if side.chin is None else ([side.nose, side.chin], [NOSE, CHIN])
        target = _projected(camera, points[_rows(known, numbers)])
        placed.append((scale, (target - scale * np.array(marks)).mean(0)))
    placed.insert(2, _back_placement(frames, scale, shift))
    return torch.stack([_warped(panel, *how) for panel, how in zip(frames, placed, strict=True)])


def _matched(views: Tensor, portrait: Portrait, head: HeadFit, cameras: Cameras) -> Tensor:
    """In the photo's colours: the sheet was lit otherwise. By the middle of the face, each channel."""
    shown = project_views(portrait, head, cameras[[0]]).tensor()[0]
    middle = slice(int(0.38 * SIZE), int(0.62 * SIZE))
    means = [picture[:3, middle, middle].flatten(1).mean(1) for picture in (shown, views[0])]
    gain = (means[0] / means[1]).clamp(0.75, 1.33)[:, None, None]
    alpha = views[:, 3:]
    colours = views[:, :3] - (1 - alpha)  # times alpha
    return torch.cat([torch.minimum(gain * colours, alpha) + 1 - alpha, alpha], 1)


def _back_placement(frames: list[Panel], scale: float, shift: Array) -> tuple[float, Array]:
    """The outline from behind is the front's, mirrored: tops and middles of the heads meet."""
    tops, middles = [], []
    for panel in (frames[0], frames[2]):
        solid = panel.mask[0].gt(0.5).numpy()
        top = int(np.flatnonzero(solid.any(1))[0])
        columns = np.nonzero(solid[top : top + 250])[1]
        tops.append(top)
        middles.append(columns.mean())
    middle = SIZE - (scale * middles[0] + shift[0])
    return scale, np.array([middle - scale * middles[1], shift[1] + scale * (tops[0] - tops[1])])


def _landmarks(head: HeadFit) -> tuple[NDArray[np.int64], Array]:
    """Which landmarks the head model has, and where the fitted head has them, metres."""
    model = load_head_model()
    mesh = head.mesh(model)
    index = LandmarkModel.from_head(model).index
    corners = model.faces[model.landmark_faces[index]]
    bald = mesh.vertices - head.offsets
    points = (bald[corners] * model.landmark_barycentric[index][..., None]).sum(1)
    return index, points.double().numpy()


def _rows(known: NDArray[np.int64], numbers: Sequence[int]) -> list[int]:
    order = {int(n): i for i, n in enumerate(known)}
    return [order[n] for n in numbers]


def _projected(camera: Cameras, points: Array) -> Array:
    return camera.project(torch.from_numpy(points).float())[0][0].double().numpy()


def _similarity(source: Array, target: Array) -> tuple[float, Array]:
    """Least-squares scale and shift, no turn."""
    a, b = source - source.mean(0), target - target.mean(0)
    scale = float((a * b).sum() / (a * a).sum())
    return scale, target.mean(0) - scale * source.mean(0)


def _warped(panel: Panel, scale: float, shift: Array) -> Tensor:
    """[4, S, S]; what lies beyond the frame's lower edge goes on as that edge."""
    height, width = panel.mask.shape[1:]
    fine = 4  # samples a pixel's side
    at = (torch.arange(SIZE * fine) + 0.5) / fine
    x, y = (at - float(shift[0])) / scale, (at - float(shift[1])) / scale
    y = y.clamp(max=height - 1.0)
    where = torch.stack(torch.meshgrid(y / height * 2 - 1, x / width * 2 - 1, indexing="ij")[::-1], -1)[None]
    stacked = torch.cat([panel.image - 1, panel.mask])[None]
    found = F.avg_pool2d(F.grid_sample(stacked, where, align_corners=False), fine)[0]
    return torch.cat([found[:3] + 1, found[3:]]).clamp(0, 1)


def _cleaned(panel: Panel) -> Panel:
    """Without the backdrop's grey that the key leaves at the outline, and without its shadows' islands."""
    solid = panel.mask[0].numpy() > 0.5
    image = panel.image.permute(1, 2, 0).numpy()
    grey = (np.ptp(image, axis=-1) < 0.04) & (image.mean(-1) > 0.3) & (image.mean(-1) < 0.62)
    grey = ndimage.binary_opening(grey, iterations=4)  # large even patches alone
    labels, count = ndimage.label(ndimage.binary_opening(solid & ~grey, iterations=3))
    largest = 1 + int(np.argmax([(labels == i).sum() for i in range(1, count + 1)]))
    near = ndimage.binary_dilation(labels == largest, iterations=4)
    core = ndimage.binary_fill_holes(solid & ~grey & near)
    core = ndimage.binary_erosion(core, iterations=EDGE, border_value=1)
    mask = torch.from_numpy(ndimage.gaussian_filter(core.astype(np.float32), 1.0))[None]
    nearest = ndimage.distance_transform_edt(~core, return_distances=False, return_indices=True)
    colour = torch.from_numpy(image[nearest[0], nearest[1]]).permute(2, 0, 1)
    return Panel(colour * mask + 1 - mask, mask, panel.azimuths)


def _recoloured(sample: TrainingSample, variant: int) -> TrainingSample:
    """Photo and views under the same gain of each channel and gamma; variant 0 as it is."""
    if variant == 0:
        return replace(sample, key=f"{sample.key}-0")
    random = np.random.default_rng([ord(c) for c in sample.key] + [variant])
    gain = np.exp(random.normal(0, 0.10) + random.normal(0, 0.05, 3))
    gamma = np.exp(random.normal(0, 0.15))

    def changed(values: Array) -> Array:
        return np.clip(gain * values, 0, 1) ** gamma

    image = (changed(sample.portrait.image / 255.0) * 255).round().astype(np.uint8)
    views = sample.views.permute(0, 2, 3, 1).numpy() / 255.0
    alpha = views[..., 3:]
    straight = np.clip((views[..., :3] - (1 - alpha)) / np.maximum(alpha, 1e-3), 0, 1)
    over = changed(straight) * alpha + 1 - alpha
    pictures = torch.from_numpy((np.concatenate([over, alpha], -1) * 255).round().astype(np.uint8)).permute(0, 3, 1, 2)
    portrait = replace(sample.portrait, image=image)
    return replace(sample, key=f"{sample.key}-{variant}", portrait=portrait, views=pictures.contiguous())


def _mirrored(side: Side, width: int) -> Side:
    chin = None if side.chin is None else (width - side.chin[0], side.chin[1])
    return Side(-side.azimuth, (width - side.nose[0], side.nose[1]), chin)


def _png(panel: Panel) -> bytes:
    """At twice the size, over white."""
    pixels = (panel.image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.resize((image.width * 2, image.height * 2), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def _flipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    ImageOps.mirror(Image.open(io.BytesIO(content)).convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
