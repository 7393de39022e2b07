"""Order of every deterministic solver, by the slope of its error against exact quantile transport."""

import math

import pytest
import torch

from closed_forms import GAUSSIAN, MIXTURE, SCHEDULES
from unnoise.process import EDM, Cosine, DiscreteVP, Estimate, Flow
from unnoise.schedulers import Scheduler, Step, finals, grids, noise, solvers
from unnoise.schedulers.solvers import Adams

ENDS = {"sigma_min": 0.03, "sigma_max": 14.0}


def error(scheduler, schedule, steps, exact_start=True, data=MIXTURE):
    """RMS distance to the exact transport at the plan's end; the first looks may be on the exact path."""
    plan = scheduler.plan(schedule, steps)
    warm = (
        max(0, getattr(scheduler.solver, "order", 1) - 1)
        if exact_start and scheduler.solver.calls == 1
        else 0
    )
    walk = plan.walk(data.quantiles(plan.levels[0]))
    event, looks, x = next(walk), 0, None
    while event is not None:
        if isinstance(event, Step):
            x, event = event.x, next(walk, None)
            continue
        at = data.quantiles(event.level) if looks <= warm else event.x
        looks += 1
        event = walk.send(Estimate.from_x0(at, event.level, data.denoise(at, event.level)))
    return (x - data.quantiles(plan.levels[-1])).pow(2).mean().sqrt().item()


def slope(scheduler, schedule, few, many, **options):
    return math.log(
        error(scheduler, schedule, few, **options) / error(scheduler, schedule, many, **options)
    ) / math.log(many / few)


# Order 4 reaches its slope late; a quarter of an order is what is left of the next term between 160 and 320 steps.
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("unknown", ["x0", "noise", "flow"])
@pytest.mark.parametrize("variable", ["sigma", "lambda", "flow"])
def test_adams_has_its_order_in_every_variable_and_unknown(variable, unknown, order):
    scheduler = Scheduler(grids.Karras(**ENDS), Adams(order, variable, unknown), final=finals.Stop())
    assert slope(scheduler, DiscreteVP.scaled_linear(), 160, 320) > order - 0.25


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", [EDM(), Flow(), Cosine()], ids=["edm", "flow", "cosine"])
def test_adams_has_its_order_on_every_process(schedule, order):
    scheduler = Scheduler(grids.Karras(**ENDS), Adams(order, "lambda", "noise"), final=finals.Stop())
    assert slope(scheduler, schedule, 160, 320) > order - 0.25


@pytest.mark.parametrize(
    "solver",
    [solvers.Heun(), solvers.Midpoint(), solvers.TwoStage(), solvers.ThreeStage()],
    ids=["Heun", "midpoint", "2S", "3S"],
)
def test_runge_kutta_has_its_declared_order(solver):
    scheduler = Scheduler(grids.Karras(**ENDS), solver, final=finals.Stop())
    measured = slope(scheduler, DiscreteVP.scaled_linear(), 40, 80)
    assert measured == pytest.approx(solver.order, abs=0.25)


def test_the_midpoint_rule_is_second_order():
    scheduler = Scheduler(grids.Karras(**ENDS), Adams(2, "lambda", "x0", "midpoint"), final=finals.Stop())
    assert slope(scheduler, DiscreteVP.scaled_linear(), 80, 160) == pytest.approx(2.0, abs=0.2)


def test_all_first_order_solvers_are_one_solver():
    errors = {
        error(Scheduler(grids.Karras(**ENDS), Adams(1, variable, unknown), final=finals.Stop()), EDM(), 13)
        for variable in ("sigma", "lambda", "flow")
        for unknown in ("x0", "noise", "flow")
    }
    assert max(errors) - min(errors) < 1e-12


