"""Every class of diffusers that has a preset: same times, same samples at every step, on pairs of all settings."""

import dataclasses
import inspect
import itertools
import math
import random

import diffusers
import pytest
import torch

from parity.peers import diffusers_class, network, ours, plan_scale, start, theirs
from unnoise.errors import InputError
from unnoise.process import Flow
from unnoise.schedulers import names
from unnoise.schedulers.presets.classes import ALIASES, CLASSES

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # diffusers, NumPy 2
    pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning"),  # algorithms that diffusers will drop
]

COUNTS = (1, 2, 5, 7, 14, 15, 20, 50)
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
OFFSET = {"timestep_spacing": "leading", "steps_offset": 1}
SPACINGS = [{"timestep_spacing": kind} for kind in ("leading", "linspace", "trailing")] + [OFFSET]
SIGMAS = [{}, *({f"use_{kind}_sigmas": True} for kind in ("karras", "exponential", "beta"))]
BETAS = [{}, SCALED, COSINE]
PREDICTED = [{"prediction_type": kind} for kind in ("epsilon", "sample", "v_prediction")]
ORDERS = [{"solver_order": order} for order in (1, 2, 3)]
PLAIN = [{"clip_sample": False}]
ENTRY = [{}, {"entry": True}]
MULTISTEP = [
    {"algorithm_type": f"{noise}dpmsolver{data}", "final_sigmas_type": "zero" if data else "sigma_min"}
    for noise in ("", "sde-")
    for data in ("", "++")
]
KINDS = [{"solver_type": kind} for kind in ("midpoint", "heun")]
FINALS = [{"final_sigmas_type": kind} for kind in ("zero", "sigma_min")]
NOISE_OR_VELOCITY = [PREDICTED[0], PREDICTED[2]]
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SHIFTS = [{"shift": 1.0}, {"shift": 3.0}]
FLOW_SHIFTS = [{**FLOW, "flow_shift": 1.0}, {**FLOW, "flow_shift": 3.0}]
EDM = [{"sigma_schedule": kind} for kind in ("karras", "exponential")]


def no_tau(time):
    return 0.0


def full_tau(time):
    return 1.0


