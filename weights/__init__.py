"""Trained models that come with the package, each a folder that `Gen3DFacePipeline.save_pretrained` wrote, with its card."""
