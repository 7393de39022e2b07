"""What cannot be is refused in one sentence, before a network is asked."""

import dataclasses
import inspect
import math
import re

import numpy as np
import pytest
import torch

from closed_forms import MIXTURE
from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, DiscreteVP, Estimate, Flow
from unnoise.randomness import NoiseSource
from unnoise.schedulers import (
    Scheduler,
    adaptive,
    finals,
    grids,
    heuristics,
    names,
    noise,
    restart,
    solvers,
    transforms,
    tuning,
)
from unnoise.schedulers.solvers import Adams, RungeKutta, Stage, adams_moulton

SD = DiscreteVP.scaled_linear()
CASES = {
    "no steps": (lambda: Scheduler().plan(SD, 0), "steps is 0"),
    "negative steps": (lambda: Scheduler().plan(SD, -3), "steps is -3"),
    "a grid that was not made": (lambda: Scheduler(grids.Karras), "give a Grid such as grids.Karras()"),
    "a grid by its word": (lambda: Scheduler("karras"), "grid is 'karras'"),
    "a grid of a name that was not made": (lambda: names.get("Euler", grid=grids.Karras), "grid is <class"),
    "a solver that was not made": (lambda: Scheduler(solver=solvers.Heun), "give a Solver such as"),
    "a noise rule that was not made": (lambda: Scheduler(noise=noise.SDE), "give a NoiseRule such as"),
    "no final rule": (lambda: Scheduler(final=None), "final is None; give a FinalRule such as finals.Stop()"),
    "half a step": (lambda: Scheduler().plan(SD, 2.5), "steps is 2.5"),
    "yes as a number of steps": (lambda: Scheduler().plan(SD, True), "steps is True"),
    "a number of steps in words": (lambda: Scheduler().plan(SD, "20"), "steps is '20'"),
    "no number of steps": (lambda: Scheduler().plan(SD, None), "steps is None"),
    "more steps than levels": (lambda: Scheduler().plan(SD, 1001), "1 to 1,000"),
    "a grid that stands still": (
        lambda: Scheduler(grids.Ratios((3.0, 3.0, 1.0))).plan(SD, 3),
        "do not strictly decrease",
    ),
    "a grid that turns": (
        lambda: Scheduler(grids.Ratios((3.0, 1.0, 2.0))).plan(SD, 3),
        "do not strictly decrease",
    ),
    "half a restart": (
        lambda: restart.Restart(grids.Karras(), steps=2.5),
        "steps is 2.5; give a whole number",
    ),
    "restarts of no length": (lambda: restart.Restart(grids.Karras(), times=2), "both or none"),
    "half a jump": (lambda: restart.TimeTravel(grids.Karras(), jump=1.5), "jump is 1.5; give a whole number"),
    "noise inside a block": (
        lambda: Scheduler(grids.BlockLevels(), solvers.Blocks(), noise.Ancestral()),
        "no room for Ancestral(eta=1.0); give solvers.Adams(2) or",
    ),
    "noise before a step inside a block": (
        lambda: Scheduler(grids.BlockLevels(), solvers.Blocks(), noise.Churn()),
        "solver is Blocks(), which has no room for Churn(",
    ),
    "blocks counted over a restart": (
        lambda: Scheduler(restart.Restart(grids.Karras(), steps=3), solvers.Blocks()).plan(EDM(), 12),
        "without restarts",
    ),
    "a corrector after churn": (
        lambda: Scheduler(grids.Karras(), adams_moulton(2), noise.Churn()),
        "give solvers.Heun() or solvers.Adams(2), or noise.none()",
    ),
    "SA-Solver's noise for the solver that is there unless another is given": (
        lambda: Scheduler(noise=noise.Tau()),
        "no room for Tau(tau=1.0, low=0.05, high=1.0); give solvers.Adams(2), solvers.ExponentialHeun() or",
    ),
    "noise of steps to a tolerance": (
        lambda: adaptive.ToTolerance(noise=noise.Ancestral()),
        "no fresh noise",
    ),
    "SDE noise with weights that do not know it": (
        lambda: Scheduler(grids.Karras(), heuristics.ipndm(), noise.SDE()),
        "no room for SDE(eta=1.0)",
    ),
    "an eta beyond float64": (
        lambda: Scheduler(grids.Karras(), Adams(1), noise.SDE(100.0)).plan(EDM(), 5),
        "give eta of 1 or so",
    ),
    "a mean of steps' lengths with noise": (
        lambda: Scheduler(grids.Karras(), heuristics.MeanStep(), noise.SDE()),
        "no room for SDE",
    ),
    "a picture of no tokens": (
        lambda: Scheduler(grids.Flux2Shift(grids.Trailing(), 0)).plan(SD, 7),
        "tokens is 0",
    ),
    "a spread of nothing": (lambda: Scheduler(grids.LogitNormal(spread=0.0)).plan(SD, 7), "spread is 0.0"),
    "levels above the noisiest": (
        lambda: Scheduler(grids.LogitNormal(mean=9.0)).plan(SD, 7),
        "do not fit below",
    ),
    "a variance that is none": (lambda: noise.Posterior("medium"), "variance is 'medium'"),
    "churn below nothing": (lambda: noise.Churn(amount=-1.0), "amount -1.0"),
    "a root of no order": (lambda: Scheduler(grids.Karras(rho=0.0)).plan(EDM(), 4), "rho is 0.0"),
    "a lowest level above the highest": (
        lambda: Scheduler(grids.Karras(sigma_min=90.0)).plan(EDM(), 4),
        "sigma runs from 90 to 80",
    ),
    "a shift beyond all numbers": (
        lambda: Scheduler(grids.Laplace(mu=1e6)).plan(SD, 4),
        "grid is Laplace(mu=1000000.0, spread=0.5, sigma_min=None, sigma_max=None), whose levels are beyond",
    ),
    "a shift below nothing": (
        lambda: Scheduler(grids.Shift(grids.Trailing(), -1.0)).plan(Flow(), 4),
        "factor is -1.0",
    ),
    "times in the wrong order": (
        lambda: Scheduler(grids.Times((3.0, 900.0))).plan(SD, 2),
        "do not strictly decrease",
    ),
    "fewer times than steps": (lambda: Scheduler(grids.Times((900.0,))).plan(SD, 2), "lists 1 times and 2"),
    "more steps than the whole": (
        lambda: Scheduler(grids.Slice(grids.Trailing(), 3)).plan(SD, 4),
        "give total >= 4",
    ),
    "two clean ends": (lambda: Scheduler(grids.Ratios((3.0, 1.0, 0.0))).plan(SD, 3), "use final=Stop()"),
    "inversion from clean data": (
        lambda: Scheduler(grids.Reverse(grids.Ratios((3.0, 1.0, 0.0))), final=finals.Stop()).plan(EDM(), 2),
        "cannot start at sigma 0",
    ),
    "an eta above one": (lambda: noise.Ancestral(1.2), "eta is 1.2"),
    "an eta below zero": (lambda: noise.SDE(-0.1), "eta is -0.1"),
    "an eta that is no number": (lambda: noise.FlowAncestral(math.nan), "eta is nan"),
    "Adams of order 5": (lambda: Adams(5), "orders 1 to 4"),
    "Adams of order 0": (lambda: Adams(0), "orders 1 to 4"),
    "Adams of order yes": (lambda: Adams(True), "order is True"),
    "a variable that is none": (lambda: Adams(2, "time"), "variable is 'time'"),
    "an unknown that is none": (lambda: Adams(2, "lambda", "eps"), "unknown is 'eps'"),
    "a quadrature that is none": (lambda: Adams(2, quadrature="rough"), "quadrature is 'rough'"),
    "stages that do not reach the end": (lambda: RungeKutta((Stage(0.5, (0,)),), 1), "give it at=1.0"),
    "a stage that uses its own look": (lambda: RungeKutta((Stage(1.0, (1,)),), 1), "it may use 0 to 0"),
    "no stages": (lambda: RungeKutta((), 1), "give it at=1.0"),
    "UniPC of order 5": (lambda: solvers.unipc(5), "orders 1 to 4"),
    "half an order": (lambda: Adams(1.5), "order is 1.5"),
    "a corrector of six": (
        lambda: solvers.Corrected(Adams(4), 6),
        "estimates is 6; give a whole number from 1 to 5",
    ),
    "inversion with a jump to clean data at its end": (
        lambda: Scheduler(grids.Reverse(grids.Karras())).plan(SD, 5),
        "final=Stop() for one that goes up",
    ),
    "a list with the clean end, stretched": (
        lambda: Scheduler(grids.Stretched((14.0, 1.0, 0.0))).plan(SD, 5),
        "3 ratios from 14 to 0 cannot be stretched",
    ),
    "a list of one, stretched": (
        lambda: Scheduler(grids.Stretched((14.0,))).plan(SD, 5),
        "two or more positive ones",
    ),
    "inversion along an SDE": (
        lambda: Scheduler(grids.Reverse(grids.Karras()), Adams(2), noise.SDE(), finals.Stop()).plan(SD, 5),
        "deterministic",
    ),
    "inversion with churn": (
        lambda: Scheduler(grids.Reverse(grids.Karras()), Adams(2), noise.Churn(), finals.Stop()).plan(SD, 5),
        "deterministic",
    ),
    "inversion of a grid that rises": (
        lambda: Scheduler(grids.Reverse(restart.Restart(grids.Karras(), steps=3)), final=finals.Stop()).plan(
            SD, 12
        ),
        "do not strictly decrease",
    ),
    "a corrector after ancestral noise": (
        lambda: Scheduler(grids.Karras(), solvers.unipc(2), noise.Ancestral()),
        "no room for Ancestral",
    ),
    "the SDE in terms of the noise, by stages": (
        lambda: Scheduler(solver=solvers.Heun(), noise=noise.SDE()),
        "no room for SDE",
    ),
    "the SDE in terms of the noise": (
        lambda: Scheduler(grids.Karras(), Adams(2, "lambda", "noise"), noise.SDE()),
        "no room for SDE",
    ),
}

