"""The multi-view diffusion model's networks, one idea a file.

A denoising step runs them in this order:

| file | from | to |
|---|---|---|
| `embeddings` | step, cameras' angles | vectors |
| `view_encoder` | noisy latents of each view | features |
| `grids` | cameras | where points lie in views and volumes |
| `mesh_network` (on `sparse_conv`) | features at the head's vertices | a volume |
| `volume_network` | features of all views at each point | a volume |
| `feature_volume` | the above | the world volume |
| `frustum_network` | what each view's rays read from it | volumes of each view |
| `conditioner` | noisy latents, step, geometry | volumes of each view |
| `depth_attention` | a view's volume, a feature of the UNet | the feature |
| `joint_attention` | tokens of all frames | the same, attended together |
| `multiview_unet` | noisy latents, volumes, image tokens, photo | the prediction |

Beside them: `photo_encoder`, `photo_projection` and `copy_gate` for models that see the photo directly,
`token_projection` for SyncDreamer's image tokens, `autoencoder` and `pixel_decoder` for latents that are
pixels. `build.build_models` makes all of them from a configuration.
"""
