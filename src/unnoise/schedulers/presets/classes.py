"""diffusers' scheduler classes by name: their defaults, and what reproduces each."""

from __future__ import annotations

import math
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
_OWN = {**_TABLE, "timestep_spacing": "linspace", "steps_offset": 0, "prediction_type": "epsilon"}
_LEADING = {**_OWN, "timestep_spacing": "leading"}
_LATENT = {"beta_start": 0.00085, "beta_end": 0.012}
_MULTISTEP = {**_OWN, "solver_order": 2, "lower_order_final": True}
_KIND = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint", "final_sigmas_type": "zero"}
_ENDS = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
_EDM = {**_ENDS, "sigma_schedule": "karras", "rho": 7.0, "final_sigmas_type": "zero"}
_SA = {"predictor_order": 2, "corrector_order": 2, "algorithm_type": "data_prediction"}
_BH = {"final_sigmas_type": "zero", "solver_type": "bh2", "predict_x0": True, "disable_corrector": ()}
_DISTILLED = {"prediction_type": "epsilon", "original_inference_steps": 50, "timestep_scaling": 10.0}
_LCM = {**_TABLE, **_LATENT, "beta_schedule": "scaled_linear", **_DISTILLED}


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


def _spacing(config: Config) -> tuple[str, int]:
    return config["timestep_spacing"], config["steps_offset"]


def _order(config: Config) -> tuple[int, dpm_rules.Algorithm, dpm_rules.Kind, bool]:
    kind = config["algorithm_type"], config["solver_type"]
    return config["solver_order"], *kind, config["lower_order_final"]


def _in_sigma(method: str, defaults: Config, rule: Rule, whole: bool = False) -> Class:
    """A class with nothing to set but its levels."""

    def values(config: Config) -> Values:
        final = config.get("final_sigmas_type", "zero")
        return rungs.SigmaRungs(*_spacing(config), sigmas(config), final, whole), rule

    return Class(method, defaults, values)


def _dpm(config: Config, final: str | None = None, gentle: bool = False, cosine: bool = False) -> Rungs:
    kind, last = sigmas(config), final or config["final_sigmas_type"]
    if kind == "flow":
        return rungs.DPMFlowRungs(config.get("flow_shift", 1.0), last, gentle)
    clipped = float(config.get("lambda_min_clipped", -math.inf))
    return rungs.DPMRungs(*_spacing(config), kind, last, clipped, cosine)


def _table(config: Config) -> Rungs:
    return rungs.TableRungs(*_spacing(config))


def _edm(config: Config, least: str = "sigma_min") -> Rungs:
    final = "zero" if config["final_sigmas_type"] == "zero" else least
    return rungs.EDMRungs(config["sigma_schedule"], final, config["rho"])


def _multistep(config: Config) -> Rule:
    return dpm_rules.DPMMultistep(*_order(config), config["euler_at_final"])


def _singlestep(config: Config) -> Values:
    if config["algorithm_type"].startswith("sde"):
        raise InputError(
            f"algorithm_type is {config['algorithm_type']!r}; the preset knows dpmsolver++ and dpmsolver. "
            "Leave compat out."
        )
    levels = _dpm({**config, "timestep_spacing": "linspace", "steps_offset": 0})
    return levels, dpm_rules.DPMSinglestep(*_order(config))


def _unipc(config: Config) -> Values:
    final = "last" if config["final_sigmas_type"] == "sigma_min" else "zero"
    kind = config["solver_order"], config["solver_type"], config["predict_x0"]
    rule = dpm_rules.UniPCRule(*kind, config["lower_order_final"], config["disable_corrector"])
    return _dpm(config, final, gentle=True), rule


def _deis(config: Config) -> Values:
    return _dpm(config, "last"), dpm_rules.DEISRule(config["solver_order"], config["lower_order_final"])


def _sa(config: Config) -> Values:
    data, tau = config["algorithm_type"] == "data_prediction", config.get("tau_func") or sa_rule.middle
    orders = config["predictor_order"], config["corrector_order"]
    return _dpm(config, "last"), sa_rule.SARule(*orders, data, config["lower_order_final"], tau)


