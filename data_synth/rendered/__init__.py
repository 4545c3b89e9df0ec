"""Rendered training heads: strand hair, light and pictures with known cameras, meshes and masks."""

from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.renderer import Views, light_scene, render
from gen3dface.data_synth.rendered.scene import LitSurface, Scene
from gen3dface.data_synth.rendered.strands import Strands

__all__ = ["Light", "LitSurface", "Scene", "Strands", "Views", "light_scene", "render"]
