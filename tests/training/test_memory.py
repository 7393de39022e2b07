"""The memory estimate against what a process then holds, and the plan that tells it."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

from unnoise import training
from unnoise.cli import main
from unnoise.training import memory, settings
from unnoise.training.plan import plan
from unnoise.training.trainer import Trainer

SCRIPT = """
import resource, sys
from pathlib import Path
import torch
from unnoise import training
from unnoise.training import Started, settings
torch.set_num_threads(1)
data, out, *changes = sys.argv[1:]
for event in training.train(Path(data), Path(out), settings.override(training.TrainConfig(), changes)):
    if isinstance(event, Started):
        print(event.memory)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(16):
        Image.new("RGB", (32, 32), (number, 2 * number, 3 * number)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("changes", [["run.batch=16"], ["run.batch=4", "model.network.widths=[128,256]"]])
def test_the_memory_told_before_the_first_step_is_used_within_a_tenth(data, tmp_path, changes):
    more = ["model.size=32", "run.sample_every=0", "run.device=cpu", "run.steps=2", *changes]
    command = [sys.executable, "-c", SCRIPT, str(data), str(tmp_path / "run"), *more]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told, used = map(int, done.stdout.split())
    assert told == pytest.approx(used, rel=0.1)


def test_what_lives_at_once_is_counted_and_forgotten():
    watch = memory._Watch()
    with watch:
        kept = torch.zeros(1000, device="meta")
        for _ in range(5):
            kept + 1
    assert (watch.live, watch.most) == (4000, 8000)


def tiny(*more):
    words = ["model.size=8", "model.network.widths=8,16", "model.network.blocks=1", "run.device=cpu"]
    return settings.override(training.TrainConfig(), [*words, "run.batch=8", "run.steps=20", *more])


def test_recomputed_blocks_need_less_and_more_pictures_more(data, tmp_path):
    found = {}
    for name, change in {
        "plain": "run.batch=8",
        "again": "run.recompute=true",
        "large": "run.batch=32",
    }.items():
        found[name] = memory.estimate(Trainer(data, tmp_path / "run", tiny(change)).learner)
    assert found["again"].step < found["plain"].step < found["large"].step
    assert found["plain"].optimizer == found["large"].optimizer
    halves = memory.estimate(
        Trainer(data, tmp_path / "run", tiny("run.batch=32", "run.accumulate=4")).learner
    )
    assert halves.step == found["plain"].step


def test_a_plan_writes_nothing_and_counts_all(data, tmp_path):
    found = plan(data, tmp_path / "run", tiny("data.held_out=0.5", "data.bucket_step=4"))
    assert (found.pictures, found.held_out, found.steps, found.epochs) == (8, 8, 20, 20.0)
    assert found.buckets == ((8, 8, 8),)
    assert found.seconds == pytest.approx(20 * found.seconds_per_step)
    assert not (tmp_path / "run").exists()


def test_the_command_tells_a_plan(data, tmp_path, capsys):
    config = tmp_path / "tiny.toml"
    config.write_text(settings.dumps(tiny()))
    words = ["train", str(data), "--out", str(tmp_path / "run"), "--config", str(config), "--plan"]
    assert main(words) == 0
    out = capsys.readouterr().out
    for text in (
        "16 of 8x8, without captions",
        "parameters on cpu",
        "each picture 10.0 times",
        "GiB",
        "s a step",
    ):
        assert text in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 16
    assert not (tmp_path / "run").exists()