PLAN, X = Scheduler().plan(SD, 3), torch.ones(2, 3)
STEPPER = PLAN.stepper()
ENDLESS = tuning.Trajectories(MIXTURE.denoise, torch.ones(4, 1))


def of(kind, **parts):
    """A part of one's own, with these methods."""
    return type("Mine", (kind,), {"__repr__": lambda self: "Mine()", **parts})()


CASES |= {
    "no network": (lambda: PLAN.run(None, X), "denoise is None; give a function"),
    "whole numbers": (
        lambda: PLAN.run(MIXTURE.denoise, X.long()),
        "x is torch.int64 of shape [2, 3]; give a Ten",
    ),
    "an array": (lambda: PLAN.run(MIXTURE.denoise, X.numpy()), "x is array("),
    "no numbers": (
        lambda: PLAN.run(MIXTURE.denoise, None),
        "x is None; give a Tensor (batch, ...) of floats",
    ),
    "one number": (lambda: PLAN.run(MIXTURE.denoise, torch.tensor(1.0)), "x is of shape []"),
    "noise of whole numbers": (lambda: PLAN.initial(X.long()), "eps is torch.int64"),
    "a clean sample of whole numbers": (
        lambda: list(PLAN.run(lambda x, level: x.long(), X)),
        "output is torch.int64 of shape [2, 3]; give a Tensor of shape [2, 3] of floats, as x.float() makes",
    ),
    "an estimate of nothing": (
        lambda: list(PLAN.run(lambda x, level: Estimate.from_noise(x, level, None), X)),
        "output is None",
    ),
    "a step without a residual": (lambda: STEPPER.step(None, 999, X), "residual is None"),
    "a step of one number": (lambda: STEPPER.step(torch.tensor(1.0), 999, X), "residual is of shape []"),
    "a step without a sample": (lambda: STEPPER.step(X, 999, [1.0]), "sample is [1.0]; give a Tensor"),
    "a step at no time": (
        lambda: STEPPER.step(X, None, X),
        "t is None; give the next of scheduler.timesteps",
    ),
    "a grid of numbers": (
        lambda: Scheduler(of(grids.Grid, levels=lambda *_: [1.0])).plan(SD, 1),
        "what the grid gives is 1.0; give a Level",
    ),
    "a grid of nothing": (
        lambda: Scheduler(of(grids.Grid, levels=lambda *_: ())).plan(SD, 3),
        "grid is Mine(), which gave 0 levels for 3 steps",
    ),
    "a solver of nothing": (
        lambda: Scheduler(solver=of(solvers.Solver, order=1, moves=lambda *_: None)).plan(SD, 3),
        "what the solver gives is None; give a list",
    ),
    "a solver that never looks": (
        lambda: Scheduler(solver=of(solvers.Solver, order=1, moves=lambda *_: ())).plan(SD, 3),
        "solver is Mine(), which never looks",
    ),
    "no transform": (
        lambda: transforms.transformed(MIXTURE.denoise, None),
        "transform is None; give a function",
    ),
    "a tolerance for no schedule": (
        lambda: next(adaptive.Adaptive().run(None, MIXTURE.denoise, X)),
        "schedule is None; give a NoiseSchedule",
    ),
    "a tolerance from a number": (
        lambda: next(adaptive.Adaptive().run(EDM(), MIXTURE.denoise, X, start=3.0)),
        "start is 3.0; give a Level",
    ),
    "a fit of no scheduler": (lambda: next(tuning.fit(EDM(), ENDLESS, ENDLESS, 2, "DDIM")), "base is 'DDIM'"),
    "a fit to no trajectories": (
        lambda: next(tuning.fit(EDM(), X, ENDLESS, 2, names.get("DDIM"))),
        "fitted is tensor",
    ),
    "a fit of half a round": (
        lambda: next(tuning.fit(EDM(), ENDLESS, ENDLESS, 2, names.get("DDIM"), rounds=0.5)),
        "rounds is 0.5",
    ),
    "trajectories from whole numbers": (
        lambda: tuning.Trajectories(MIXTURE.denoise, X.long()),
        "noise is torch.int64",
    ),
    "no configuration": (lambda: names.from_config(None), "config is None; give a table"),
}


