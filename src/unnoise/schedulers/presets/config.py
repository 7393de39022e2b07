"""diffusers' scheduler_config.json: a noise schedule, a prediction, and a scheduler."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from unnoise.errors import InputError
from unnoise.limits import Positive, Share, Steps, typed
from unnoise.process import EDM, Cosine, DiscreteVP, Flow, NoiseSchedule, Prediction
from unnoise.process import prediction as predictions
from unnoise.schedulers import grids
from unnoise.schedulers.consistency import Consistency
from unnoise.schedulers.presets.classes import ALIASES, CLASSES, sigmas
from unnoise.schedulers.presets.preset import Preset
from unnoise.schedulers.scheduler import Scheduler

Choices = dict[str, tuple[object, ...]]
"""Values that are known, by their name; the first is taken, as there, where a configuration has a sibling's word."""

_PREDICTIONS = {
    "epsilon": "noise",
    "sample": "sample",
    "original_sample": "sample",
    "v_prediction": "velocity",
    "flow_prediction": "flow",
}

_EVERYWHERE = {
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "timestep_type": ("discrete",),  # EDM's classes are known for the continuous one
    "final_sigmas_type": ("zero", "sigma_min"),
    "sigma_schedule": ("karras", "exponential"),
}
_IN_PRESETS: Choices = {
    "interpolation_type": ("linear",),
    "use_dynamic_shifting": (False,),
    "shift_terminal": (0,),
    "invert_sigmas": (False,),
    "thresholding": (False,),
}
"""What presets compute; the right schedulers have no such choice, or take it from elsewhere."""
_KINDS = {"solver_type": ("midpoint", "heun")}
_OWN_ENDS: Choices = {"sigma_min": (None,), "sigma_max": (None,)}
_PRESETS_OF: dict[str, Choices] = {
    "EulerDiscreteScheduler": _OWN_ENDS,
    "UniPCMultistepScheduler": _OWN_ENDS,
    "IPNDMScheduler": {"trained_betas": (None,)},
}
_THOUSAND: Choices = {"num_train_timesteps": (1000,)}  # what a flow model's network is told
_ALGORITHMS = ("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver")
_CHOICES: dict[str, Choices] = {
    "DDPMScheduler": {
        "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned_range")
    },
    "DPMSolverMultistepScheduler": {"algorithm_type": _ALGORITHMS, **_KINDS},
    "EDMDPMSolverMultistepScheduler": {"algorithm_type": _ALGORITHMS, **_KINDS},
    "DPMSolverSinglestepScheduler": {"algorithm_type": _ALGORITHMS[:3], **_KINDS},
    "UniPCMultistepScheduler": {"solver_type": ("bh2", "bh1")},
    "SASolverScheduler": {"algorithm_type": ("data_prediction", "noise_prediction")},
    "FlowMatchEulerDiscreteScheduler": _THOUSAND,
    "FlowMatchHeunDiscreteScheduler": _THOUSAND,
}
_SIBLINGS = ("deis", "logrho", "midpoint", "heun", "bh1", "bh2")

_GRIDS: dict[str, grids.Grid] = {
    "karras": grids.Karras(),
    "exponential": grids.Exponential(),
    "lu": grids.Exponential(),
    "beta": grids.BetaSigma(),
    "flow": grids.Trailing(),
}
"""The right ones, by what sigmas a configuration asks for."""

_KINDS_OF: dict[str, Any] = {
    "steps_offset": Annotated[int, (0, 1_000_000)],
    "trained_betas": tuple[float, ...],
    "lambda_min_clipped": float,
    "disable_corrector": tuple[int, ...],
    "tau_func": Callable,
    "eta": Share,
    "rho": Positive,
    "original_inference_steps": Steps,
}
"""Of what kind values are that have no default here, or limits."""

_ON_COSINE = ("IPNDMScheduler", "SCMScheduler")  # their networks predict v, of samples divided by sigma_data


class Resolved(NamedTuple):
    """What a configuration means: how to step, the model's noise levels, and what its network predicts."""

    scheduler: Scheduler
    schedule: NoiseSchedule
    prediction: Prediction


def resolve(name: str, config: Mapping[str, Any], near: Scheduler, compat: bool) -> Resolved:
    """The parts of a configuration that is complete.

    near: the scheduler of the class's method, right. compat: diffusers' values instead of it.
    """
    schedule, prediction = _schedule(name, config), _prediction(name, config)
    grid = _grid(name, config)
    scheduler = near if grid is None else replace(near, grid=grid)
    if compat:
        scheduler = Preset.near(scheduler, CLASSES[name].values(config), "diffusers")
    return Resolved(scheduler, schedule, prediction)


