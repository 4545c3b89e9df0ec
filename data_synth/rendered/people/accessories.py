"""Glasses and headgear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.hair import HairStyle
from gen3dface.data_synth.rendered.people.body import Array, Faces, clipped, compact
from gen3dface.data_synth.rendered.people.fabric import Fabric, random_dye, random_fabric
from gen3dface.data_synth.rendered.people.surfaces import cloth_surface, plain_surface
from gen3dface.data_synth.rendered.people.traits import Traits
from gen3dface.data_synth.rendered.scene import LitSurface
from gen3dface.data_synth.rendered.strands import Strands
from gen3dface.heads import HeadMesh, HeadModel
from gen3dface.texture import edge_laplacian

_GLASSES, _SUN = 0.14, 0.1  # shares of people with glasses, and of those that are dark
_HATS = {"none": 0.93, "beanie": 0.025, "cap": 0.03, "scarf": 0.015}
_LOW_CUTS = ("buzz", "short", "crop", "swept", "receding", "ring", "bald", "bob", "long", "wavy", "fringe")
_PRESS = 0.89  # how far hair under headgear is pressed toward the head's centre
_CROWN = 0.3  # metres up, where the middle of headgear's fabric lies
_OFF = 0.011  # metres from the skin to headgear
_SMOKE = np.array([0.012, 0.012, 0.014], np.float32)  # linear, of dark lenses
_NOSE, _EYES = 168, (468, 473)  # landmarks: the nose's root, right and left iris


@dataclass(frozen=True)
class Accessories:
    """What is worn on the head. Lengths in metres."""

    hat: str  # one of _HATS
    fabric: Fabric
    tilt: float  # radians by which the hat's edge rises toward the front
    edge: float  # height of that edge over the brows
    frame: NDArray[np.float32] | None  # [3] linear colour of the glasses, None without
    lens: tuple[float, float]  # half width and half height of a lens
    roundness: float  # 2 an ellipse, more is squarer
    thickness: float
    dark: bool


def random_accessories(traits: Traits, style: HairStyle, generator: np.random.Generator) -> Accessories:
    """Older people wear glasses more often; hats go on hair that fits under them."""
    hats = dict(_HATS)
    if style.cut not in _LOW_CUTS:
        hats = {"none": 1.0}
    if traits.male > 0.5:
        hats.pop("scarf", None)
    chances = np.array(list(hats.values()))
    hat = list(hats)[generator.choice(len(hats), p=chances / chances.sum())]
    metal = np.full(3, generator.uniform(0.03, 0.5)) * np.array([1, 0.9, generator.uniform(0.6, 0.95)])
    colour = metal if generator.random() < 0.4 else random_dye(generator, False) * 0.5
    worn = generator.random() < _GLASSES * (0.6 + 1.6 * traits.age)
    return Accessories(
        hat,
        random_fabric(generator),
        float(generator.uniform(0.1, 0.3)),
        float(generator.uniform(0.02, 0.04)),
        colour.astype(np.float32) if worn else None,
        (float(generator.uniform(0.022, 0.028)), float(generator.uniform(0.016, 0.024))),
        float(generator.uniform(2.0, 4.5)),
        float(generator.uniform(0.0008, 0.0022)),
        bool(generator.random() < _SUN),
    )


def worn(accessories: Accessories, mesh: HeadMesh, model: HeadModel) -> list[LitSurface]:
    """Surfaces over a posed head."""
    points = mesh.vertices.double().numpy()
    out = []
    if accessories.frame is not None:
        out += _glasses(accessories, mesh, model)
    if accessories.hat != "none":
        out += _hat(accessories, points, mesh, model)
    return out


def without_lost_hair(strands: Strands | None, accessories: Accessories, mesh: HeadMesh) -> Strands | None:
    """Hair as it lies under headgear; a scarf hides all of it."""
    if strands is None or accessories.hat == "none":
        return strands
    if accessories.hat == "scarf":
        return None
    height = _over_edge(strands.points, accessories, mesh)
    press = 1 - (1 - _PRESS) * ((height + 0.008) / 0.012).clamp(0, 1)
    centre = mesh.vertices.new_tensor([0.0, 0.02, -0.005])
    return strands.moved(centre + (strands.points - centre) * press[..., None])


def _over_edge(points: torch.Tensor, accessories: Accessories, mesh: HeadMesh) -> torch.Tensor:
    """[...] metres of points [..., 3] above the plane of the hat's edge."""
    brows = mesh.landmarks()[[_NOSE]][0]
    rise = np.tan(accessories.tilt)
    return points[..., 1] - (brows[1] + 0.012 + accessories.edge) - rise * (points[..., 2] - brows[2])


