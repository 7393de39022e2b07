"""The jump to clean data: keeps the order of every multistep solver, and does not carry errors off the data."""

import math

import pytest

from closed_forms import GAUSSIAN, MIXTURE, Mixture, affine_moments
from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, DiscreteVP, Estimate, Flow
from unnoise.schedulers import Scheduler, Step, finals, grids, noise, solvers
from unnoise.schedulers.solvers import Adams, adams_moulton, unipc

PROCESSES = {"vp": DiscreteVP.scaled_linear(), "edm": EDM(), "flow": Flow()}
# Half a grid step of the smallest spread of MIXTURE is 0.15: below that its x0 is smooth in the square of the noise.
MULTISTEP = {
    "Adams 2 lambda x0": (Adams(2), 2),
    "Adams 3 lambda noise": (Adams(3, "lambda", "noise"), 3),
    "Adams 4 lambda noise": (Adams(4, "lambda", "noise"), 4),
    "Adams 3 sigma noise": (Adams(3, "sigma", "noise"), 3),
    "Adams 4 flow flow": (Adams(4, "flow", "flow"), 4),
    "Adams 4 angle velocity": (Adams(4, "angle", "velocity"), 4),
    "UniPC 2": (unipc(2), 2),
    "UniPC 3 noise": (unipc(3, "noise"), 3),
    "Adams-Moulton 3": (adams_moulton(3), 3),
    "Adams-Moulton 4": (adams_moulton(4), 4),
}


def error(scheduler, schedule, steps, data=MIXTURE, warm=0):
    """RMS distance to the exact transport, at the data itself; the first looks may be on the exact path."""
    plan = scheduler.plan(schedule, steps)
    walk = plan.walk(data.quantiles(plan.levels[0]))
    event, looks, x = next(walk), 0, None
    while event is not None:
        if isinstance(event, Step):
            x, event = event.x, next(walk, None)
            continue
        at = data.quantiles(event.level) if looks < warm else event.x
        looks += 1
        event = walk.send(Estimate.from_x0(at, event.level, data.denoise(at, event.level)))
    return (x - data.quantiles(plan.levels[-1])).pow(2).mean().sqrt().item()


def shrinking(steps):
    """A grid whose last level falls as one over the root of the number of steps."""
    return grids.Arcsinh(sigma_min=0.08 * math.sqrt(80 / steps), sigma_max=14.0)