def completed(config: Mapping[str, Any], compat: bool) -> tuple[str, dict[str, Any]]:
    """The class's name, and its configuration with the defaults of what is not given.

    compat: whether a preset is to be made of it.
    Raises InputError with the three nearest classes, and where a value is not known or of another kind.
    """
    name = _class_of(typed("config", config, Mapping))
    defaults = CLASSES[name].defaults
    full = {**defaults, **{key: value for key, value in config.items() if value is not None}}
    for key, default in defaults.items():
        if type(default) in (bool, int, float, str):
            typed(key, full[key], type(default), default)
    for key, kind in _KINDS_OF.items():
        if key in full:
            full[key] = typed(key, full[key], kind)
    flow = _THOUSAND if full.get("use_flow_sigmas") else {}
    _check_known(name, full, {**_EVERYWHERE, **_CHOICES.get(name, {}), **flow})
    if compat:
        _check_known(name, full, {**_IN_PRESETS, **_PRESETS_OF.get(name, {})}, " Leave compat out.")
        flow_sigmas = bool(full.get("use_flow_sigmas"))
        if full.get("prediction_type") == ("v_prediction" if flow_sigmas else "flow_prediction"):
            raise InputError(
                f"prediction_type is {full['prediction_type']!r} and use_flow_sigmas {flow_sigmas}, which in diffusers "
                "do not belong together. Leave compat out, or change one."
            )
        betas, steps = full.get("trained_betas"), full.get("num_train_timesteps")
        if betas is not None and len(betas) != steps:  # by which diffusers lays out times
            raise InputError(
                f"trained_betas has {len(betas)} values and num_train_timesteps is {steps}; set it to {len(betas)}, "
                "or leave compat out."
            )
    return name, full


def _check_known(name: str, full: dict[str, Any], choices: Choices, way: str = "") -> None:
    """Raises InputError for a value that is none of the choices; a sibling class's word becomes the first of them."""
    for key, known in choices.items():
        if key not in full or full[key] in known:
            continue
        if full[key] not in _SIBLINGS:
            raise InputError(
                f"{key} is {full[key]!r}; known for {name} are {', '.join(map(str, known))}.{way}"
            )
        full[key] = known[0]


def _class_of(config: Mapping[str, Any]) -> str:
    given = str(config.get("_class_name"))
    name = ALIASES.get(given.removeprefix("Flax"), given.removeprefix("Flax"))
    if name not in CLASSES:
        close = difflib.get_close_matches(name, CLASSES, n=3, cutoff=0.0)
        raise InputError(f"scheduler class {given!r} is not known; the nearest are {', '.join(close)}.")
    return name


def _schedule(name: str, config: Mapping[str, Any]) -> NoiseSchedule:
    if name in _ON_COSINE:
        return Cosine()
    if name.startswith(("EDM", "CM")):
        return EDM(config["sigma_min"], config["sigma_max"])
    if name.startswith("FlowMatch"):
        return Flow(shift=config["shift"], start=1e-3)
    if config.get("use_flow_sigmas"):
        return Flow(shift=config.get("flow_shift", 1.0), start=1e-3)
    steps, ends = config["num_train_timesteps"], (config["beta_start"], config["beta_end"])
    if config.get("trained_betas") is not None:
        table = DiscreteVP.from_betas(config["trained_betas"])
    elif config["beta_schedule"] == "squaredcos_cap_v2":
        table = DiscreteVP.cosine(steps)
    elif config["beta_schedule"] in ("linear", "scaled_linear", "sigmoid"):
        table = getattr(DiscreteVP, config["beta_schedule"])(*ends, steps)
    else:
        raise InputError(
            f"beta_schedule is {config['beta_schedule']!r}; give linear, scaled_linear, squaredcos_cap_v2 or sigmoid."
        )
    return table.zero_terminal_snr() if config.get("rescale_betas_zero_snr") else table


def _prediction(name: str, config: Mapping[str, Any]) -> Prediction:
    if name.startswith("FlowMatch"):
        return predictions.get("flow")
    if name in _ON_COSINE:
        return predictions.get("velocity")
    if name.startswith("CM"):
        return Consistency(config["sigma_data"], config["sigma_min"])
    kind = config.get("prediction_type", "epsilon")
    if name.startswith("EDM"):
        if kind != "epsilon":
            raise InputError(f"prediction_type is {kind!r}; the EDM classes are known with epsilon only.")
        return predictions.Preconditioned(config["sigma_data"])
    if kind not in _PREDICTIONS:
        raise InputError(f"prediction_type is {kind!r}; give one of {', '.join(_PREDICTIONS)}.")
    return predictions.get(_PREDICTIONS[kind])


def _grid(name: str, config: Mapping[str, Any]) -> grids.Grid | None:
    """The right grid of the settings; None for the method's own."""
    kind = config["sigma_schedule"] if name.startswith("EDM") else sigmas(config)
    if kind == "karras" and "rho" in config:
        return grids.Karras(config["rho"])
    if kind in _GRIDS:
        return _GRIDS[kind]
    if name.startswith("CM"):
        return grids.Distilled(config["num_train_timesteps"])
    if name.startswith(("FlowMatch", "SCM")):
        return grids.Trailing()
    spacing = config.get("timestep_spacing")
    offset = config.get("steps_offset", 0)
    if spacing == "linspace" and ("solver_order" in config or "predictor_order" in config):
        return grids.SGMUniform()
    known: dict[Any, grids.Grid] = {
        "leading": grids.Leading(offset),
        "trailing": grids.Trailing(),
        "linspace": grids.Linspace(),
    }
    return known.get(spacing)