def _hat(accessories: Accessories, points: Array, mesh: HeadMesh, model: HeadModel) -> list[LitSurface]:
    outer = model.regions["scalp"] | model.regions["face"] | model.regions["skull"] | model.regions["neck"]
    if accessories.hat == "scarf":
        outer = outer | model.regions["ears"] | model.regions["shoulders"]
    faces = model.faces[outer[model.faces].all(1)].numpy()
    normals = mesh.normals().double().numpy()
    if accessories.hat == "scarf":
        return [_scarf(accessories, points, normals, faces, model)]
    shell = points + _OFF * normals
    height = _over_edge(mesh.vertices, accessories, mesh).double().numpy()
    top = float(points[:, 1].max())
    crown = np.clip((points[:, 1] - top + 0.06) / 0.06, 0, 1)
    shell[:, 1] += crown * (0.012 if accessories.hat == "beanie" else 0.004)
    cut, cut_faces = clipped(shell, faces, -height)
    cut, cut_faces = _largest(cut, cut_faces)
    out = [cloth_surface(cut, cut_faces, accessories.fabric, _CROWN)]
    rim = _rim(cut, cut_faces)
    if accessories.hat == "beanie":
        out.append(cloth_surface(*_tube(cut[rim], 0.006, closed=True), accessories.fabric, _CROWN))
    else:
        out.append(cloth_surface(*_visor(cut[rim]), accessories.fabric, _CROWN))
    return out


def _scarf(accessories: Accessories, points: Array, normals: Array, faces: Faces, model: HeadModel) -> LitSurface:
    """Cloth over head, neck and shoulders that leaves the face free."""
    rest = model.template.double().numpy()
    opening = np.hypot(rest[:, 0] / 0.061, (rest[:, 1] + 0.012) / 0.082)
    field = np.where(rest[:, 2] > 0.0, 1.0 - opening, -0.5)
    low = np.clip((-0.06 - rest[:, 1]) / 0.08, 0, 1)
    shell = _flattened(points + (0.009 + 0.012 * low)[:, None] * normals, model)
    return cloth_surface(*clipped(shell, faces, field), accessories.fabric, _CROWN)


def _flattened(points: Array, model: HeadModel, rounds: int = 60) -> Array:
    """Vertices with the ears pressed to the head: each is the mean of its neighbours, again and again."""
    ears = model.regions["ears"].numpy()
    adjacency = -edge_laplacian(model.faces, len(points))
    adjacency.setdiag(0)
    rows = adjacency[ears]
    degree = np.asarray(rows.sum(1))
    out = points.copy()
    for _ in range(rounds):
        out[ears] = rows @ out / degree
    return out


def _glasses(accessories: Accessories, mesh: HeadMesh, model: HeadModel) -> list[LitSurface]:
    landmarks = mesh.landmarks().double().numpy()
    eyes, nose = landmarks[list(_EYES)], landmarks[_NOSE]
    width, height = accessories.lens
    front = max(eyes[:, 2].max() + 0.012, nose[2] + 0.002)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    radius = (np.abs(c) ** accessories.roundness + np.abs(s) ** accessories.roundness) ** (-1 / accessories.roundness)
    parts, glass = [], []
    middle = eyes.mean(0)
    for side, eye in zip((-1, 1), eyes, strict=True):
        x = eye[0] + side * 0.002 + width * radius * c
        y = middle[1] - 0.002 + height * radius * s
        bend = front - 0.35 * np.clip(np.abs(x) - 0.03, 0, 1) ** 1.2 * 2
        ring = np.column_stack([x, y, bend])
        parts.append(_tube(ring, accessories.thickness, closed=True))
        if accessories.dark:
            centre = ring.mean(0, keepdims=True)
            fan = np.stack([np.full(40, 40), np.arange(40), np.roll(np.arange(40), -1)], -1)
            glass.append((np.concatenate([ring, centre]), fan))
        hinge = ring[np.argmax(side * ring[:, 0])] + [0, 0.006, -0.001]
        parts.append(_tube(_temple(hinge, side, mesh, model), accessories.thickness, closed=False))
    inner = np.array([eyes[0, 0] + 0.9 * width, eyes[1, 0] - 0.9 * width])
    arch = np.linspace(0, 1, 8)
    height_of = middle[1] + 0.003 + 0.004 * np.sin(np.pi * arch)
    bridge = np.column_stack([inner[0] + (inner[1] - inner[0]) * arch, height_of, np.full(8, front + 0.001)])
    parts.append(_tube(bridge, accessories.thickness, closed=False))
    assert accessories.frame is not None
    out = [plain_surface(*part, accessories.frame, 0.08, 60) for part in parts]
    return out + [plain_surface(*part, _SMOKE, 0.12, 120) for part in glass]


