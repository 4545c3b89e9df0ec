# for diffusers' custom_pipeline; needs `pip install gen3dface`
from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

__all__ = ["Gen3DFacePipeline"]