@pytest.mark.parametrize(("make", "says"), CASES.values(), ids=CASES)
def test_it_says_what_was_given_and_what_would_do(make, says):
    with pytest.raises(InputError) as caught:
        make()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


RULES = (noise.Churn(), noise.SDE(), noise.Tau(), noise.ExtendedSDE(), noise.Ancestral(), noise.Posterior())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_every_solver_that_is_named_in_place_of_one_without_room_takes_that_noise(rule):
    with pytest.raises(InputError) as caught:
        Scheduler(grids.Karras(), heuristics.HeunPlusPlus(), rule)
    named = re.findall(r"solvers\.(\w+)\((\d*)\)", str(caught.value))
    assert len(named) >= 2
    for name, order in named:
        solver = getattr(solvers, name)(*map(int, order))
        assert Scheduler(grids.Karras(), solver, rule).plan(EDM(), 5).stochastic


@pytest.mark.parametrize("source", [None, 7, NoiseSource((1,)), NoiseSource((1, 2, 3))])
def test_a_stochastic_run_needs_a_seed_for_each_sample(source):
    run = names.get("DDPM").plan(EDM(), 4).run(MIXTURE.denoise, torch.zeros(2, 1), source)
    with pytest.raises(InputError, match=r"a seed for each sample|give one for each"):
        next(run)


