"""Two processes under torchrun are one: the same draws, the same weights, and either goes on with the other's run."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unnoise import training
from unnoise.errors import InputError
from unnoise.training import Progress, settings
from unnoise.training.world import World

TINY = ["model.size=8", "model.colour=grey", "model.network.widths=8,16", "model.network.blocks=1"]
TINY += ["model.network.dropout=0.1", "model.text.width=8", "model.text.heads=2", "model.text.layers=1"]
TINY += ["model.text.positions=8", "optimizer.warmup=5", "optimizer.decay=constant", "run.batch=8"]
TINY += ["run.log_every=1", "run.checkpoint_every=0", "run.sample_every=0", "run.device=cpu"]
TINY += ["loss.times=importance", "loss.uncertainty=true", "data.held_out=0.4", "run.validate_every=3"]

SCRIPT = """
import sys
from pathlib import Path
import torch
from unnoise import cli, training
torch.set_num_threads(1)
data, fresh, begun, *changes = sys.argv[1:]
options = [word for change in changes for word in ("--set", change)]
status = cli.main(["train", data, "--out", fresh, *options])
list(training.train(Path(data), Path(begun), training.settings.override(
    training.settings.read(Path(begun) / "config.toml"), ["run.steps=8"]), resume=True))
sys.exit(status)
"""


def config(steps, parts):
    return settings.override(training.TrainConfig(), [*TINY, f"run.steps={steps}", f"run.accumulate={parts}"])


def weights(run, step):
    return load_file(run / "checkpoints" / f"step-{step:06d}" / "weights.safetensors")


def difference(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_processes_end_where_one_does_and_take_up_each_others_runs(tmp_path):
    """Weights within 1e-6 after 4 and 8 steps, with dropout layers and importance sampling."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(20):
        Image.new("L", (8, 8), 12 * number).save(data / f"{number:02}.png")
        (data / f"{number:02}.txt").write_text("a dark square" if number < 10 else "a light square")
    whole = list(training.train(data, tmp_path / "one", config(8, 2)))
    list(training.train(data, tmp_path / "begun", config(4, 2)))

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [
        tmp_path / "script.py",
        data,
        tmp_path / "two",
        tmp_path / "begun",
        *TINY,
        "run.steps=4",
        "run.accumulate=2",
    ]
    done = subprocess.run(
        [*launch, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: the model is in") == 1

    assert difference(weights(tmp_path / "two", 4), weights(tmp_path / "begun", 4)) < 1e-6
    assert difference(weights(tmp_path / "begun", 8), weights(tmp_path / "one", 8)) < 1e-6
    longer = settings.override(settings.read(tmp_path / "two" / "config.toml"), ["run.steps=8"])
    rest = list(training.train(data, tmp_path / "two", longer, resume=True))
    assert difference(weights(tmp_path / "two", 8), weights(tmp_path / "one", 8)) < 1e-6
    losses = [
        {event.step: event.loss for event in run if isinstance(event, Progress)} for run in (whole, rest)
    ]
    assert [losses[1][step] for step in range(5, 9)] == pytest.approx(
        [losses[0][step] for step in range(5, 9)], rel=1e-5
    )
    assert any("another machine" in note for note in rest[0].notes)
    torch.set_num_threads(before)


def test_a_batch_is_dealt_in_equal_stretches():
    assert [list(World(rank, 4).stretch(8)) for rank in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(InputError, match="3 processes cannot share evenly; give a multiple of 3"):
        World(0, 3).stretch(8)
