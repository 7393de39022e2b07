"""CFG++ beside its definition: the guided clean sample, noised again by the unguided residual."""

from itertools import pairwise

import pytest
import torch

from closed_forms import GAUSSIAN, MIXTURE, SCHEDULES
from tiny_model import tiny_model
from unnoise.errors import InputError
from unnoise.pipelines import TextToImage
from unnoise.pipelines.combining import Interval, Scale
from unnoise.process import EDM, DiscreteVP, Estimate
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, grids, names, noise, solvers
from unnoise.schedulers.solvers import Adams, CFGPlusPlus


def halves(x, level, guidance=0.7):
    """An estimate guided from one mixture towards another, with the half that is not."""
    without, heeding = MIXTURE.denoise(x, level), GAUSSIAN.denoise(x, level)
    estimate = Estimate.from_x0(x, level, without + guidance * (heeding - without))
    estimate.half = Estimate.from_x0(x, level, without)
    return estimate


def start(plan):
    return plan.initial(torch.linspace(-2.0, 2.0, 7).double().reshape(1, -1))


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_step_is_the_guided_picture_noised_by_the_unguided_residual(schedule):
    plan = names.get("Euler CFG++").plan(schedule, 6)
    for step in plan.run(halves, start(plan)):
        without = step.estimate.half.noise
        want = step.level.alpha * step.x0 + step.level.sigma * without
        assert (step.x - want).abs().max() < 1e-11 * step.x.abs().max()


def test_the_ancestral_form_is_comfyui_s():
    # In its units (alpha 1): x <- x0 + down (x - x0 unguided) / sigma + up z.
    plan, source = names.get("Euler a CFG++").plan(EDM(), 6), NoiseSource((3,))
    x = start(plan)
    for i, step in enumerate(plan.run(halves, x, source)):
        now, to = float(step.start.sigma), float(step.level.sigma)
        up = to * (1.0 - (to / now) ** 2) ** 0.5
        down = (to**2 - up**2) ** 0.5
        seen = halves(x, step.start)
        x = seen.x0 + down * (x - seen.half.x0) / now
        x = x + (up * source("step", i, 0, like=x) if up else 0.0)
        assert (x - step.x).abs().max() < 1e-11 * x.abs().max()


@pytest.mark.parametrize("rule", [noise.none(), noise.Ancestral(), noise.SDE()])
@pytest.mark.parametrize("solver", [Adams(1), Adams(2, "lambda", "x0", "midpoint"), Adams(3)])
def test_where_both_halves_are_one_it_is_the_solver_itself(solver, rule):
    made = []
    for one in (solver, CFGPlusPlus(solver)):
        plan = Scheduler(grids.Karras(), one, rule).plan(DiscreteVP.linear(), 8)
        steps = plan.run(MIXTURE.denoise, start(plan), NoiseSource((5,)))
        made.append([step.x for step in steps][:-1])  # the last jump is CFG++'s own
    assert all((a - b).abs().max() < 1e-12 for a, b in zip(*made, strict=True))


def test_a_pipeline_asks_for_both_halves_at_guidance_one_too():
    pipe = TextToImage(tiny_model())
    for guidance in (1.0, 0.6):
        run = pipe.denoise("a seven", seed=1, steps=4, scheduler="Euler CFG++", guidance=guidance)
        states = [run.noise, *(step.x for step in run)]
        for (x, after), step in zip(pairwise(states), run._plan.steps, strict=True):
            seen = run.estimate(x, step.start)
            assert not torch.equal(seen.half.x0, seen.x0)
            want = step.to.alpha * seen.x0 + step.to.sigma * seen.half.noise
            assert (after - want).abs().max() < 1e-5
    plain = pipe.denoise("a seven", seed=1, steps=4, scheduler="Euler", guidance=0.6)
    assert plain.estimate(plain.noise, plain._plan.levels[0]).half is None
    unprompted = TextToImage(tiny_model(text=False))  # has no halves: the plain method
    pictures = [unprompted(seed=1, steps=3, scheduler=name).arrays[0] for name in ("Euler CFG++", "Euler")]
    assert abs(pictures[0] - pictures[1]).max() < 1e-4


def test_outside_an_interval_of_guidance_a_step_is_the_solver_s_own():
    """CFG++ of strength 1 there would be more guidance than inside."""
    pipe = TextToImage(tiny_model())
    guidance = Interval(Scale(0.6), 0.3, 3.0)
    run = pipe.denoise("a seven", seed=1, steps=6, scheduler="Euler CFG++", guidance=guidance)
    states = [run.noise, *(step.x for step in run)]
    inside = 0
    for (x, after), step in zip(pairwise(states), run._plan.steps, strict=True):
        seen = run.estimate(x, step.start)
        noise = seen.half.noise if 0.3 < step.start.ratio <= 3.0 else seen.noise
        inside += 0.3 < step.start.ratio <= 3.0
        assert (after - step.to.alpha * seen.x0 - step.to.sigma * noise).abs().max() < 1e-5
    assert 0 < inside < 6


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="hands in one"):
        names.get("Euler CFG++").plan(DiscreteVP.linear(), 4).stepper()
    with pytest.raises(InputError, match="in terms of x0"):
        CFGPlusPlus(Adams(2, "lambda", "noise"))
    assert solvers.CFGPlusPlus().calls == 1
