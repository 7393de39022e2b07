"""Names without a grid, as people type them: ten steps lead to the data on every noise schedule, not to noise."""

from dataclasses import replace

import pytest

from closed_forms import GAUSSIAN, MIXTURE, SCHEDULES, affine_moments
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.schedulers import Scheduler, grids, names, solvers

ROWS = {row.name: row for row in names.table()}
OF_X0 = [
    *("DPM++ 2M", "DPM++ 3M", "Res multistep", "UniPC", "UniPC bh2", "DPM++ 2M CFG++", "Res multistep CFG++"),
    *("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "ER SDE", "SA-Solver", "SA-Solver PECE"),
]
SHALLOW = [name for name in SCHEDULES if name != "edm"]


def error(name, schedule, steps, grid=None):
    """Distance to the data in units of their deviation: of quantiles, or of mean and deviation where noise is drawn."""
    scheduler = ROWS[name].scheduler if isinstance(name, str) else name
    scheduler = scheduler if grid is None else replace(scheduler, grid=grid)
    plan = scheduler.plan(SCHEDULES[schedule], steps)
    if scheduler.stochastic:
        mean, deviation = affine_moments(plan, GAUSSIAN)
        return max(abs(mean - 0.3), abs(deviation - 0.5)) / 0.5
    *_, last = plan.run(MIXTURE.denoise, MIXTURE.quantiles(plan.levels[0]).reshape(1, -1))
    return (last.x[0] - MIXTURE.quantiles(plan.levels[-1])).pow(2).mean().sqrt().item()


# Euler's error at ten steps is up to 0.25, Euler a's 0.4. On even times down to the cleanest level, whose last one is a
# leap in lambda, polynomials of x0 in lambda had 0.2 (DPM++ 2M) to 13 (SA-Solver).
@pytest.mark.parametrize("schedule", SHALLOW)
@pytest.mark.parametrize("name", OF_X0)
def test_a_polynomial_of_x0_on_its_own_grid_is_near_the_data_after_ten_steps(name, schedule):
    assert error(name, schedule, 10) < (0.47 if ROWS[name].stochastic else 0.1)


@pytest.mark.parametrize("name", ["DPM++ 2M", "DPM++ 3M", "UniPC", "UniPC bh2"])
@pytest.mark.parametrize("schedule", SHALLOW)
def test_a_higher_order_is_nearer_than_euler_without_a_grid_too(name, schedule):
    assert error(name, schedule, 10) < error("Euler", schedule, 10)


# The cosine table ends at a ratio of 20,291, because its last beta is cut to 0.999; the formula that it is a table of
# ends without signal. Heun's step down from there was wrong by 22 deviations, DPM2 a's by 3.6.
FIXED = [name for name in ROWS if name != "DPM adaptive"]  # which asks until it is good enough


@pytest.mark.parametrize("name", FIXED)
def test_a_table_that_ends_in_noise_alone_is_as_good_as_its_formula(name):
    assert error(name, "cosine_betas", 10) < error(name, "cosine", 10) + 0.03


@pytest.mark.parametrize("grid", [grids.Linspace(), grids.Trailing(), grids.SGMUniform(), grids.Simple()])
@pytest.mark.parametrize("name", ["Heun", "DPM2", "DPM2 a", "DPM 3S", "DPM fast", "Heun churn"])
def test_steps_from_noise_alone_follow_x0_on_every_grid_in_time(name, grid):
    assert error(name, "cosine_betas", 10, grid) < error(name, "cosine", 10, grid) + 0.03


def test_a_corrector_of_the_noise_leaves_a_step_from_noise_alone_as_it_was():
    scheduler = Scheduler(grids.Trailing(), solvers.unipc(2, "noise"))
    assert error(scheduler, "cosine_betas", 10) < 0.1


@pytest.mark.parametrize("schedule", SHALLOW)
def test_dpm2_with_ancestral_noise_is_nearer_than_euler_with_it(schedule):
    """On even times down to the cleanest level the last step aimed at its square: seven units of lambda at a look."""
    assert error("DPM2 a", schedule, 10) < 0.6 * error("Euler a", schedule, 10)


@pytest.mark.parametrize("grid", [grids.Karras(), grids.Exponential(), grids.BetaSigma(), grids.Arcsinh()])
def test_levels_of_a_lost_signal_are_left_out_where_nobody_asked_for_them(grid):
    def first(schedule, given=grid):
        return given.levels(schedule, 10)[0].ratio

    assert first(DiscreteVP.cosine()) == pytest.approx(80.0)
    assert first(DiscreteVP.linear()) == pytest.approx(float(DiscreteVP.linear().noisiest.ratio))  # 157
    assert first(EDM(sigma_max=2000.0)) == pytest.approx(2000.0)
    assert first(Flow(end=0.9999)) == pytest.approx(9999.0)
    assert first(DiscreteVP.cosine(), replace(grid, sigma_max=5000.0)) == pytest.approx(5000.0)


@pytest.mark.parametrize("program", names.PROGRAMS)
@pytest.mark.parametrize("name", ["DPM2 Karras", "Euler Exponential", "DPM++ 2M Karras"])
def test_other_programs_values_begin_at_the_table_s_end(name, program):
    plan = names.get(name, compat=program).plan(DiscreteVP.cosine(), 6)
    assert plan.levels[0].ratio == pytest.approx(20_291, rel=1e-4)
