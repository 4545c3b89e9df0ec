"""Pairs of views -> the decoder that turns what was made into what looks true."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from gen3dface.errors import ConfigError
from gen3dface.evaluation.lpips import LPIPS
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.training.perceptual import distance_from

logger = logging.getLogger(__name__)

HELD_OUT = 96  # views, the first, that are only looked at
BATCH, CROP = 16, 64  # px
RATE, DECAY, WARMUP, COOLDOWN = 1e-3, 1e-4, 100, 0.5
AVERAGE = 0.995  # of the weights that are kept, a step
COLOUR, BROADLY, ADVERSARIAL = 0.5, 3.0, 0.05  # weights of the terms, beside 1 for the others
CLEAN = 0.15  # share of true pictures among the inputs: these shall come out as they are
BROAD = 6.0  # px: colours blurred that much are the denoiser's, not the decoder's
SHOWN = 0.02  # share of a crop that must be covered
REPORT = 200


@dataclass(frozen=True)
class Views:
    """Pictures of straight colour and coverage in -1..1, float16 [R, 4, S, S]."""

    made: Tensor
    true: Tensor

    @classmethod
    def of(cls, latents: tuple[Tensor, Tensor], vae: PixelAutoencoder) -> Views:
        """Raises ConfigError: the latents are not of straight colours and coverage."""
        if not vae.config["straight"]:
            raise ConfigError("The decoder is trained on straight colours; this autoencoder has none.")
        return cls(*(F.pixel_shuffle(z / vae.config["scaling_factor"], vae.config["factor"]) for z in latents))


def train(vae: PixelAutoencoder, latents: tuple[Tensor, Tensor], steps: int, output: Path, seed: int = 0) -> None:
    """Train the decoder of `vae` on made and true latents [R, C, h, w]; `output` gets it at each report."""
    torch.manual_seed(seed)
    views, decoder = Views.of(latents, vae), vae.decoder
    if decoder is None:
        raise ConfigError("The autoencoder has no decoder to be trained: set its decoder_widths.")
    decoder.requires_grad_(True).train().to(memory_format=torch.channels_last)
    loss, critic, seen = DecoderLoss(), Critic(), []
    average = torch.optim.swa_utils.AveragedModel(
        decoder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE)
    )
    learners = [
        torch.optim.AdamW(net.parameters(), RATE, betas=(0.5, 0.95), weight_decay=DECAY) for net in (decoder, critic)
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(learner, lambda step: _share(step, steps)) for learner in learners]
    for step in tqdm(range(steps), unit="step"):
        made, true = _crops(views)
        out = made + decoder(made.contiguous(memory_format=torch.channels_last))
        terms, pair = loss(out, made, true)
        _learn(learners[1], critic.loss(*(x.detach() for x in pair)))
        terms["adversarial"] = -ADVERSARIAL * critic(pair[0]).mean()
        _learn(learners[0], sum(terms.values(), start=made.new_zeros(())))
        average.update_parameters(decoder)
        for schedule in schedules:
            schedule.step()
        seen.append([float(term) for term in terms.values()])
        if (step + 1) % REPORT == 0 or step + 1 == steps:
            means = dict(zip(terms, np.mean(seen[-REPORT:], 0).round(4).tolist(), strict=True))
            logger.info("step %d: %s; kept out: %s", step + 1, means, measured(average.module, views, loss.distance))
            kept = copy.deepcopy(vae)
            kept.decoder = copy.deepcopy(average.module)
            kept.half().save_pretrained(output)


def _learn(learner: torch.optim.Optimizer, loss: Tensor) -> None:
    learner.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(learner.param_groups[0]["params"], 1.0)
    learner.step()


class Critic(nn.Module):
    """Whether patches look true (PatchGAN, Isola et al., 2017), its layers' gain bounded (Miyato et al., 2018).

    LPIPS takes a weave for the grain of hair; this does not.
    """

    def __init__(self) -> None:
        super().__init__()
        layers = [
            nn.Conv2d(3, 32, 4, 2, 1),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.Conv2d(64, 96, 3, 1, 1),
            nn.Conv2d(96, 1, 3, 1, 1),
        ]
        self.layers = nn.ModuleList(nn.utils.parametrizations.spectral_norm(layer) for layer in layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """[R, 3, S, S] in 0..1 -> [R, 1, S / 4, S / 4]."""
        x = 2 * pictures - 1
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        found: Tensor = self.layers[-1](x)
        return found

    def loss(self, made: Tensor, true: Tensor) -> Tensor:
        """The hinge loss."""
        return (F.relu(1 + self(made)).mean() + F.relu(1 - self(true)).mean()) / 2


class DecoderLoss(nn.Module):
    """Nearer to the true view in detail, as the denoiser said in broad colours."""

    def __init__(self) -> None:
        super().__init__()
        self.distance = LPIPS()

    def forward(self, out: Tensor, made: Tensor, true: Tensor) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """All [R, 4, S, S] in -1..1. The weighted terms, and what is and should be seen [R, 3, S, S] in 0..1."""
        wanted = with_colours_of(made, true)
        cover = wanted[:, 3:] / 2 + 0.5
        grounds = [torch.ones(len(out), 3, 1, 1), torch.rand(len(out), 3, 1, 1)]
        ground = grounds[int(torch.randint(2, ()))]
        seen = laid(out, ground), laid(wanted, ground)
        terms = {
            "colour": COLOUR * ((out - wanted)[:, :3] * cover).abs().mean(),
            "coverage": (out - wanted)[:, 3:].abs().mean() / 2,
            "broad": BROADLY * blurred((out - made)[:, :3] * cover).abs().mean(),
            "perceptual": self._perceptual(*seen),
        }
        return terms, seen

    def _perceptual(self, out: Tensor, wanted: Tensor) -> Tensor:
        """At the pictures' size or twice, from any start."""
        pictures = [out, wanted]
        if torch.rand(()) < 0.5:
            pictures = [F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False) for x in pictures]
        return distance_from(self.distance, *pictures, int(torch.randint(16, ())))


