"""Predictor and corrector against exact transport, exact polynomials, and UniPC's own equations."""

import itertools
import math

import numpy as np
import pytest
import torch

from closed_forms import GAUSSIAN, MIXTURE, Mixture
from unnoise.errors import InputError
from unnoise.process import EDM, DiscreteVP, Estimate, Flow
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, Step, finals, grids, noise
from unnoise.schedulers.quadrature import coordinate, weights, whole
from unnoise.schedulers.solvers import Adams, Corrected, Leg, adams_moulton, sa_solver, unipc

ENDS = {"sigma_min": 0.03, "sigma_max": 14.0}
ARCSINH = grids.Arcsinh(**ENDS)


def error(scheduler, schedule, steps, warm=0, data=MIXTURE):
    """RMS distance to exact transport at the end, the first `warm` looks taken on the exact path."""
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
    return (x - data.quantiles(plan.levels[-1])).pow(2).mean().sqrt().item() / float(plan.levels[-1].alpha)


def slope(scheduler, schedule, few, many, warm=0, **options):
    found = [error(scheduler, schedule, steps, warm, **options) for steps in (few, many)]
    return math.log(found[0] / found[1]) / math.log(many / few)


@pytest.mark.parametrize("kind", ["bh1", "bh2"])
@pytest.mark.parametrize("unknown", ["x0", "noise"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_unipc_is_one_order_above_its_predictor(order, unknown, kind):
    scheduler = Scheduler(ARCSINH, unipc(order, unknown, kind), final=finals.Stop())
    assert slope(scheduler, EDM(), 160, 320, warm=5) > order + 0.65


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_unip_without_its_corrector_has_the_order_it_is_named_after(order):
    scheduler = Scheduler(ARCSINH, unipc(order, "x0", corrector=False), final=finals.Stop())
    assert slope(scheduler, EDM(), 160, 320, warm=5) > order - 0.25


@pytest.mark.parametrize(
    ("variable", "unknown"), [("angle", "velocity"), ("flow", "flow"), ("sigma", "noise")]
)
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("schedule", [DiscreteVP.scaled_linear(), EDM(), Flow()], ids=["vp", "edm", "flow"])
def test_adams_moulton_is_one_order_above_on_every_process(schedule, order, variable, unknown):
    scheduler = Scheduler(ARCSINH, adams_moulton(order, variable, unknown), final=finals.Stop())
    assert slope(scheduler, schedule, 160, 320, warm=5) > order + 0.65


def test_looking_again_keeps_the_order_at_twice_the_calls():
    once, twice = (
        Corrected(Adams(2, "lambda", "noise"), 3),
        Corrected(Adams(2, "lambda", "noise"), 3, again=True),
    )
    plan = Scheduler(ARCSINH, twice, final=finals.Stop()).plan(EDM(), 9)
    assert (once.calls, twice.calls) == (1, 2)
    assert len(plan.looks) == 17  # the first step has nothing to correct
    scheduler = Scheduler(ARCSINH, twice, final=finals.Stop())
    assert slope(scheduler, EDM(), 80, 160, warm=5) > 2.75


def unipc_by_the_paper(order, data, kind, ratios, corrector):
    """Factors of [m at now, m at earlier levels..., m at the end] by the linear system of Zhao et al. 2023, eq. 13."""
    lam = [-math.log(w) for w in ratios]  # ratios: end, now, earlier...
    end, now, earlier = lam[0], lam[1], lam[2 : order + 1]
    h = end - now
    hh = -h if data else h
    r = [(point - now) / h for point in earlier] + ([1.0] if corrector else [])
    count = len(r)
    phi, factorial, b = math.expm1(hh) / hh - 1.0, 1.0, []
    scale = {"bh1": hh, "bh2": math.expm1(hh)}[kind]
    for k in range(1, count + 1):
        b.append(phi * factorial / scale)
        factorial *= k + 1
        phi = phi / hh - 1.0 / factorial
    matrix = np.array([[point**k for point in r] for k in range(count)])
    rho = [0.5] if count == 1 else np.linalg.solve(matrix, b)
    size = {True: -1.0, False: -ratios[0]}[data]  # alpha = 1
    of_now = size * math.expm1(hh)
    terms = [size * scale * rho_k / r_k for rho_k, r_k in zip(rho, r, strict=True)]
    return [of_now - sum(terms), *terms]


@pytest.mark.parametrize(
    ("order", "unknown", "kind", "corrector"),
    list(itertools.product([2, 3, 4], ["x0", "noise"], ["bh1", "bh2"], [False, True])),
)
def test_unipc_s_linear_system_is_our_quadrature(order, unknown, kind, corrector):
    ratios = [0.55, 0.9, 1.4, 2.9, 3.3]
    schedule = EDM()
    end, now, *earlier = (schedule.at_ratio(w) for w in ratios[: order + 1])
    want = unipc_by_the_paper(order, unknown == "x0", kind, ratios, corrector)
    if corrector:
        got = weights(unknown, "lambda", (end, now, *earlier), now, end, rule=kind)
        got = [got[1], *got[2:], got[0]]
    else:
        got = weights(unknown, "lambda", (now, *earlier), now, end, rule=kind)
    assert got == pytest.approx(want, rel=1e-10, abs=1e-12)


def test_unipc_of_first_order_corrects_by_the_trapezium_of_its_kind():
    schedule = EDM()
    end, now = schedule.at_ratio(0.55), schedule.at_ratio(0.9)
    for kind in ("bh1", "bh2"):
        want = unipc_by_the_paper(1, True, kind, [0.55, 0.9], True)
        got = weights("x0", "lambda", (end, now), now, end, rule=kind)
        assert got == pytest.approx([want[1], want[0]], rel=1e-12)


@pytest.mark.parametrize(
    ("variable", "unknown"), [("lambda", "x0"), ("lambda", "noise"), ("flow", "flow"), ("angle", "velocity")]
)
@pytest.mark.parametrize("estimates", [2, 3, 4, 5])
def test_a_corrector_integrates_polynomials_through_its_own_look_exactly(variable, unknown, estimates):
    # The move of the corrector alone, on a history that is a polynomial of the degree it must integrate.
    schedule = EDM()
    solver = Corrected(Adams(4, variable, unknown), estimates)
    visited = [schedule.at_ratio(w) for w in (3.9, 3.3, 2.9, 1.4, 0.9, 0.55)]
    levels = visited[4::-1]  # 0.9 (just looked at), 1.4, 2.9, ...
    begin, end = visited[3], visited[4]
    mend = solver.mend(
        Leg(end, noise.Split(visited[5]), tuple(levels[1:]), schedule, before=(begin, noise.Split(end)))
    )
    fine = [
        schedule.at_ratio(float(begin.ratio) * (float(end.ratio) / float(begin.ratio)) ** (k / 1000))
        for k in range(1001)
    ]
    for degree in range(estimates):
        got = math.fsum(
            f * coordinate(variable, float(level.ratio)) ** degree
            for f, level in zip(mend.of_estimates, levels, strict=False)
        )
        want = 0.0
        for a, b in itertools.pairwise(fine):
            middle = schedule.at_ratio(math.sqrt(float(a.ratio) * float(b.ratio)))
            # The mass of each short piece, carried on to the end of the step.
            piece = whole(unknown, a, end) - whole(unknown, b, end)
            want += piece * coordinate(variable, float(middle.ratio)) ** degree
        assert got == pytest.approx(want, rel=3e-6)


@pytest.mark.parametrize("rule", [noise.none(), noise.SDE(0.5)])
@pytest.mark.parametrize(
    "solver", [unipc(2), unipc(3), sa_solver(2, 3), Corrected(Adams(4, "lambda", "x0"), 5)]
)
def test_one_move_of_differences_is_the_last_step_made_again_from_where_it_began(solver, rule):
    schedule, steps = DiscreteVP.scaled_linear(), 7
    plan = Scheduler(ARCSINH, solver, rule, finals.Stop()).plan(schedule, steps)
    assert [len(step.moves) for step in plan.steps] == [2] * steps  # a look and a move
    source = NoiseSource((0,))
    x = plan.initial(torch.linspace(-2.0, 2.0, 5).double().reshape(1, -1))
    got = [step.x for step in plan.run(MIXTURE.denoise, x, source)]
    levels, looks, past, before, began, drawn = plan.levels, [], (), None, x, 0.0
    for i, (now, to) in enumerate(itertools.pairwise(levels)):
        leg = Leg(now, rule.split(now, to, schedule), past, schedule, i, levels, before)
        looks = [MIXTURE.denoise(x, now), *looks]
        mended = solver.mend(leg)
        if mended is not None:
            x = began * mended.of_x + drawn
            x = x + sum(f * m for f, m in zip(mended.of_estimates, looks, strict=False))
        began, forward = x, solver.predictor.move(leg)
        drawn = forward.noise * source("step", i, 0, like=x) if forward.noise else 0.0
        x = x * forward.of_x + sum(f * m for f, m in zip(forward.of_estimates, looks, strict=False)) + drawn
        past, before = (now, *past), (now, leg.split)
        assert (x - got[i]).abs().max() < 1e-12


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("solver", [unipc(3), unipc(4, "noise", "bh1"), adams_moulton(), sa_solver(3, 4)])
@pytest.mark.parametrize(
    "schedule",
    [DiscreteVP.scaled_linear(), DiscreteVP.linear().zero_terminal_snr(), EDM(), Flow()],
    ids=["vp", "zero_terminal", "edm", "flow"],
)
def test_correctors_run_for_any_number_of_steps_from_any_start(schedule, solver, steps):
    for grid in (grids.Trailing(), grids.Arcsinh()):
        plan = Scheduler(grid, solver).plan(schedule, steps)
        x = plan.initial(torch.linspace(-2.0, 2.0, 5).double())
        *_, last = plan.run(GAUSSIAN.denoise, x)
        assert len(plan) == steps
        assert last.x.isfinite().all()


@pytest.mark.parametrize("solver", [adams_moulton(4), unipc(3, "noise"), Adams(4, "angle", "velocity")])
def test_a_normal_in_many_dimensions_is_carried_by_its_matching_affine_map(solver):
    # Commuting covariances: each eigenvector has its own scale, and the path is known in closed form.
    gen = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=gen).double()).Q
    spread = torch.tensor([0.2, 0.4, 0.6, 0.9, 1.3, 2.0]).double()
    mean = torch.randn(6, generator=gen).double()

    def denoise(x, level):
        a, s = float(level.alpha), float(level.sigma)
        gain = a * spread**2 / ((a * spread) ** 2 + s**2)
        return mean + ((x - a * mean) @ basis * gain) @ basis.T

    def miss(steps):
        plan = Scheduler(ARCSINH, solver, final=finals.Stop()).plan(DiscreteVP.scaled_linear(), steps)
        first, last = plan.levels[0], plan.levels[-1]
        size = lambda level: ((float(level.alpha) * spread) ** 2 + float(level.sigma) ** 2).sqrt()
        z = torch.randn(4, 6, generator=torch.Generator().manual_seed(5)).double()
        x = float(first.alpha) * mean + (z * size(first)) @ basis.T
        *_, step = plan.run(denoise, x)
        return (step.x - (float(last.alpha) * mean + (z * size(last)) @ basis.T)).abs().max().item()

    # The start is Euler's, of local order 2, mended to 3 by a corrector: that is the limit of the slope.
    assert math.log2(miss(60) / miss(120)) > (2.7 if isinstance(solver, Corrected) else 1.9)
    assert miss(120) < 1e-4


