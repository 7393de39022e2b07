"""The memory told before a run against what a process then holds, and the plan that tells it."""

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

import miniature_sd
from unnoise import training
from unnoise.cli import main
from unnoise.training import memory, settings
from unnoise.training.plan import plan
from unnoise.training.trainer import Trainer

USED = """
import sys
from unnoise.cli import main
from unnoise.training import memory
status = main(sys.argv[1:])
print(memory.resident(peak=True), file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number in range(16):
        Image.new("RGB", (32, 32), (number, 2 * number, 3 * number)).save(folder / f"{number:02}.png")
    return folder


def fresh(*words):
    """The command in a process of its own, without a coverage tracer in its memory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", USED, *words], capture_output=True, text=True, env=kept)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells its peak under another name elsewhere")
@pytest.mark.parametrize(
    "changes",
    [
        ["run.batch=8", "model.network.widths=[64,128]", "optimizer.more_ema=0.9,0.99"],
        [
            "run.batch=64",
            "model.network.widths=[32,32]",
            "run.recompute=true",
            "model.colour=grey",
            "model.variance=learned_range",
            "model.schedule.kind=discrete_vp",
        ],
    ],
)
def test_the_memory_of_the_plan_is_used_within_a_tenth(data, tmp_path, changes):
    more = [*changes, "model.size=16", "run.sample_every=0", "run.device=cpu", "run.steps=3"]
    words = ["train", str(data), "--out", str(tmp_path / "run"), "--json"]
    words += [word for change in more for word in ("--set", change)]
    told = json.loads(fresh(*words, "--plan").stdout)
    used = int(fresh(*words).stderr.splitlines()[-1])
    assert told["tried"]
    assert told["memory"] == pytest.approx(used, rel=0.1)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    pytest.importorskip("diffusers")
    place = tmp_path_factory.mktemp("miniature")
    return str(miniature_sd.save(miniature_sd.pipeline("sd1", place), place / "model"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system tells its peak under another name elsewhere")
@pytest.mark.parametrize("changes", [[], ["run.recompute=true", "lora.text_encoder=true"]])
def test_the_plan_beside_stable_diffusion_is_used_within_a_tenth(data, miniature, tmp_path, changes):
    """At 192x192: about 230 MiB a step, 70 recomputed, beside what the process holds anyway. Step 2 has all."""
    more = [*changes, "model.size=192", "run.batch=4", "run.device=cpu", "run.steps=2", "run.sample_every=0"]
    words = ["train", str(data), "--out", str(tmp_path / "run"), "--lora", miniature, "--json"]
    words += [word for change in more for word in ("--set", change)]
    told = json.loads(fresh(*words, "--plan").stdout)
    used = int(fresh(*words).stderr.splitlines()[-1])
    assert told["tried"]
    assert told["memory"] == pytest.approx(used, rel=0.1)


def test_what_lives_at_once_is_counted_and_forgotten():
    watch = memory._Watch()
    with FakeTensorMode(), watch:
        kept = torch.zeros(1000)
        for _ in range(5):
            kept + 1
    assert (watch.live, watch.most) == (4000, 8000)


def tiny(*more):
    words = ["model.size=8", "model.network.widths=8,16", "model.network.blocks=1", "run.device=cpu"]
    return settings.override(training.TrainConfig(), [*words, "run.batch=8", "run.steps=20", *more])


def test_recomputed_blocks_need_less_and_more_pictures_more(data, tmp_path):
    def found(*changes):
        return memory.estimate(Trainer(data, tmp_path / "run", tiny(*changes)).learner)

    plain, large = found("run.batch=8"), found("run.batch=32", "run.accumulate=2", "optimizer.more_ema=0.9")
    assert found("run.recompute=true").step < plain.step < large.step
    learned = found("model.variance=learned_range", "model.schedule.kind=discrete_vp")
    assert plain.step < learned.step < 1.5 * plain.step
    assert plain.optimizer == large.optimizer == 2 * plain.weights
    assert large.averages == 2 * plain.averages == 2 * plain.weights
    # A later part of a batch stands beside the gradients of the earlier ones.
    halves = found("run.batch=16", "run.accumulate=2")
    assert plain.step < halves.step <= plain.step + 1.2 * plain.weights


def test_a_plan_writes_nothing_and_counts_all(data, tmp_path):
    found = plan(data, tmp_path / "run", tiny("data.held_out=0.5", "data.bucket_step=4"))
    assert (found.pictures, found.held_out, found.steps, found.epochs) == (8, 8, 20, 20.0)
    assert found.buckets == ((8, 8, 8),)
    assert found.seconds == pytest.approx(20 * found.seconds_per_step)
    assert not (tmp_path / "run").exists()


def test_beside_pictures_of_a_class_half_as_many_of_the_thing_are_shown(data, tmp_path):
    words = ["lora.model=digits", "prior.prompt=a seven", f"prior.pictures={data}"]
    words += ["run.batch=4", "run.steps=8", "run.device=cpu"]
    found = plan(data, tmp_path / "run", settings.override(training.TrainConfig(), words))
    assert (found.pictures, found.epochs) == (16, 1.0)


def test_a_plan_larger_than_the_memory_is_not_tried(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[plan.__module__], "free_memory", lambda device: 1 << 20)
    found = plan(data, tmp_path / "run", tiny())
    assert not found.tried
    assert found.seconds is None
    assert found.memory > 100 << 20
    assert "so no step was tried" in found.notes[-1]


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
        "GiB (tried)",
    ):
        assert text in out
    assert "s a step" in out
    assert not (tmp_path / "run").exists()
