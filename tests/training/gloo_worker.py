"""One of several training processes, for `test_processes`: gradients of the first step, then a run of two.

Arguments: YAML configuration, folder of the run, file for the gradients.
"""

import sys
from pathlib import Path

import torch

from gen3dface.training.config import load_train_config
from gen3dface.training.trainer import Trainer


def main(config: str, run: str, out: str) -> None:
    """Rank 0 saves the gradients, which after the backward pass are the same everywhere."""
    torch.set_num_threads(1)
    trainer = Trainer(load_train_config(config), Path(run))
    items = next(trainer.batches(0))
    trainer.accelerator.backward(trainer.wrapped(items))
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    norms = {name: b.clone() for name, b in trainer.model.named_buffers() if "running" in name}
    if trainer.accelerator.is_main_process:
        torch.save({"gradients": gradients, "norms": norms, "heads": len(items)}, out)
    trainer.optimiser.zero_grad()
    trainer.fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