def test_processes_are_one_process_at_different_scalings():
    # Karras et al. 2022, section 2: matching the ratio, a step is the same step.
    found = [
        error(Scheduler(grids.Karras(**ENDS), Adams(3, "sigma", "noise"), final=finals.Stop()), schedule, 10)
        * float(schedule.at_ratio(ENDS["sigma_min"]).alpha) ** -1
        for schedule in (DiscreteVP.scaled_linear(), EDM(), Flow(), Cosine())
    ]
    assert max(found) / min(found) - 1.0 < 1e-9


@pytest.mark.parametrize(
    "schedule", [DiscreteVP.scaled_linear(), EDM(sigma_min=0.03), Flow()], ids=["vp", "edm", "flow"]
)
def test_the_final_rule_keeps_what_a_first_order_jump_loses(schedule):
    grid = grids.Karras(**ENDS)
    for solver in (Adams(2, "lambda", "x0"), Adams(3, "lambda", "noise"), Adams(4, "flow", "flow")):
        kept = error(Scheduler(grid, solver, final=finals.Extrapolate()), schedule, 200)
        lost = error(Scheduler(grid, solver, final=finals.FirstOrder()), schedule, 200)
        assert lost > 8e-4  # one Euler step from sigma_min to 0
        assert kept < 0.5 * lost


def test_multistep_in_sigma_needs_no_rule_of_its_own_at_the_end():
    grid = grids.Karras(**ENDS)
    plain = Scheduler(grid, Adams(4, "sigma", "noise"), final=finals.Extrapolate("sigma")).plan(EDM(), 12)
    assert plain.steps[-1].moves[-1].unknown == "noise"
    assert len([factor for factor in plain.steps[-1].moves[-1].of_estimates if factor]) == 4


@pytest.mark.parametrize("name", ["zero_terminal", "flow", "cosine"])
@pytest.mark.parametrize("order", [2, 3])
def test_orders_hold_from_a_start_without_signal(name, order):
    schedule = SCHEDULES[name]
    top = float(schedule.noisiest.time)

    def fixed_range(steps):
        times = tuple(top * (1.0 - 0.9 * i / steps) for i in range(steps + 1))
        scheduler = Scheduler(grids.Times(times), Adams(order, "flow", "flow"), final=finals.Stop())
        return error(scheduler, schedule, steps, data=GAUSSIAN)

    assert math.log2(fixed_range(200) / fixed_range(400)) > order - 0.25


def test_entry_in_the_middle_keeps_the_order():
    scheduler = Scheduler(grids.Karras(**ENDS), Adams(3, "lambda", "noise"), final=finals.Stop())

    def entered(total):
        part = Scheduler(grids.Slice(scheduler.grid, total), scheduler.solver, final=finals.Stop())
        return error(part, EDM(), total * 3 // 5)

    # A slice of `total` levels holds `total` - 1 steps of the whole; the order is that of the same solver.
    assert math.log2(entered(80) / entered(160)) > 2.7


def test_inversion_leads_back_to_the_noise_it_came_from():
    down = Scheduler(grids.Karras(**ENDS), Adams(3, "lambda", "noise"), final=finals.Stop())
    up = Scheduler(grids.Reverse(grids.Karras(**ENDS)), Adams(3, "lambda", "noise"), final=finals.Stop())
    schedule = EDM()
    start = MIXTURE.quantiles(schedule.at_ratio(14.0))
    *_, data = down.plan(schedule, 100).run(MIXTURE.denoise, start)
    *_, back = up.plan(schedule, 100).run(MIXTURE.denoise, data.x)
    assert (back.x - start).abs().max() / start.abs().max() < 2e-3


def test_a_run_does_not_touch_its_starting_sample():
    x = torch.randn(3, 1).double()
    before = x.clone()
    list(Scheduler().plan(EDM(), 4).run(MIXTURE.denoise, x))
    assert torch.equal(x, before)
    with pytest.raises(Exception, match="SDE"):
        Scheduler(solver=solvers.Heun(), noise=noise.SDE()).plan(EDM(), 4)
