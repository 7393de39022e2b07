"""Stochastic rules without drawing: on Gaussian data a sampler is affine, and one-hot noises read off its numbers."""

import math

import pytest
import torch

from closed_forms import GAUSSIAN, SCHEDULES, Mixture, OneHotNoise, affine_moments
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.schedulers import Scheduler, finals, grids, noise, solvers
from unnoise.schedulers.solvers import Adams

ENDS = {"sigma_min": 0.03, "sigma_max": 14.0}
POINT = Mixture((1.0,), (0.3,), (0.0,))
RULES = {
    "none": noise.none(),
    "ancestral": noise.Ancestral(),
    "ancestral half": noise.Ancestral(0.5),
    "posterior": noise.Posterior(),
    "sde": noise.SDE(),
    "sde weak": noise.SDE(0.3),
    "sde strong": noise.SDE(2.0),
    "churn": noise.Churn(amount=5.0, scale=1.0),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", ["scaled_linear", "zero_terminal", "cosine", "edm", "flow_shifted"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_rule_keeps_the_marginal_exactly_where_x0_is_known(rule, name, steps):
    # Data in one point: x0 is constant, so each step must give mean alpha m and variance sigma^2 at any size.
    scheduler = Scheduler(grids.Trailing(), Adams(1), rule, finals.Stop())
    plan = scheduler.plan(SCHEDULES[name], steps)
    mean, deviation = affine_moments(plan, POINT)
    assert mean == pytest.approx(0.3 * float(plan.levels[-1].alpha), abs=1e-12)
    assert deviation == pytest.approx(float(plan.levels[-1].sigma), rel=1e-11, abs=1e-12)


def spread_error(scheduler, steps, schedule):
    plan = scheduler.plan(schedule, steps)
    _, deviation = affine_moments(plan, GAUSSIAN)
    last = plan.levels[-1]
    return abs(deviation - math.hypot(float(last.alpha) * 0.5, float(last.sigma)))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_marginal_is_met_in_the_limit_at_first_order(rule):
    scheduler = Scheduler(grids.Karras(**ENDS), Adams(1), rule, finals.Stop())
    few, many = (spread_error(scheduler, steps, DiscreteVP.scaled_linear()) for steps in (100, 200))
    assert math.log2(few / many) == pytest.approx(1.0, abs=0.25)
    assert many < 0.05


@pytest.mark.parametrize("schedule", [EDM(), Flow()], ids=["edm", "flow"])
def test_the_sde_with_two_estimates_is_of_second_order(schedule):
    scheduler = Scheduler(grids.Karras(**ENDS), Adams(2, "lambda", "x0"), noise.SDE(), finals.Stop())
    few, many = (spread_error(scheduler, steps, schedule) for steps in (80, 160))
    assert math.log2(few / many) == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("solver", [solvers.Midpoint(), solvers.TwoStage()], ids=["DPM2 a", "2S a"])
def test_ancestral_noise_keeps_the_order_of_a_two_stage_solver(solver):
    scheduler = Scheduler(grids.Karras(**ENDS), solver, noise.Ancestral(), finals.Stop())
    few, many = (spread_error(scheduler, steps, EDM()) for steps in (40, 80))
    assert math.log2(few / many) == pytest.approx(2.0, abs=0.3)


def test_ancestral_posterior_and_sde_are_one_rule_at_first_order():
    plans = [
        Scheduler(grids.Trailing(), Adams(1), rule).plan(DiscreteVP.linear(), 9)
        for rule in (noise.Ancestral(), noise.Posterior(), noise.SDE())
    ]
    moments = [affine_moments(plan, GAUSSIAN) for plan in plans]
    assert max(m[1] for m in moments) - min(m[1] for m in moments) < 1e-12


def test_a_ddpm_step_is_the_posterior_s_mean_and_variance():
    from unnoise.process import Diffuser, Estimate

    schedule = DiscreteVP.linear()
    for variance in ("fixed_small", "fixed_large"):
        plan = Scheduler(grids.Trailing(), Adams(1), noise.Posterior(variance)).plan(schedule, 10)
        diffuser = Diffuser(lambda x, t: x, schedule, variance=variance)
        x = torch.tensor([[0.0], [0.8], [0.0]]).double()
        step = next(plan.run(GAUSSIAN.denoise, x, OneHotNoise(3)))
        now, to = plan.levels[0], plan.levels[1]
        want = diffuser.posterior(x, Estimate.from_x0(x, now, GAUSSIAN.denoise(x, now)), now, to)
        assert (step.x[:2] - want.mean[:2]).abs().max() < 1e-12
        assert (step.x[2] - step.x[0]).item() == pytest.approx(math.sqrt(want.variance), rel=1e-12)


def test_a_learned_variance_is_read_from_the_network():
    from unnoise.process import Diffuser

    schedule = DiscreteVP.linear()
    plan = Scheduler(grids.Trailing(), Adams(1), noise.Posterior("learned_range")).plan(schedule, 10)

    def network(x, t):
        return torch.cat([torch.zeros_like(x), torch.full_like(x, 0.4)], 1)

    diffuser = Diffuser(network, schedule, prediction="sample", variance="learned_range")
    x = torch.zeros(3, 1, 1, 1).double()
    step = next(plan.run(diffuser.estimate, x, OneHotNoise(3)))
    now, to = plan.levels[0], plan.levels[1]
    want = diffuser.posterior(x, diffuser.estimate(x, now), now, to).variance.unique().item()
    assert step.x[2].item() == pytest.approx(math.sqrt(want), rel=1e-12)


def test_no_noise_is_left_after_the_last_step():
    for rule in RULES.values():
        plan = Scheduler(grids.Trailing(), Adams(1), rule).plan(DiscreteVP.linear(), 5)
        assert affine_moments(plan, POINT)[1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    "rule",
    [
        noise.Ancestral(0.0),
        noise.FlowAncestral(0.0),
        noise.SDE(0.0),
        noise.Tau(0.0),
        noise.Churn(0.0),
        noise.TCD(0.0),
    ],
    ids=lambda rule: type(rule).__name__,
)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_rule_of_no_strength_is_no_rule(rule, schedule):
    """Its final rule too: after a way without noise the last x0 is not the best guess."""
    plain, without = (
        Scheduler(grids.Arcsinh(), Adams(3), each).plan(schedule, 7) for each in (noise.none(), rule)
    )
    assert without == plain


@pytest.mark.parametrize("steps", [100, 300])
@pytest.mark.parametrize("amount", [2.0, 10.0, 40.0])
@pytest.mark.parametrize(
    "solver",
    [Adams(2), Adams(3), Adams(2, "sigma", "noise"), Adams(4, "sigma", "noise"), Adams(3, "lambda", "noise")],
    ids=lambda solver: f"{solver.order} {solver.variable} {solver.unknown}",
)
def test_memory_does_no_harm_where_noise_goes_up_again(solver, amount, steps):
    """Raised by most of each step, levels crowd together; a polynomial through them went to 1e91 (LMS, amount 40)."""

    def error(solver):
        rule = noise.Churn(amount, scale=1.0)
        return spread_error(Scheduler(grids.Karras(), solver, rule), steps, DiscreteVP.linear())

    assert error(solver) < 1.05 * error(Adams(1))