AXES = {
    "DDPM": [
        BETAS,
        SPACINGS,
        PREDICTED,
        [{"variance_type": f"fixed_{v}"} for v in ("small", "large")],
        PLAIN,
    ],
    "DDIM": [
        BETAS,
        SPACINGS,
        PREDICTED,
        [{"set_alpha_to_one": v} for v in (True, False)],
        [{"eta": eta} for eta in (0.0, 0.7, 1.0)],
        PLAIN,
        ENTRY,
    ],
    "PNDM": [
        BETAS,
        SPACINGS,
        NOISE_OR_VELOCITY,
        [{"skip_prk_steps": v} for v in (True, False)],
        [{"set_alpha_to_one": v} for v in (True, False)],
        ENTRY,
    ],
    "IPNDM": [[{}]],
    "SCM": [[{"sigma_data": 1.0}]],
    "CMStochasticIterative": [
        [{"clip_denoised": False}],
        [{}, {"s_noise": 0.7}, {"sigma_max": 20.0, "rho": 5.0}],
    ],
    "LMSDiscrete": [BETAS, SPACINGS, PREDICTED, SIGMAS, ENTRY],
    "EulerDiscrete": [BETAS, SPACINGS, PREDICTED, SIGMAS, FINALS, ENTRY],
    "EulerAncestralDiscrete": [BETAS, SPACINGS, NOISE_OR_VELOCITY, ENTRY],
    "HeunDiscrete": [BETAS, SPACINGS, PREDICTED, SIGMAS, ENTRY],
    "KDPM2Discrete": [BETAS, SPACINGS, NOISE_OR_VELOCITY, SIGMAS, ENTRY],
    "KDPM2AncestralDiscrete": [BETAS[:2], SPACINGS, NOISE_OR_VELOCITY, SIGMAS],
    "DPMSolverSDE": [BETAS, SPACINGS, NOISE_OR_VELOCITY, SIGMAS],
    "DPMSolverMultistep": [
        BETAS,
        SPACINGS,
        PREDICTED,
        [*SIGMAS, {"use_lu_lambdas": True}],
        MULTISTEP,
        KINDS,
        ORDERS,
        [{"lower_order_final": True}, {"lower_order_final": False}, {"euler_at_final": True}],
        ENTRY,
    ],
    "DPMSolverSinglestep": [BETAS, PREDICTED, SIGMAS, MULTISTEP[:2], KINDS, ORDERS],
    "UniPCMultistep": [
        BETAS,
        SPACINGS,
        PREDICTED,
        SIGMAS,
        ORDERS,
        [{"solver_type": kind} for kind in ("bh1", "bh2")],
        [
            {"predict_x0": True},
            {"predict_x0": True, "final_sigmas_type": "sigma_min"},
            {"predict_x0": False, "final_sigmas_type": "sigma_min"},
        ],
        [{}, {"disable_corrector": [0, 2]}],
        ENTRY,
    ],
    "DEISMultistep": [BETAS, SPACINGS, PREDICTED, SIGMAS, ORDERS, ENTRY],
    "SASolver": [
        BETAS,
        SPACINGS,
        PREDICTED,
        SIGMAS,
        [{"predictor_order": order} for order in (1, 2, 3, 4)],
        [{"corrector_order": order} for order in (1, 2, 3, 4)],
        [{}, {"tau_func": no_tau}, {"tau_func": full_tau}],
        [{"algorithm_type": f"{kind}_prediction"} for kind in ("data", "noise")],
        [{"lower_order_final": v} for v in (True, False)],
    ],
    "LCM": [PREDICTED, [{"original_inference_steps": n} for n in (50, 100)]],
    "TCD": [PREDICTED, [{"eta": eta} for eta in (0.0, 0.3, 1.0)]],
    "EDMEuler": [EDM, [{}, {"rho": 5.0}]],
    "EDMDPMSolverMultistep": [
        EDM,
        [{}, {"rho": 5.0}],
        ORDERS,
        KINDS,
        [{"euler_at_final": v} for v in (True, False)],
    ],
    "FlowMatchEulerDiscrete": [SHIFTS, SIGMAS, [{}, {"stochastic_sampling": True}], ENTRY],
    "FlowMatchHeunDiscrete": [SHIFTS],
}
MORE = [
    *((name, ZERO_SNR | SCALED) for name in ("EulerDiscrete", "EulerAncestralDiscrete")),
    *((name, ZERO_SNR | SCALED) for name in ("DPMSolverMultistep", "UniPCMultistep")),
    *((name, ZERO_SNR | PLAIN[0]) for name in ("DDIM", "DDPM")),
    *(
        (name, flow)
        for name in ("DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "SASolver")
        for flow in FLOW_SHIFTS
    ),
]


def pairs(axes):
    """A list of choices that holds every pair of values of any two axes; greedy, always the same."""
    chance = random.Random(11)
    places = [range(len(axis)) for axis in axes]
    left = {
        ((i, a), (j, b))
        for i, j in itertools.combinations(range(len(axes)), 2)
        for a in places[i]
        for b in places[j]
    }
    chosen = []
    while left:
        tries = [tuple(chance.choice(place) for place in places) for _ in range(60)]
        best = max(tries, key=lambda row: len(left & set(itertools.combinations(enumerate(row), 2))))
        gone = left & set(itertools.combinations(enumerate(best), 2))
        if gone:
            left -= gone
            chosen.append([axis[k] for axis, k in zip(axes, best, strict=True)])
    return chosen


def cases():
    for name, axes in AXES.items():
        for row in pairs([[{"count": count} for count in COUNTS], *axes]):
            yield name, {key: value for part in row for key, value in part.items()}
    for name, settings in MORE:
        for count in (1, 2, 7, 20):
            yield name, {**settings, "count": count}


def sensible(name, config):
    """Not what diffusers itself cannot do, or only in rounding errors."""
    count, final = config["count"], config.get("final_sigmas_type")
    noise = config.get("algorithm_type", "").endswith("dpmsolver") or config.get("predict_x0") is False
    karras = config.get("use_karras_sigmas") or config.get("use_exponential_sigmas")
    lambdas = karras or config.get("use_lu_lambdas") or config.get("use_beta_sigmas")
    cosine = config.get("beta_schedule") == COSINE["beta_schedule"]
    if name.startswith("DPMSolver") and lambdas and final == "sigma_min":
        return False  # the last step has no length: 0 / 0 in second order
    if config.get("algorithm_type") == "sde-dpmsolver" and config["solver_order"] == 3:
        return False  # there is none
    if name == "PNDM" and (count < 4 or config.get("entry")) and not config["skip_prk_steps"]:
        return False  # an error there
    if name == "CMStochasticIterative" and count > 40:
        return False
    if name == "DPMSolverSinglestep" and count < config["solver_order"]:
        return False
    if cosine and noise:
        return False  # alpha grows by thousands in a step, and float32's error with it
    if config.get("solver_type") == "bh1" and final != "sigma_min":
        return False  # B(h) = h is infinite at sigma 0, and the result not a number
    return not (cosine and lambdas and name != "DPMSolverMultistep")  # from sigma 20,000, float32 cancels


CASES = [case for case in cases() if sensible(*case)]


def test_the_matrix_is_as_large_as_said():
    assert len(CASES) >= 220


@pytest.mark.parametrize(("name", "config"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_every_step_is_that_of_diffusers(name, config):
    config = dict(config)
    count = config.pop("count")
    entry = count // 2 if config.pop("entry", False) else 0
    compare(f"{name}Scheduler", count, entry, config)


@pytest.mark.parametrize("name", ["DDPM", "DDIM", "HeunDiscrete", "LCM"])
@pytest.mark.parametrize("count", [3, 10])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_clipped_x0_is_clipped_alike(name, count, prediction):
    bound = {"clip_sample": True, "clip_sample_range": 0.5}
    compare(f"{name}Scheduler", count, 0, {**SCALED, **bound, "prediction_type": prediction}, clip=0.5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_clipped_x0_goes_with_the_noise_of_the_unclipped_one_in_ddim(eta):
    config = {"clip_sample": True, "timestep_spacing": "trailing", "prediction_type": "sample", "eta": eta}
    compare("DDIMScheduler", 7, 0, config, clip=1.0)


@pytest.mark.parametrize("final", ["zero", "sigma_min"])
@pytest.mark.parametrize("kind", ["karras", "exponential"])
def test_one_edm_euler_step_ends_at_the_grid_s_own_last_sigma(kind, final):
    compare("EDMEulerScheduler", 1, 0, {"sigma_schedule": kind, "final_sigmas_type": final})


def compare(name, count, entry, config, clip=None):
    options = {"eta": config.pop("eta")} if "eta" in config else {}
    resolved = names.from_config({"_class_name": name, **config, **options}, compat="diffusers")
    plan = dataclasses.replace(resolved.scheduler, start=entry).plan(resolved.schedule, count)
    first = plan.levels[0]
    x = start() * plan_scale(first)
    unscaled = name.endswith("DiscreteScheduler") or name == "DPMSolverSDEScheduler"
    if unscaled and not isinstance(resolved.schedule, Flow):
        x = x / first.alpha  # their sample is u = x / alpha
    scale = 1e-3 if isinstance(resolved.schedule, Flow) or name.startswith("CM") else 1.0
    peer = diffusers_class(name)(**config)
    times, inputs, last = ours(plan, resolved.prediction, clip=clip, by_step=name.startswith("SASolver"))
    setting = None
    if name.startswith("SCM"):
        scale, setting = 2 / math.pi, {} if count == 2 else {"intermediate_timesteps": None}
    their_times, their_inputs, their_last = theirs(
        peer, count, x, entry=entry, scale=scale, setting=setting, **options
    )
    if unscaled:
        their_last = their_last * plan.levels[-1].alpha
    assert times == pytest.approx(their_times, rel=1e-6, abs=1e-6)
    # float32 there, float64 here; a step that multiplies x by much multiplies their rounding too.
    growth = max(float(step.to.alpha) / max(float(step.start.alpha), 1e-9) for step in plan.steps)
    noisy = config.get("algorithm_type", "").endswith(("dpmsolver", "noise_prediction"))
    noisy = noisy or config.get("predict_x0") is False
    tolerance = 2e-6 * (max(1.0, growth / 4.0) if noisy or name.startswith("DEIS") else 1.0)
    if name.startswith("DEIS") and config.get("solver_order") == 3:
        tolerance = 2e-5  # its float32 coefficients cancel; the last bit of a logarithm shows
    if config.get("algorithm_type") == "noise_prediction" and config["prediction_type"] == "v_prediction":
        tolerance = 5e-4 if config["predictor_order"] > 2 else 1e-5  # alpha^2 + sigma^2 is not 1 in float32
    if name.startswith("CM"):
        tolerance = 4e-6  # sigma - sigma_min in float32
    for mine, other in zip([*inputs, last], [*their_inputs, their_last], strict=True):
        assert (mine - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("name", [name for name in CLASSES if name in dir(diffusers)])
def test_defaults_are_those_of_the_class(name):
    given = inspect.signature(diffusers_class(name).__init__).parameters
    for key, value in CLASSES[name].defaults.items():
        if key in given and key != "disable_corrector":
            assert given[key].default == value, key


def test_scm_s_samples_are_ours_times_sigma_data():
    found = names.from_config({"_class_name": "SCMScheduler"}, compat="diffusers")
    *_, last = ours(found.scheduler.plan(found.schedule, 2), found.prediction)
    *_, theirs_last = theirs(
        diffusers.SCMScheduler(),  # sigma_data 0.5
        2,
        0.5 * start(),
        model=lambda x, t: 0.5 * network(x / 0.5, t),
        scale=2 / math.pi,
        setting={},
    )
    assert (0.5 * last - theirs_last).abs().max() <= 2e-6 * theirs_last.abs().max()


def test_a_consistency_model_s_x0_is_clipped_alike():
    compare("CMStochasticIterativeScheduler", 4, 0, {"clip_denoised": True}, clip=1.0)


@pytest.mark.parametrize(("steps", "entered"), [(3, 0), (8, 2)])
def test_the_runge_kutta_warm_up_is_refused_where_diffusers_has_none(steps, entered):
    found = names.from_config({"_class_name": "PNDMScheduler"}, compat="diffusers")
    with pytest.raises(InputError, match="4 steps or more, not"):
        dataclasses.replace(found.scheduler, start=entered).plan(found.schedule, steps)


def test_unipc_with_bh1_and_a_last_sigma_of_zero_is_not_a_number_in_diffusers():
    peer = diffusers.UniPCMultistepScheduler(solver_type="bh1", final_sigmas_type="zero")
    assert theirs(peer, 5, start())[2].isnan().all()


def test_aliases_have_the_values_of_their_class():
    for alias, name in ALIASES.items():
        peer, same = diffusers_class(alias)(), diffusers_class(name)()
        assert torch.equal(peer.alphas_cumprod, same.alphas_cumprod)


def test_a_configuration_that_diffusers_refuses_or_does_not_have_is_refused():
    for config in (
        {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True, "use_beta_sigmas": True},
        {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "even"},
        {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "even"},
        {"_class_name": "EulerDiscreteScheduler", "prediction_type": "both"},
    ):
        with pytest.raises(InputError):
            names.from_config(config, compat="diffusers").scheduler.plan(
                names.from_config({"_class_name": "EulerDiscreteScheduler"}).schedule, 4
            )
    with pytest.raises(InputError, match="EulerDiscreteScheduler"):
        names.from_config({"_class_name": "EulerDiscretScheduler"})


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize(
    "cls",
    [
        "EulerDiscrete",
        "EulerAncestralDiscrete",
        "HeunDiscrete",
        "LMSDiscrete",
        "KDPM2Discrete",
        "DPMSolverMultistep",
    ],
)
def test_a_run_begins_with_noise_of_diffusers_size(cls, spacing):
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    config |= {"timestep_spacing": spacing, "steps_offset": 1}
    peer = diffusers_class(f"{cls}Scheduler")(**config)
    peer.set_timesteps(10)
    found = names.from_config({"_class_name": f"{cls}Scheduler", **config}, compat="diffusers")
    plan = found.scheduler.plan(found.schedule, 10)
    # Theirs is in units of u = x / alpha for the classes that step in sigma.
    scale = 1.0 if cls.startswith("DPM") else float(plan.levels[0].alpha)
    assert plan.initial(torch.ones(1)).item() == pytest.approx(scale * float(peer.init_noise_sigma), rel=1e-6)
    assert plan.stepper().init_noise_sigma == pytest.approx(plan.start_scale)
