"""Planted faults are found, thresholds are applied, and nothing is scored twice."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.assets import fetch
from gen3dface.data_synth.prune.janus import PROMPTS, ClipJudge, DetectorJudge
from gen3dface.data_synth.prune.report import histogram
from gen3dface.data_synth.prune.scoring import Scorer, Scores, mean_pairwise_cosine, score_folder, scores_path
from gen3dface.data_synth.prune.selection import Thresholds, select
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.data_synth.shards import write_shard
from gen3dface.errors import AssetError, CheckpointError, DataError


@pytest.fixture(scope="module")
def people(skins: tuple[Skin, ...]) -> list[TrainingSample]:
    try:
        fetch("sface")
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
    return [make_sample(seed, "head360", 96, skins, 30.0) for seed in (21, 22, 23)]


def with_a_second_face(sample: TrainingSample) -> TrainingSample:
    """The front view where the back should be."""
    views = sample.views.clone()
    views[8] = views[0]
    return replace(sample, key=f"{sample.key}-janus", views=views)


def with_another_s_views(sample: TrainingSample, other: TrainingSample) -> TrainingSample:
    """Every other view of somebody else."""
    views = sample.views.clone()
    views[1::2] = other.views[1::2]
    return replace(sample, key=f"{sample.key}-mixed", views=views)


def test_planted_faults_are_found(people: list[TrainingSample], tmp_path: Path) -> None:
    first, second, third = people
    made = [*people, with_a_second_face(first), with_another_s_views(second, third)]
    write_shard(tmp_path, 0, made[:2])
    write_shard(tmp_path, 1, made[2:])
    arguments = ["synth", "prune", str(tmp_path), "--most-janus", "0.8", "--least-identity", "0.62"]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "3 of 5 identities kept" in result.output, result.output
    kept = ShardSet(tmp_path, tmp_path / "kept.json")
    assert sorted(kept.keys) == sorted(p.key for p in people) and kept.sizes == [2, 1]
    assert torch.equal(kept[2].views, third.views)
    whole = ShardSet(tmp_path)
    assert len(whole) == 5 and whole.data_hash != kept.data_hash
    dropped = json.loads((tmp_path / "kept.json").read_text())["dropped"]
    assert dropped[made[3].key].startswith("janus") and dropped[made[4].key].startswith("identity")
    page = (tmp_path / "pruning.html").read_text()
    assert "3 of 5 identities are kept" in page and page.count("<svg") == 2 and page.count("data:image/jpeg") == 4

    # other thresholds read no picture again, and damaged scores are made again
    scores_path(tmp_path / "shard-000001.tar").write_bytes(b"{")
    hostile = json.loads(scores_path(tmp_path / "shard-000000.tar").read_text())
    hostile["scores"][first.key]["faces"] = "<script>"
    scores_path(tmp_path / "shard-000000.tar").write_text(json.dumps(hostile))
    assert "<script>" not in str(score_folder(tmp_path, Scorer(DetectorJudge()), progress=False))
    marker = json.loads(scores_path(tmp_path / "shard-000000.tar").read_text())
    marker["scores"][first.key]["identity"] = 2.0
    scores_path(tmp_path / "shard-000000.tar").write_text(json.dumps(marker))
    arguments = ["synth", "prune", str(tmp_path), "--most-janus", "1", "--top", "2"]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert "2 of 5 identities kept" in result.output
    assert first.key in ShardSet(tmp_path, tmp_path / "kept.json").keys


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [float(vectors[i] @ vectors[j]) for i in range(5) for j in range(i)]
    assert mean_pairwise_cosine(vectors) == pytest.approx(np.mean(pairs))
    assert math.isnan(mean_pairwise_cosine(vectors[:1])) and math.isnan(mean_pairwise_cosine(np.array([])))


def test_thresholds() -> None:
    scores = {
        "good": Scores(0.1, 0.8, 9),
        "better": Scores(0.2, 0.9, 9),
        "janus": Scores(0.9, 0.95, 9),
        "blurred": Scores(0.1, float("nan"), 1),
        "mixed": Scores(0.1, 0.3, 9),
        "unseen": Scores(float("nan"), 0.9, 9),
    }
    both = select(scores, Thresholds(most_janus=0.5, least_identity=0.5))
    assert both.kept == ["better", "good"] and set(both.dropped) == {"janus", "blurred", "mixed", "unseen"}
    best = select(scores, Thresholds(most_janus=0.5, top=1))
    assert best.kept == ["better"] and "best 1" in best.dropped["good"]
    with pytest.raises(ValueError, match="least_identity, top"):
        Thresholds(most_janus=0.5)


def test_scorers_do_not_mix(people: list[TrainingSample], tmp_path: Path) -> None:
    """Another judge scores anew what the first one has scored; the same one reads its scores again."""
    asked: list[str] = []

    class Fixed:
        def __init__(self, name: str, answer: float) -> None:
            self.name, self.answer = name, answer

        def __call__(self, pictures: torch.Tensor) -> np.ndarray:
            asked.append(self.name)
            return np.full(len(pictures), self.answer)

    write_shard(tmp_path, 0, people[:1])
    found = [
        score_folder(tmp_path, Scorer(Fixed(name, answer)), progress=False)[people[0].key].janus
        for name, answer in (("one", 0.1), ("other", 0.7), ("other", 0.9))
    ]
    assert found == [0.1, 0.7, 0.7] and asked == ["one", "other"]


def small_clip(folder: Path) -> tuple[CLIPModel, CLIPImageProcessor, CLIPTokenizer]:
    """Of random weights, saved in `folder / "clip"`."""
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"{c}</w>" for c in map(chr, range(97, 123))),
    ]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokens = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**shape, "vocab_size": len(words), "max_position_embeddings": 40, "eos_token_id": 1, "bos_token_id": 0}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**shape, "image_size": 32, "patch_size": 16}, projection_dim=8)
    ).eval()
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model.save_pretrained(folder / "clip")
    CLIPProcessor(images, tokens).save_pretrained(folder / "clip")
    return model, images, tokens


def test_clip_is_asked_with_the_paper_s_prompts(tmp_path: Path) -> None:
    """The share is that of the definition: exp(s cos) over both prompts, of unit embeddings."""
    model, images, tokens = small_clip(tmp_path)
    pictures = (torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 255).to(torch.uint8)
    found = ClipJudge(tmp_path / "clip")(pictures)
    with torch.no_grad():
        vision = model.vision_model(images(list(pictures), return_tensors="pt")["pixel_values"]).pooler_output
        language = model.text_model(**tokens(list(PROMPTS), return_tensors="pt", padding=True)).pooler_output
        seen, said = model.visual_projection(vision), model.text_projection(language)
        seen, said = seen / seen.norm(dim=1, keepdim=True), said / said.norm(dim=1, keepdim=True)
        weight = (model.logit_scale.exp() * seen @ said.T).exp()
    np.testing.assert_allclose(found, (weight[:, 1] / weight.sum(1)).numpy(), atol=1e-5)
    assert PROMPTS == ("back of human head", "human front face")


def test_what_is_no_whole_clip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are not in the file would be random numbers, and the scores too."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    small_clip(tmp_path)
    folder = tmp_path / "clip"
    weights, config = load_file(folder / "model.safetensors"), (folder / "config.json").read_bytes()

    def refused(message: str, place: str | Path = folder) -> None:
        with pytest.raises(CheckpointError, match=message):
            ClipJudge(place)

    without = {name: values for name, values in weights.items() if name != "text_projection.weight"}
    for kept, message in (
        (without, r"1 of CLIP's weights are missing: text_projection\.weight"),
        ({"unrelated": torch.zeros(1)}, "weights are missing"),
        ({name: values[:1] for name, values in weights.items() if values.ndim == 2}, "no CLIP model"),
    ):
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        refused(message)
    (folder / "model.safetensors").write_bytes(b"x" * 50)
    refused("no CLIP model")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for damaged in (b"[1]", b'{"model_type": "clip", "text_config": 5}', b"{"):
        (folder / "config.json").write_bytes(damaged)
        refused("no CLIP model")
    (folder / "config.json").write_bytes(config)
    assert ClipJudge(folder).name.startswith("clip ")
    for place in ("", "openai/clip-vit-base-patch32", tmp_path / "nothing", tmp_path, folder / "model.safetensors"):
        refused(r"no folder with \*\.safetensors", place)


def test_a_list_that_fits_nothing_is_named(tmp_path: Path, people: list[TrainingSample]) -> None:
    write_shard(tmp_path, 0, people[:1])
    (tmp_path / "kept.json").write_text('{"kept": ["other"]}')
    with pytest.raises(DataError, match="None of the identities"):
        ShardSet(tmp_path, tmp_path / "kept.json")
    (tmp_path / "kept.json").write_text("[]")
    with pytest.raises(DataError, match="lists no identities"):
        ShardSet(tmp_path, tmp_path / "kept.json")


def test_the_histogram_shows_its_threshold() -> None:
    """Between 0 and 1 the line stands at its share of the width."""
    drawn = histogram([0.2, 0.2, 0.9], 0.25)
    assert "x1='140.0'" in drawn and drawn.count("height='140.0'") == 1  # of 560 px; the fuller bar is the tallest
    assert histogram([], 0.5) == "<p>no scores</p>"
    assert ">-0.200<" in histogram([-0.2, 0.4], None)
