"""Names of OpenAI's CLIP image encoder."""

from __future__ import annotations

from transformers import CLIPVisionModelWithProjection

from gen3dface.conversion.key_map import TRANSPOSED, Entry, Rename, module_entries

_LAYER: list[Rename] = [
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
]


def clip_keys(model: CLIPVisionModelWithProjection, ours: str = "", theirs: str = "") -> list[Entry]:
    """`clip_image_encoder.model.visual` of SyncDreamer, `cond_stage_model.model.visual` of zero123."""
    vision = ours + "vision_model."
    entries = [
        Entry(theirs + "class_embedding", (vision + "embeddings.class_embedding",)),
        Entry(theirs + "positional_embedding", (vision + "embeddings.position_embedding.weight",)),
        Entry(theirs + "conv1.weight", (vision + "embeddings.patch_embedding.weight",)),
        Entry(theirs + "proj", (ours + "visual_projection.weight",), TRANSPOSED),
    ]
    for mine, other in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        norm = model.get_submodule(f"vision_model.{mine}")
        entries += module_entries(norm, f"{vision}{mine}.", f"{theirs}{other}.", [])
    for i, layer in enumerate(model.vision_model.encoder.layers):
        mine, other = f"{vision}encoder.layers.{i}.", f"{theirs}transformer.resblocks.{i}."
        split = [e for e in module_entries(layer, mine, other, _LAYER) if not _is_projection(e.ours[0])]
        entries += split
        for kind in ("weight", "bias"):
            stacked = tuple(f"{mine}self_attn.{name}_proj.{kind}" for name in "qkv")
            entries.append(Entry(f"{other}attn.in_proj_{kind}", stacked))
    return entries


def _is_projection(name: str) -> bool:
    return any(f"self_attn.{q}_proj." in name for q in "qkv")
