import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from closed_forms import GAUSSIAN, MIXTURE
from unnoise.errors import InputError, NonFiniteError
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.schedulers import grids, names, noise
from unnoise.schedulers.adaptive import Adaptive
from unnoise.schedulers.restart import Restart
from unnoise.schedulers.solvers import Adams, Heun, Midpoint, RungeKutta, Stage, ThreeStage, TwoStage

SCHEDULE = DiscreteVP.scaled_linear()


def outcome(adaptive, schedule=SCHEDULE, data=MIXTURE, start=None, end=None):
    """RMS error at the end, the number of network calls and the accepted steps."""
    calls = 0

    def denoise(x, level):
        nonlocal calls
        calls += 1
        return data.denoise(x, level)

    start = start or schedule.noisiest
    x = data.quantiles(start).reshape(1, -1)
    steps = list(adaptive.run(schedule, denoise, x, start, end))
    miss = (steps[-1].x[0] - data.quantiles(steps[-1].level)).pow(2).mean().sqrt().item()
    return miss / float(steps[-1].level.alpha), calls, steps


@pytest.mark.parametrize(
    "solver", [ThreeStage(), TwoStage(), Midpoint(), Heun()], ids=["3S", "2S", "DPM2", "Heun"]
)
@pytest.mark.parametrize("schedule", [SCHEDULE, EDM(0.03, 14.0), Flow(end=0.93)], ids=["vp", "edm", "flow"])
def test_the_error_follows_the_tolerance_down(solver, schedule):
    end = schedule.at_ratio(0.03)
    loose, tight = (
        outcome(Adaptive(1e-2 * size, 1e-2 * size, solver), schedule, end=end) for size in (1.0, 0.01)
    )
    assert loose[0] < 5e-2
    assert tight[0] < 0.1 * loose[0]
    assert tight[1] > loose[1]


def test_a_higher_order_needs_fewer_calls_for_a_tight_tolerance():
    end = SCHEDULE.cleanest
    third, second = (outcome(Adaptive(1e-5, 1e-5, solver), end=end) for solver in (ThreeStage(), TwoStage()))
    assert third[1] < 0.6 * second[1]
    assert third[0] < 1e-3


def test_steps_are_longer_where_nothing_happens():
    *_, steps = outcome(Adaptive(1e-4, 1e-4), end=SCHEDULE.cleanest)
    lengths = [math.log(float(s.start.ratio) / float(s.level.ratio)) for s in steps]
    where = [float(s.start.ratio) for s in steps]
    middle = [length for length, ratio in zip(lengths, where, strict=True) if 0.2 < ratio < 1.0]
    top = [length for length, ratio in zip(lengths, where, strict=True) if 6.0 < ratio < 12.0]
    assert max(top[1:] or top) > 1.5 * min(middle)


def test_the_way_ends_at_clean_data_by_default_and_steps_join_up():
    miss, calls, steps = outcome(Adaptive(1e-3, 1e-3))
    assert steps[-1].level.sigma == 0.0
    assert [s.index for s in steps] == list(range(len(steps)))
    assert all(a.level == b.start for a, b in pairwise(steps))
    assert miss < 5e-3
    assert calls >= 3 * (len(steps) - 1) + 1


def test_answers_that_are_no_numbers_are_told_as_such():
    x = torch.ones(1, 4)
    with pytest.raises(NonFiniteError, match="left the finite numbers"):
        list(Adaptive().run(SCHEDULE, lambda x, level: x * math.nan, x))


def test_a_sample_of_one_axis_may_be_followed_with_gradients():
    x = torch.ones(1, requires_grad=True)
    *_, last = Adaptive(relative=0.5).run(SCHEDULE, lambda x, level: 0.5 * x, x)
    last.x.sum().backward()
    assert x.grad.isfinite().all()


def test_it_goes_up_as_well_as_down():
    low, high = SCHEDULE.at_ratio(0.05), SCHEDULE.at_ratio(10.0)
    miss, _, steps = outcome(Adaptive(1e-5, 1e-5), start=low, end=high)
    assert steps[-1].level == high
    assert miss < 1e-2  # a thousandth of the level


