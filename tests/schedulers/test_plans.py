import dataclasses
import math
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from closed_forms import GAUSSIAN, MIXTURE, SCHEDULES
from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, Diffuser, DiscreteVP, Estimate, Flow
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Move, Scheduler, finals, grids, names
from unnoise.schedulers.adaptive import AdaptivePlan
from unnoise.schedulers.restart import Travel
from unnoise.schedulers.solvers import Adams

NAMED = [row.name for row in names.table()]
every_name = pytest.mark.parametrize("name", NAMED)


def result(plan, denoise, x, seeds=None):
    *_, last = plan.run(denoise, x, NoiseSource(seeds or tuple(range(x.shape[0]))))
    return last.x


def start(plan, rows=3):
    rows = 1 if isinstance(plan, AdaptivePlan) else rows
    x = torch.randn(rows, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    return plan.initial(x)


@pytest.mark.no_cover
@every_name
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_every_scheduler_runs_on_every_schedule_from_end_to_end(name, schedule, steps):
    plan = names.get(name).plan(schedule, steps)
    assert len(plan) == steps
    assert len(plan.levels) == steps + 1
    assert plan.levels[-1].sigma == 0.0
    ratios = [float(level.ratio) for level in plan.levels]
    assert all(a > b for a, b in pairwise(ratios)) or isinstance(names.get(name).grid, Travel)
    assert result(plan, GAUSSIAN.denoise, start(plan)).isfinite().all()


@every_name
def test_a_step_says_where_it_was_and_what_the_network_saw(name):
    plan = names.get(name).plan(DiscreteVP.linear(), 5)
    x = start(plan)
    steps = list(plan.run(GAUSSIAN.denoise, x, NoiseSource((0, 1, 2))))
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.level for step in steps] == list(plan.levels[1:])
    assert [step.start for step in steps] == list(plan.levels[:-1])
    first = steps[0]
    assert torch.equal(first.x0, GAUSSIAN.denoise(x, plan.levels[0]))
    assert (first.start.alpha * first.x0 + first.start.sigma * first.noise - x).abs().max() < 1e-9


@every_name
def test_two_interleaved_runs_agree_with_two_sequential_ones_to_the_bit(name):
    plan = names.get(name).plan(DiscreteVP.scaled_linear(), 9)
    one, two = start(plan), -start(plan)
    apart = [result(plan, MIXTURE.denoise, x, seeds) for x, seeds in ((one, (1, 2, 3)), (two, (4, 5, 6)))]
    runs = [
        plan.run(MIXTURE.denoise, one, NoiseSource((1, 2, 3))),
        plan.run(MIXTURE.denoise, two, NoiseSource((4, 5, 6))),
    ]
    for a, b in zip(*runs, strict=True):
        last = (a.x, b.x)
    assert torch.equal(last[0], apart[0])
    assert torch.equal(last[1], apart[1])


@every_name
def test_two_threads_share_one_plan(name):
    plan = names.get(name).plan(DiscreteVP.scaled_linear(), 9)
    inputs = [(start(plan) * sign, (sign + 5,) * 3) for sign in (1, -1)]
    alone = [result(plan, MIXTURE.denoise, x, seeds) for x, seeds in inputs]
    found = [None, None]

    def work(i):
        found[i] = result(plan, MIXTURE.denoise, *inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))


