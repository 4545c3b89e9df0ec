"""One person's skin: patches of several sources brought to one tone, with the marks of sun, age and make-up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.portrait_skin import landmark_texels, polygon, sheet, skin_grain
from gen3dface.data_synth.rendered.people.skin_library import SIZE, Skin
from gen3dface.data_synth.rendered.people.traits import Traits
from gen3dface.heads import load_head_model
from gen3dface.photo.colour import srgb_to_linear

Texture = NDArray[np.float32]  # [SIZE, SIZE, 3] linear

# sRGB of cheeks in even light, from pale to very dark
_TONES = np.array(
    [[240, 208, 188], [229, 188, 160], [213, 165, 132], [190, 137, 102], [160, 107, 75], [124, 80, 56], [88, 57, 42],
     [62, 41, 33]], np.float32,
)  # fmt: skip
_UNDERTONE = 0.04  # relative
_BRIGHTER = 0.2  # log: brighter than typical skin by more is a portrait's highlight
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_CHEEKS = ((50, 101, 118, 117, 123, 147, 187, 205), (280, 330, 347, 346, 352, 376, 411, 425))
_BEARD = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 291, 270, 164, 40, 61)
_UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
_LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
_SHADOW = (
    (130, 247, 30, 29, 27, 28, 56, 190, 133, 157, 159, 161),
    (359, 467, 260, 259, 257, 258, 286, 414, 362, 384, 386, 388),
)
_UNDER_EYES = ((31, 228, 229, 230, 231, 232, 233, 145, 153), (261, 448, 449, 450, 451, 452, 453, 374, 380))
# patches that may come from another source each; what they leave is the base's
_PATCHES = {
    "eyes": (70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 353, 449, 6, 229, 124),
    "nose": (193, 417, 420, 279, 327, 2, 98, 49, 198),
    "mouth": (216, 206, 167, 393, 426, 436, 432, 422, 200, 202, 212),
}


@dataclass(frozen=True)
class Canvas:
    """Masks of the texture, [SIZE, SIZE] in 0..1 each."""

    patches: dict[str, NDArray[np.float32]]
    lips: NDArray[np.float32]
    cheeks: NDArray[np.float32]
    beard: NDArray[np.float32]
    lid_line: NDArray[np.float32]
    lid_shadow: NDArray[np.float32]
    under_eyes: NDArray[np.float32]
    face: NDArray[np.float32]
    scalp: NDArray[np.float32]
    grain: NDArray[np.float32]


@cache
def canvas() -> Canvas:
    """The masks of OpenHead's texture."""
    model = load_head_model()
    at = landmark_texels(model, SIZE)

    def areas(outlines: tuple[tuple[int, ...], ...], soft: float) -> NDArray[np.float32]:
        return np.maximum.reduce([polygon(at, outline, SIZE, soft) for outline in outlines])

    def lines(outlines: tuple[tuple[int, ...], ...], width: int, soft: float) -> NDArray[np.float32]:
        mask = np.zeros((SIZE, SIZE), np.float32)
        for outline in outlines:
            cv2.polylines(mask, [np.round(at[list(outline)]).astype(np.int32)], False, 1.0, width, cv2.LINE_AA)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)

    lips = np.zeros((SIZE, SIZE), np.float32)
    cv2.fillPoly(lips, [np.round(at[list(_LIPS)]).astype(np.int32)], 1.0, cv2.LINE_AA)
    layout = sheet(model, SIZE)
    scalp, face = np.zeros((2, SIZE, SIZE), np.float32)
    scalp[layout.texels.mask.numpy()] = 1 - layout.below_hairline.numpy()
    face[layout.texels.mask.numpy()] = (layout.outer * layout.below_hairline * (layout.rest[:, 2] > 0.03)).numpy()
    return Canvas(
        {name: polygon(at, outline, SIZE, 6) for name, outline in _PATCHES.items()},
        np.asarray(cv2.GaussianBlur(lips, (0, 0), 0.9), np.float32),
        np.asarray(cv2.GaussianBlur(areas(_CHEEKS, 8), (0, 0), 6), np.float32),
        polygon(at, _BEARD, SIZE, 8) * (1 - lips),
        lines(_UPPER_LIDS, 2, 0.7),
        areas(_SHADOW, 3),
        np.asarray(cv2.GaussianBlur(areas(_UNDER_EYES, 3), (0, 0), 3), np.float32),
        np.asarray(cv2.GaussianBlur(face, (0, 0), 3), np.float32),
        np.asarray(cv2.GaussianBlur(scalp, (0, 0), 3), np.float32),
        skin_grain(SIZE, np.random.default_rng(1)),
    )  # fmt: skip


