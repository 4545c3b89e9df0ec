"""From clean latents to finished views, with the model that comes along."""

import torch

from gen3dface.cameras import rig
from gen3dface.pipelines import Gen3DFacePipeline
from gen3dface.pipelines.codec import decode, encode
from gen3dface.pipelines.decoding import decode_views
from gen3dface.pipelines.preview import preview
from gen3dface.render import show_values
from tests.pipelines.needs import example_subject


def test_finished_views_have_the_photo_s_face_and_skin() -> None:
    """Latents of views whose colours are off by a third: faces come back into the photo's, scalps behind do not."""
    subject, views = example_subject("obama", 128), rig("head360", 128)[::2]
    pipe = Gen3DFacePipeline.from_pretrained("mini")
    shown = preview(subject, views)
    darker = torch.lerp(torch.ones(()), 0.67 * shown.colour, shown.coverage)
    with torch.no_grad():
        latents = encode(pipe.vae, darker, shown.coverage)
        plain = decode(pipe.vae, latents)[0]
        made = decode_views(pipe, latents[None], [subject], views, "pt")[0].tensor()
    values = torch.zeros(len(subject.surface.vertices), 2)
    for column, name in enumerate(("face", "scalp")):
        values[: len(subject.vertices), column] = subject.model.regions[name].float()
    face, scalp = (show_values(subject.surface, values, views) > 0.99).split(1, 1)
    before, after = ((pictures - shown.colour).abs().mean(1, keepdim=True) for pictures in (plain, made))
    assert face.sum() > 4000 and after[face].mean() < 0.3 * before[face].mean()
    assert scalp.sum() > 4000 and after[scalp].mean() > 0.7 * before[scalp].mean()