@every_name
def test_nothing_in_a_scheduler_or_a_plan_can_be_set(name):
    scheduler = names.get(name)
    plan = scheduler.plan(DiscreteVP.linear(), 3)
    for thing, field in (
        (scheduler, "grid"),
        (scheduler.solver, "order"),
        (plan, "steps"),
        (plan.steps[0], "moves"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field, None)


@every_name
def test_a_sample_of_a_batch_is_the_sample_alone(name):
    plan = names.get(name).plan(Cosine(), 7)
    x = start(plan, rows=4)
    if isinstance(plan, AdaptivePlan):
        with pytest.raises(InputError, match=r"4 are given; make one at a time \(count 1\)"):
            result(plan, MIXTURE.denoise, x.repeat(4, 1, 1, 1))
        return
    together = result(plan, MIXTURE.denoise, x, (10, 11, 12, 13))
    alone = result(plan, MIXTURE.denoise, x[2:3], (12,))
    assert torch.equal(together[2:3], alone)
    assert result(plan, MIXTURE.denoise, x[:0], ()).shape == x[:0].shape


@every_name
def test_the_stepper_makes_the_run_s_own_steps(name):
    schedule = DiscreteVP.linear()
    plan = names.get(name).plan(schedule, 6)
    x = start(plan)
    if isinstance(plan, AdaptivePlan):
        with pytest.raises(InputError, match="nobody knows the times"):
            plan.stepper()
        return
    by_run = result(plan, lambda x, level: Estimate.from_noise(x, level, torch.tanh(x)), x, (1, 2, 3))
    if isinstance(plan.steps[0].moves[0], Move):
        with pytest.raises(InputError, match="before the network's first look"):
            plan.stepper()
        return
    if plan.halves:
        with pytest.raises(InputError, match="hands in one"):
            plan.stepper()
        return
    stepper = plan.stepper(noise=NoiseSource((1, 2, 3)))
    sample = x
    for t in stepper.timesteps:
        sample = stepper.step(torch.tanh(sample), t, sample).prev_sample
    assert torch.equal(sample, by_run)


def test_timesteps_are_whole_numbers_on_a_table_and_fractions_on_a_formula():
    ddpm = names.get("DDPM").plan(DiscreteVP.linear(), 1000).stepper()
    assert ddpm.timesteps.dtype == torch.int64
    assert ddpm.timesteps.tolist() == list(range(999, -1, -1))
    assert names.get("DDPM").plan(Cosine(), 10).stepper("velocity").timesteps.dtype == torch.float32


def test_a_solver_of_two_calls_lists_both_times():
    stepper = names.get("Heun").plan(DiscreteVP.linear(), 5).stepper()
    assert len(stepper.timesteps) == 9  # the jump to clean data is one call
    assert (
        names.get("Heun").plan(DiscreteVP.linear(), 5).looks[1]
        == names.get("Heun").plan(DiscreteVP.linear(), 5).levels[1]
    )


def test_a_stepper_refuses_the_wrong_time_and_a_step_too_many():
    stepper = names.get("DDIM").plan(DiscreteVP.linear(), 2).stepper()
    x = torch.zeros(1, 1, 2, 2)
    for time in (3, math.nan):
        with pytest.raises(InputError, match=f"not {time}"):
            stepper.step(x, time, x)
    for t in stepper.timesteps:
        x = stepper.step(x, t, x).prev_sample
    with pytest.raises(InputError, match="all 2 calls"):
        stepper.step(x, 0, x)


def test_a_stepper_that_refused_an_output_of_another_sample_goes_on_with_the_right_one():
    """Such as both halves of a guided answer, which would broadcast."""
    stepper = names.get("DDIM").plan(DiscreteVP.linear(), 2).stepper()
    x = torch.zeros(1, 1, 2, 2)
    for t in stepper.timesteps:
        with pytest.raises(InputError, match="residual is"):
            stepper.step(torch.cat([x, x]), t, x)
        assert stepper.step(x, t, x).prev_sample.shape == x.shape


def test_a_sample_changed_from_outside_is_where_the_run_goes_on():
    plan = names.get("LMS").plan(DiscreteVP.linear(), 4)
    stepper = plan.stepper("sample")
    x = torch.full((1, 1), 5.0)
    for t in stepper.timesteps:
        x = stepper.step(torch.full((1, 1), 0.25), t, torch.full((1, 1), 1.0)).prev_sample
    assert x.item() == pytest.approx(0.25, abs=0.05)


def test_a_stepper_takes_a_learned_variance():
    plan = names.get("DDPM").plan(DiscreteVP.linear(), 3)
    stepper = plan.stepper(noise=NoiseSource((0,)))
    x = torch.zeros(1, 1, 2, 2)
    out = stepper.step(torch.zeros(1, 2, 2, 2), stepper.timesteps[0], x)
    assert out.prev_sample.shape == x.shape


def test_the_first_level_s_scale_is_that_of_noised_data_of_unit_variance():
    assert Scheduler().plan(DiscreteVP.linear(), 4).initial(torch.ones(1)).item() == pytest.approx(1.0)
    plan = Scheduler(grids.Karras()).plan(EDM(), 4)
    assert plan.initial(torch.ones(1)).item() == pytest.approx(math.hypot(1.0, 80.0))


def test_ddim_at_all_steps_is_the_chain_of_posterior_means_without_noise():
    # One DDIM step from t to t - 1 is x0 and eps at the lower level (Song et al. 2021a, eq. 12).
    schedule = DiscreteVP.linear(steps=20)
    plan = names.get("DDIM").plan(schedule, 20)
    x = start(plan)
    for step in plan.run(GAUSSIAN.denoise, x):
        want = step.level.alpha * step.x0 + step.level.sigma * step.noise
        assert (step.x - want).abs().max() < 1e-12


@pytest.mark.parametrize(
    "grid", [grids.Trailing(), grids.Leading(), grids.Linspace(), grids.Karras(), grids.Exponential()]
)
@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_grids_hold_as_many_levels_as_asked_and_all_below_the_last(grid, count):
    for schedule in SCHEDULES.values():
        levels = grid.levels(schedule, count)
        values = [float(level.log_snr) for level in levels]
        assert len(levels) == count
        assert all(a < b for a, b in pairwise(values))
        assert values[-1] < math.inf


def test_time_grids_are_those_of_the_literature():
    schedule = DiscreteVP.scaled_linear()
    assert [level.time for level in grids.Trailing().levels(schedule, 4)] == [999.0, 749.0, 499.0, 249.0]
    assert [level.time for level in grids.Leading(1.0).levels(schedule, 4)] == [751.0, 501.0, 251.0, 1.0]
    assert [level.time for level in grids.Linspace().levels(schedule, 4)] == [999.0, 666.0, 333.0, 0.0]


def test_karras_levels_are_those_of_the_paper():
    ratios = [float(level.ratio) for level in grids.Karras().levels(EDM(), 5)]
    want = [(80 ** (1 / 7) + i / 4 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(5)]
    assert ratios == pytest.approx(want, rel=1e-12)


def test_an_exponential_grid_has_equal_steps_in_log_snr():
    values = [float(level.log_snr) for level in grids.Exponential().levels(DiscreteVP.linear(), 9)]
    gaps = [b - a for a, b in pairwise(values)]
    assert max(gaps) - min(gaps) < 1e-9


def test_a_shift_moves_flow_levels_as_the_flow_s_own_shift_does():
    moved = grids.Shift(grids.Trailing(), 3.0).levels(Flow(), 8)
    own = grids.Trailing().levels(Flow(shift=3.0), 8)
    assert [level.sigma for level in moved] == pytest.approx([level.sigma for level in own], rel=1e-12)


def test_a_slice_is_the_end_of_the_longer_grid_and_reverse_its_mirror():
    whole = grids.Karras().levels(EDM(), 10)
    assert grids.Slice(grids.Karras(), 10).levels(EDM(), 4) == whole[6:]
    assert grids.Reverse(grids.Karras()).levels(EDM(), 10) == whole[::-1]


def test_a_list_may_hold_its_own_end():
    ratios = [float(level.ratio) for level in grids.Karras().levels(EDM(), 4)]
    by_list = Scheduler(grids.Ratios((*ratios, 0.0)), Adams(1), final=finals.Stop()).plan(EDM(), 4)
    by_rule = Scheduler(grids.Karras(), Adams(1)).plan(EDM(), 4)
    assert by_list.levels == by_rule.levels
    assert by_list.steps[:-1] == by_rule.steps[:-1]


def test_a_list_of_levels_may_be_a_tensor_or_an_array():
    schedule, listed = DiscreteVP.scaled_linear(), (10.0, 1.0, 0.25)
    plans = [
        Scheduler(grids.Ratios(kind(listed))).plan(schedule, 3) for kind in (tuple, torch.tensor, np.array)
    ]
    assert plans[0].levels == plans[1].levels == plans[2].levels


def test_explicit_lists_are_taken_as_they_are():
    plan = Scheduler(grids.Ratios((14.0, 3.0, 0.5))).plan(DiscreteVP.scaled_linear(), 3)
    assert [float(level.ratio) for level in plan.levels] == pytest.approx([14.0, 3.0, 0.5, 0.0])
    plan = Scheduler(grids.Times((900.0, 17.5))).plan(DiscreteVP.scaled_linear(), 2)
    assert [level.time for level in plan.levels] == [900.0, 17.5, -1.0]


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("dpm++ 2m karras", "DPM++ 2M Karras"),
        ("k_euler_a", "Euler a"),
        ("euler_ancestral", "Euler a"),
        ("  ddim ", "DDIM"),
        ("dpmpp_2m_sde", "DPM++ 2M SDE"),
        ("LMS exponential", "LMS Exponential"),
    ],
)
def test_names_are_found_however_they_are_written(spelling, canonical):
    assert names.get(spelling) == names.get(canonical)


