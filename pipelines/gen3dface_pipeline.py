"""`Gen3DFacePipeline`: one photo to consistent views from all around, by multi-view diffusion.

Read it in diffusers' order: check inputs, encode, timesteps, latents, geometry, denoise, decode.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import ConfigError
from gen3dface.estimators import Estimator, HeadFit
from gen3dface.heads import HeadModel

# diffusers finds a component only in a module that is already loaded
from gen3dface.models import autoencoder, photo_encoder  # noqa: F401
from gen3dface.models.conditioner import VolumeConditioner
from gen3dface.models.joint_attention import require_xformers
from gen3dface.models.multiview_unet import MultiViewUNet
from gen3dface.models.token_projection import ViewTokenProjection
from gen3dface.pipelines import checks, codec
from gen3dface.pipelines.conditions import build_scene, module_dtype
from gen3dface.pipelines.decoding import decode_views
from gen3dface.pipelines.output import MultiViewOutput, OutputType
from gen3dface.pipelines.scene import Scene
from gen3dface.pipelines.shipped import resolved
from gen3dface.pipelines.steps import guidance_scales, predict, step_arguments
from gen3dface.pipelines.subjects import PhotoInput, load_subjects

if TYPE_CHECKING:
    from gen3dface.models.build import Models, ViewCondition

Generators = torch.Generator | list[torch.Generator] | None

_CUSTOM_PIPELINE = """# for diffusers' custom_pipeline; needs `pip install gen3dface`
from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

