"""Parts put together at random: what every plan keeps, whatever it is made of."""

import math
from itertools import pairwise

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from closed_forms import GAUSSIAN, SCHEDULES, affine_moments
from unnoise.errors import InputError
from unnoise.process import Estimate
from unnoise.process import prediction as predictions
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, finals, grids, noise, solvers

EVEN = [
    grids.Trailing(),
    grids.Linspace(),
    grids.SGMUniform(),
    grids.Leading(),
    grids.Leading(1.0),
    grids.Simple(),
]
BENT = [grids.BetaTime(), grids.Smoothstep(), grids.Quadratic(), grids.Shift(grids.Trailing(), 3.0)]
IN_RATIO = [
    grids.Karras(),
    grids.Exponential(),
    grids.Polyexponential(2.0),
    grids.KLOptimal(),
    grids.Arcsinh(),
]
OTHERS = [
    *(grids.BetaSigma(), grids.Laplace(), grids.LogitNormal(), grids.LinearQuadratic(), grids.BongTangent()),
    *(grids.AlignYourSteps(), grids.GITS(), grids.BlockLevels(), grids.Distilled(), grids.DDIMUniform()),
    *(grids.StretchToTerminal(grids.Trailing()), grids.DropPenultimate(grids.Karras())),
]
VARIABLES, UNKNOWNS = ("sigma", "lambda", "flow", "angle"), ("x0", "noise", "flow", "velocity")
RULES = [
    *(noise.none(), noise.Ancestral(), noise.Ancestral(0.5), noise.FlowAncestral(), noise.Posterior()),
    *(noise.SDE(), noise.SDE(0.5), noise.Tau(), noise.ExtendedSDE(), noise.Churn(), noise.Churn(5.0)),
]
FINALS = [finals.Extrapolate(), finals.Extrapolate("sigma"), finals.FirstOrder(), finals.Stop()]

orders = st.integers(1, 4)
adams = st.builds(
    solvers.Adams,
    orders,
    st.sampled_from(VARIABLES),
    st.sampled_from(UNKNOWNS),
    st.sampled_from(["exact", "midpoint"]),
)
correcting = st.one_of(
    st.builds(solvers.unipc, orders, st.sampled_from(["x0", "noise"]), st.sampled_from(["bh1", "bh2"])),
    st.builds(solvers.adams_moulton, orders, st.sampled_from(VARIABLES), st.sampled_from(UNKNOWNS)),
    st.builds(solvers.sa_solver, orders, st.integers(1, 5), st.booleans()),
)
looking_often = st.sampled_from(
    [
        *(solvers.Heun(), solvers.Midpoint(), solvers.TwoStage(), solvers.ExponentialHeun()),
        *(solvers.ThreeStage(), solvers.ThreeStageX0(), solvers.Blocks()),
    ]
)


@st.composite
def runs(draw):
    """(plan, final rule) of a random scheduler, entered at the start or later; what is refused is passed over."""
    count = draw(st.integers(1, 6))
    grid, final = draw(st.sampled_from(EVEN + BENT + IN_RATIO + OTHERS)), draw(st.sampled_from(FINALS))
    entered = draw(st.integers(0, count - 1))
    if entered:
        grid = grids.Slice(grid, count + (not final.appends_clean))
    schedule = SCHEDULES[draw(st.sampled_from(sorted(SCHEDULES)))]
    try:
        scheduler = Scheduler(
            grid, draw(adams | correcting | looking_often), draw(st.sampled_from(RULES)), final
        )
        plan = scheduler.plan(schedule, count - entered)
    except InputError:
        assume(False)
    assert len(plan) == count - entered
    return plan, final


@given(runs())
@settings(max_examples=200)
def test_levels_fall_to_where_they_were_asked_to_and_every_number_is_finite(run):
    plan, final = run
    ratios = [float(level.ratio) for level in plan.levels]
    assert all(now > to for now, to in pairwise(ratios))
    assert (ratios[-1] == 0.0) == final.appends_clean
    numbers = [
        each for move in plan.moves for each in (move.of_x, *move.of_estimates, move.noise, *move.of_draws)
    ]
    assert all(map(math.isfinite, numbers))
    assert all(map(math.isfinite, affine_moments(plan, GAUSSIAN)))


@given(runs(), st.sampled_from(["noise", "sample", "velocity", "flow"]))
@settings(max_examples=150)
def test_a_loop_of_one_s_own_and_every_prediction_lead_where_the_run_leads(run, kind):
    plan, _ = run
    prediction = predictions.get(kind)
    assume(not prediction.needs_signal or plan.levels[0].alpha > 0.0)

    def output(x, level):
        x0 = GAUSSIAN.denoise(x, level)
        return prediction.target(x0, (x - level.alpha * x0) / level.sigma, level)

    noise_source = NoiseSource((1, 2))
    x = y = plan.initial(torch.randn(2, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64))
    *_, told = plan.run(lambda x, level: Estimate(x, level, output(x, level), prediction), x, noise_source)
    *_, plain = plan.run(GAUSSIAN.denoise, x, noise_source)
    size = max(1.0, float(plain.x.abs().max()))
    assert (told.x - plain.x).abs().max() <= 1e-7 * size
    try:
        stepper = plan.stepper(kind, noise_source)
    except InputError:  # churn at the first level
        return
    for time, level in zip(stepper.timesteps, plan.looks, strict=True):
        y = stepper.step(output(y, level), time, y).prev_sample
    assert torch.equal(y, told.x)


def missed(plan):
    """Of mean and deviation, in deviations, at the last level."""
    mean, deviation = affine_moments(plan, GAUSSIAN)
    last = plan.levels[-1]
    right = math.hypot(0.5 * float(last.alpha), float(last.sigma))
    return max(abs(mean - 0.3 * float(last.alpha)), abs(deviation - right)) / right


@given(
    st.sampled_from(sorted(SCHEDULES)), st.sampled_from(EVEN + BENT + IN_RATIO + OTHERS), st.integers(1, 6)
)
@settings(max_examples=150)
def test_few_steps_of_first_order_miss_by_less_than_the_data_are_wide(name, grid, steps):
    try:
        plan = Scheduler(grid, solvers.Adams(1)).plan(SCHEDULES[name], steps)
    except InputError:
        assume(False)
    assert missed(plan) < 1.0 + 1e-9


@given(
    st.sampled_from([name for name in sorted(SCHEDULES) if name != "short_table"]),
    st.sampled_from(EVEN[:3] + IN_RATIO),
    adams | correcting | looking_often,
    st.sampled_from(RULES),
    st.sampled_from(FINALS),
)
@settings(
    max_examples=10, derandomize=True
)  # a thousand steps are not quick, and bounds have their exceptions
def test_a_thousand_steps_end_at_the_data_whatever_they_are_made_of(name, grid, solver, rule, final):
    try:
        plan = Scheduler(grid, solver, rule, final).plan(SCHEDULES[name], 1000 - (not final.appends_clean))
    except InputError:
        assume(False)
    assert missed(plan) < (0.05 if rule.stochastic else 0.01)
