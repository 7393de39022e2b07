"""Presets by name: what "DPM++ 2M Karras" means in diffusers, k-diffusion, A1111's web UI and ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.errors import InputError
from unnoise.limits import choice
from unnoise.schedulers import grids
from unnoise.schedulers.finals import FirstOrder
from unnoise.schedulers.grids import Grid
from unnoise.schedulers.names.rows import Named
from unnoise.schedulers.presets import dpm_rules, sigma_rules
from unnoise.schedulers.presets.classes import CLASSES
from unnoise.schedulers.presets.path import FromGrid, Rungs
from unnoise.schedulers.presets.preset import Preset, Rule
from unnoise.schedulers.scheduler import Scheduler

PROGRAMS = ("diffusers", "k-diffusion", "a1111", "comfyui")
"""Whose values `compat` may ask for."""

_MULTISTEP, _UNIPC = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
_SDE = {"algorithm_type": "sde-dpmsolver++"}

DIFFUSERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "DDPM": ("DDPMScheduler", {}),
    "DDIM": ("DDIMScheduler", {}),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "DPM2": ("KDPM2DiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM++ SDE": ("DPMSolverSDEScheduler", {}),
    "DPM++ 2M": (_MULTISTEP, {}),
    "DPM++ 2M SDE": (_MULTISTEP, _SDE),
    "DPM++ 2M SDE Heun": (_MULTISTEP, {**_SDE, "solver_type": "heun"}),
    "DPM++ 3M": (_MULTISTEP, {"solver_order": 3}),
    "DPM++ 3M SDE": (_MULTISTEP, {**_SDE, "solver_order": 3}),
    "Res multistep": (_MULTISTEP, {"solver_type": "heun"}),
    "DPM++ 2S": ("DPMSolverSinglestepScheduler", {}),
    "DPM++ 3S": ("DPMSolverSinglestepScheduler", {"solver_order": 3}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "UniPC": (_UNIPC, {"solver_order": 3, "solver_type": "bh1"}),
    "UniPC bh2": (_UNIPC, {}),
    "SA-Solver": ("SASolverScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "TCD": ("TCDScheduler", {}),
}
"""The class and the settings that a name stands for in diffusers, on a table of betas."""

_FLAGS: dict[Grid, Mapping[str, Any]] = {
    grids.Karras(): {"use_karras_sigmas": True},
    grids.Exponential(): {"use_exponential_sigmas": True},
    grids.BetaSigma(): {"use_beta_sigmas": True},
    grids.BetaTime(): {"use_beta_sigmas": True},
    grids.Trailing(): {"timestep_spacing": "trailing"},
    grids.Leading(): {"timestep_spacing": "leading"},
    grids.Linspace(): {"timestep_spacing": "linspace"},
}

_K: dict[str, Rule] = {
    "Euler": sigma_rules.Euler(),
    "Euler a": sigma_rules.Euler(1.0),
    "DDIM": sigma_rules.Euler(),
    "Heun": sigma_rules.HeunRule(),
    "DPM2": sigma_rules.MidpointRule(),
    "DPM2 a": sigma_rules.MidpointRule(1.0),
    "LMS": sigma_rules.LMSRule(),
    "DPM++ 2S": sigma_rules.TwoStageRule(),
    "DPM++ 2S a": sigma_rules.TwoStageRule(1.0),
    "DPM++ SDE": sigma_rules.SDERule(),
    "DPM++ 2M": sigma_rules.MultistepRule(),
    "DPM++ 2M SDE": sigma_rules.MultistepRule(eta=1.0),
    "DPM++ 2M SDE Heun": sigma_rules.MultistepRule(eta=1.0, kind="heun"),
    "DPM++ 3M SDE": sigma_rules.MultistepRule(1.0, 3, "heun"),
    "DPM++ 3M": sigma_rules.MultistepRule(0.0, 3, "heun"),
}

_OF_COMFYUI: dict[str, Rule] = {
    "UniPC": dpm_rules.UniPCRule(3, "bh1"),
    "UniPC bh2": dpm_rules.UniPCRule(3, "bh2"),
}

# What A1111 takes where the schedule type is Automatic.
_A1111_GRIDS: dict[str, Grid] = {
    "DPM++ 2M": grids.Karras(),
    "DPM++ SDE": grids.Karras(),
    "DPM++ 2M SDE": grids.Exponential(),
    "DPM++ 2M SDE Heun": grids.Exponential(),
    "DPM++ 2S a": grids.Karras(),
    "DPM++ 3M SDE": grids.Exponential(),
    "DPM2": grids.Karras(),
    "DPM2 a": grids.Karras(),
    "DDIM": grids.DDIMUniform(overflow=True),
}
_DROPS = {
    "a1111": {"DPM2", "DPM2 a", "DPM++ 3M SDE"},
    "comfyui": {"DPM2", "DPM2 a", "UniPC", "UniPC bh2"},
    "k-diffusion": set[str](),
}
_COMFYUI_GRIDS: dict[Grid, Grid] = {
    grids.BetaTime(): grids.Rounded(grids.BetaTime()),
    grids.DDIMUniform(): grids.DDIMUniform(overflow=True),
}
_OURS_IN_COMFYUI = {
    *("LMS", "IPNDM", "Res multistep", "SEEDS 3", "Heun++ 2", "Gradient estimation", "DDPM", "LCM"),
}
"""What ComfyUI computes as we do, but for the last step, which is the estimate itself there."""
_OTHERS = ("seeds2", "ipndmv", "deistab")
"""Names that mean a row of ours to us, and another sampler than that row's in every program."""
_A1111_SWAPS: dict[Grid, Grid] = {
    **_COMFYUI_GRIDS,
    grids.AlignYourSteps(): grids.AlignYourSteps(ends=True),
    grids.AlignYourSteps("sdxl"): grids.AlignYourSteps("sdxl", ends=True),
}


