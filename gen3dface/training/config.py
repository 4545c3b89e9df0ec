"""The settings of a training run, read from YAML and validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gen3dface.config_files import Section, read_config, validated

Share = Annotated[float, Field(ge=0, le=1)]


class SourceConfig(Section):
    """One source of samples.

    Args:
        kind: `shards` (written by `gen3dface.data_synth`) or `facescape` (the user's own copy).
        path: its folder. weight: its share of the draws, relative to the other sources' weights.
        kept: the `kept.json` of `gen3dface synth prune`, where not all of the shards' identities are wanted.
        fold: of FaceScape's protocol: its 323 training identities or the 36 held out.
    """

    path: str
    kind: Literal["shards", "facescape"] = "shards"
    weight: Annotated[float, Field(gt=0)] = 1.0
    kept: str | None = None
    fold: Literal["train", "test"] = "train"


class DataConfig(Section):
    """What is trained on.

    Args:
        sources: mixed by weight. cache: folder for what is computed once a head (`prepared`); null computes it anew
            each time, in the loader's processes.
        views: how many of a head's views a step sees, drawn anew each time; null: all of them.
        photo_view: how often one of them is the photo itself, to be rebuilt from its own condition (FaceLift).
        workers: loader processes of each training process. window: shards that are shuffled together.
    """

    sources: list[SourceConfig] = Field(min_length=1)
    cache: str | None = None
    views: Annotated[int | None, Field(ge=1)] = None
    photo_view: Share = 0.0
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    window: Annotated[int, Field(ge=1)] = 8


class DropoutConfig(Section):
    """How often conditions are left out, for guidance: SyncDreamer's four kinds; the paper does not state its rates.

    `all` leaves out every one; `concat` the input view and the projected photo; `volume` the volumes; `clip` the
    tokens.
    """

    all: Share = 0.05
    concat: Share = 0.05
    volume: Share = 0.05
    clip: Share = 0.05

    @model_validator(mode="after")
    def _sum(self) -> DropoutConfig:
        if self.all + self.concat + self.volume + self.clip > 1:
            raise ValueError("the rates exclude each other: their sum is more than 1")
        return self


class ObjectiveConfig(Section):
    """The loss, see `gen3dface.training.objective`.

    Args:
        weighting: of the noise levels: `none` (the paper), `min_snr` (Hang et al., 2023), or `truncated`,
            min(1 / sigma^2, gamma) on the clean sample, which also trains the last step of a zero-terminal-SNR
            schedule.
        gamma: where `min_snr` and `truncated` stop.
        timestep_power: p in t = T U^p with U uniform; 1 is uniform, less than 1 favours high noise.
        pixels: weight of the squared error of the pictures (in -1..1 over white) of the predicted clean sample, for
            networks that predict it; 0 (the paper): none. Beside straight colours in the latents, which count alike
            whether they are covered or not, it asks for outlines.
        perceptual: weight of LPIPS between the pictures of the predicted clean sample and the true ones, for networks
            that predict it; 0 (the paper): none.
        identity: weight of the distance between a recogniser's embeddings of the predicted views and of the photo,
            for the same networks; 0 (the paper): none.
    """

    weighting: Literal["none", "min_snr", "truncated"] = "none"
    gamma: Annotated[float, Field(gt=0)] = 5.0
    timestep_power: Annotated[float, Field(gt=0)] = 1.0
    pixels: Annotated[float, Field(ge=0)] = 0.0
    perceptual: Annotated[float, Field(ge=0)] = 0.0
    identity: Annotated[float, Field(ge=0)] = 0.0


class OptimiserConfig(Section):
    """AdamW with two learning rates.

    Args:
        unet: learning rate of the UNet, its depth transformers included (as the peers have it).
        new: of the conditioner, the token projection and the photo encoder.
        warmup: steps from `warmup_start` times the rates up to them. cooldown: share of the run, at its end, in which
            they fall to zero.
        batch: heads a step, of all processes together. accumulate: parts that each process computes one by one.
        ema: decay of the moving average that is validated and saved; 0: none.
    """

    unet: Annotated[float, Field(gt=0)] = 5e-5
    new: Annotated[float, Field(gt=0)] = 5e-4
    warmup: Annotated[int, Field(ge=0)] = 100
    warmup_start: Share = 0.02
    cooldown: Share = 0.0
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip_norm: Annotated[float | None, Field(gt=0)] = 1.0
    batch: Annotated[int, Field(ge=1)] = 8
    accumulate: Annotated[int, Field(ge=1)] = 1
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9999


class ValidationConfig(Section):
    """Pictures and PSNR on held-out heads.

    Args:
        path: folder of shards; heads: how many of them. every: steps. views: of each head, spread around it.
        steps, guidance: of the sampler; null: the model's own.
    """

    path: str
    heads: Annotated[int, Field(ge=1)] = 4
    every: Annotated[int, Field(ge=1)] = 1000
    views: Annotated[int, Field(ge=1)] = 8
    steps: Annotated[int | None, Field(ge=1)] = None
    guidance: Annotated[float | None, Field(ge=0)] = None


class LogConfig(Section):
    """What is told on the way. trackers: accelerate's (`tensorboard`, `wandb`). every: steps."""

    trackers: list[Literal["tensorboard", "wandb"]] = Field(default_factory=list)
    every: Annotated[int, Field(ge=1)] = 10


class CheckpointConfig(Section):
    """When the run is saved: every so many steps, every so many minutes, and at its end.

    Args:
        keep: the newest so many checkpoints. dtype: of the finished pipeline's weights.
    """

    steps: Annotated[int | None, Field(ge=1)] = 1000
    minutes: Annotated[float | None, Field(gt=0)] = 10.0
    keep: Annotated[int, Field(ge=1)] = 2
    dtype: Literal["float32", "float16"] = "float32"


class TrainConfig(Section):
    """A whole run.

    Args:
        model: name or YAML file of a model configuration, or the configuration itself, for fresh weights.
        init: folder (or "mini") of a pipeline whose weights the run starts from, instead of `model`.
        pipeline: further settings of `Gen3DFacePipeline`, such as `vertex_features` and `trained_range`.
        frozen: components that are not trained; the autoencoder and CLIP never are.
        iterations: steps of the optimiser. max_minutes: stop earlier after so long, to be gone on with.
        precision: `auto` is bf16 on a GPU that has it and float32 elsewhere.
        batch_norm: of the mesh branch: `train` (statistics of the batch, of all processes) or `frozen` (the running
            ones).
    """

    model: str | dict[str, Any] | None = None
    init: str | None = None
    pipeline: dict[str, Any] = Field(default_factory=dict)
    frozen: list[Literal["image_encoder", "token_projection", "conditioner", "unet"]] = Field(default_factory=list)
    iterations: Annotated[int, Field(ge=1)] = 48_000
    max_minutes: Annotated[float | None, Field(gt=0)] = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    batch_norm: Literal["train", "frozen"] = "train"
    data: DataConfig
    dropout: DropoutConfig = DropoutConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    validation: ValidationConfig | None = None
    log: LogConfig = LogConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _one_start(self) -> TrainConfig:
        if (self.model is None) == (self.init is None):
            raise ValueError("give either model (fresh weights) or init (a pipeline's folder)")
        return self


def load_train_config(config: str | Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """A configuration by name (`mini`, `sd15`) or YAML file; arguments and errors as for `read_config`."""
    return validated(TrainConfig, *read_config("train", config, overrides))


def parse_train_config(data: dict[str, Any], name: str = "configuration") -> TrainConfig:
    """Validate a mapping. Raises `ConfigError` naming every value that does not hold."""
    return validated(TrainConfig, data, name)
