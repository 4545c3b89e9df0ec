"""How near a surface comes to the head that its views show.

    python benchmarks/reconstruction.py HEADS [--heads 3] [--size 256] [--only "16 views" ...]
        [--method field] [--topology registered] [--steps N] [--device cuda]
        [--json reconstruction.json] [--sheet reconstruction.png]

HEADS is ict_facekit_light.npz, `openhead`, or a folder with menpo3d's `james` (see `true_heads.py`).

Columns: distance from the true surface to the reconstructed one in mm, median over the area of the face and of the
whole head; Chamfer distance (mean both ways) and F-score at 1 mm of the head; cosine of the normals, of the
reconstruction's triangles as they are; the face's distance and the normals once more over the true vertices, half of
which lie on an eighth of the area in ICT; PSNR and LPIPS of unseen views; whether the mesh is closed; seconds;
peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ict_heads import load_ict
from ict_pictures import openpeople_skins
from PIL import Image
from textured_heads import TexturedHeadTruth, random_head, unseen_cameras, views_around, with_faults
from torch import Tensor
from true_heads import open_head, scan_views, scanned_face, unseen_scan_views

from gen3dface.cameras import Cameras, rig
from gen3dface.evaluation.lpips import LPIPS
from gen3dface.evaluation.shape.closest import Surface as Nearest
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.surface import SurfaceConfig, reconstruct_surface
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface, render

CASES: dict[str, dict[str, Any]] = {
    "16 views": {"views": 16},
    "16 views, 20 % colour, 1 degree, 3 px": {"views": 16, "colour": 0.2, "degrees": 1.0, "pixels": 3.0},
    "8 views": {"views": 8},
    "4 views": {"views": 4},
    "48 views": {"views": 48},
}
SKINS = ("P008", "P009", "P010")  # for tests only: nothing here was trained on them
MEASURES = (
    *("face", "head", "chamfer", "fscore", "normals", "face_v", "normals_v"),
    *("psnr", "lpips", "closed", "seconds", "mib"),
)
_SAMPLES = 20_000  # points on the true head


@dataclass(frozen=True)
class Heads:
    """Where true heads come from, and from where they are seen."""

    head: Callable[[int], TexturedHeadTruth]  # by seed
    views: Callable[[int, int], Cameras] = views_around  # by count and px
    unseen: Callable[[int], Cameras] = unseen_cameras  # by px
    whole: bool = True  # no: a face without a back, which a closed surface has to make up


def main() -> None:
    arguments = _arguments()
    heads = _heads(arguments.heads_of)
    rows: dict[str, list[dict[str, float]]] = {}
    sheet: list[Tensor] = []
    config = _config(arguments)
    for name in arguments.only or CASES:
        for seed in range(arguments.heads):
            found, picture = measure(heads, seed, CASES[name], arguments.size, config, arguments.device)
            rows.setdefault(name, []).append(found)
            print(name, seed, {k: round(v, 3) for k, v in found.items()}, flush=True)
            sheet += [picture] if seed == 0 else []
    means = {name: {m: float(np.mean([r[m] for r in found])) for m in MEASURES} for name, found in rows.items()}
    print(_markdown(means, arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps({"setting": _setting(arguments), "cases": means}, indent=1))
    if arguments.sheet:
        pixels = torch.cat(sheet, 1).clamp(0, 1).mul(255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(arguments.sheet)


def _heads(source: str) -> Heads:
    if source == "openhead":
        return Heads(open_head)
    if Path(source).is_dir():
        scan = scanned_face(Path(source))
        return Heads(lambda _: scan, scan_views, unseen_scan_views, whole=False)
    ict = load_ict(Path(source))
    skins = openpeople_skins(ict, SKINS)
    return Heads(lambda seed: random_head(ict, skins, seed))


def _config(arguments: argparse.Namespace) -> SurfaceConfig:
    config = SurfaceConfig(arguments.method, topology=arguments.topology)
    if arguments.steps is None:
        return config
    return replace(config, **{arguments.method: replace(getattr(config, arguments.method), steps=arguments.steps)})


def measure(
    heads: Heads, seed: int, case: dict[str, Any], size: int, config: SurfaceConfig, device: str = "cpu"
) -> tuple[dict[str, float], Tensor]:
    """The figures of one head, and a picture of it: truth and reconstruction, colours and normals."""
    truth, faults = heads.head(seed), {k: v for k, v in case.items() if k != "views"}
    views = with_faults(truth.seen_by(heads.views(case["views"], size)), seed=seed, **faults)
    started = time.monotonic()
    head = reconstruct_surface(views, config, device=device)
    seconds = time.monotonic() - started
    head = replace(head, vertices=head.starting_vertices())
    unseen = truth.seen_by(heads.unseen(size))
    shown, _ = render(_surface(head), _texture(head), unseen.cameras)
    error = (shown - unseen.tensor()).square().mean((1, 2, 3))
    found = _distances(truth, head) | {
        "psnr": float((-10 * error.log10()).mean()),
        "lpips": float(LPIPS()(shown, unseen.tensor()).mean()),
        "closed": float(Mesh(torch.from_numpy(head.vertices), torch.from_numpy(head.faces)).is_closed()),
        "seconds": seconds,
        **({} if heads.whole else {"chamfer": float("nan"), "fscore": float("nan")}),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    return found, _picture(truth, head, unseen.tensor(), shown)


def _distances(truth: TexturedHeadTruth, head: TexturedHead) -> dict[str, float]:
    made = Nearest(head.vertices.astype(np.float64), head.faces)
    true = Nearest(truth.vertices.double().numpy(), truth.faces.numpy())
    points, normals, face = (t.numpy() for t in truth.sampled(_SAMPLES))
    at, at_vertices = (made.closest(p) for p in (points, truth.vertices[truth.head].double().numpy()))
    inside = head.vertices[:, 1] > points[:, 1].min()
    back = true.closest(head.vertices[inside].astype(np.float64)).distances * 1e3
    there = at.distances * 1e3
    precision, recall = (back < 1).mean(), (there < 1).mean()
    a, b, c = head.vertices[head.faces].astype(np.float64).transpose(1, 0, 2)
    flat = np.cross(b - a, c - a)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-12
    vertex_normals = truth.normals()[truth.head].numpy()
    return {
        "face": float(np.median(there[face])),
        "head": float(np.median(there)),
        "chamfer": float((there.mean() + back.mean()) / 2),
        "fscore": float(2 * precision * recall / max(precision + recall, 1e-9)),
        "normals": float((flat[at.faces] * normals).sum(1).mean()),
        "face_v": float(np.median(at_vertices.distances[np.isin(truth.head.numpy(), truth.face.numpy())]) * 1e3),
        "normals_v": float((flat[at_vertices.faces] * vertex_normals).sum(1).mean()),
    }


def _surface(head: TexturedHead) -> Surface:
    return Surface(*(torch.from_numpy(a) for a in (head.vertices, head.faces, head.uvs, head.uv_faces)))


def _texture(head: TexturedHead) -> Tensor:
    return torch.from_numpy(head.texture).permute(2, 0, 1).float() / 255


def _picture(truth: TexturedHeadTruth, head: TexturedHead, true: Tensor, shown: Tensor) -> Tensor:
    cameras = rig("head360", true.shape[-1])[[0, 2, 4, 8]]
    made = torch.from_numpy(head.vertices), torch.from_numpy(head.faces)
    normals = [
        _in_normals(v, f, n).seen_by(cameras).tensor()
        for v, f, n in ((truth.vertices, truth.faces, truth.normals()), (*made, torch.from_numpy(head.normals)))
    ]
    return torch.cat([torch.cat(list(row[:4]), 2) for row in (true, shown, *normals)], 1)


def _in_normals(vertices: Tensor, faces: Tensor, normals: Tensor) -> TexturedHeadTruth:
    """A surface coloured by its normals."""
    none = torch.zeros(0, dtype=torch.int64)
    return TexturedHeadTruth(vertices, faces, F.normalize(normals, dim=1) / 2 + 0.5, none, none)


def _markdown(means: dict[str, dict[str, float]], arguments: argparse.Namespace) -> str:
    lines = [", ".join(f"{k} {v}" for k, v in _setting(arguments).items()), ""]
    lines += [f"| case | {' | '.join(MEASURES)} |", "|---" * (len(MEASURES) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[m]:.3g}' for m in MEASURES)} |" for name, row in means.items()]
    return "\n".join(lines)


def _setting(arguments: argparse.Namespace) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "heads": f"{arguments.heads} of {Path(arguments.heads_of).name}",
        "pixels": arguments.size,
        "method": arguments.method,
        "topology": arguments.topology,
        "steps": arguments.steps or "the method's",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "device": torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "cpu",
        "commit": commit.stdout.strip() or "unknown",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads_of", metavar="HEADS")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--only", nargs="*", choices=list(CASES))
    parser.add_argument("--method", choices=("mesh", "field"), default="mesh")
    parser.add_argument("--topology", choices=("free", "registered"), default="free")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
