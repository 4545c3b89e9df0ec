"""What a rendered head costs, part by part, and a contact sheet of every cut.

    python benchmarks/rendered_heads.py [--size 128] [--views 24] [--heads 8] [--samples | --sheet sheet.png]

`--samples` times whole training samples instead: people, photo, the estimator's fit and views, end to end. Times are
CPU seconds of one thread after a first head has warmed everything up; run two of them for two cores.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gen3dface.cameras import Cameras, orbit
from gen3dface.data_synth.rendered import Light, LitSurface, Scene, Strands, light_scene, render
from gen3dface.data_synth.rendered.hair import CUT_SHARES, HairGrower, sample_facial, sample_style
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.heads import HeadModel, load_head_model

SHEET_AZIMUTHS = (0.0, 45.0, 90.0, 135.0, 180.0)


class Clock:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.spent[name] += time.process_time() - start


def make_head(model: HeadModel, grower: HairGrower, cut: str | None, seed: int, clock: Clock) -> Scene:
    """A plain-skinned head with hair."""
    generator = torch.Generator().manual_seed(seed)
    with clock.part("mesh"):
        mesh = model.mesh(model.sample(generator, 0.8))
    style, facial = sample_style(generator, cut), sample_facial(generator)
    with clock.part("hair"):
        scalp = grower.grow(style, mesh.vertices, generator)
    with clock.part("beard and brows"):
        face = grower.grow_facial(facial, style, mesh.vertices, generator)
    with clock.part("paint"):
        tone = torch.lerp(torch.tensor([0.45, 0.30, 0.22]), torch.tensor([0.12, 0.06, 0.04]), seed % 5 / 4)
        texture = grower.paint(tone[:, None, None].repeat(1, 512, 512), style, facial, generator)
    groups = [group for group in (scalp, face) if group is not None]
    eyes = (model.regions["left_eye"] | model.regions["right_eye"])[mesh.faces].all(1)
    skin = LitSurface(
        mesh.vertices, mesh.faces[~eyes], texture, mesh.uvs, mesh.uv_faces[~eyes], mesh.normals(),
        specular=0.03, wrap=(0.28, 0.12, 0.08),
    )  # fmt: skip
    ball = LitSurface(mesh.vertices, mesh.faces[eyes], torch.full_like(mesh.vertices, 0.35), shininess=300.0)
    return Scene((skin, ball), Light.studio(), Strands.joined(groups) if groups else None)


def draw(scene: Scene, cameras: Cameras, clock: Clock) -> Tensor:
    with clock.part("light"):
        lit = light_scene(scene)
    with clock.part("views"):
        return render(lit, cameras).over(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", action="store_true")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_head_model()
    grower = HairGrower(model)
    if options.sheet:
        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(model, grower, options.size, options.seed).save(options.sheet)
        return
    azimuths = torch.arange(options.views) * 360.0 / options.views
    cameras = orbit(azimuths, torch.zeros(options.views), radius=1.8, focal=4.5, size=options.size)
    if options.samples:
        time_samples(cameras, options.seed, options.heads)
        return
    draw(make_head(model, grower, "bob", options.seed, Clock()), cameras, Clock())
    clock = Clock()
    for number in range(options.heads):
        draw(make_head(model, grower, None, options.seed + number, clock), cameras, clock)
    report(clock, options.heads, options.views)


def time_samples(cameras: Cameras, seed: int, heads: int) -> None:
    """Whole samples with the views of `cameras` and a photo of 288 px each."""
    make_sample(seed + heads, cameras)
    clock = Clock()
    for number in range(seed, seed + heads):
        with clock.part("sample"):
            make_sample(number, cameras)
    report(clock, heads, len(cameras))


def report(clock: Clock, heads: int, views: int) -> None:
    for name, seconds in clock.spent.items():
        each = f"   {1000 * seconds / heads / views:6.1f} ms a view" if name == "views" else ""
        print(f"{name:16} {1000 * seconds / heads:8.1f} ms a head{each}")
    total = sum(clock.spent.values())
    print(f"{'all':16} {1000 * total / heads:8.1f} ms a head   {heads * views / total:6.1f} views/s a thread")


def contact_sheet(model: HeadModel, grower: HairGrower, size: int, seed: int) -> Image.Image:
    """Two columns of cuts, five views each."""
    cameras = orbit(torch.tensor(SHEET_AZIMUTHS), torch.zeros(5), radius=1.8, focal=5.4, size=size)
    rows = [
        torch.cat(list(draw(make_head(model, grower, cut, seed + number, Clock()), cameras, Clock())), -1)
        for number, cut in enumerate(CUT_SHARES)
    ]
    rows += [torch.ones_like(rows[0])] * (len(rows) % 2)
    half = len(rows) // 2
    sheet = torch.cat([torch.cat(rows[:half], 1), torch.cat(rows[half:], 1)], 2)
    return Image.fromarray((sheet * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