def with_colours_of(made: Tensor, true: Tensor) -> Tensor:
    """True pictures in the broad colours of what was made; the light on a head is the denoiser's to say."""
    colour = true[:, :3] + blurred(made[:, :3] - true[:, :3])
    return torch.cat([colour.clamp(-1, 1), true[:, 3:]], 1)


def blurred(x: Tensor) -> Tensor:
    """[R, C, H, W] by a Gaussian of `BROAD` px."""
    reach = int(2.5 * BROAD)
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) / BROAD) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), kernel.mT, groups=x.shape[1])


def laid(pictures: Tensor, ground: Tensor) -> Tensor:
    """Straight colour and coverage [R, 4, H, W] in -1..1 over a ground [R, 3, 1, 1] in 0..1 -> [R, 3, H, W] in 0..1."""
    cover = (pictures[:, 3:] / 2 + 0.5).clamp(0, 1)
    return cover * (pictures[:, :3] / 2 + 0.5) + (1 - cover) * ground


@torch.no_grad()
def measured(decoder: nn.Module, views: Views, distance: LPIPS) -> str:
    """LPIPS before and after, and how well true pictures come through, of the views that were kept out."""
    before, after, error = [], [], []
    white = torch.ones(1, 3, 1, 1)
    for made, true in zip(views.made[:HELD_OUT].split(16), views.true[:HELD_OUT].split(16), strict=True):
        made, true = made.float(), true.float()
        wanted = laid(with_colours_of(made, true), white)
        before.append(distance(laid(made, white), wanted))
        after.append(distance(laid(made + decoder(made), white), wanted))
        error.append((laid(true + decoder(true), white) - laid(true, white)).square().mean((1, 2, 3)))
    psnr = -10 * torch.log10(torch.cat(error).mean())
    return f"LPIPS {torch.cat(before).mean():.4f} -> {torch.cat(after).mean():.4f}, true pictures {psnr:.1f} dB"


def _crops(views: Views) -> tuple[Tensor, Tensor]:
    """Squares of made and true views [BATCH, 4, CROP, CROP] float32, some mirrored, some inputs true."""
    rows: list[tuple[Tensor, Tensor]] = []
    while len(rows) < BATCH:
        row = int(torch.randint(HELD_OUT, len(views.made), ()))
        top, left = torch.randint(0, views.made.shape[-1] - CROP + 1, (2,)).tolist()
        at = (row, slice(None), slice(top, top + CROP), slice(left, left + CROP))
        made, true = views.made[at].float(), views.true[at].float()
        if (true[3] / 2 + 0.5).mean() >= SHOWN:
            rows.append((true if torch.rand(()) < CLEAN else made, true))
    made, true = (torch.stack(part) for part in zip(*rows, strict=True))
    turned = torch.rand(BATCH) < 0.5
    for part in (made, true):
        part[turned] = part[turned].flip(-1)
    return made, true


def _share(step: int, steps: int) -> float:
    """Of the learning rate: a short rise, a plateau, a straight fall."""
    return min(1.0, (step + 1) / WARMUP, (1 - step / steps) / COOLDOWN)
