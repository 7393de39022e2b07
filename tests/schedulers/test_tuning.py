"""Steps fitted to a model: nearer to the exact result on noise that the fit has not seen, and kept in a file."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from closed_forms import MIXTURE
from unnoise.errors import FileError, InputError
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.schedulers import Scheduler, finals, grids, names, noise, solvers, tuned, tuning
from unnoise.schedulers.solvers import Adams, Adjusted, adams_moulton

VP = DiscreteVP.scaled_linear()


def trajectories(seed, rows=48):
    source = torch.Generator().manual_seed(seed)
    return tuning.Trajectories(MIXTURE.denoise, torch.randn(rows, 4, generator=source).double())


def last(**options):
    *_, found = tuning.fit(**{"name": "Adams-Moulton 2", "base": Scheduler(), **options})
    return found


def miss(scheduler, schedule, steps, seen):
    goal = seen.end(Scheduler(), schedule, 200)
    return float((seen.end(scheduler, schedule, steps) - goal).square().mean().sqrt())


@pytest.mark.parametrize("schedule", [VP, EDM(), Flow()], ids=["vp", "edm", "flow"])
def test_fitted_steps_come_much_nearer_on_noise_that_was_not_seen(schedule):
    fresh = trajectories(9, 256)
    before = miss(Scheduler(), schedule, 5, fresh)
    found = last(schedule=schedule, fitted=trajectories(0), checked=trajectories(1), steps=5)
    assert miss(found.tuned.on(Scheduler()), schedule, 5, fresh) < before / 3


def test_levels_alone_gain_too_and_leave_the_solver_as_it_is():
    found = last(schedule=VP, fitted=trajectories(0), checked=trajectories(1), steps=5, looks=0)
    scheduler = found.tuned.on(Scheduler())
    assert scheduler.solver == Scheduler().solver
    fresh = trajectories(9, 256)
    assert miss(scheduler, VP, 5, fresh) < miss(Scheduler(), VP, 5, fresh) / 1.5


def test_rounds_never_get_worse_on_the_watched_trajectories_and_say_what_they_cost():
    heard = []
    made = list(
        tuning.fit(
            VP,
            trajectories(0),
            trajectories(1),
            4,
            Scheduler(),
            rounds=3,
            told=lambda done, whole: heard.append((done, whole)),
        )
    )
    assert [one.number for one in made] == list(range(len(made)))
    assert all(a.checked >= b.checked for a, b in pairwise(made))
    # two references of 100; then runs of 4 steps, of which a round needs one a number and a try
    assert made[0].calls == 2 * 100 + 2 * 4
    assert (made[-1].calls - made[0].calls) % 4 == 0
    assert heard[-1][0] == made[-1].calls <= heard[-1][1]


def test_a_fit_goes_on_from_where_another_stopped():
    options = {"schedule": VP, "fitted": trajectories(0), "checked": trajectories(1), "steps": 5}
    short = last(**options, rounds=1)
    first, *_ = tuning.fit(**options, base=Scheduler(), start=short.tuned)
    assert first.error == pytest.approx(short.error, rel=1e-9)
    with pytest.raises(InputError, match="for 5 steps, not 4"):
        next(tuning.fit(**{**options, "steps": 4}, base=Scheduler(), start=short.tuned))


def test_changes_of_nothing_change_nothing_and_others_add_to_the_factors_of_the_latest_looks():
    solver = adams_moulton(2)
    own = Scheduler().plan(VP, 4)
    assert Scheduler(solver=Adjusted(solver, ((0.0,),) * 4)).plan(VP, 4) == own
    changed = Scheduler(solver=Adjusted(solver, ((0.1,), (0.0, -0.2), (), (0.5,)))).plan(VP, 4)
    for step, (index, look, part) in zip((0, 1, 3), ((0, 0, 0.1), (1, 1, -0.2), (3, 0, 0.5)), strict=True):
        mine, theirs = changed.steps[step].moves[-1], own.steps[index].moves[-1]
        gained = [a - b for a, b in zip(mine.of_estimates, theirs.of_estimates, strict=True)]
        assert gained[look] == pytest.approx(part * abs(sum(theirs.of_estimates)))
        assert all(g == 0.0 for place, g in enumerate(gained) if place != look)
    assert changed.steps[2] == own.steps[2]


def test_entered_in_the_middle_the_solver_keeps_its_own_factors():
    adjusted = Scheduler(solver=Adjusted(adams_moulton(2), ((0.3,),) * 6))
    part = grids.Slice(adjusted.grid, 6)
    assert Scheduler(part, adjusted.solver).plan(VP, 4) == Scheduler(part).plan(VP, 4)


def test_a_file_gives_back_the_same_scheduler(tmp_path):
    found = tuned.Tuned("UniPC bh2", (14.0, 3.0, 0.5), ((0.01,), (0.2, -0.1), ()), {"model": "none"})
    found.write(tmp_path / "t.json")
    assert tuned.read(tmp_path / "t.json") == found
    named = names.get(f"tuned:{tmp_path}/t.json")
    assert named == found.on(names.get("UniPC bh2"))
    assert named.steps == 3
    assert len(named.plan(VP, 3)) == 3
    with pytest.raises(InputError, match="lists 3 ratios and 5 are needed"):
        named.plan(VP, 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "unnoise tuned scheduler 1"}',
        '{"format": "unnoise tuned scheduler 1", "base": "LMS", "ratios": [2, 1], "changes": [[]], "facts": {}}',
        '{"format": "unnoise tuned scheduler 1", "base": "LMS", "ratios": [2, NaN], "changes": [[], []], "facts": {}}',
        '{"format": "unnoise tuned scheduler 1", "base": "LMS", "ratios": 3, "changes": [], "facts": {}}',
        '{"format": "unnoise tuned scheduler 1", "base": "LMS", "ratios": [NaN], "changes": [[]], "facts": {}}',
        '{"format": "unnoise tuned scheduler 1", "base": "LMS", "ratios": [2, -1], "changes": [[], []], "facts": {}}',
        '{"format": "unnoise tuned scheduler 1", "base": "tuned:t.json", "ratios": [2], "changes": [[]], "facts": {}}',
        "[" * 100_000,
        '{"format": "unnoise tuned scheduler 1", "base": "LMS", "ratios": [1%s], "changes": [], "facts": {}}'
        % ("0" * 400),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("t.json").write_text(text)
    with pytest.raises(FileError, match="not a tuned scheduler"):
        names.get("tuned:t.json")


def test_what_has_no_meaning_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot read"):
        names.get(f"tuned:{tmp_path}/nothing.json")
    tuned.Tuned("LMS", (2.0, 1.0), ((), ())).write(tmp_path / "t.json")
    for more in ({"compat": "diffusers"}, {"grid": "Karras"}):
        with pytest.raises(InputError, match="leave"):
            names.get(f"tuned:{tmp_path}/t.json", **more)
    seen = {"schedule": VP, "fitted": trajectories(0, 4), "checked": trajectories(1, 4)}
    for options, says in (
        ({"steps": 1}, "steps is 1"),
        ({"steps": 26}, "2 to 25"),
        ({"steps": 4, "looks": -1}, "looks is -1"),
        ({"steps": 4, "base": Scheduler(solver=Adams(1), noise=noise.SDE())}, "draws noise"),
    ):
        with pytest.raises(InputError, match=says):
            next(tuning.fit(**{"base": Scheduler(), **seen, **options}))


def test_any_deterministic_solver_may_be_the_base():
    for base in (names.get("Heun Karras"), Scheduler(solver=solvers.unipc(2), final=finals.FirstOrder())):
        found = last(
            schedule=VP, fitted=trajectories(0), checked=trajectories(1), steps=4, base=base, rounds=4
        )
        first, *_ = tuning.fit(VP, trajectories(0), trajectories(1), 4, base)
        assert found.checked < first.checked / 1.5
        assert json.dumps(found.tuned.ratios)
