"""NovelAI's chunks: `Description` is the prompt, `Comment` a table of the rest, `Software` says NovelAI."""

from __future__ import annotations

from unnoise.checkpoints.recipes.found import FoundRecipe, Table, read_as, table, text

_NAMES = "seed=seed steps=steps guidance=scale width=width height=height"
_APART = "prompt uc sampler noise_schedule v4_prompt v4_negative_prompt signed_hash request_type strength"


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if NovelAI wrote one."""
    written = table(chunks.get("Comment", ""))
    if written is None or ("NovelAI" not in chunks.get("Software", "") and "uc" not in written):
        return None
    made = text(written.get("request_type")) in ("", "PromptGenerateRequest")
    source, sampler = text(chunks.get("Source")), text(written.get("sampler"))
    prompt = _caption(written.get("v4_prompt")) or text(written.get("prompt"))
    grid = text(written.get("noise_schedule"))
    return read_as(
        _NAMES,
        written,
        apart=_APART,
        more={"Denoising strength": None if made else written.get("strength")},
        program="NovelAI",
        version=source,
        prompt=prompt or chunks.get("Description", ""),
        negative=_caption(written.get("v4_negative_prompt")) or text(written.get("uc")),
        sampler=_SAMPLERS.get(sampler, sampler.removeprefix("k_")),
        grid="" if grid == "native" else grid,
        model=source,
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
