"""diffusers' scheduler classes by name: their defaults, and what reproduces each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.errors import InputError
from unnoise.schedulers.presets import (
    ddpm_rules,
    distilled_rules,
    dpm_rules,
    pndm_rules,
    rungs,
    sa_rule,
    sigma_rules,
)
from unnoise.schedulers.presets.path import Rungs
from unnoise.schedulers.presets.preset import Rule

Config = Mapping[str, Any]
Values = tuple[Rungs, Rule]

_TABLE = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02, "num_train_timesteps": 1000}
_SPACED = {"timestep_spacing": "linspace", "steps_offset": 0, "prediction_type": "epsilon"}
_LATENT = {"beta_start": 0.00085, "beta_end": 0.012}
_MULTISTEP = {**_TABLE, **_SPACED, "solver_order": 2, "lower_order_final": True}


@dataclass(frozen=True)
class Class:
    """A class's name there, the name of its method here, its defaults, and its values."""

    method: str
    defaults: Config
    values: Callable[[Config], Values]


def sigmas(config: Config) -> rungs.Sigmas:
    """Which of the use_..._sigmas flags is set."""
    flags: dict[str, rungs.Sigmas] = {
        "use_karras_sigmas": "karras",
        "use_exponential_sigmas": "exponential",
        "use_beta_sigmas": "beta",
        "use_lu_lambdas": "lu",
        "use_flow_sigmas": "flow",
    }
    chosen = [kind for flag, kind in flags.items() if config.get(flag)]
    if len(chosen) > 1:
        raise InputError(
            f"the configuration asks for {' and '.join(chosen)} sigmas at once; set one of the flags."
        )
    return chosen[0] if chosen else "own"


def _sigma(config: Config, whole: bool = False) -> rungs.SigmaRungs:
    return rungs.SigmaRungs(
        config["timestep_spacing"],
        config["steps_offset"],
        sigmas(config),
        config.get("final_sigmas_type", "zero"),
        whole,
    )


def _dpm(
    config: Config, final: str | None = None, gentle: bool = False, cosine: bool = False
) -> rungs.DPMRungs:
    return rungs.DPMRungs(
        config["timestep_spacing"],
        config["steps_offset"],
        sigmas(config),
        final or config["final_sigmas_type"],
        config.get("flow_shift", 1.0),
        float(config.get("lambda_min_clipped", "-inf")),
        gentle,
        cosine,
    )


def _table(config: Config) -> rungs.TableRungs:
    return rungs.TableRungs(config["timestep_spacing"], config["steps_offset"])


def _multistep(config: Config) -> Values:
    rule = dpm_rules.DPMMultistep(
        config["solver_order"],
        config["algorithm_type"],
        config["solver_type"],
        config["lower_order_final"],
        config["euler_at_final"],
        config["final_sigmas_type"] == "zero",
    )
    return _dpm(config, cosine=config["beta_schedule"] == "squaredcos_cap_v2"), rule


def _singlestep(config: Config) -> Values:
    rule = dpm_rules.DPMSinglestep(
        config["solver_order"],
        config["algorithm_type"],
        config["solver_type"],
        config["lower_order_final"],
        config["final_sigmas_type"] == "zero",
    )
    return _dpm({**config, "timestep_spacing": "linspace", "steps_offset": 0}), rule


def _unipc(config: Config) -> Values:
    final = "last" if config["final_sigmas_type"] == "sigma_min" else "zero"
    rule = dpm_rules.UniPCRule(
        config["solver_order"],
        config["solver_type"],
        config["predict_x0"],
        config["lower_order_final"],
        tuple(config["disable_corrector"]),
    )
    return _dpm(config, final, gentle=True), rule


def _deis(config: Config) -> Values:
    return _dpm(config, "last"), dpm_rules.DEISRule(config["solver_order"], config["lower_order_final"])


def _sa(config: Config) -> Values:
    rule = sa_rule.SARule(
        config["predictor_order"],
        config["corrector_order"],
        config["algorithm_type"] == "data_prediction",
        config["lower_order_final"],
        config.get("tau_func") or sa_rule.middle,
    )
    return _dpm(config, "last"), rule


def _pndm(config: Config) -> Values:
    velocity = config["prediction_type"] == "v_prediction"
    return _table(config), pndm_rules.PNDMRule(
        config["set_alpha_to_one"], not config["skip_prk_steps"], velocity
    )


def _distilled(config: Config) -> rungs.TableRungs:
    return rungs.TableRungs(distilled=config["original_inference_steps"])


def _edm(config: Config) -> rungs.EDMRungs:
    return rungs.EDMRungs(config["sigma_schedule"], config["final_sigmas_type"])


def _edm_multistep(config: Config) -> Values:
    return _edm(config), _multistep(
        {**config, "timestep_spacing": "", "steps_offset": 0, "beta_schedule": ""}
    )[1]


_DPM = {**_MULTISTEP, "final_sigmas_type": "zero", "algorithm_type": "dpmsolver++", "solver_type": "midpoint"}
_LCM = {
    **_TABLE,
    **_LATENT,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "original_inference_steps": 50,
    "timestep_scaling": 10.0,
}
_EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "sigma_schedule": "karras"}
_LEADING = {**_TABLE, **_SPACED, "timestep_spacing": "leading"}

