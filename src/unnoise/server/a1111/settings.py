"""The settings of the web UI that a request may override, and a client may set: the model, and how pictures start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unnoise.server import fields as read
from unnoise.server.card import Card
from unnoise.server.refusals import FieldError

CHECKPOINT, CLIP_SKIP, NOISE = "sd_model_checkpoint", "CLIP_stop_at_last_layers", "randn_source"
DIGEST = "sd_checkpoint_hash"
"""Follows from the checkpoint, and may be known later than it: sent back, it says nothing."""

OWN = "unnoise"
_STARTS = {"GPU": "cuda", "NV": "cuda", "CPU": "torch", OWN: None}
_USUAL: Mapping[str, tuple[object, ...]] = {
    "sd_vae": ("", "Automatic", "None", None),
    "eta_noise_seed_delta": (0, None),
    "samples_format": ("png", None),
    "enable_pnginfo": (True, None),
    "img2img_fix_steps": (False, None),
    "emphasis": ("Original", None),
}
"""Other settings, and the values with which they ask for what is done anyway."""


@dataclass(frozen=True)
class Settings:
    """What they are. model: the name of its card; None where it is not said. asked: other fields of ours."""

    model: str | None = None
    asked: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, given: object, cards: Sequence[Card]) -> Settings:
        """What override_settings says. Raises FieldError for a setting that is not done here."""
        if not isinstance(given, Mapping):
            raise FieldError("override_settings", "override_settings is no table of settings; leave it out.")
        for name, value in given.items():
            if name not in (CHECKPOINT, CLIP_SKIP, NOISE) and value not in _USUAL.get(name, ()):
                raise FieldError(
                    "override_settings",
                    f"override_settings has {str(name)[:60]!r}, which cannot be set here; "
                    f"{CHECKPOINT}, {CLIP_SKIP} and {NOISE} can.",
                )
        start, skip = given.get(NOISE), given.get(CLIP_SKIP)
        asked = {} if start is None else {"noise": _STARTS[read.choice(NOISE, start, _STARTS)]}
        if skip not in (None, 1):  # 1 is what every model has there; here each has its own
            asked["clip_skip"] = skip
        return cls(None if not given.get(CHECKPOINT) else named(given[CHECKPOINT], cards), asked)


def named(checkpoint: object, cards: Sequence[Card]) -> str:
    """The card's name of a checkpoint told by title, name, file or hash. Raises FieldError where it is not served."""
    told = read.text(CHECKPOINT, checkpoint, 300)
    plain = told.partition(" [")[0]
    for ending in (".safetensors", ".ckpt"):
        plain = plain.removesuffix(ending)
    shown = told.rpartition(" [")[2].removesuffix("]")
    for card in cards:
        if len(shown) >= 10 and card.hash.startswith(shown):
            return card.name
    for card in cards:
        if card.name in (plain, told) or told == title(card):
            return card.name
    if not cards:
        return plain
    names = ", ".join(map(title, cards))
    raise FieldError(CHECKPOINT, f"{CHECKPOINT} is {told[:80]!r}; this server has {names}.")


def title(card: Card) -> str:
    """As A1111 shows a model."""
    return f"{card.name} [{card.hash[:10]}]" if card.hash else card.name
