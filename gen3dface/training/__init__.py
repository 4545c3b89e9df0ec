"""Training of the multi-view diffusion model.

One step goes through these files in order:

| file | from | to |
|---|---|---|
| `sources` | shards, folders, FaceScape | samples by number, mixed by weight |
| `prepared` | a sample | what no network is needed for, in bytes; kept on the disk |
| `draws` | a position in the run | one item: views, step, noise, dropped conditions |
| `denoiser` | a batch of items | the loss, with gradients into every trained network |
| `objective` | prediction, noise, clean latents | the paper's loss |
| `optimiser`, `average` | gradients | weights, their moving average |
| `checkpoints` | all of it | a folder that is whole or not there |

`latents` keeps a learned autoencoder's latents beside the prepared heads. `trainer.Trainer` runs all of it after
`start`; `config` says how; `gen3dface.train` is the door.
"""