@pytest.mark.parametrize("schedule", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize(("solver", "order"), MULTISTEP.values(), ids=MULTISTEP)
def test_every_multistep_solver_keeps_its_order_to_the_data(solver, order, schedule):
    # The jump of k estimates errs by the 2k-th power of the last level, so that level ~ N^(-1/2) suffices.
    few, many = (error(Scheduler(shrinking(n), solver), schedule, n, warm=5) for n in (160, 320))
    assert math.log2(few / many) > order - 0.35


@pytest.mark.parametrize("schedule", PROCESSES.values(), ids=PROCESSES)
def test_a_first_order_end_loses_the_order(schedule):
    few, many = (
        error(Scheduler(shrinking(n), adams_moulton(4), final=finals.FirstOrder()), schedule, n, warm=5)
        for n in (160, 320)
    )
    assert math.log2(few / many) < 1.3


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", [*PROCESSES.values(), Cosine()], ids=[*PROCESSES, "cosine"])
def test_polynomials_in_the_square_of_the_noise_are_continued_exactly(schedule, order):
    ratios = (2.0, 0.6, 0.19, 0.14, 0.1, 0.099, 0.06)
    plan = Scheduler(grids.Ratios(ratios), Adams(order, "lambda", "x0")).plan(schedule, len(ratios))
    jump = plan.steps[-1].moves[-1]
    assert jump.of_x == 0.0
    for degree in range(order):
        got = math.fsum(f * w ** (2 * degree) for f, w in zip(jump.of_estimates, ratios[::-1], strict=False))
        assert got == pytest.approx(1.0 if degree == 0 else 0.0, abs=1e-12)
    assert sum(map(abs, jump.of_estimates)) < 12.0  # at most so much of the network's own error


def test_close_levels_are_skipped_so_that_errors_are_not_magnified():
    for steps, limit in ((20, 12.0), (100, 20.0), (400, 50.0)):
        plan = Scheduler(grids.Karras(), Adams(4, "lambda", "noise")).plan(DiscreteVP.scaled_linear(), steps)
        assert sum(map(abs, plan.steps[-1].moves[-1].of_estimates)) < limit
        assert plan.memory <= 21


POINTS = Mixture((0.3, 0.5, 0.2), (-1.2, 0.3, 1.5), (1e-4, 1e-4, 1e-4))


@pytest.mark.parametrize("solver", [Adams(2), Adams(3, "lambda", "noise"), adams_moulton(4), solvers.Heun()])
def test_where_data_lie_in_points_the_jump_lands_on_them(solver):
    # As pictures lie on a surface: whatever was wrong before, the end is data. Continuing the noise is not so kind.
    grid = grids.Arcsinh(sigma_min=0.03, sigma_max=14.0)
    assert error(Scheduler(grid, solver), EDM(), 20, POINTS) < 2e-4


def test_continuing_the_noise_instead_carries_errors_into_the_picture():
    scheduler = Scheduler(
        grids.Arcsinh(sigma_min=0.03, sigma_max=14.0), adams_moulton(4), final=finals.Extrapolate("sigma")
    )
    assert error(scheduler, EDM(), 20, POINTS) > 1e-2


@pytest.mark.parametrize("solver", [solvers.Heun(), solvers.Midpoint(), solvers.ThreeStage()])
def test_a_runge_kutta_solver_s_own_looks_continue_to_the_end(solver):
    grid = grids.Karras(sigma_min=0.06, sigma_max=14.0)
    kept = error(Scheduler(grid, solver), EDM(), 80)
    lost = error(Scheduler(grid, solver, final=finals.FirstOrder()), EDM(), 80)
    assert kept < 0.25 * lost


@pytest.mark.parametrize("steps", [5, 10, 20, 40, 80])
@pytest.mark.parametrize("data", [MIXTURE, POINTS, Mixture((0.5, 0.5), (-1.0, 1.0), (0.05, 0.05))])
def test_the_rule_is_never_much_worse_than_the_last_x0(data, steps):
    for grid in (grids.Trailing(), grids.Karras(), grids.Arcsinh()):
        for solver in (Adams(2), Adams(4, "lambda", "noise")):
            kept, first = (
                error(Scheduler(grid, solver, final=rule), DiscreteVP.scaled_linear(), steps, data)
                for rule in (finals.Extrapolate(), finals.FirstOrder())
            )
            assert kept < 2.5 * first + 1e-6


def test_after_a_stochastic_way_the_last_x0_is_taken():
    plan = Scheduler(grids.Karras(), Adams(3), noise.SDE()).plan(EDM(), 12)
    assert [f for f in plan.steps[-1].moves[-1].of_estimates if f] == [1.0]


@pytest.mark.parametrize("solver", [Adams(3), solvers.sa_solver(3, 4), solvers.ThreeStageX0()])
def test_a_stochastic_way_s_spread_is_short_by_what_is_left_unknown_at_its_last_level(solver):
    # Var(x0 | x) at the last level, which no deterministic jump can draw: v w^2 / (v + w^2).
    plan = Scheduler(grids.Karras(sigma_min=0.05, sigma_max=14.0), solver, noise.SDE()).plan(EDM(), 300)
    mean, deviation = affine_moments(plan, GAUSSIAN)
    assert mean == pytest.approx(0.3, abs=1e-9)
    assert 0.25 - deviation**2 == pytest.approx(0.25 * 0.05**2 / (0.25 + 0.05**2), rel=0.05)


def test_words_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="square"):
        finals.Extrapolate("lambda")