def test_on_a_circle_it_begins_without_signal_only_where_the_variable_is_finite():
    x = torch.zeros(1, 1).double()
    with pytest.raises(InputError, match="holds signal"):
        next(Adaptive().run(Flow(), GAUSSIAN.denoise, x))


def test_the_controller_shortens_after_a_large_error_and_lengthens_after_a_small_one():
    third = Adaptive()
    assert third.factor(1.0) == pytest.approx(1.0)
    assert third.factor(8.0) == pytest.approx(1.0 + math.atan(0.5 - 1.0))
    assert 1.0 < third.factor(1e-9) < 1.0 + math.pi / 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adaptive(relative=-1.0),
        lambda: Adaptive(absolute=0.0),
        lambda: Adaptive(first=2.0),
        lambda: Adaptive(most=0),
        lambda: Adaptive(solver=RungeKutta((Stage(1.0, (0,)),), 1)),
        lambda: list(
            Adaptive(1e-9, 1e-9, most=5).run(SCHEDULE, GAUSSIAN.denoise, torch.zeros(1, 1).double())
        ),
        lambda: next(Adaptive().run(SCHEDULE, GAUSSIAN.denoise, torch.zeros(1, 1), end=SCHEDULE.noisiest)),
        lambda: next(Adaptive().run(SCHEDULE, GAUSSIAN.denoise, torch.zeros(1, 1), end=SCHEDULE.level(-1.0))),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(InputError):
        make()


def by_name(steps, schedule=SCHEDULE, **parts):
    """(steps, calls) of "DPM adaptive" on the mixture."""
    calls = 0

    def denoise(x, level):
        nonlocal calls
        calls += 1
        return MIXTURE.denoise(x, level)

    plan = replace(names.get("dpm_adaptive"), **parts).plan(schedule, steps)
    x = MIXTURE.quantiles(plan.levels[0]).reshape(1, -1)
    return plan, list(plan.run(denoise, x)), calls


def test_from_end_to_end_by_name_is_the_controller_alone():
    plan, made, calls = by_name(2)
    start, end = plan.levels[0], plan.levels[1]
    alone = list(Adaptive().run(SCHEDULE, MIXTURE.denoise, MIXTURE.quantiles(start).reshape(1, -1), start))
    assert end.log_snr == pytest.approx(SCHEDULE.cleanest.log_snr)
    assert (made[-1].x - alone[-1].x).abs().max() < 1e-9
    assert len(made) == 2
    assert calls > 3 * 4


def test_a_run_by_name_has_the_steps_and_levels_of_its_plan():
    plan, made, calls = by_name(7)
    assert [step.index for step in made] == list(range(7))
    assert tuple(step.level for step in made) == plan.levels[1:]
    assert calls >= 3 * 6 + 1
    miss = made[-1].x[0] - MIXTURE.quantiles(plan.levels[-1])
    assert miss.pow(2).mean().sqrt() < 0.03


def test_more_levels_cost_at_most_two_steps_each():
    *_, few = by_name(2)
    *_, many = by_name(12)
    assert many <= few + 3 * 2 * 10


@pytest.mark.parametrize("schedule", [Flow(), SCHEDULE.zero_terminal_snr()], ids=["flow", "zero_terminal"])
def test_by_name_it_begins_without_signal_too(schedule):
    plan, made, _ = by_name(12, schedule, grid=grids.Trailing())
    assert plan.levels[0].alpha == 0.0
    assert made[-1].x.isfinite().all()
    # The first step, from no signal, leaves nothing of where the sample stood beyond first order.
    assert (made[-1].x[0] - MIXTURE.quantiles(plan.levels[-1])).pow(2).mean().sqrt() < 0.3


def test_times_that_nobody_knows_are_not_given_out():
    plan = names.get("DPM adaptive").plan(SCHEDULE, 5)
    with pytest.raises(InputError, match=r"use plan.run, or DPM fast"):
        plan.stepper()


def test_noise_and_multistep_solvers_are_refused_with_a_tolerance():
    again = Restart(grids.Exponential(), steps=3)
    for part in ({"noise": noise.SDE()}, {"solver": Adams(2)}, {"grid": again}):
        with pytest.raises(InputError, match="Runge-Kutta"):
            replace(names.get("DPM adaptive"), **part).plan(SCHEDULE, 12)
