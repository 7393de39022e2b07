"""k-diffusion's samplers in float64, on the presets' own levels: the same samples to rounding."""

import dataclasses
import itertools
import sys

import pytest
import torch

from parity.peers import Draws, k_sampling, network, ours, start
from unnoise.process import DiscreteVP
from unnoise.process import prediction as predictions
from unnoise.schedulers import finals, grids, names
from unnoise.schedulers.presets.path import FromGrid

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
]
k = k_sampling()
if k is None:
    pytest.skip(
        "k-diffusion is not here; pip install --no-deps k-diffusion==0.1.1.post1", allow_module_level=True
    )

SAMPLERS = {
    "Euler": ("sample_euler", {}),
    "Euler a": ("sample_euler_ancestral", {"noise": True}),
    "Heun": ("sample_heun", {}),
    "DPM2": ("sample_dpm_2", {}),
    "DPM2 a": ("sample_dpm_2_ancestral", {"noise": True}),
    "LMS": ("sample_lms", {}),
    "DPM++ 2S": ("sample_dpmpp_2s_ancestral", {"eta": 0.0}),
    "DPM++ 2S a": ("sample_dpmpp_2s_ancestral", {"noise": True}),
    "DPM++ SDE": ("sample_dpmpp_sde", {"noise": True}),
    "DPM++ 2M": ("sample_dpmpp_2m", {}),
    "DPM++ 2M SDE": ("sample_dpmpp_2m_sde", {"noise": True}),
    "DPM++ 2M SDE Heun": ("sample_dpmpp_2m_sde", {"noise": True, "solver_type": "heun"}),
    "DPM++ 3M SDE": ("sample_dpmpp_3m_sde", {"noise": True}),
    "DPM++ 3M": ("sample_dpmpp_3m_sde", {"eta": 0.0, "noise": True}),
}
SCHEDULES = {"scaled": DiscreteVP.scaled_linear(), "linear": DiscreteVP.linear()}
GRIDS = (None, "karras", "exponential")


def theirs(name, schedule, plan, kind):
    """Their sampler's result from the same start, with a denoiser that asks the same network."""
    sampler, options = SAMPLERS[name]
    options = dict(options)
    prediction = predictions.get(kind)
    sigmas = torch.tensor([float(level.ratio) for level in plan.levels], dtype=torch.float64)

    def denoiser(u, sigma):
        level = schedule.at_ratio(float(sigma[0]))
        x = u * level.alpha
        return prediction.sample(network(x, level.time), x, level)

    if options.pop("noise", False):
        draws = Draws()
        options["noise_sampler"] = lambda now, to: draws(like=sigmas)
    first = plan.levels[0]
    return getattr(k, sampler)(denoiser, start() / first.alpha, sigmas, disable=True, **options)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("schedule", "kind"), list(itertools.product(SCHEDULES, ("noise", "velocity"))))
@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_the_result_is_k_diffusion_s(name, schedule, kind, count):
    if count == 1 and ("M SDE" in name or "3M" in name):
        pytest.skip("k-diffusion's SDE samplers cannot take one step: they read a variable before it is set")
    grid = GRIDS[(count + len(name)) % 3]
    noise_schedule = SCHEDULES[schedule]
    plan = names.get(name, compat="k-diffusion", grid=grid).plan(noise_schedule, count)
    *_, mine = ours(plan, predictions.get(kind))
    other = theirs(name, noise_schedule, plan, kind)
    # One or two steps from sigma 157 multiply what the network's rounding leaves.
    assert (mine - other).abs().max() <= (1e-12 if count > 2 else 1e-11) * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("name", ["Euler", "LMS", "DPM++ 2M", "Heun"])
def test_a_picture_entered_in_the_middle_is_k_diffusion_s(name):
    schedule = SCHEDULES["scaled"]
    whole = names.get(name, compat="k-diffusion", grid="karras")
    plan = dataclasses.replace(whole, start=8).plan(schedule, 20)
    *_, mine = ours(plan, predictions.get("noise"))
    assert (mine - theirs(name, schedule, plan, "noise")).abs().max() <= 1e-12


@pytest.mark.parametrize("count", [2, 7, 30])
def test_grids_are_k_diffusion_s_to_its_float32(count):
    schedule = DiscreteVP.scaled_linear()
    low, high = float(schedule.cleanest.ratio), float(schedule.noisiest.ratio)
    for grid, made in (
        (grids.Karras(), k.get_sigmas_karras(count, low, high)),
        (grids.Exponential(), k.get_sigmas_exponential(count, low, high)),
        (grids.Polyexponential(2.0), k.get_sigmas_polyexponential(count, low, high, 2.0)),
    ):
        path = FromGrid(grid).path(schedule, count)
        assert path.w.float() == pytest.approx(made, rel=2e-5)


def test_the_stand_ins_are_taken_out_again():
    assert not {"torchvision", "torchsde", "k_diffusion.utils"} & {
        name for name, module in sys.modules.items() if getattr(module, "__file__", None) is None
    }


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8, 15])
def test_dpm_fast_is_k_diffusion_s_blocks(count):
    schedule, prediction = DiscreteVP.scaled_linear(), predictions.get("noise")
    plan = dataclasses.replace(names.get("DPM fast"), final=finals.Stop()).plan(schedule, count)
    *_, mine = ours(plan, prediction)
    first, last = plan.levels[0], plan.levels[-1]

    def denoiser(u, sigma):
        level = schedule.at_ratio(float(sigma[0]))
        x = u * level.alpha
        return prediction.sample(network(x, level.time), x, level)

    other = k.sample_dpm_fast(
        denoiser, start() / first.alpha, float(last.ratio), float(first.ratio), count, disable=True
    )
    # They keep log sigmas in float32.
    assert (mine / last.alpha - other).abs().max() < 2e-6 * other.abs().max()