@pytest.mark.parametrize("solver", [Adams(1), Adams(3, "lambda", "noise"), adams_moulton(), solvers.Heun()])
def test_noise_prediction_is_refused_where_there_is_no_signal(solver):
    plan = Scheduler(grids.Trailing(), solver).plan(SD.zero_terminal_snr(), 4)
    with pytest.raises(InputError, match="velocity, flow or sample"):
        list(plan.run(_noise, torch.zeros(1, 2).double()))


def _noise(x, level):
    return Estimate.from_noise(x, level, torch.zeros_like(x))


def test_inversion_with_a_corrector_leads_back_to_the_noise_it_came_from():
    ends = {"sigma_min": 0.03, "sigma_max": 14.0}
    down = Scheduler(grids.Arcsinh(**ends), adams_moulton(), final=finals.Stop()).plan(EDM(), 60)
    up = Scheduler(grids.Reverse(grids.Arcsinh(**ends)), adams_moulton(), final=finals.Stop()).plan(EDM(), 60)
    start = MIXTURE.quantiles(EDM().at_ratio(14.0))
    *_, data = down.run(MIXTURE.denoise, start)
    *_, back = up.run(MIXTURE.denoise, data.x)
    assert (back.x - start).abs().max() / start.abs().max() < 1e-4