def test_entry_in_the_middle_keeps_a_corrector_s_order():
    def entered(total):
        scheduler = Scheduler(grids.Slice(ARCSINH, total), adams_moulton(3), final=finals.Stop())
        return error(scheduler, EDM(), total * 3 // 5, warm=5)

    assert math.log2(entered(120) / entered(240)) > 3.6


def test_our_most_accurate_solver_beats_the_best_unipc_by_far_at_ten_twenty_and_forty_calls():
    # UniPC of order 4 in the noise is the most accurate setting that diffusers has; same data, same ends.
    schedule = DiscreteVP.scaled_linear()
    for steps, factor in ((10, 3.0), (20, 6.0), (40, 5.0)):
        ours = error(Scheduler(grids.Arcsinh(), adams_moulton(), final=finals.Stop()), schedule, steps)
        theirs = min(
            error(Scheduler(grid, unipc(order, "noise"), final=finals.Stop()), schedule, steps)
            for grid in (grids.Karras(), grids.Exponential())
            for order in (3, 4)
        )
        assert ours * factor < theirs


def test_velocity_is_zero_for_normal_data_of_unit_variance():
    unit = Mixture((1.0,), (0.0,), (1.0,))
    scheduler = Scheduler(grids.Karras(**ENDS), adams_moulton(), final=finals.Stop())
    assert error(scheduler, EDM(), 3, data=unit) < 1e-13


def test_parts_of_correctors_that_do_not_fit_are_refused():
    for make in (
        lambda: unipc(5),
        lambda: unipc(0),
        lambda: unipc(2, kind="bh3"),
        lambda: Corrected(Adams(2), 6),
        lambda: Corrected(Adams(2), True),
        lambda: sa_solver(3, 6),
        lambda: Adams(2, quadrature="bh3"),
        lambda: noise.Tau(-1.0),
        lambda: noise.Tau(1.0, 2.0, 1.0),
        lambda: Scheduler(ARCSINH, unipc(2), noise.Ancestral()).plan(EDM(), 5),
        lambda: Scheduler(ARCSINH, unipc(2, "noise"), noise.SDE()).plan(EDM(), 5),
    ):
        with pytest.raises(InputError):
            make()
