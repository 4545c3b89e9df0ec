"""The multi-view diffusion model: one module, one idea, one file."""