def skin_tone(melanin: float, generator: np.random.Generator) -> NDArray[np.float32]:
    """[3] linear albedo of a cheek."""
    place = melanin * (len(_TONES) - 1)
    tone = np.array([np.interp(place, np.arange(len(_TONES)), _TONES[:, c]) for c in range(3)]) / 255
    linear = srgb_to_linear(tone) * np.exp(generator.normal(0, 0.04))
    redness, yellowness = generator.normal(0, _UNDERTONE, 2)
    return np.asarray(linear * np.exp([redness, 0.3 * yellowness, -yellowness]), np.float32)


def choose_skins(skins: tuple[Skin, ...], traits: Traits, generator: np.random.Generator) -> dict[str, Skin]:
    """A base and a source for each patch, of like sex, age and tone more often than not."""
    portrait = np.array([skin.source.name.startswith("openpeople") for skin in skins])
    source = [skin.source for skin in skins]
    sex = np.array([abs(s.male - traits.male) for s in source])
    age = np.array([abs(s.years - traits.years) / 25 for s in source])
    dark = np.array([abs(np.log(s.typical.mean()) + 1.0 + 2.2 * traits.melanin) for s in skins])
    like = np.exp(-4.5 * sex - 0.7 * age - 0.5 * dark) * np.where(portrait, 4.0, 1.0)
    whole = np.array([not s.bearded for s in source])
    chosen = {"base": skins[_draw(like * whole, generator)]}
    for name in _PATCHES:
        fits = like * (whole | (name == "eyes"))
        chosen[name] = skins[_draw(fits, generator)] if generator.random() < 0.6 else chosen["base"]
    return chosen


def _draw(weights: NDArray[np.floating], generator: np.random.Generator) -> int:
    return int(generator.choice(len(weights), p=weights / weights.sum()))


def paint_skin(
    chosen: dict[str, Skin], traits: Traits, tone: NDArray[np.float32], generator: np.random.Generator
) -> Texture:
    """Linear albedo of a person. tone: [3] of the cheeks."""
    masks = canvas()
    out = _detail(chosen["base"])
    for name, mask in masks.patches.items():
        if chosen[name] is not chosen["base"]:
            out += mask[..., None] * (_detail(chosen[name]) - out)
    out *= _contrast(chosen, tone, generator)
    out += _blotches(traits, generator)
    out += _age_marks(traits, masks, generator)
    out = np.exp(out, out=out) * tone
    _make_up(out, traits, masks, generator)
    shaven = masks.beard * np.clip(0.8 + 0.35 * masks.grain, 0, 1.5)
    _mix(out, shaven, 0.3 * tone, traits.male**2 * generator.uniform(0, 0.22))
    return np.clip(out, 0, 1, out=out)


def _detail(skin: Skin) -> Texture:
    """Log of a skin over its typical colour."""
    return np.asarray(_log_of(skin.source.name, skin), np.float32).copy()


_LOGS: dict[str, NDArray[np.float16]] = {}  # 1.5 MB a skin


def _log_of(name: str, skin: Skin) -> NDArray[np.float16]:
    if name not in _LOGS:
        detail = np.log(np.clip(skin.linear(), 0.003, 1) / skin.typical)
        even = np.where(detail > 0, _BRIGHTER * np.tanh(detail / _BRIGHTER), detail)
        _LOGS[name] = even.astype(np.float16)
    return _LOGS[name]


def _contrast(chosen: dict[str, Skin], tone: NDArray[np.float32], generator: np.random.Generator) -> float:
    """Dark skin shows less of its details than pale skin does: the same pigment adds less."""
    step = np.log(tone.mean() / chosen["base"].typical.mean())
    return float(np.clip(np.exp(0.15 * step), 0.75, 1.2) * generator.uniform(0.85, 1.05))


def _noise(cells: int, generator: np.random.Generator, channels: int = 1) -> NDArray[np.float32]:
    """[SIZE, SIZE, channels] smooth noise, mirrored about the middle in part, as faces are."""
    drawn = generator.standard_normal((cells, cells, channels), np.float32)
    field = cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    field = field.reshape(SIZE, SIZE, channels)
    return np.asarray(0.6 * field + 0.6 * field[:, ::-1], np.float32)


def _blotches(traits: Traits, generator: np.random.Generator) -> Texture:
    out = sum(_noise(cells, generator, 3) * generator.uniform(0.004, 0.02) for cells in (5, 14, 40))
    red = _noise(9, generator) * generator.uniform(0, 0.025 + 0.03 * traits.age)
    return np.asarray(out + red * np.array([0.4, -1.0, -0.7], np.float32), np.float32)


