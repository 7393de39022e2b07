"""Two processes under torchrun are one: the same draws, the same weights, and either goes on with the other's run."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unnoise import checkpoints as models
from unnoise import training
from unnoise.errors import InputError
from unnoise.training import Progress, settings
from unnoise.training.world import World

TINY = ["model.size=8", "model.colour=grey", "model.network.widths=8,16", "model.network.blocks=1"]
TINY += ["model.network.dropout=0.1", "model.text.width=8", "model.text.heads=2", "model.text.layers=1"]
TINY += ["model.text.positions=8", "optimizer.warmup=5", "optimizer.decay=constant", "run.batch=8"]
TINY += ["run.log_every=1", "run.checkpoint_every=0", "run.sample_every=0", "run.device=cpu"]
# Adam divides by a gradient's own size: where that is rounding alone, a small eps makes a whole step of it.
TINY += ["optimizer.eps=1e-6"]
TINY += ["loss.times=importance", "loss.uncertainty=true", "data.held_out=0.4", "run.validate_every=3"]

SCRIPT = """
import resource, signal, sys
from pathlib import Path
import torch
from unnoise import cli, errors, training
torch.set_num_threads(1)
data, work, *changes = sys.argv[1:]
data, work = Path(data), Path(work)
options = [word for change in changes for word in ("--set", change)]

def longer(run, *more):
    config = training.settings.read(run / "config.toml")
    list(training.train(data, run, training.settings.override(config, ["run.steps=8", *more]), resume=True))

# As typed: processes that share gradients, and processes that share weights too.
assert cli.main(["train", str(data), "--out", str(work / "two"), *options]) == 0
assert cli.main(["train", str(data), "--out", str(work / "shared"), "--shard", *options]) == 0
longer(work / "begun")
longer(work / "begun sharded", "run.shard=true")

# A disk that is full for one of them: the same error in both, and what was saved stands.
first = work / "shared" / "checkpoints"
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if torch.distributed.get_rank() == 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limit[1]))
try:
    longer(work / "shared", "run.checkpoint_every=2")
    raise SystemExit("nothing was told")
except errors.FileError as error:
    assert "cannot write" in str(error) and "step-000006" in str(error), error
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
torch.distributed.barrier()
assert [entry.name for entry in first.iterdir()] == ["step-000004"]
"""


def config(steps, parts):
    return settings.override(training.TrainConfig(), [*TINY, f"run.steps={steps}", f"run.accumulate={parts}"])


def checkpoint(run, step):
    return run / "checkpoints" / f"step-{step:06d}"


def weights(run, step):
    return load_file(checkpoint(run, step) / "weights.safetensors")


def average(run, step):
    return load_file(checkpoint(run, step) / "model" / "weights.safetensors")


def difference(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def losses(events):
    return {event.step: event.loss for event in events if isinstance(event, Progress)}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes made of runs of four steps and eight, and where; beside it what one process makes of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("processes")
    data = work / "data"
    data.mkdir()
    for number in range(20):
        Image.new("L", (8, 8), 12 * number).save(data / f"{number:02}.png")
        (data / f"{number:02}.txt").write_text("a dark square" if number < 10 else "a light square")
    whole = list(training.train(data, work / "one", config(8, 2)))
    list(training.train(data, work / "begun", config(4, 2)))
    shutil.copytree(work / "begun", work / "begun sharded")
    shutil.copytree(work / "begun", work / "at four")

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    (work / "script.py").write_text(SCRIPT)
    words = [work / "script.py", data, work, *TINY, "run.steps=4", "run.accumulate=2"]
    done = subprocess.run(
        [*launch, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    yield work, data, losses(whole), done.stdout
    torch.set_num_threads(before)


def test_two_processes_end_where_one_does_and_go_on_with_its_runs(together):
    """Weights and their average within 1e-6 after 4 and 8 steps, with dropout layers and importance sampling."""
    work, _, _, out = together
    assert out.count("done: the model is in") == 2  # each of the two runs is told by one process alone
    for read in (weights, average):
        assert difference(read(work / "two", 4), read(work / "at four", 4)) < 1e-6
        assert difference(read(work / "begun", 8), read(work / "one", 8)) < 1e-6


def test_two_that_share_the_weights_end_where_one_does_and_go_on_with_its_runs(together):
    """FSDP2: the average, which the checkpoint has as a model too, within 1e-6 after 4 and 8 steps."""
    work, *_ = together
    assert difference(average(work / "shared", 4), average(work / "at four", 4)) < 1e-6
    assert difference(average(work / "begun sharded", 8), average(work / "one", 8)) < 1e-6
    names = {path.name for path in checkpoint(work / "shared", 4).iterdir()}
    assert names == {"manifest.json", "state.json", "model", "shards"}
    files = sorted((checkpoint(work / "shared", 4) / "shards").iterdir())
    assert [path.suffix for path in files] == [".safetensors"] * 2
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) < 2 * min(sizes)  # neither has it all
    one, two = (load_file(work / run / "model" / "weights.safetensors") for run in ("at four", "shared"))
    assert difference(one, two) < 1e-6
    assert models.load(work / "shared").shape == models.load(work / "at four").shape == (1, 8, 8)


@pytest.mark.parametrize("run", ["two", "shared"])
def test_one_process_goes_on_with_the_run_of_two(together, run):
    work, data, expected, _ = together
    longer = settings.override(settings.read(work / run / "config.toml"), ["run.steps=8"])
    rest = list(training.train(data, work / run, longer, resume=True))
    for read in (weights, average):
        assert difference(read(work / run, 8), read(work / "one", 8)) < 1e-6
    found = losses(rest)
    assert [found[step] for step in range(5, 9)] == pytest.approx(
        [expected[step] for step in range(5, 9)], rel=1e-5
    )
    assert any("another machine" in note for note in rest[0].notes)
    assert any("divides nothing" in note for note in rest[0].notes) == (run == "shared")


def test_a_batch_is_dealt_in_equal_stretches():
    assert [list(World(rank, 4).stretch(8)) for rank in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(InputError, match="3 processes cannot share evenly; give a multiple of 3"):
        World(0, 3).stretch(8)