@pytest.mark.parametrize(
    ("name", "program", "schedule", "steps"),
    [
        ("DPM++ 2M", "diffusers", DiscreteVP.linear(steps=20), 20),
        ("UniPC", "diffusers", DiscreteVP.linear(steps=20), 20),
        ("UniPC bh2", "comfyui", Flow(), 20),
        ("PLMS linspace", "diffusers", DiscreteVP.scaled_linear().zero_terminal_snr(), 20),
    ],
)
def test_another_program_s_formulas_that_give_no_numbers_are_refused(name, program, schedule, steps):
    with pytest.raises(InputError, match=f"{program}'s formulas give no finite numbers for {steps} steps"):
        names.get(name, program).plan(schedule, steps)


def test_values_in_sigma_are_refused_where_the_schedule_begins_without_signal():
    for name in ("Euler", "DPM++ 2S"):
        with pytest.raises(InputError, match="infinite where this model's schedule begins; leave compat out"):
            names.get(name, "a1111").plan(Cosine(), 5)


def _parts():
    """Every number of every part: (class, what it needs, field, whether None is a value, its default)."""
    needed = {
        "grid": grids.Trailing(),
        "predictor": Adams(2),
        "order": 1,
        "factor": 2.0,
        "total": 9,
        "tokens": 9,
        "table": ((1.0,),),
        "stages": (Stage(1.0, (0,)),),
    }
    for kind in {
        each
        for room in (grids, noise, restart, solvers, heuristics, adaptive)
        for each in vars(room).values()
        if isinstance(each, type) and issubclass(each, grids.Grid | solvers.Solver | noise.NoiseRule)
        and not inspect.isabstract(each) and dataclasses.is_dataclass(each)
    } | {adaptive.Adaptive}:  # fmt: skip
        told = dataclasses.fields(kind)
        given = {each.name: needed[each.name] for each in told if each.name in needed}
        for each in told:
            if str(each.type).split(" |")[0] in ("float", "int", *NUMBERS):
                yield kind, given, each.name, "None" in str(each.type), each.default


NUMBERS = (
    "Positive",
    "Finite",
    "Amount",
    "Share",
    "ShareAbove",
    "Between",
    "Count",
    "Annotated[int, (1, 5)]",
)
PARTS = sorted(_parts(), key=lambda part: (part[0].__name__, part[2]))


def test_there_are_parts_with_numbers():
    assert len(PARTS) > 60


@pytest.mark.parametrize(("kind", "given", "name", "optional", "default"), PARTS)
@pytest.mark.parametrize("odd", ["7", True, math.nan, [1.0], None, torch.ones(2)], ids=str)
def test_a_number_that_is_none_is_refused_by_its_name_when_the_part_is_made(
    kind, given, name, optional, default, odd
):
    if odd is None and optional:
        return
    with pytest.raises(InputError, match=f"{name} is "):
        kind(**{**given, name: odd})


@pytest.mark.parametrize(("kind", "given", "name", "optional", "default"), PARTS)
def test_numbers_of_other_kinds_make_the_same_part(kind, given, name, optional, default):
    value = given.get(name, default)
    if not isinstance(value, int | float):
        return
    for other in (
        np.asarray(value)[()],
        torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None),
    ):
        made = kind(**{**given, name: other})
        assert made == kind(**{**given, name: value})
        assert type(getattr(made, name)) is type(value)