def preset(row: Named, grid: Grid | None, program: str, word: str = "") -> Scheduler:
    """A name's values in a program, on the grid that was asked for or its own.

    word: the plain name that was asked for. Raises InputError where the program is not known, or has no such sampler
    or grid.
    """
    choice("compat", program, PROGRAMS, ", or leave it out")
    other = word.startswith(_OTHERS)
    if program == "comfyui" and (word.startswith("seeds2") or (row.name in _OURS_IN_COMFYUI and not other)):
        chosen = grids.Linspace() if grid is None else grid
        return replace(row.scheduler, grid=_COMFYUI_GRIDS.get(chosen, chosen), final=FirstOrder())
    if other:
        raise InputError(
            f"{program}'s {word} is not known here; without compat it is {row.name}, the right formula."
        )
    values = _diffusers(row.name, grid) if program == "diffusers" else _k(row.name, grid, program)
    return Preset.near(row.scheduler if grid is None else replace(row.scheduler, grid=grid), values, program)


def _diffusers(name: str, grid: Grid | None) -> tuple[Rungs, Rule]:
    if name not in DIFFUSERS:
        raise InputError(f"diffusers has no {name} here; it has {', '.join(DIFFUSERS)}.")
    if grid is not None and grid not in _FLAGS:
        raise InputError(
            f"diffusers has no grid {grid}; it has Karras, Exponential, Beta, Trailing, Leading, Linspace."
        )
    cls, settings = DIFFUSERS[name]
    known = CLASSES[cls]
    flags = {} if grid is None else _FLAGS[grid]
    return known.values({**known.defaults, **settings, **flags})


def _k(name: str, grid: Grid | None, program: str) -> tuple[Rungs, Rule]:
    rules = _K | _OF_COMFYUI if program == "comfyui" else _K
    if name not in rules:
        known = {*rules, *_OURS_IN_COMFYUI} if program == "comfyui" else rules
        raise InputError(f"{program} has no {name} here; it has {', '.join(sorted(known))}.")
    own = _A1111_GRIDS.get(name, grids.Linspace()) if program == "a1111" else grids.Linspace()
    chosen = own if grid is None else grid
    swaps = {"comfyui": _COMFYUI_GRIDS, "a1111": _A1111_SWAPS}.get(program, {})
    chosen = swaps.get(chosen, chosen)
    if name in _DROPS[program]:
        chosen = grids.DropPenultimate(chosen)
    rule = rules[name]
    if program == "comfyui" and isinstance(rule, sigma_rules.MultistepRule) and rule.order == 2:
        rule = replace(rule, log_sigma=True)
    stepped_in_time = program == "a1111" and name == "DDIM"
    # ComfyUI scales the noise as that of data of unit variance where a run begins at the noisiest level.
    pure = program != "comfyui" and not stepped_in_time
    # ComfyUI's time is ln sigma / 4 on EDM models.
    on_edm = grids.Exponential() if program == "comfyui" and chosen == grids.Linspace() else None
    rest = 0.001 if isinstance(rule, dpm_rules.UniPCRule) else 0.0
    return FromGrid(chosen, to_first=stepped_in_time, pure=pure, on_edm=on_edm, rest=rest), rule