def _age_marks(traits: Traits, masks: Canvas, generator: np.random.Generator) -> Texture:
    """Freckles on pale skin, spots with age, rings under the eyes, coarser grain."""
    brown = np.array([-0.5, -0.9, -1.1], np.float32)
    marks = np.zeros((SIZE, SIZE), np.float32)
    if traits.melanin < 0.45 and generator.random() < 0.22:
        marks += _dots(int(generator.integers(80, 500)), (0.6, 1.4), generator) * generator.uniform(0.15, 0.5)
    marks += _dots(int(generator.poisson(4 + 25 * traits.age**2)), (0.9, 2.6), generator) * generator.uniform(0.2, 0.6)
    marks *= masks.face
    rings = masks.under_eyes * generator.uniform(0, 0.12 + 0.12 * traits.age)
    grain = masks.grain * generator.uniform(0.01, 0.03 + 0.03 * traits.age)
    plain = (grain + _wrinkles(traits, generator))[..., None]
    return marks[..., None] * brown + rings[..., None] * np.array([-0.7, -1.0, -0.8], np.float32) + plain


def _dots(count: int, radii: tuple[float, float], generator: np.random.Generator) -> NDArray[np.float32]:
    mask = np.zeros((SIZE, SIZE), np.float32)
    low, high = SIZE * 0.2, SIZE * 0.8
    for x, y in generator.uniform((low, 0.1 * SIZE), (high, 0.68 * SIZE), (count, 2)):
        radius = generator.uniform(*radii)
        cv2.circle(mask, (int(16 * x), int(16 * y)), int(16 * radius), generator.uniform(0.4, 1.0), -1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8), np.float32)


# beside nose and mouth, beside the eyes, across the forehead, between the brows, under the mouth's corners
_FURROWS = (
    (49, 206, 216, 212), (279, 426, 436, 432), (33, 130, 226, 113), (263, 359, 446, 342),
    (54, 103, 67, 109, 10, 338, 297, 332, 284), (68, 104, 69, 108, 151, 337, 299, 333, 298), (55, 9), (285, 9),
    (202, 210), (422, 430),
)  # fmt: skip


def _wrinkles(traits: Traits, generator: np.random.Generator) -> NDArray[np.float32]:
    """Fine dark lines where faces fold: beside nose and eyes, across the forehead, between the brows."""
    depth = max(traits.age - 0.3, 0.0) * generator.uniform(0.15, 0.5)
    if depth < 0.02:
        return np.zeros((SIZE, SIZE), np.float32)
    at = landmark_texels(load_head_model(), SIZE)
    mask = np.zeros((SIZE, SIZE), np.float32)
    for outline in _FURROWS:
        line = at[list(outline)] + generator.normal(0, 1.2, (len(outline), 2))
        cv2.polylines(mask, [np.round(line * 16).astype(np.int32)], False, generator.uniform(0.4, 1), 1, cv2.LINE_AA, 4)
    soft, broad = (cv2.GaussianBlur(mask, (0, 0), s) for s in (0.9, 3.0))
    return np.asarray(-depth * (soft - 0.4 * broad), np.float32)


def _mix(out: Texture, mask: NDArray[np.float32], colour: NDArray[np.floating], share: float) -> None:
    """Paint a linear colour over the texture in place."""
    out += (share * mask)[..., None] * (np.asarray(colour, np.float32) - out)


def _make_up(out: Texture, traits: Traits, masks: Canvas, generator: np.random.Generator) -> None:
    wears = generator.random() < 0.6 * (1 - traits.male) ** 2
    lips = np.median(out[masks.lips > 0.9], 0)
    if wears:
        reds = np.array(
            [[0.45, 0.05, 0.07], [0.55, 0.13, 0.16], [0.3, 0.06, 0.1], [0.42, 0.16, 0.12], [0.5, 0.2, 0.22]]
        )
        stick = reds[generator.integers(len(reds))] * np.clip(lips.mean() / 0.22, 0.5, 1.2)
        _mix(out, masks.lips, stick, generator.uniform(0.1, 0.75))
        shade = np.exp(generator.normal(-1.4, 0.5)) * np.exp(generator.normal(0, 0.25, 3)) * out.mean()
        _mix(out, masks.lid_shadow, shade, generator.uniform(0, 0.5))
        _mix(out, masks.lid_line, np.full(3, 0.01), generator.uniform(0.1, 0.9))
        out *= 1 + masks.cheeks[..., None] * generator.uniform(0, 0.3) * np.array([0.2, -0.6, -0.4], np.float32)
    else:
        _mix(out, masks.lips, lips * np.exp(generator.normal(0, [0.06, 0.15, 0.12])), generator.uniform(0, 0.7))
        _mix(out, masks.lid_line, np.full(3, 0.02), generator.uniform(0, 0.35))