def _pndm(config: Config) -> Values:
    one, warm = config["set_alpha_to_one"], not config["skip_prk_steps"]
    return _table(config), pndm_rules.PNDMRule(one, warm, config["prediction_type"] == "v_prediction")


def _distilled(config: Config) -> Rungs:
    return rungs.DistilledRungs(config["original_inference_steps"])


def _consistency(config: Config) -> Values:
    rule = distilled_rules.ConsistencyRule(config["sigma_min"], config["s_noise"])
    return rungs.ConsistencyRungs(config["num_train_timesteps"], config["rho"]), rule


def _flow_euler(config: Config) -> Values:
    renoised = config["stochastic_sampling"]
    rule = distilled_rules.ConsistencyRule() if renoised else ddpm_rules.FlowEulerRule()
    return rungs.FlowRungs(config["shift"], sigmas(config)), rule


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
    "LMSDiscreteScheduler": _in_sigma("LMS", _OWN, sigma_rules.LMSRule(forgets=True)),
    "EulerDiscreteScheduler": _in_sigma("Euler", {**_OWN, "final_sigmas_type": "zero"}, sigma_rules.Euler()),
    "EulerAncestralDiscreteScheduler": _in_sigma("Euler a", _OWN, sigma_rules.Euler(1.0)),
    "HeunDiscreteScheduler": _in_sigma("Heun", {**_OWN, **_LATENT}, sigma_rules.HeunRule()),
    "KDPM2DiscreteScheduler": _in_sigma("DPM2", {**_OWN, **_LATENT}, sigma_rules.MidpointRule(), whole=True),
    "KDPM2AncestralDiscreteScheduler": _in_sigma(
        "DPM2 a", {**_OWN, **_LATENT}, sigma_rules.MidpointRule(1.0), whole=True
    ),
    "DPMSolverSDEScheduler": _in_sigma("DPM++ SDE", {**_OWN, **_LATENT}, sigma_rules.SDERule()),
    "DPMSolverMultistepScheduler": Class(
        "DPM++ 2M",
        {**_MULTISTEP, **_KIND, "euler_at_final": False},
        lambda c: (_dpm(c, cosine=c["beta_schedule"] == "squaredcos_cap_v2"), _multistep(c)),
    ),
    "DPMSolverSinglestepScheduler": Class(
        "DPM++ 2S", {**_MULTISTEP, **_KIND, "lower_order_final": False}, _singlestep
    ),
    "DEISMultistepScheduler": Class("DEIS", _MULTISTEP, _deis),
    "UniPCMultistepScheduler": Class("UniPC", {**_MULTISTEP, **_BH}, _unipc),
    "SASolverScheduler": Class("SA-Solver", {**_OWN, **_SA, "lower_order_final": True}, _sa),
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
        "LCM", {"num_train_timesteps": 40, **_ENDS, "s_noise": 1.0, "rho": 7.0}, _consistency
    ),
    "IPNDMScheduler": Class("IPNDM", {}, lambda c: (rungs.IPNDMRungs(), pndm_rules.IPNDMRule())),
    "EDMEulerScheduler": Class("Euler", _EDM, lambda c: (_edm(c, "last"), sigma_rules.Euler())),
    "EDMDPMSolverMultistepScheduler": Class(
        "DPM++ 2M",
        {**_EDM, **_KIND, "solver_order": 2, "lower_order_final": True, "euler_at_final": False},
        lambda c: (_edm(c), _multistep(c)),
    ),
    "FlowMatchEulerDiscreteScheduler": Class(
        "Euler",
        {"shift": 1.0, "num_train_timesteps": 1000, "stochastic_sampling": False},
        _flow_euler,
    ),
    "FlowMatchHeunDiscreteScheduler": Class(
        "Heun",
        {"shift": 1.0, "num_train_timesteps": 1000},
        lambda c: (rungs.FlowRungs(c["shift"], "own"), ddpm_rules.FlowHeunRule()),
    ),
}
"""What diffusers 0.42 calls its classes, and their defaults where a value depends on them."""

ALIASES = {"DDPMParallelScheduler": "DDPMScheduler", "DDIMParallelScheduler": "DDIMScheduler"}
"""Classes with the same values."""
