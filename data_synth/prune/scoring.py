"""Scores of identities: is there a face on the back, and is it one person from all sides?"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor
from tqdm.auto import tqdm

from gen3dface.data_synth.prune.janus import ClipJudge, DetectorJudge, FrontJudge
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shards import Manifest, read_entry, read_manifest
from gen3dface.errors import DataError, NoFaceError
from gen3dface.evaluation.identity import IdentityEmbedder
from gen3dface.files import write_atomically

logger = logging.getLogger(__name__)

DETECTOR = "detector"
BEHIND, BESIDE = 150.0, 60.0  # degrees from the front: from which a view shows the back, up to which it shows the face
_SIDE = 256  # px that small views are enlarged to, so that detectors may find faces in them


@dataclass(frozen=True)
class Scores:
    """Of one identity.

    Args:
        janus: how likely the worst view from behind shows a face, 0..1; NaN without such views.
        identity: mean cosine of SFace's embeddings over all pairs of views within 60 degrees of the front that show a
            face; NaN with fewer than two. faces: how many these were.
    """

    janus: float
    identity: float
    faces: int


class Scorer:
    """Scores samples; the networks are read once."""

    def __init__(self, judge: FrontJudge) -> None:
        self._judge, self._embed = judge, IdentityEmbedder()
        self.name = f"{judge.name} from {BEHIND:.0f}; sface up to {BESIDE:.0f}"

    def __call__(self, sample: TrainingSample) -> Scores:
        """The scores of one identity."""
        turned = ((sample.cameras.azimuths + 180) % 360 - 180).abs()
        views = _enlarged(sample.views[:, :3])
        behind = views[turned >= BEHIND]
        janus = float(self._judge(behind).max()) if len(behind) else float("nan")
        found = []
        for view in views[turned <= BESIDE].permute(0, 2, 3, 1).contiguous().numpy():
            try:
                found.append(self._embed(view))
            except NoFaceError:
                continue
        return Scores(janus, mean_pairwise_cosine(np.array(found)), len(found))


def open_scorer(judge: str) -> Scorer:
    """A scorer with the judge of fronts that is asked for: `detector`, or a folder with CLIP.

    Raises:
        CheckpointError: the folder holds no CLIP.
    """
    return Scorer(DetectorJudge() if judge == DETECTOR else ClipJudge(judge))


def mean_pairwise_cosine(embeddings: np.ndarray) -> float:
    """Over all pairs of N unit vectors [N, D]; NaN for fewer than two."""
    count = len(embeddings)
    if count < 2:
        return float("nan")
    return float((np.square(embeddings.sum(0)).sum() - count) / (count * (count - 1)))


def score_folder(folder: Path, scorer: Scorer, progress: bool = True) -> dict[str, Scores]:
    """Scores of all identities of a folder's shards, by key. What was scored before is not scored again.

    Each shard's scores lie beside it (`*.scores.json`), bound to the shard's hash and the scorer.

    Raises:
        DataError: there are no shards, or one is damaged.
        OutputError: the folder cannot be written.
    """
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise DataError(f"There are no shards (*.tar) in {folder}.")
    found: dict[str, Scores] = {}
    for shard in tqdm(shards, desc="scoring", unit="shard", disable=not progress):
        found |= score_shard(shard, scorer)
    return found


def score_shard(shard: Path, scorer: Scorer) -> dict[str, Scores]:
    """Scores of one shard's identities, by key; see `score_folder`."""
    manifest = read_manifest(shard)
    scores = _kept(shard, manifest, scorer.name)
    if scores is None:
        scores = {entry.key: scorer(read_entry(shard, entry)) for entry in manifest.samples}
        note = {"shard": manifest.sha256, "scorer": scorer.name, "scores": {k: asdict(s) for k, s in scores.items()}}
        write_atomically(scores_path(shard), json.dumps(note, indent=1, sort_keys=True).encode())
    return scores


def is_scored(shard: Path, scorer: str) -> bool:
    """Whether a shard has whole scores by the scorer of that name. Raises `DataError` when its manifest is damaged."""
    return _kept(shard, read_manifest(shard), scorer) is not None


def scores_path(shard: Path) -> Path:
    """Beside the shard."""
    return shard.with_suffix(".scores.json")


def samples_of(folder: Path, keys: list[str]) -> Iterator[TrainingSample]:
    """Some identities of a folder, in the order of the keys."""
    places = {e.key: (s, e) for s in sorted(folder.glob("*.tar")) for e in read_manifest(s).samples}
    for key in keys:
        yield read_entry(*places[key])


def _kept(shard: Path, manifest: Manifest, scorer: str) -> dict[str, Scores] | None:
    path = scores_path(shard)
    try:
        note = json.loads(path.read_bytes())
        scores = TypeAdapter(dict[str, Scores]).validate_python(note["scores"])
        if (note["shard"], note["scorer"]) == (manifest.sha256, scorer) and set(scores) == {
            entry.key for entry in manifest.samples
        }:
            return scores
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("%s is damaged (%r); its shard is scored again", path, error)
    return None


def _enlarged(views: Tensor) -> Tensor:
    """uint8 [N, 3, S, S], S at least 256."""
    side = max(_SIDE, views.shape[-1])
    if side == views.shape[-1]:
        return views
    large = F.interpolate(views.float(), (side, side), mode="bicubic", align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)
