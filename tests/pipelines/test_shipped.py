"""The model that comes with the package: small, documented, read by its name, and better than no model."""

from pathlib import Path

import pytest
import torch

from gen3dface.cameras import rig
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.estimators import estimate
from gen3dface.evaluation.lpips import LPIPS
from gen3dface.evaluation.view_scores import mask_iou
from gen3dface.examples import example_photo
from gen3dface.outputs.stages import is_engine
from gen3dface.photo import load_portrait
from gen3dface.pipelines import Gen3DFacePipeline, MultiViewOutput, codec, project_views
from gen3dface.pipelines.conditions import module_dtype
from gen3dface.pipelines.shipped import SHIPPED, resolved, shipped_folder
from gen3dface.pipelines.subjects import load_subjects
from tests.data_synth.people_fixtures import plain_skins
from tests.pipelines.needs import need_assets

LIMIT = 60_000_000  # bytes


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_says_where_it_comes_from(name: str) -> None:
    folder = shipped_folder(name)
    assert folder is not None
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md", ".py"}
    assert [path.name for path in files if path.suffix == ".py"] == ["pipeline.py"]
    card = (folder / "README.md").read_text()
    for wanted in ("license:", "Data", "Licences", "Steps", "What goes wrong", "gen3dface eval"):
        assert wanted in card


def test_reading_it_warns_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Gen3DFacePipeline.from_pretrained("mini")
    lines = capfd.readouterr().err.replace("\r", "\n").splitlines()
    assert not [line for line in lines if line.strip() and not line.startswith("Loading pipeline components")]


def test_its_name_is_an_engine_and_a_folder_of_one_s_own_is_not_hidden(tmp_path: Path) -> None:
    assert is_engine("mini")
    assert resolved("./mini") == "./mini"
    assert resolved(tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["astronaut", "openpeople_08", "openpeople_10"])
def test_its_autoencoder_keeps_real_portraits(name: str) -> None:
    """30 dB at least on photos that it never saw, and it is a trained one: what comes out is not just what went in."""
    need_assets()
    portrait = load_portrait(example_photo(name))
    crop = load_subjects(portrait, estimate(portrait), None, 128, 0.4)[0].crop
    vae = Gen3DFacePipeline.from_pretrained("mini").vae
    with torch.no_grad():
        image, alpha = codec.decode(vae, codec.encode(vae, crop.image[None], crop.alpha[None]))
    assert alpha is not None
    error = torch.cat([image - crop.image, alpha - crop.alpha], 1).square().mean()
    assert 0 < error < 1e-3


def test_it_comes_nearer_to_a_head_it_never_saw_than_the_projection() -> None:
    """A rendered person whose seed no training run takes: nearer in outline and in looks, all around."""
    sample = make_sample(910_000_000, rig("head360", 128)[::2], skins=plain_skins())
    pipe = Gen3DFacePipeline.from_pretrained("mini")
    assert module_dtype(pipe.unet) == torch.float32
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        sample.portrait,
        sample.head,
        sample.cameras,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    )
    assert isinstance(made, MultiViewOutput)
    truth = sample.views.float() / 255
    projected, lpips = project_views(sample.portrait, sample.head, sample.cameras), LPIPS()
    with torch.no_grad():
        apart = [lpips(views.tensor(), truth[:, :3]).mean() for views in (made, projected)]
    outlines = [mask_iou(views.masks, truth[:, 3:]).mean() for views in (made, projected)]
    assert apart[0] < apart[1] and outlines[0] > outlines[1]
