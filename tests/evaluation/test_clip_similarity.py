"""CLIP similarity against transformers' own image features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from gen3dface.errors import CheckpointError
from gen3dface.evaluation.clip_similarity import ClipSimilarity

SHAPE = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights."""
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = {**SHAPE, "vocab_size": 40, "max_position_embeddings": 8}
    vision = {**SHAPE, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(path)
    return path


def test_they_are_of_transformers_own_features(folder: Path) -> None:
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 256, (40, 32 + 2 * i, 3), dtype=np.uint8) for i in range(20)]
    judge = ClipSimilarity(folder)
    with torch.no_grad():
        given = CLIPImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
        features = CLIPModel.from_pretrained(folder).eval().get_image_features(**given)
    features = getattr(features, "pooler_output", features)  # transformers 5 wraps it
    expected = torch.nn.functional.normalize(features, dim=1).numpy()
    assert np.abs(judge.embed(pictures) - expected).max() < 1e-5
    cosines = [float(expected[0] @ other) for other in expected[1:]]
    assert judge(pictures[0], pictures[1:]) == pytest.approx(cosines, abs=1e-5)
    assert judge(pictures[3], pictures[3:4]) == pytest.approx(1)
    assert judge(pictures[0], []).shape == (0,) and judge.embed([]).shape == (0, 8)


def test_its_name_tells_its_weights(folder: Path, tmp_path: Path) -> None:
    model = CLIPModel.from_pretrained(folder)
    model.visual_projection.weight.data += 1
    model.save_pretrained(tmp_path)
    CLIPImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    assert ClipSimilarity(folder).name == ClipSimilarity(folder).name != ClipSimilarity(tmp_path).name
    with pytest.raises(CheckpointError, match="no CLIP"):
        ClipSimilarity(tmp_path / "nothing")
