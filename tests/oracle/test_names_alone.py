"""Names without a grid, as people type them: ten steps lead to the data on every noise schedule, not to noise."""

import pytest

from closed_forms import GAUSSIAN, MIXTURE, SCHEDULES, affine_moments
from unnoise.schedulers import names

ROWS = {row.name: row for row in names.table()}
OF_X0 = [
    *("DPM++ 2M", "DPM++ 3M", "Res multistep", "UniPC", "UniPC bh2", "DPM++ 2M CFG++", "Res multistep CFG++"),
    *("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "ER SDE", "SA-Solver", "SA-Solver PECE"),
]
SHALLOW = [name for name in SCHEDULES if name != "edm"]


def error(name, schedule, steps):
    """Distance to the data in units of their deviation: of quantiles, or of mean and deviation where noise is drawn."""
    row = ROWS[name]
    plan = row.scheduler.plan(SCHEDULES[schedule], steps)
    if row.stochastic:
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
