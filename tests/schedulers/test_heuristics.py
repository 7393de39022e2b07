"""The rules that are shipped elsewhere: their own arithmetic, and what is wrong with them, by measure."""

import math

import pytest
import torch

from closed_forms import GAUSSIAN, MIXTURE, SCHEDULES
from unnoise.errors import InputError
from unnoise.process import EDM
from unnoise.schedulers import Scheduler, finals, grids, noise
from unnoise.schedulers.heuristics import (
    FixedWeights,
    HeunPlusPlus,
    MeanStep,
    gradient_estimation,
    ipndm,
    lms_late,
)
from unnoise.schedulers.solvers import Adams

KARRAS = grids.Karras(sigma_min=0.03, sigma_max=14.0)


def error(solver, steps):
    plan = Scheduler(KARRAS, solver, final=finals.Stop()).plan(EDM(), steps)
    *_, last = plan.run(MIXTURE.denoise, MIXTURE.quantiles(plan.levels[0]))
    return (last.x - MIXTURE.quantiles(plan.levels[-1])).pow(2).mean().sqrt().item()


def slopes(x, level):
    return (x - GAUSSIAN.denoise(x, level)) / float(level.sigma)


def by_hand(levels, step):
    """A loop in sigma as other programs write it; step(i, x, d, history) -> x."""
    x, history = torch.linspace(-20.0, 20.0, 5).double(), []
    for i in range(len(levels) - 1):
        d = slopes(x, levels[i])
        x = step(i, x, d, history)
        history.append(d)
    return x


def ours(solver, steps):
    plan = Scheduler(KARRAS, solver, final=finals.Stop()).plan(EDM(), steps)
    *_, last = plan.run(GAUSSIAN.denoise, torch.linspace(-20.0, 20.0, 5).double())
    return last.x, plan.levels


def test_ipndm_is_the_equal_step_formula():
    got, levels = ours(ipndm(4), 9)

    def step(i, x, d, history):
        dt = float(levels[i + 1].sigma) - float(levels[i].sigma)
        h = history[::-1]
        if i == 0:
            mean = d
        elif i == 1:
            mean = (3 * d - h[0]) / 2
        elif i == 2:
            mean = (23 * d - 16 * h[0] + 5 * h[1]) / 12
        else:
            mean = (55 * d - 59 * h[0] + 37 * h[1] - 9 * h[2]) / 24
        return x + dt * mean

    assert (got - by_hand(levels, step)).abs().max() < 1e-10


def test_gradient_estimation_leans_on_the_change_of_the_noise():
    got, levels = ours(gradient_estimation(2.0), 9)

    def step(i, x, d, history):
        dt = float(levels[i + 1].sigma) - float(levels[i].sigma)
        return x + dt * (d if i == 0 else d + (2.0 - 1.0) * (d - history[-1]))

    assert (got - by_hand(levels, step)).abs().max() < 1e-10


def test_heun_plus_plus_looks_two_levels_ahead():
    got, levels = ours(HeunPlusPlus(), 6)
    sigma = [float(level.sigma) for level in levels]

    def step(i, x, d, history):
        dt = sigma[i + 1] - sigma[i]
        x_2 = x + d * dt
        d_2 = slopes(x_2, levels[i + 1])
        if i + 2 == len(levels):
            w2 = sigma[i + 1] / (2 * sigma[0])
            return x + (d * (1 - w2) + d_2 * w2) * dt
        x_3 = x_2 + d_2 * (sigma[i + 2] - sigma[i + 1])
        d_3 = slopes(x_3, levels[i + 2])
        w2, w3 = sigma[i + 1] / (3 * sigma[0]), sigma[i + 2] / (3 * sigma[0])
        return x + (d * (1 - w2 - w3) + d_2 * w2 + d_3 * w3) * dt

    assert (got - by_hand(levels, step)).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("solver", "low", "high"),
    [
        (ipndm(4), 1.7, 2.3),
        (gradient_estimation(), 0.5, 1.2),
        (HeunPlusPlus(), 0.7, 1.2),
        (lms_late(1), -0.5, 1.2),
    ],
    ids=["ipndm", "gradient estimation", "heun++", "late lms"],
)
def test_their_order_is_lower_than_their_cost(solver, low, high):
    assert low < math.log2(error(solver, 80) / error(solver, 160)) < high


def test_exact_weights_at_the_same_cost_are_far_better():
    assert error(Adams(4, "lambda", "noise"), 40) < 0.1 * error(ipndm(4), 40)
    assert error(Adams(2, "sigma", "noise"), 40) < 0.25 * error(gradient_estimation(), 40)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["scaled_linear", "zero_terminal", "edm", "flow"])
@pytest.mark.parametrize("solver", [ipndm(), gradient_estimation(), HeunPlusPlus(), lms_late(2)])
def test_they_run_on_every_schedule_to_the_end(solver, name, steps):
    plan = Scheduler(grids.Trailing(), solver, final=finals.FirstOrder()).plan(SCHEDULES[name], steps)
    *_, last = plan.run(GAUSSIAN.denoise, plan.initial(torch.linspace(-1.0, 1.0, 4).double()))
    assert last.x.isfinite().all()
    assert last.level.sigma == 0.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: ipndm(5),
        lambda: ipndm(True),
        lambda: gradient_estimation(0.5),
        lambda: lms_late(0),
        lambda: FixedWeights(()),
        lambda: FixedWeights(((1.0, 2.0),)),
        lambda: Scheduler(KARRAS, HeunPlusPlus(), noise.Ancestral()).plan(EDM(), 4),
    ],
)
def test_settings_that_do_not_exist_are_refused(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize("grid", [KARRAS, grids.Reverse(KARRAS)])
def test_the_mean_step_is_its_formula(grid):
    plan = Scheduler(grid, MeanStep(), final=finals.Stop()).plan(EDM(), 9)
    *_, last = plan.run(GAUSSIAN.denoise, torch.linspace(-20.0, 20.0, 5).double())
    x, before = torch.linspace(-20.0, 20.0, 5).double(), None
    lam = [-math.log(float(level.sigma)) for level in plan.levels]
    for i in range(9):
        d, h = GAUSSIAN.denoise(x, plan.levels[i]), lam[i + 1] - lam[i]
        if before is None:
            x = math.exp(-h) * x - (math.exp(-h) - 1.0) * d
        else:
            short, long = sorted((h, lam[i] - lam[i - 1]), key=abs)
            mixed = (1.0 + short / (2.0 * long)) * d - short / (2.0 * long) * before
            x = math.exp(-h) * x - (math.exp(-0.5 * (short + long)) - 1.0) * mixed
        before = d
    assert (last.x - x).abs().max() < 1e-10 * x.abs().max().clamp(min=1.0)


def test_the_mean_step_is_of_first_order_at_best():
    # 8.6e-2 at 10 and 2.2e-2 at 80 steps, as stable-diffusion.cpp's own was measured
    assert error(MeanStep(), 10) == pytest.approx(8.6e-2, rel=0.1)
    assert error(MeanStep(), 80) == pytest.approx(2.2e-2, rel=0.1)
