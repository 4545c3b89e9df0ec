"""Rendered training heads: strand hair, light and pictures with known cameras, meshes and masks."""

from gen3dface.data_synth.rendered.deferred import LitScene, light_scene
from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.renderer import Views, render
from gen3dface.data_synth.rendered.scene import LitSurface, Scene
from gen3dface.data_synth.rendered.strands import Strands

__all__ = ["Light", "LitScene", "LitSurface", "Scene", "Strands", "Views", "light_scene", "render"]