__all__ = ["Gen3DFacePipeline"]
"""


class Gen3DFacePipeline(DiffusionPipeline):
    """Views of the head in a photo from all around.

    Args:
        vae: autoencoder of the views (`AutoencoderKL`, `AutoencoderTiny` or another of their interface), RGB or RGBA.
        unet: the denoiser. conditioner: makes the volumes it looks into; None for a UNet without volumes.
        scheduler: any of DDIM, DPM-Solver++, UniPC, Euler and their kin.
        image_encoder: `CLIPVisionModelWithProjection`, or a `PhotoEncoder`, whose features also enter the volume where
            the conditioner takes the photo's; None: tokens are zero.
        token_projection: joins tokens and views (SyncDreamer); None in the paper's reading.
        image_size: pixels of a view's side.
        view_convention: of the view embedding, see `gen3dface.models.embeddings`.
        posterior: how the photo is encoded; zero123 takes the `mode`, SyncDreamer and Morphable Diffusion `sample`.
            The paper does not say; the mode makes the call depend on its noise alone.
        crop_side: metres around the head's centre that the photo is cropped to.
        view_condition: what a UNet with `condition_channels` is told of each view: the `photo` projected through the
            mesh, its mirror image and its shells; or the `preview`, the views of the projection engine.
        shells: metres outside the mesh at which the `photo` is projected.
        vertex_features: what the mesh branch is told of each vertex, see `scene.VERTEX_FEATURES`; none in the paper.
        frustum_photo: the input frame looks into the volume too; the paper does not say, by default it does not.
        num_inference_steps, guidance_scale: of a call that does not say; SyncDreamer's 50 and 2.0, the paper states
            neither.
        trained_range: (lowest, highest) of the training's cameras: `azimuth`, `elevation` in degrees, `distance` in
            metres. Outside it a call warns. None: the paper's data, elevation -40..40.
    """

    model_cpu_offload_seq: str = "image_encoder->token_projection->conditioner->unet->vae"
    _optional_components = ["conditioner", "image_encoder", "token_projection"]  # noqa: RUF012
    _callback_tensor_inputs = ["latents", "prediction"]  # noqa: RUF012

    def __init__(
        self,
        vae: Any,
        unet: MultiViewUNet,
        scheduler: Any,
        conditioner: VolumeConditioner | None = None,
        image_encoder: Any = None,
        token_projection: ViewTokenProjection | None = None,
        image_size: int = 256,
        view_convention: str = "relative",
        posterior: str = "mode",
        crop_side: float = 0.4,
        view_condition: ViewCondition = "photo",
        shells: Sequence[float] = (0.0,),
        vertex_features: Sequence[str] = (),
        frustum_photo: bool = False,
        num_inference_steps: int = 50,
        guidance_scale: float = 2.0,
        trained_range: dict[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            unet=unet,
            scheduler=scheduler,
            conditioner=conditioner,
            image_encoder=image_encoder,
            token_projection=token_projection,
        )
        self.register_to_config(
            image_size=image_size,
            view_convention=view_convention,
            posterior=posterior,
            crop_side=crop_side,
            view_condition=view_condition,
            shells=list(shells),
            vertex_features=list(vertex_features),
            frustum_photo=frustum_photo,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            trained_range=checks.PAPER_RANGE if trained_range is None else trained_range,
        )
        self._interrupt = False
        self._current_timestep = 0
        checks.check_components(self)

    @classmethod
    def from_models(cls, models: Models, **settings: Any) -> Gen3DFacePipeline:
        """A pipeline of what `build_models` made; `settings` are other arguments of the class."""
        known = models.settings
        parts: dict[str, Any] = {
            "vae": models.vae,
            "unet": models.unet,
            "scheduler": models.scheduler,
            "conditioner": models.conditioner,
            "image_encoder": models.image_encoder,
            "token_projection": models.token_projection,
            "image_size": known.image_size,
            "view_convention": known.view_convention,
            "frustum_photo": known.frustum_photo,
            "view_condition": known.view_condition,
            "shells": known.shells,
            "num_inference_steps": known.num_inference_steps,
            "guidance_scale": known.guidance_scale,
            "trained_range": known.trained_range,
        }
        return cls(**(parts | settings))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **settings: Any) -> Gen3DFacePipeline:
        """`DiffusionPipeline.from_pretrained`; "mini" is the model that comes with the package.

        In float32 unless a dtype is asked for: some components would else keep the dtype of their file, and half
        precision is very slow on a CPU.
        """
        pipe: Gen3DFacePipeline = super().from_pretrained(resolved(pretrained_model_name_or_path), **settings)
        if not {"dtype", "torch_dtype"} & settings.keys():
            for module in pipe.components.values():
                if isinstance(module, torch.nn.Module) and module_dtype(module) != torch.float32:
                    module.to(torch.float32)
        return pipe

    @classmethod
    def _get_signature_types(cls) -> dict[str, tuple[Any, ...]]:
        """No types: ours are strings, and diffusers would warn of each. `checks.check_components` looks at them."""
        return dict.fromkeys(inspect.signature(cls).parameters, (inspect.Signature.empty,))

    def save_pretrained(self, save_directory: str | Path, *args: Any, **settings: Any) -> None:
        """`DiffusionPipeline.save_pretrained`, and a file by which diffusers finds this class.

        With that file, `DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)`
        reads the pipeline as this class does.
        """
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        (Path(save_directory) / "pipeline.py").write_text(_CUSTOM_PIPELINE, encoding="utf-8")
        super().save_pretrained(save_directory, *args, **settings)

    def set_use_memory_efficient_attention_xformers(
        self, valid: bool, attention_op: Callable[..., Any] | None = None
    ) -> None:
        """Called by `enable_xformers_memory_efficient_attention`. Raises `MissingExtraError` without xformers."""
        if valid:
            require_xformers()
        super().set_use_memory_efficient_attention_xformers(valid, attention_op)

    @property
    def current_timestep(self) -> int:
        """The step that is being denoised, for diffusers' caches of features; 0 outside of a call."""
        return self._current_timestep

    @property
    def interrupt(self) -> bool:
        """Set `pipe._interrupt = True` in a callback to skip the remaining steps."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        image: PhotoInput | Sequence[PhotoInput],
        head: HeadFit | Sequence[HeadFit] | None = None,
        cameras: str | Cameras = "head360",
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        eta: float = 1.0,
        generator: Generators = None,
        latents: Tensor | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict[str, Tensor]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        head_model: HeadModel | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        estimator: Estimator | None = None,
    ) -> MultiViewOutput | list[MultiViewOutput] | tuple[Any, ...]:
        """Make N views of the head in each photo.

        Args:
            image: a photo (path, bytes, PIL image, array) or `Portrait`, or a list of B of them.
            head: the head in it, or a list; found by `estimator` when None.
            cameras: a rig's name, or N square cameras.
            num_inference_steps: denoising steps, at least 1 (default: the model's).
            guidance_scale: of classifier-free guidance, 0 or more; 1 is without (default: the model's).
            eta: DDIM's share of fresh noise in 0..1, for schedulers that have it. 1.0 as SyncDreamer; like there, the
                last step adds none.
            generator: one, or one a photo; the same seed on the same device gives the same bytes.
            latents: [B, N, C, h, w] unit noise to start from; [N, C, h, w] for a single photo.
            output_type: `pil`, `pt`, `np` or `latent`: the form of `MultiViewOutput.images`.
            return_dict: False: a tuple (images, masks, cameras, heads, latents).
            callback_on_step_end: called as (pipe, step, timestep, tensors); what it returns replaces the tensors.
            callback_on_step_end_tensor_inputs: which of `latents` and `prediction` it gets.
            head_model: that the heads belong to (default: OpenHead, or the estimator's).
            guidance_interval: first and last share of the steps that are guided (Kynkaanniemi et al., 2024); outside
                it a step costs half.
            estimator: from `gen3dface.estimators.load_estimator` (default: the default one).

        Returns:
            one `MultiViewOutput` for a single photo, a list of B for a list.
        """
        # 1. check inputs
        steps, scale = self._defaults(num_inference_steps, guidance_scale)
        checks.check_call(steps, scale, eta, output_type, guidance_interval)
        checks.check_callback(callback_on_step_end_tensor_inputs, self._callback_tensor_inputs)
        checks.check_components(self)
        checks.check_cache(self, guidance_interval)
        size, side = self.config["image_size"], self.config["crop_side"]
        views = checks.check_cameras(cameras, size, self.config["trained_range"], checks.fixed_views(self))
        subjects = load_subjects(image, head, head_model, size, side, estimator)
        self._interrupt = False

        # 2. encode; geometry too: nothing of it depends on the step
        scene = build_scene(self, subjects, views, generator)

        # 3. timesteps, 4. latents
        device = self._execution_device
        self.scheduler.set_timesteps(steps, device=device)
        latents = self._noise((len(subjects), len(views)), latents, generator)

        # 5. denoise
        latents = self._denoise(
            latents,
            scene,
            guidance_scales(scale, guidance_interval, len(self.scheduler.timesteps)),
            eta,
            generator,
            callback_on_step_end,
            callback_on_step_end_tensor_inputs,
        )

        # 6. decode
        made = decode_views(self, latents, subjects, views, output_type)
        self.maybe_free_model_hooks()
        several = isinstance(image, (list, tuple))
        if not return_dict:
            columns = tuple(list(column) for column in zip(*(m.to_tuple() for m in made), strict=True))
            return columns if several else made[0].to_tuple()
        return made if several else made[0]

    def _defaults(self, steps: int | None, guidance: float | None) -> tuple[int, float]:
        """What the call says, else what suits the model."""
        return (
            self.config["num_inference_steps"] if steps is None else steps,
            self.config["guidance_scale"] if guidance is None else guidance,
        )

    def _noise(self, batch: tuple[int, int], given: Tensor | None, generator: Generators) -> Tensor:
        """Noisy latents to start from, [B, N, C, h, w] float32."""
        side = self.config["image_size"] // codec.latent_factor(self.vae)
        shape = (*batch, self.unet.config["latent_channels"], side, side)
        if isinstance(generator, list) and len(generator) != batch[0]:
            raise ConfigError(f"Got {len(generator)} generators for {batch[0]} photos.")
        device = self._execution_device
        if given is None:
            noise = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        else:
            noise = checks.check_latents(given, shape).to(device, torch.float32)
        return noise * self.scheduler.init_noise_sigma

    def _denoise(
        self,
        latents: Tensor,
        scene: Scene,
        guidance: Sequence[float],
        eta: float,
        generator: Generators,
        callback: Callable[..., dict[str, Tensor]] | None,
        callback_inputs: Sequence[str],
    ) -> Tensor:
        """[B, N, C, h, w] from noise to clean; `guidance` holds the scale of each step."""
        guided = scene.guided()
        self.unet._reset_stateful_cache()
        last = len(guidance) - 1
        with self.progress_bar(total=len(guidance)) as bar:
            for i, t in enumerate(self.scheduler.timesteps):
                if self.interrupt:
                    continue
                self._current_timestep = int(t)
                prediction = predict(self, latents, t, scene, guided, guidance[i])
                extra = step_arguments(self.scheduler, eta, generator, latents, final=i == last)
                latents = self.scheduler.step(prediction, t, latents, return_dict=False, **extra)[0]
                if callback is not None:
                    tensors = {"latents": latents, "prediction": prediction}
                    changed = callback(self, i, t, {name: tensors[name] for name in callback_inputs}) or {}
                    latents = changed.get("latents", latents)
                bar.update()
        self._current_timestep = 0
        return latents