def test_a_grid_in_a_name_replaces_the_grid_only():
    assert names.get("Heun Karras") == replace(names.get("Heun"), grid=grids.Karras())
    assert names.get(names.get("LMS")) is names.get("LMS")


def test_what_is_no_name_is_refused():
    with pytest.raises(InputError, match="scheduler is 3; give a name"):
        names.get(3)


def test_an_unknown_name_brings_the_three_nearest():
    with pytest.raises(InputError, match=r"DPM\+\+ 2M Karras") as caught:
        names.get("DPM++ 2N Karras")
    assert str(caught.value).count(",") == 2


@every_name
@pytest.mark.parametrize("prediction", ["noise", "flow"])
def test_a_sample_in_half_precision_stays_so_though_the_network_answers_in_full(name, prediction):
    schedule = DiscreteVP.scaled_linear() if prediction == "noise" else Flow()
    diffuser = Diffuser(lambda x, t: 0.1 * x.float(), schedule, prediction)
    plan = names.get(name).plan(schedule, 4)
    x = plan.initial(torch.ones(1, 1, 2, 2, dtype=torch.bfloat16))
    assert all(step.x.dtype == x.dtype for step in plan.run(diffuser.estimate, x, NoiseSource((1,))))


def test_an_answer_of_another_kind_is_refused():
    plan, x = names.get("Euler").plan(DiscreteVP.linear(), 3), torch.zeros(1, 1, 2, 2)
    with pytest.raises(InputError, match="gave a tuple; let it return an Estimate, or the clean sample"):
        list(plan.run(lambda x, level: (x,), x))
    with pytest.raises(InputError, match=r"gave \[2, 1, 2, 2\] for x \[1, 1, 2, 2\]"):
        list(plan.run(lambda x, level: torch.cat([x, x]), x))


def test_a_number_of_steps_may_come_from_numpy():
    assert Scheduler().plan(DiscreteVP.linear(), np.int64(7)) == Scheduler().plan(DiscreteVP.linear(), 7)


def test_a_step_and_an_estimate_show_shape_and_level_and_no_numbers_of_the_picture():
    plan = names.get("Euler").plan(DiscreteVP.linear(), 2)
    x = torch.full((2, 3, 8, 8), 0.123456789)
    step = next(plan.run(lambda x, level: x, x))
    for shown in (repr(step), repr(step.estimate)):
        assert "x=(2, 3, 8, 8)" in shown
        assert "0.123" not in shown
        assert len(shown) < 200
    assert repr(step.level) in repr(step)
    assert repr(step.start) in repr(step.estimate)
