"""CLIP's text encoder as transformers and as OpenCLIP name it."""

from __future__ import annotations

from unnoise.checkpoints.layouts.layout import Layout, renamer

_TRANSFORMERS = [
    (r"^token_embedding\.", r"embeddings.token_embedding."),
    (r"^position_embedding$", r"embeddings.position_embedding.weight"),
    (r"^final_norm\.", r"final_layer_norm."),
    (r"^blocks\.", r"encoder.layers."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.attention\.qkv\.", r".self_attn.<q_proj|k_proj|v_proj>."),
    (r"\.attention\.out\.", r".self_attn.out_proj."),
    (r"\.up\.", r".mlp.fc1."),
    (r"\.down\.", r".mlp.fc2."),
]

_OPEN_CLIP = [
    (r"^position_embedding$", r"positional_embedding"),
    (r"^projection\.weight$", r"text_projection"),
    (r"^final_norm\.", r"ln_final."),
    (r"^blocks\.", r"transformer.resblocks."),
    (r"\.norm(\d)\.", r".ln_\1."),
    (r"\.attention\.qkv\.", r".attn.in_proj_"),
    (r"\.attention\.out\.", r".attn.out_proj."),
    (r"\.up\.", r".mlp.c_fc."),
    (r"\.down\.", r".mlp.c_proj."),
]


def transformers(prefix: str = "", text_model: bool = True) -> Layout:
    """Of a folder's `text_encoder/`, and of CLIP ViT-L/14 in single files.

    text_model: all but the projection stand under `text_model.`; transformers 5 leaves that out where there is
    no projection.
    """
    rename = renamer(_TRANSFORMERS)
    inner = "text_model." if text_model else ""

    def inside(name: str) -> str:
        return "text_projection.weight" if name == "projection.weight" else inner + rename(name)

    return Layout(inside, prefix)


def open_clip(prefix: str) -> Layout:
    """Of OpenCLIP's towers in single files; queries, keys and values are one tensor there too."""
    return Layout(
        renamer(_OPEN_CLIP), prefix, lambda name: "transposed" if name == "projection.weight" else "same"
    )
