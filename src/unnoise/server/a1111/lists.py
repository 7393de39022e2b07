"""What there is: samplers, models, upscalers and the like, as A1111's lists of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from unnoise.checkpoints.hashes import WEIGHTS
from unnoise.server.a1111.samplers import SAMPLERS, SCHEDULERS
from unnoise.server.a1111.settings import CHECKPOINT, CLIP_SKIP, DIGEST, NOISE, title
from unnoise.server.refusals import Loading

if TYPE_CHECKING:
    from unnoise.server.card import Card
    from unnoise.server.desk import Desk

Table = dict[str, object]


def samplers(_: Desk) -> list[Table]:
    """Those of the web UI that are known here."""
    return [{"name": name, "aliases": list(others), "options": {}} for name, others in SAMPLERS.items()]


def schedulers(_: Desk) -> list[Table]:
    """Schedule types."""
    return [
        {"name": name, "label": label, "aliases": None, "default_rho": rho, "need_inner_model": False}
        for name, (label, rho) in SCHEDULERS.items()
    ]


def models(desk: Desk) -> list[Table]:
    """The models that are served; where their files lie is nobody's business. Raises Loading."""
    if not desk.cards:
        raise Loading()
    return [
        {
            "title": title(card),
            "model_name": card.name,
            "hash": card.hash[:10] or None,
            "sha256": card.hash or None,
            "filename": card.name,
            "config": None,
        }
        for card in desk.cards
    ]


def loras(desk: Desk) -> list[Table]:
    """The LoRAs that prompts may name."""
    folder = desk.settings.loras
    files = [] if folder is None else sorted(folder.rglob("*"))
    names = dict.fromkeys(path.stem for path in files if path.suffix.lower() in WEIGHTS)
    return [{"name": name, "alias": name, "path": name, "metadata": {}} for name in names]


def upscalers(_: Desk) -> list[Table]:
    """What enlarges pixels for a second pass."""
    rest = {"model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
    return [{"name": name, **rest} for name in ("None", "Lanczos")]


def latent_modes(_: Desk) -> list[Table]:
    """What enlarges latents."""
    return [{"name": "Latent"}]


def flags(desk: Desk) -> Table:
    """How the server was started."""
    settings = desk.settings
    return {
        "api": True,
        "port": settings.port,
        "listen": settings.host not in ("127.0.0.1", "::1", "localhost"),
    }


def memory(_: Desk) -> Table:
    """Of the machine, in bytes. What a card has is known to the worker alone."""
    told = "the worker's; not told"
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    except (AttributeError, OSError, ValueError):  # another system than Linux
        return {"ram": {"error": "not known on this system"}, "cuda": {"error": told}}
    return {"ram": {"free": free, "used": total - free, "total": total}, "cuda": {"error": told}}


def options(card: Card | None) -> Table:
    """The settings that requests may override, as they stand. card: of the model that is taken where none is named."""
    return {
        CHECKPOINT: title(card) if card else None,
        DIGEST: card.hash if card else "",
        CLIP_SKIP: 1,
        NOISE: "GPU",
        "samples_format": "png",
        "show_progress_every_n_steps": 1,
    }


LISTS: Mapping[str, Callable[[Desk], object]] = {
    "samplers": samplers,
    "schedulers": schedulers,
    "sd-models": models,
    "loras": loras,
    "upscalers": upscalers,
    "latent-upscale-modes": latent_modes,
    "cmd-flags": flags,
    "memory": memory,
    "scripts": lambda _: {"txt2img": [], "img2img": []},
    "embeddings": lambda _: {"loaded": {}, "skipped": {}},
    **dict.fromkeys(
        (
            *("sd-vae", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles"),
            *("script-info", "extensions"),
        ),
        lambda _: [],
    ),
}
"""Address below /sdapi/v1/ -> what it lists. Clients ask for the empty ones as they start."""
