"""Samplers and schedule types by the names of A1111's web UI."""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.server.fields import refusal

SAMPLERS: Mapping[str, tuple[str, ...]] = {
    "DPM++ 2M": ("k_dpmpp_2m",),
    "DPM++ SDE": ("k_dpmpp_sde",),
    "DPM++ 2M SDE": ("k_dpmpp_2m_sde",),
    "DPM++ 2M SDE Heun": ("k_dpmpp_2m_sde_heun",),
    "DPM++ 2S a": ("k_dpmpp_2s_a",),
    "DPM++ 3M SDE": ("k_dpmpp_3m_sde",),
    "Euler a": ("k_euler_a", "k_euler_ancestral"),
    "Euler": ("k_euler",),
    "LMS": ("k_lms",),
    "Heun": ("k_heun",),
    "DPM2": ("k_dpm_2",),
    "DPM2 a": ("k_dpm_2_a",),
    "DPM fast": ("k_dpm_fast",),
    "DPM adaptive": ("k_dpm_ad",),
    "Restart": ("restart",),
    "DDIM": ("ddim",),
    "PLMS": ("plms",),
    "UniPC": ("unipc",),
    "LCM": ("k_lcm",),
}
"""Those of A1111 1.10 that are known here, in its order, with its other names for them."""

THERE = frozenset(SAMPLERS) - {"DPM fast", "DPM adaptive", "Restart", "PLMS", "UniPC", "LCM"}
"""Those whose values in A1111 are known (`compat="a1111"`); of the others ours, the right ones, are taken."""

SCHEDULERS: Mapping[str, tuple[str, float]] = {
    "automatic": ("Automatic", -1.0),
    "uniform": ("Uniform", -1.0),
    "karras": ("Karras", 7.0),
    "exponential": ("Exponential", -1.0),
    "polyexponential": ("Polyexponential", 1.0),
    "sgm_uniform": ("SGM Uniform", -1.0),
    "kl_optimal": ("KL Optimal", -1.0),
    "align_your_steps": ("Align Your Steps", -1.0),
    "simple": ("Simple", -1.0),
    "normal": ("Normal", -1.0),
    "ddim": ("DDIM", -1.0),
    "beta": ("Beta", -1.0),
}
"""Schedule types: their name -> label and rho."""


def plain(name: str) -> str:
    """A name without capitals, spaces, underscores and plus signs."""
    return "".join(name.lower().split()).replace("_", "").replace("++", "pp")


_SAMPLER = {plain(word): name for name, others in SAMPLERS.items() for word in (name, *others)}
_SCHEDULER = {plain(word): label for word, (label, _) in SCHEDULERS.items() for word in (word, label)}
_ENDINGS = sorted((*_SCHEDULER.items(), ("ka", "Karras")), key=lambda item: len(item[0]), reverse=True)


def chosen(sampler: str, scheduler: str) -> tuple[str, str | None]:
    """The name of our scheduler, and "a1111" where that program's values of it are known.

    sampler: also with the schedule type in the same name, as before A1111 1.9 ("DPM++ 2M Karras"). scheduler: ""
    leaves it to the sampler. A name that A1111 does not have is passed on: ours are many more. Raises FieldError for a
    schedule type that is not known.
    """
    name, joined = parted(sampler)
    label = _SCHEDULER.get(plain(scheduler)) if scheduler else joined
    if label is None:
        known = ", ".join(label for label, _ in SCHEDULERS.values())
        raise refusal("scheduler", scheduler, f"one of {known}")
    if label == "Automatic" and joined != "Automatic":
        label = joined
    whole = name if label == "Automatic" else f"{name} {label}"
    return whole, "a1111" if name in THERE else None


def parted(sampler: str) -> tuple[str, str]:
    """The sampler's name and the schedule type that follows it."""
    words = plain(sampler)
    if words in _SAMPLER:
        return _SAMPLER[words], "Automatic"
    for ending, label in _ENDINGS:
        stem = words.removesuffix(ending)
        if stem != words and stem in _SAMPLER:
            return _SAMPLER[stem], label
    return sampler.strip(), "Automatic"