CLASSES: dict[str, Class] = {
    "DDPMScheduler": Class(
        "DDPM",
        {**_LEADING, "variance_type": "fixed_small"},
        lambda c: (_table(c), ddpm_rules.DDPMRule(c["variance_type"].removesuffix("_log"))),
    ),
    "DDIMScheduler": Class(
        "DDIM",
        {**_LEADING, "set_alpha_to_one": True},
        lambda c: (_table(c), ddpm_rules.DDIMRule(c.get("eta", 0.0), c["set_alpha_to_one"])),
    ),
    "PNDMScheduler": Class("PLMS", {**_LEADING, "set_alpha_to_one": False, "skip_prk_steps": False}, _pndm),
    "LMSDiscreteScheduler": Class(
        "LMS", {**_TABLE, **_SPACED}, lambda c: (_sigma(c), sigma_rules.LMSRule(forgets=True))
    ),
    "EulerDiscreteScheduler": Class(
        "Euler",
        {**_TABLE, **_SPACED, "final_sigmas_type": "zero"},
        lambda c: (_sigma(c), sigma_rules.Euler()),
    ),
    "EulerAncestralDiscreteScheduler": Class(
        "Euler a", {**_TABLE, **_SPACED}, lambda c: (_sigma(c), sigma_rules.Euler(1.0))
    ),
    "HeunDiscreteScheduler": Class(
        "Heun", {**_TABLE, **_LATENT, **_SPACED}, lambda c: (_sigma(c), sigma_rules.HeunRule())
    ),
    "KDPM2DiscreteScheduler": Class(
        "DPM2", {**_TABLE, **_LATENT, **_SPACED}, lambda c: (_sigma(c, True), sigma_rules.MidpointRule())
    ),
    "KDPM2AncestralDiscreteScheduler": Class(
        "DPM2 a", {**_TABLE, **_LATENT, **_SPACED}, lambda c: (_sigma(c, True), sigma_rules.MidpointRule(1.0))
    ),
    "DPMSolverSDEScheduler": Class(
        "DPM++ SDE", {**_TABLE, **_LATENT, **_SPACED}, lambda c: (_sigma(c), sigma_rules.SDERule())
    ),
    "DPMSolverMultistepScheduler": Class("DPM++ 2M", {**_DPM, "euler_at_final": False}, _multistep),
    "DPMSolverSinglestepScheduler": Class("DPM++ 2S", {**_DPM, "lower_order_final": False}, _singlestep),
    "DEISMultistepScheduler": Class("DEIS", _MULTISTEP, _deis),
    "UniPCMultistepScheduler": Class(
        "UniPC",
        {
            **_MULTISTEP,
            "final_sigmas_type": "zero",
            "solver_type": "bh2",
            "predict_x0": True,
            "disable_corrector": (),
        },
        _unipc,
    ),
    "SASolverScheduler": Class(
        "SA-Solver",
        {
            **_TABLE,
            **_SPACED,
            "predictor_order": 2,
            "corrector_order": 2,
            "algorithm_type": "data_prediction",
            "lower_order_final": True,
        },
        _sa,
    ),
    "LCMScheduler": Class(
        "LCM", _LCM, lambda c: (_distilled(c), distilled_rules.LCMRule(c["timestep_scaling"]))
    ),
    "TCDScheduler": Class("TCD", _LCM, lambda c: (_distilled(c), distilled_rules.TCDRule(c.get("eta", 0.3)))),
    "SCMScheduler": Class(
        "LCM",
        {"sigma_data": 0.5, "prediction_type": "trigflow"},
        lambda c: (rungs.AngleRungs(), distilled_rules.ConsistencyRule()),
    ),
    "CMStochasticIterativeScheduler": Class(
        "LCM",
        {
            "num_train_timesteps": 40,
            "sigma_min": 0.002,
            "sigma_max": 80.0,
            "sigma_data": 0.5,
            "s_noise": 1.0,
            "rho": 7.0,
        },
        lambda c: (
            rungs.ConsistencyRungs(c["num_train_timesteps"], c["rho"]),
            distilled_rules.ConsistencyRule(c["sigma_min"], c["s_noise"]),
        ),
    ),
    "IPNDMScheduler": Class("IPNDM", {}, lambda c: (rungs.IPNDMRungs(), pndm_rules.IPNDMRule())),
    "EDMEulerScheduler": Class(
        "Euler", {**_EDM, "final_sigmas_type": "zero"}, lambda c: (_edm(c), sigma_rules.Euler())
    ),
    "EDMDPMSolverMultistepScheduler": Class(
        "DPM++ 2M",
        {
            **_EDM,
            "solver_order": 2,
            "algorithm_type": "dpmsolver++",
            "solver_type": "midpoint",
            "lower_order_final": True,
            "euler_at_final": False,
            "final_sigmas_type": "zero",
        },
        _edm_multistep,
    ),
    "FlowMatchEulerDiscreteScheduler": Class(
        "Euler",
        {"shift": 1.0, "num_train_timesteps": 1000, "stochastic_sampling": False},
        lambda c: (
            rungs.FlowRungs(c["shift"], sigmas(c), c["num_train_timesteps"]),
            ddpm_rules.FlowEulerRule(c["stochastic_sampling"]),
        ),
    ),
    "FlowMatchHeunDiscreteScheduler": Class(
        "Heun",
        {"shift": 1.0, "num_train_timesteps": 1000},
        lambda c: (rungs.FlowRungs(c["shift"], "own", c["num_train_timesteps"]), ddpm_rules.FlowHeunRule()),
    ),
}
"""What diffusers 0.42 calls its classes, and their defaults where a value depends on them."""

ALIASES = {
    "DDPMParallelScheduler": "DDPMScheduler",
    "DDIMParallelScheduler": "DDIMScheduler",
}
"""Classes with the same values."""