def _temple(hinge: Array, side: int, mesh: HeadMesh, model: HeadModel) -> Array:
    """From a hinge over the ear and a little down behind it."""
    ear = mesh.vertices[model.regions["ears"]].double().numpy()
    ear = ear[side * ear[:, 0] > 0]
    root = ear[np.argsort(ear[:, 1])[-30:]]  # its top
    over = np.array([side * (np.abs(root[:, 0]).min() + 0.003), root[:, 1].mean() - 0.002, root[:, 2].mean()])
    behind = over + np.array([0, -0.02, -0.022])
    out = np.array([side * max(abs(hinge[0]), abs(over[0])), hinge[1], hinge[2] - 0.012])
    return np.stack([hinge, out, out * 0.4 + over * 0.6 + [side * 0.002, 0.0, 0.0], over, behind])


def _tube(line: Array, radius: float, closed: bool, sides: int = 6) -> tuple[Array, Faces]:
    """Vertices and faces of a tube around a polyline [P, 3]."""
    ahead = np.roll(line, -1, 0) - np.roll(line, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = line[1] - line[0], line[-1] - line[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-12
    up = np.array([0.3, 0.9, 0.2])
    first = np.cross(ahead, up)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    second = np.cross(ahead, first)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rings = line[:, None] + radius * (np.cos(turn)[:, None] * first[:, None] + np.sin(turn)[:, None] * second[:, None])
    count = len(line)
    a = (np.arange(count if closed else count - 1)[:, None] * sides + np.arange(sides)).ravel()
    ring, k = a // sides, a % sides
    b = ring * sides + (k + 1) % sides
    c, d = ((ring + 1) % count) * sides + k, ((ring + 1) % count) * sides + (k + 1) % sides
    return rings.reshape(-1, 3), np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])


def _largest(vertices: Array, faces: Faces) -> tuple[Array, Faces]:
    """The largest connected part of a mesh."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(vertices), len(vertices)))
    _, label = connected_components(graph, directed=False)
    owner = label[faces[:, 0]]
    return compact(vertices, faces[owner == np.bincount(owner).argmax()])


def _rim(vertices: Array, faces: Faces) -> NDArray[np.int64]:
    """The lower open edge as vertices in the order of their azimuth, one every few degrees."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(unique[count == 1])
    turn = np.arctan2(vertices[border, 0], vertices[border, 2])
    sector = np.floor(turn / np.radians(6)).astype(int)
    chosen = [border[sector == k][np.argmin(vertices[border[sector == k], 1])] for k in np.unique(sector)]
    return np.array(chosen)


def _visor(rim: Array) -> tuple[Array, Faces]:
    """A brim over the front 130 degrees of a hat's edge."""
    turn = np.arctan2(rim[:, 0], rim[:, 2])
    edge = rim[np.abs(turn) < np.radians(65)]
    share = np.cos(np.arctan2(edge[:, 0], edge[:, 2]) / np.radians(65) * np.pi / 2) ** 0.7
    rows = [edge]
    for step in (0.35, 0.7, 1.0):
        way = np.broadcast_to([0.0, -0.018 * step**1.5, 0.068 * step], edge.shape).copy()
        way[:, 0] = 0.12 * edge[:, 0] * step
        rows.append(edge + way * share[:, None])
    columns = len(edge)
    a = (np.arange(3)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + columns, a + 1], -1), np.stack([a + 1, a + columns, a + columns + 1], -1)])
    return np.concatenate(rows), faces
