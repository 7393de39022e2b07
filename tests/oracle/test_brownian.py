"""Noise cut from one path a seed: the grid decides how finely it is seen, not what it is."""

import math

import pytest
import torch

from closed_forms import MIXTURE
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.randomness import BrownianSource, NoiseSource
from unnoise.schedulers import Scheduler, finals, grids, noise, solvers
from unnoise.schedulers.noise import clock
from unnoise.schedulers.solvers import Adams

ENDS = {"sigma_min": 0.03, "sigma_max": 14.0}
LIKE = torch.zeros(1, 4000, dtype=torch.float64)
SOURCE = BrownianSource((11,))


def stretch(start, end):
    """The path's own increment, not scaled."""
    return SOURCE.increment(start, end, LIKE) * math.sqrt(end - start)


@pytest.mark.parametrize(
    "cuts",
    [
        (0.3, 0.7, 1.9),
        (0.3, 0.30001, 1.9),
        (0.0, 0.5, 7.0),
        (1.0, 2.0, 4.0),
        (1e-5, 3.0, 1e6),
        (1.25, 1.3, 1.75),
    ],
)
def test_increments_add_up(cuts):
    start, middle, end = cuts
    parts = stretch(start, middle) + stretch(middle, end)
    # Below 40 octaves the path from 0 is left out: 1e-12 of the variance, wherever it is seen from.
    error = 1e-9 if start > 0.0 else 5e-6
    assert (parts - stretch(start, end)).abs().max() < error * math.sqrt(end)


@pytest.mark.parametrize("span", [(0.3, 0.7), (0.0, 1.0), (1.0, 2.0), (5e-3, 800.0), (1.4, 1.4004)])
def test_increments_are_standard_normal(span):
    z = SOURCE.increment(*span, LIKE)
    # 4,000 numbers: the mean is known to 0.016, the deviation to 0.011, the kurtosis to 0.08; four times that.
    assert abs(z.mean().item()) < 0.064
    assert abs(z.std().item() - 1.0) < 0.045
    assert abs((z**4).mean().item() - 3.0) < 0.4


def test_stretches_apart_are_independent_and_overlapping_ones_share_what_they_overlap():
    def correlation(a, b):
        return (SOURCE.increment(*a, LIKE) * SOURCE.increment(*b, LIKE)).mean().item()

    assert abs(correlation((0.2, 0.9), (0.9, 3.0))) < 0.064
    assert abs(correlation((0.2, 0.3), (0.35, 0.4))) < 0.064
    assert correlation((1.0, 3.0), (2.0, 3.0)) == pytest.approx(math.sqrt(0.5), abs=0.06)


def test_each_seed_has_its_own_path_whoever_else_is_in_the_batch():
    like = torch.zeros(3, 5)
    together = BrownianSource((4, 5, 6)).increment(0.4, 1.7, like)
    assert torch.equal(together[1:2], BrownianSource((5,)).increment(0.4, 1.7, like[:1]))
    assert not torch.equal(together[0], together[1])
    assert together.dtype == like.dtype


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
def test_the_noise_of_one_sde_step_is_that_of_its_halves(eta):
    # In y = x / (sigma w^eta) noise adds up and does not fade, which is what the clock is for.
    rule, schedule = noise.SDE(eta), Flow()
    a, b, c = (schedule.at_ratio(w) for w in (3.0, 1.1, 0.4))

    def part(now, to):
        split = rule.split(now, to, schedule)
        fresh = split.fresh * SOURCE.increment(*split.span, LIKE)
        return fresh / (float(to.sigma) * float(to.ratio) ** eta)

    assert (part(a, b) + part(b, c) - part(a, c)).abs().max() < 1e-9
    assert rule.split(a, c, schedule).span == pytest.approx((clock(3.0, eta), clock(0.4, eta)))


def sample(rule, solver, steps, source):
    schedule = EDM()
    plan = Scheduler(grids.Karras(**ENDS), solver, rule, finals.Stop()).plan(schedule, steps)
    x = torch.randn(1, 600, generator=torch.Generator().manual_seed(1)).double() * 14.0
    *_, last = plan.run(MIXTURE.denoise, x, source)
    return last.x


def distance(rule, solver, source, few, many):
    return (
        (sample(rule, solver, few, source) - sample(rule, solver, many, source)).pow(2).mean().sqrt().item()
    )


@pytest.mark.parametrize(
    ("rule", "solver"),
    [
        (noise.SDE(), Adams(1)),
        (noise.SDE(), Adams(2)),
        (noise.SDE(0.5), solvers.TwoStage()),
        (noise.SDE(), solvers.sa_solver(2, 2)),
        (noise.Ancestral(), Adams(1)),
        (noise.Ancestral(0.7), solvers.Midpoint()),
        (noise.FlowAncestral(), Adams(1)),
        (noise.ExtendedSDE(), Adams(2, "sigma")),
    ],
)
def test_a_sample_of_the_sde_stays_the_same_picture_when_the_steps_are_doubled(rule, solver):
    # Apart, two samples differ by the data's whole spread. On one path they differ by the solver's error, which
    # falls at least as the step does: additive noise has strong order 1.
    near = distance(rule, solver, SOURCE, 50, 100)
    nearer = distance(rule, solver, SOURCE, 100, 200)
    apart = distance(rule, solver, NoiseSource((11,)), 50, 100)
    assert near < 0.35 * apart
    assert nearer < 0.7 * near


@pytest.mark.parametrize("eta", [1e-12, 1e-9, 1e-4])
def test_noise_too_faint_for_the_path_s_clock_is_still_of_its_size(eta):
    plan = Scheduler(grids.Karras(), Adams(1), noise.Ancestral(eta)).plan(DiscreteVP.scaled_linear(), 4)
    first = plan.steps[0]
    still, drawn = (
        next(plan.run(lambda x, level: 0.1 * x, LIKE, source)).x for source in (NoiseSource((0,)), SOURCE)
    )
    assert drawn.isfinite().all()
    assert drawn.std().item() == pytest.approx(first.moves[-1].noise, rel=0.05)
    assert still.std().item() == pytest.approx(first.moves[-1].noise, rel=0.05)


def test_an_ordinary_source_does_not_mind_the_spans():
    plan = Scheduler(grids.Karras(**ENDS), Adams(2), noise.SDE()).plan(EDM(), 6)
    x = torch.randn(2, 3).double() * 14.0
    runs = [
        list(plan.run(MIXTURE.denoise, x, source))[-1].x
        for source in (NoiseSource((1, 2)), BrownianSource((1, 2)))
    ]
    assert not torch.equal(*runs)
    assert all(run.isfinite().all() for run in runs)
