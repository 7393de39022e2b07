"""The examples run as they are, and the loop they teach is as safe as the package's own."""

import runpy
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import torch

from unnoise import images
from unnoise.process import DiscreteVP
from unnoise.randomness import NoiseSource, normal
from unnoise.schedulers import Scheduler, names

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Where the examples write. Networks as small as theirs are quickest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example, empty_folder):
    runpy.run_path(str(example), run_name="__main__")


def test_the_notes_loop_shows_the_picture_every_fifty_steps_and_ends_in_one(empty_folder, capsys):
    ran = runpy.run_path(str(EXAMPLES[[path.stem for path in EXAMPLES].index("notes_loop")]))
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert shown == ["step 50", "step 100", "step 150", "step 200"]
    # a picture: finite, in [-1, 1] but for the network's own small error, with ink and paper
    sample = ran["sample"]
    assert torch.isfinite(sample).all()
    assert sample.abs().max() < 1.5
    assert all(min(p.getextrema()) < 64 < 192 < max(p.getextrema()) for p in images.to_pil(sample))


def test_the_page_of_the_loop_shows_the_example():
    root = EXAMPLES[0].parents[1]
    _, _, code = (root / "examples/notes_loop.py").read_text(encoding="utf-8").split('"""', 2)
    page = (root / "docs/words/loop.md").read_text(encoding="utf-8")
    assert f"```python\n{code.lstrip()}```\n" in page


def residual(sample, t):
    """A network of no training: smooth in the sample and in time, different in every place."""
    places = torch.arange(sample[0].numel(), dtype=sample.dtype).reshape(sample.shape[1:])
    return torch.tanh(sample + 0.1 * torch.sin(places + t / 200))


class Loop:
    """The notes' loop with its state held, so that two can take turns."""

    def __init__(self, plan, seeds):
        noise = NoiseSource(seeds)
        self.scheduler = plan.stepper("noise", noise)
        self.sample = plan.initial(torch.stack([normal(s, "start", shape=(1, 4, 4)) for s in seeds]))
        self.times = iter(self.scheduler.timesteps)

    def step(self):
        t = next(self.times)
        self.sample = self.scheduler.step(residual(self.sample, t), t, self.sample).prev_sample

    def finish(self):
        for t in self.times:
            self.sample = self.scheduler.step(residual(self.sample, t), t, self.sample).prev_sample
        return self.sample


ALONE = [
    row
    for row in names.table()
    if not row.scheduler.plan(DiscreteVP.linear(), steps=8).halves and row.name != "DPM adaptive"
]  # the others are refused in such a loop
"""CFG++ needs two answers of the network a step; a loop of one's own hands in one and is refused."""


@pytest.mark.parametrize("row", ALONE, ids=lambda row: row.name)
def test_two_interleaved_loops_equal_two_sequential_ones_to_the_bit(row):
    plan = row.scheduler.plan(DiscreteVP.linear(), steps=8)
    apart = [Loop(plan, seeds).finish() for seeds in ((1, 2), (3, 4))]

    first, second = Loop(plan, (1, 2)), Loop(plan, (3, 4))
    for _ in range(3):
        first.step()
    for _ in range(5):  # out of step with one another, to be sure that nothing is shared by chance
        second.step()
        first.step()
    assert torch.equal(second.finish(), apart[1])
    assert torch.equal(first.finish(), apart[0])


def test_a_loop_equals_the_plans_own_run():
    plan = names.get("DDPM").plan(DiscreteVP.linear(), steps=8)
    start = Loop(plan, (1, 2)).sample
    times = iter(plan.stepper("noise").timesteps)

    def denoise(x, level):
        return x.div(level.alpha).sub(residual(x, next(times)), alpha=level.sigma / level.alpha)

    *_, last = plan.run(denoise, start, noise=NoiseSource((1, 2)))
    # the residual goes through x0 here and not there: rounding, no more
    torch.testing.assert_close(Loop(plan, (1, 2)).finish(), last.x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "thing", [Scheduler(), Scheduler().plan(DiscreteVP.linear(), 4)], ids=["Scheduler", "Plan"]
)
def test_what_runs_share_refuses_assignment(thing):
    for field in fields(thing):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, field.name, None)
