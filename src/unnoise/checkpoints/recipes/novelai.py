"""NovelAI's chunks: `Description` is the prompt, `Comment` a table of the rest, `Software` says NovelAI."""

from __future__ import annotations

from unnoise.checkpoints.recipes.found import FoundRecipe, Table, number, plain, table, text, whole, words

_TAKEN = words(
    "prompt uc seed steps scale sampler noise_schedule width height v4_prompt v4_negative_prompt signed_hash "
    "request_type strength"
)


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if NovelAI wrote one."""
    written = table(chunks.get("Comment", ""))
    if written is None or ("NovelAI" not in chunks.get("Software", "") and "uc" not in written):
        return None
    more = {name: value for name, value in written.items() if name not in _TAKEN and value != 0.0}
    if text(written.get("request_type")) not in ("", "PromptGenerateRequest"):
        more["Denoising strength"] = written.get("strength")
    source = text(chunks.get("Source"))
    grid = text(written.get("noise_schedule"))
    return FoundRecipe(
        program="NovelAI",
        version=source,
        prompt=_caption(written.get("v4_prompt"))
        or text(written.get("prompt"))
        or chunks.get("Description", ""),
        negative=_caption(written.get("v4_negative_prompt")) or text(written.get("uc")),
        seed=whole(written.get("seed")),
        steps=whole(written.get("steps")),
        guidance=number(written.get("scale")),
        sampler=_SAMPLERS.get(text(written.get("sampler")), text(written.get("sampler")).removeprefix("k_")),
        grid="" if grid == "native" else grid,
        width=whole(written.get("width")),
        height=whole(written.get("height")),
        model=source,
        more=plain(more),
    )


_SAMPLERS = {"ddim_v3": "ddim", "k_dpmpp_2m_sde": "dpmpp_2m_sde"}


def _caption(given: object) -> str:
    """The text of version 4: a caption of the whole, then one of each character."""
    caption = given.get("caption") if isinstance(given, dict) else None
    if not isinstance(caption, dict):
        return ""
    each = caption.get("char_captions")
    rows: list[Table] = [row for row in each if isinstance(row, dict)] if isinstance(each, list) else []
    parts = [text(caption.get("base_caption")), *(text(row.get("char_caption")) for row in rows)]
    return ", ".join(part for part in parts if part)
