"""Solvers of the reverse SDE, exactly: on normal data they are affine, and the SDE's own transition is known."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from closed_forms import GAUSSIAN, SCHEDULES, Mixture, OneHotNoise, affine_moments
from unnoise.errors import InputError
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.schedulers import Scheduler, finals, grids, noise, solvers
from unnoise.schedulers.restart import Restart, TimeTravel
from unnoise.schedulers.solvers import Adams, Corrected, RungeKutta, Stage, sa_solver

ENDS = {"sigma_min": 0.03, "sigma_max": 14.0}
KARRAS = grids.Karras(**ENDS)
POINT = Mixture((1.0,), (0.3,), (0.0,))
RULES = {
    "flow ancestral": noise.FlowAncestral(),
    "flow ancestral half": noise.FlowAncestral(0.5),
    "renoise": noise.Renoise(),
    "tcd": noise.TCD(0.3),
    "tcd none": noise.TCD(0.0),
    "extended sde": noise.ExtendedSDE(),
    "tau": noise.Tau(),
    "tau wide": noise.Tau(0.6, 0.0, math.inf),
}
SDE_SOLVERS = {
    "Adams 1": Adams(1),
    "Adams 2": Adams(2),
    "Adams 3": Adams(3),
    "SEEDS-2": solvers.TwoStage(),
    "SEEDS-3": solvers.ThreeStageX0(),
    "exp heun": solvers.ExponentialHeun(),
    "SA 2 2": sa_solver(2, 2),
    "SA 3 4": sa_solver(3, 4),
    "SA 2 3 again": sa_solver(2, 3, again=True),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", ["scaled_linear", "zero_terminal", "cosine", "edm", "flow_shifted"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_rule_keeps_the_marginal_exactly_where_x0_is_known(rule, name, steps):
    plan = Scheduler(grids.Trailing(), Adams(1), rule, finals.Stop()).plan(SCHEDULES[name], steps)
    mean, deviation = affine_moments(plan, POINT)
    assert mean == pytest.approx(0.3 * float(plan.levels[-1].alpha), abs=1e-12)
    assert deviation == pytest.approx(float(plan.levels[-1].sigma), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("solver", SDE_SOLVERS.values(), ids=SDE_SOLVERS)
@pytest.mark.parametrize("rule", [noise.SDE(), noise.SDE(0.4), noise.Tau(1.0, 0.1, 5.0), noise.ExtendedSDE()])
@pytest.mark.parametrize("name", ["scaled_linear", "zero_terminal", "edm", "flow_shifted"])
def test_every_solver_of_the_sde_keeps_the_marginal_exactly_where_x0_is_known(solver, rule, name):
    for steps in (1, 2, 3, 7):
        plan = Scheduler(grids.Trailing(), solver, rule, finals.Stop()).plan(SCHEDULES[name], steps)
        mean, deviation = affine_moments(plan, POINT)
        assert mean == pytest.approx(0.3 * float(plan.levels[-1].alpha), abs=1e-10)
        assert deviation == pytest.approx(float(plan.levels[-1].sigma), rel=1e-9)


def response(solver, steps, eta=1.0):
    """Relative error of d x_end / d x_start and of the fresh noise's deviation against the exact reverse SDE.

    On normal data of variance v it is linear: in u = x / alpha and w = sigma / alpha, by
    d ln(mean) = (1 + eta) w / (v + w^2) dw, the mean falls by ((v + to^2) / (v + now^2))^((1 + eta) / 2); and
    what is missing of the marginal variance v + to^2 is fresh.
    """
    plan = Scheduler(KARRAS, solver, noise.SDE(eta), finals.Stop()).plan(EDM(), steps)
    first, last = plan.levels[0], plan.levels[-1]
    rows = 2 + 2 * sum(len(step.moves) for step in plan.steps)
    x = torch.zeros(rows, 1, dtype=torch.float64)
    x[1] += 1.0
    *_, step = plan.run(GAUSSIAN.denoise, x, OneHotNoise(rows))
    parts = (step.x - step.x[0])[1:, 0]
    now, to = 0.25 + float(first.ratio) ** 2, 0.25 + float(last.ratio) ** 2
    slope = (to / now) ** ((1.0 + eta) / 2.0)
    fresh = math.sqrt(to - slope**2 * now)
    return abs(parts[0].item() - slope) / slope, abs(parts[1:].pow(2).sum().sqrt().item() - fresh) / fresh


@pytest.mark.parametrize(
    ("name", "order"),
    [("Adams 1", 1), ("Adams 2", 2), ("Adams 3", 3), ("SEEDS-2", 2), ("SEEDS-3", 3), ("exp heun", 2)],
)
def test_the_sde_s_conditional_mean_has_the_solver_s_order(name, order):
    few, many = (response(SDE_SOLVERS[name], steps, eta=0.5)[0] for steps in (200, 400))
    assert math.log2(few / many) > order - 0.25


@pytest.mark.parametrize("solver", SDE_SOLVERS.values(), ids=SDE_SOLVERS)
def test_along_the_full_reverse_sde_the_mean_is_exact_at_any_size_of_step(solver):
    # E[x0 | x_t] does not drift along it (eta = 1), so polynomials of any degree are right about its mean.
    assert response(solver, 7)[0] < 1e-10


@pytest.mark.parametrize("name", ["Adams 2", "Adams 3", "SEEDS-2", "SEEDS-3", "exp heun", "SA 2 2", "SA 3 4"])
def test_the_sde_s_noise_is_right_to_second_order_whatever_the_solver_s(name):
    # A step's own noise reaches x0 only at the next look; that is a second-order effect no polynomial mends.
    few, many = (response(SDE_SOLVERS[name], steps)[1] for steps in (160, 320))
    slope = math.log2(few / many)
    assert slope > 1.75
    assert name != "Adams 3" or slope < 2.25  # and no more, as docs/words/scheduler.md says


def test_three_estimates_make_the_noise_an_order_of_magnitude_more_exact_than_two():
    two, three = (response(SDE_SOLVERS[name], 40)[1] for name in ("Adams 2", "Adams 3"))
    assert three < 0.1 * two
    two, three = (response(SDE_SOLVERS[name], 160)[1] for name in ("Adams 2", "Adams 3"))
    assert two / three == pytest.approx(8.0, abs=0.5)


def test_stages_with_noises_of_their_own_lose_an_order():
    plan = Scheduler(KARRAS, solvers.TwoStage(), noise.SDE(), finals.Stop()).plan(EDM(), 160)
    together = affine_moments(plan, GAUSSIAN)[1]

    def apart(move):
        whole = math.hypot(move.noise, *move.of_draws) if move.of_draws else move.noise
        return replace(move, of_draws=(), noise=whole)

    steps = tuple(
        replace(step, moves=tuple(apart(m) if hasattr(m, "of_draws") else m for m in step.moves))
        for step in plan.steps
    )
    want = math.hypot(0.5, 0.03)
    error = abs(affine_moments(replace(plan, steps=steps), GAUSSIAN)[1] - want)
    assert error > 20.0 * abs(together - want)


def spread_error(scheduler, steps, schedule):
    plan = scheduler.plan(schedule, steps)
    _, deviation = affine_moments(plan, GAUSSIAN)
    last = plan.levels[-1]
    return abs(deviation - math.hypot(float(last.alpha) * 0.5, float(last.sigma)))


@pytest.mark.parametrize(
    ("rule", "solver", "order"),
    [
        (noise.FlowAncestral(), Adams(1), 1),
        (noise.ExtendedSDE(), Adams(1, "sigma"), 1),
        (noise.ExtendedSDE(), Adams(2, "sigma"), 2),
        (noise.ExtendedSDE(), Adams(3, "sigma"), 2),
        (noise.Tau(1.0, 0.05, 1.0), sa_solver(2, 2), 2),
        (noise.FlowAncestral(), solvers.Midpoint(), 2),
    ],
)
def test_the_marginal_is_met_in_the_limit_at_the_solver_s_order(rule, solver, order):
    scheduler = Scheduler(KARRAS, solver, rule, finals.Stop())
    few, many = (spread_error(scheduler, steps, Flow()) for steps in (160, 320))
    assert math.log2(few / many) > order - 0.3


def test_full_renoising_has_the_wrong_limit_for_a_network_that_is_not_distilled():
    scheduler = Scheduler(KARRAS, Adams(1), noise.Renoise(), finals.Stop())
    assert all(spread_error(scheduler, steps, Flow()) > 0.1 for steps in (20, 80, 320))


def test_tcd_runs_from_the_plain_solver_to_full_renoising():
    plans = {
        gamma: Scheduler(grids.Trailing(), Adams(1), rule).plan(DiscreteVP.linear(), 6)
        for gamma, rule in (
            (0.0, noise.TCD(0.0)),
            (1.0, noise.TCD(1.0)),
            ("ddim", noise.none()),
            ("re", noise.Renoise()),
        )
    }
    moments = {gamma: affine_moments(plan, GAUSSIAN) for gamma, plan in plans.items()}
    assert moments[0.0] == pytest.approx(moments["ddim"], rel=1e-12)
    assert moments[1.0] == pytest.approx(moments["re"], rel=1e-12)


def test_a_rise_keeps_the_marginal_and_forgives_earlier_errors():
    grid = Restart(KARRAS, 0.1, 2.0, steps=8, times=3)
    plan = Scheduler(grid, solvers.Heun(), final=finals.FirstOrder()).plan(EDM(), 40)
    assert len(plan) == 40
    assert plan.stochastic
    ratios = [float(level.ratio) for level in plan.levels]
    assert sum(b > a for a, b in pairwise(ratios)) == 3
    mean, deviation = affine_moments(plan, POINT)
    assert mean == pytest.approx(0.3, abs=1e-12)
    assert deviation == pytest.approx(0.0, abs=1e-12)

    # From a start that is off by its whole deviation, less is left of the error after each passage.
    def left(times):
        plan = Scheduler(Restart(KARRAS, 0.1, 2.0, steps=8, times=times), solvers.Heun()).plan(EDM(), 40)
        rows = 2 + 4 * 80
        x = torch.zeros(rows, 1).double()
        x[1] += 14.0
        *_, step = plan.run(GAUSSIAN.denoise, x, OneHotNoise(rows))
        return (step.x[1] - step.x[0]).abs().item()

    assert left(3) < 0.5 * left(1)


def test_time_travel_makes_each_stretch_again():
    grid = TimeTravel(grids.Trailing(), jump=2, times=3)
    plan = Scheduler(grid, Adams(1)).plan(DiscreteVP.linear(), 8)
    times = [level.time for level in plan.looks]
    assert times == [999.0, 749.0, 999.0, 749.0, 999.0, 749.0, 499.0, 249.0]
    assert affine_moments(plan, POINT)[1] == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(InputError, match="makes"):
        Scheduler(grid, Adams(1)).plan(DiscreteVP.linear(), 4)


@pytest.mark.parametrize("name", ["flow", "cosine", "zero_terminal"])
def test_time_travel_goes_back_to_where_there_is_no_signal(name):
    plan = Scheduler(TimeTravel(grids.Trailing(), 2, 2), Adams(1)).plan(SCHEDULES[name], 6)
    assert [level.ratio == math.inf for level in plan.looks] == [True, False, True, False, False, False]
    assert affine_moments(plan, POINT) == pytest.approx((0.3, 0.0), abs=1e-12)


def test_a_stretch_passed_twice_is_given_two_noises():
    plan = Scheduler(TimeTravel(grids.Trailing(), 2, 2), Adams(2), noise.SDE()).plan(EDM(), 10)
    spans = [getattr(move, "span", None) for step in plan.steps for move in step.moves]
    found = [span for span in spans if span is not None]
    assert len(found) == len(set(found)) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: noise.FlowAncestral(1.1),
        lambda: noise.TCD(-0.1),
        lambda: noise.TCD(1.5),
        lambda: noise.ExtendedSDE(power=-1.0),
        lambda: Restart(KARRAS, 2.0, 0.1),
        lambda: Restart(KARRAS, steps=0),
        lambda: TimeTravel(KARRAS, jump=0),
        lambda: Scheduler(Restart(KARRAS, steps=9, times=2)).plan(EDM(), 19),
        lambda: Scheduler(Restart(KARRAS, 0.1, 20.0, steps=3)).plan(EDM(), 19),
        lambda: Scheduler(
            KARRAS, RungeKutta((Stage(0.8, (0,)), Stage(0.4, (1,)), Stage(1.0, (2,))), 1), noise.SDE()
        ).plan(EDM(), 4),
        lambda: Scheduler(KARRAS, Corrected(Adams(2), 2), noise.TCD()).plan(EDM(), 4),
    ],
)
def test_parts_that_do_not_fit_are_refused(make):
    with pytest.raises(InputError):
        make()
