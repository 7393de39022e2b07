"""Training as a person runs it: from a folder to a model, cut and continued, and refused when it must be."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unnoise import checkpoints as models
from unnoise import training
from unnoise.cli import main
from unnoise.errors import CheckpointError, DataError, FileError, InputError, NonFiniteError
from unnoise.training import Finished, Progress, Saved, Stopped, Validated, plan, run_folder, settings
from unnoise.training import checkpoints as run_checkpoints
from unnoise.training.batches import ahead, draw
from unnoise.training.data import open_pictures
from unnoise.training.precision import LossScale
from unnoise.training.trainer import Trainer, pick_device

TINY = [
    "model.size=8",
    "model.colour=grey",
    "model.network.widths=8,16",
    "model.network.blocks=1",
    "model.network.dropout=0.1",
    "model.text.width=8",
    "model.text.heads=2",
    "model.text.layers=1",
    "model.text.positions=8",
    "model.defaults.steps=2",
    "data.mirror=true",
    "loss.caption_dropout=0.3",
    "optimizer.warmup=5",
    "run.batch=8",
    "run.steps=30",
    "run.log_every=1",
    "run.checkpoint_every=0",
    "run.sample_every=0",
    "run.device=cpu",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty pictures of eight by eight: bars that lie or stand, with captions that say so."""
    data = tmp_path_factory.mktemp("pictures")
    for number in range(20):
        image = Image.new("L", (8, 8), 10 * number)
        lying = number % 2
        image.paste(255, (0, number % 7, 8, number % 7 + 1) if lying else (number % 7, 0, number % 7 + 1, 8))
        image.save(data / f"{number:02}.png")
        words = "a lying bar\na bar on its side" if lying else "a standing bar\nan upright bar"
        (data / f"{number:02}.txt").write_text(words, encoding="utf-8")
    return data


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(*more):
    return settings.override(training.TrainConfig(), [*TINY, *more])


def losses(events):
    return {event.step: event.loss for event in events if isinstance(event, Progress)}


def tensors(run, step):
    place = run / "checkpoints" / f"step-{step:06d}"
    return {
        path.relative_to(place).as_posix(): load_file(path) for path in sorted(place.rglob("*.safetensors"))
    }


def same(left, right):
    assert left.keys() == right.keys()
    return all(
        torch.equal(left[file][name], right[file][name]) and left[file].keys() == right[file].keys()
        for file in left
        for name in left[file]
    )


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The run that is never cut, and its events."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, list(training.train(folder, run, config()))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [13])
def test_thirty_steps_equal_thirteen_and_seventeen_to_the_bit(folder, whole, tmp_path, workers, cut):
    """With dropout layers, caption dropout and mirroring, in the middle of an epoch; losses and every tensor."""
    run, first = tmp_path / "run", []
    for event in training.train(folder, run, config("run.checkpoint_every=13")):
        first.append(event)
        if isinstance(event, Saved):
            break
    assert first[-1].step == cut
    torch.manual_seed(99)  # the state of the global generator must not matter
    rest = list(
        training.train(folder, run, config("run.checkpoint_every=13", f"run.workers={workers}"), resume=True)
    )
    assert rest[0].step == cut
    assert losses(first) | losses(rest) == losses(whole[1])
    assert same(tensors(run, 30), tensors(whole[0], 30))


class Trap:
    def __reduce__(self):
        return open, ("sprung", "w")


@pytest.mark.parametrize("file", ["optimizer.safetensors", "weights.safetensors", "state.json"])
def test_a_pickle_where_a_run_keeps_its_state_runs_nothing(folder, whole, tmp_path, monkeypatch, file):
    """With a manifest that agrees, as of a run that a stranger hands on."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole[0], "run")
    place = Path("run/checkpoints/step-000030")
    (place / file).write_bytes(pickle.dumps(Trap()))
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"][file] = run_checkpoints._measure(place / file)
    (place / "manifest.json").write_text(json.dumps(manifest))
    run_checkpoints.verify(place)
    with pytest.raises(CheckpointError, match="step-000030"):
        list(training.train(folder, Path("run"), config("run.steps=31"), resume=True))
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    "around",
    [torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
    ids=["inference", "autocast"],
)
def test_a_caller_in_another_mode_trains_the_same_model(folder, whole, tmp_path, around):
    with around():
        assert plan.plan(folder, tmp_path / "run", config("run.steps=30")).tried
        list(training.train(folder, tmp_path / "run", config("run.steps=30")))
    assert same(tensors(tmp_path / "run", 30), tensors(whole[0], 30))


def test_torch_s_default_type_and_device_change_no_training(folder, tmp_path, far_defaults):
    asked = config(
        "run.steps=6", "data.shift=0.1", "loss.times=importance", "loss.uncertainty=true", "loss.weight=min_snr",
        "data.held_out=0.4", "run.validate_every=3", "run.sample_every=6", "optimizer.profile_every=3",
    )  # fmt: skip
    near = list(training.train(folder, tmp_path / "near", asked))
    with far_defaults(torch.bfloat16):
        far = list(training.train(folder, tmp_path / "far", asked))
    assert losses(near) == losses(far)
    assert same(tensors(tmp_path / "near", 6), tensors(tmp_path / "far", 6))


def test_what_a_run_learns_beside_the_model_is_resumed_too(folder, tmp_path):
    """Importance sampling's history, the learned uncertainty, more averages, both profiles, the held-out curve."""
    extra = ["loss.times=importance", "loss.uncertainty=true", "optimizer.more_ema=0.9", "run.steps=90"]
    extra += ["optimizer.profile_every=30", "data.held_out=0.4", "run.validate_every=30", "run.keep=0"]
    extra += ["run.batch=12", "run.checkpoint_every=70", "optimizer.lr=0.003"]
    once = list(training.train(folder, tmp_path / "whole", config(*extra)))
    for event in training.train(folder, tmp_path / "run", config(*extra)):
        if isinstance(event, Saved):
            break
    list(training.train(folder, tmp_path / "run", resume=True))
    left, right = tensors(tmp_path / "whole", 90), tensors(tmp_path / "run", 90)
    assert {"more.safetensors", "model-0.9/weights.safetensors"} <= left.keys()
    assert int(left["more.safetensors"]["moments.counts"].min()) >= 10
    assert same(left, right)
    for name in ("step-000060", "step-000090"):
        one, other = (load_file(tmp_path / r / "profiles" / f"{name}.safetensors") for r in ("whole", "run"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    measured = [event for event in once if isinstance(event, Validated)]
    assert [event.step for event in measured] == [30, 60, 90]
    assert measured[-1].loss < measured[0].loss
    assert [len(event.bands) for event in measured] == [8, 8, 8]
    lines = [(tmp_path / r / "log.jsonl").read_text().splitlines() for r in ("whole", "run")]
    held = [[json.loads(line) for line in found if "held out" in line] for found in lines]
    assert held[0] == held[1]
    assert models.load(tmp_path / "run" / "model-0.9").shape == (1, 8, 8)
    # A profile that was tracked, made again from the snapshots and saved as a model.
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "made"), "--profile", "0.1"]) == 0
    made, kept = models.load(tmp_path / "made").network.state_dict(), left["more.safetensors"]
    assert all(torch.allclose(made[name], kept[f"profile.1.network.{name}"], atol=1e-5) for name in made)
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "more"), "--profile", "0.5"]) == 2


def test_a_finished_run_is_a_folder_with_everything_in_it(whole, folder):
    run, events = whole
    assert isinstance(events[-1], Finished)
    assert events[0].pictures == 20
    assert events[0].captioned
    assert settings.read(run / "config.toml") == config()
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[-1]["loss"] == losses(events)[30]
    model = models.load(run)
    assert model.shape == (1, 8, 8)
    assert "upright" in " ".join(model.tokenizer.words)
    average = load_file(run / "checkpoints" / "step-000030" / "model" / "weights.safetensors")
    assert torch.equal(model.network.state_dict()["conv_in.weight"], average["network.conv_in.weight"])


def test_a_longer_run_goes_on_and_its_model_takes_the_place_of_the_shorter(folder, tmp_path):
    run = tmp_path / "run"
    list(training.train(folder, run, config("run.steps=2", "optimizer.decay=constant")))
    before = models.load(run).sha256
    events = list(training.train(folder, run, config("run.steps=4", "optimizer.decay=constant"), resume=True))
    assert [event.step for event in events if isinstance(event, Progress)] == [3, 4]
    assert models.load(run).sha256 != before
    assert settings.read(run / "config.toml").run.steps == 4
    again = list(training.train(folder, run, resume=True))
    assert [type(event).__name__ for event in again] == ["Started", "Finished"]


def test_sample_grids_are_written_at_their_steps(folder, tmp_path):
    run = tmp_path / "run"
    list(training.train(folder, run, config("run.steps=3", "run.sample_every=2")))
    assert [path.name for path in sorted((run / "samples").iterdir())] == [
        "step-000002.png",
        "step-000003.png",
    ]
    with Image.open(run / "samples" / "step-000002.png") as grid:
        assert grid.size == (2 * 64 + 2, 64)


def test_a_grid_that_cannot_be_drawn_does_not_end_the_run(folder, tmp_path, monkeypatch):
    def fail(*_):
        raise NonFiniteError("too young")

    monkeypatch.setattr("unnoise.training.samples.write_grid", fail)
    trainer = Trainer(folder, tmp_path / "run", config("run.steps=2", "run.sample_every=1"))
    names = [type(event).__name__ for event in trainer.run() if not isinstance(event, Saved)]
    assert names == ["Started", "Progress", "Progress", "Finished"]
    assert (tmp_path / "run" / "log.jsonl").read_text().count('"samples"') == 2


@pytest.mark.parametrize(
    "changes",
    [
        ("model.prediction=noise", "model.schedule.kind=discrete_vp"),
        ("model.prediction=sample", "model.schedule.kind=flow", "loss.times=logit_normal"),
        ("model.prediction=flow", "model.schedule.kind=flow", "loss.stratified=false"),
        ("model.prediction=edm", "model.schedule.kind=edm", "loss.times=log_normal", "loss.mean=-1.2"),
        ("model.schedule.kind=discrete_vp", "model.schedule.curve=linear", "loss.weight=min_snr"),
        ("model.schedule.kind=discrete_vp", "model.schedule.curve=cosine", "model.variance=learned_range"),
        ("model.schedule.kind=discrete_vp", "model.schedule.curve=scaled_linear", "run.precision=bfloat16"),
        ("loss.weight=debiased", "loss.times=importance"),
        ("loss.weight=edm", "loss.offset_noise=0.1", "loss.input_perturbation=0.1", "loss.shift=2"),
        ("run.precision=float16", "run.recompute=true"),
        ("model.network.pooled_width=8",),
        ("data.captions=none", "model.colour=rgb"),
    ],
)
def test_every_kind_of_model_learns_something(folder, tmp_path, changes):
    events = list(
        training.train(folder, tmp_path / "run", config("run.steps=25", "optimizer.lr=0.003", *changes))
    )
    values = list(losses(events).values())
    assert sum(values[-5:]) < sum(values[:5])
    assert models.load(tmp_path / "run").network.training is False


def test_one_batch_is_learnt_by_heart(folder, tmp_path):
    """The same draws again and again: the loss falls below a tenth of its start."""
    trainer = Trainer(
        folder,
        tmp_path / "run",
        config("model.network.dropout=0", "optimizer.lr=0.01", "optimizer.decay=constant"),
    )
    batch = draw(trainer.config, trainer.pictures, trainer.model.schedule, 0)
    values = [trainer.learner.advance(step, batch).loss for step in range(80)]
    assert values[-1] < values[0] / 10


def test_four_parts_of_two_have_the_gradient_of_one_of_eight(folder, tmp_path):
    """To 1e-6 of the largest gradient: only the order of float32 sums differs."""
    found = []
    for parts in (1, 4):
        made = config(f"run.accumulate={parts}", "model.network.dropout=0", "loss.weight=min_snr")
        learner = (trainer := Trainer(folder, tmp_path / str(parts), made)).learner
        with torch.no_grad():  # away from the zeros of a fresh network, where most gradients vanish
            for weight, place in zip(learner.parameters, range(10**6), strict=False):
                weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(place)))
        loss = learner.gradients(3, draw(made, trainer.pictures, trainer.model.schedule, 3))
        found.append((loss, [weight.grad for weight in learner.parameters]))
    (loss, one), (_, four) = found
    assert float(loss.mean()) == pytest.approx(float(found[1][0].mean()), rel=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in one)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6 * largest) for a, b in zip(one, four, strict=True))


def stirred(folder, run, *more):
    """A trainer whose network is away from the zeros of a fresh one, where most gradients vanish."""
    trainer = Trainer(folder, run, config(*more))
    with torch.no_grad():
        for place, weight in enumerate(trainer.learner.parameters):
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(place)))
    return trainer, draw(trainer.config, trainer.pictures, trainer.model.schedule, 3)


def kept_for_the_gradient(work):
    """Numbers that autograd keeps while `work` runs."""
    kept = []

    def keep(tensor):
        kept.append(tensor.nelement())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(kept)


def test_blocks_that_compute_twice_have_the_same_gradient_with_dropout(folder, tmp_path):
    found = []
    for again in ("false", "true"):
        trainer, batch = stirred(folder, tmp_path / again, f"run.recompute={again}")
        size = kept_for_the_gradient(lambda t=trainer, b=batch: t.learner.gradients(3, b))
        found.append(([weight.grad for weight in trainer.learner.parameters], size))
        averaged = trainer.tuning.averaged(trainer.learner.average.average)
        averaged.network(torch.zeros(1, 1, 8, 8), 0.5, torch.zeros(1, 3, 8))
    assert all(torch.equal(one, other) for one, other in zip(found[0][0], found[1][0], strict=True))
    assert found[1][1] < 0.6 * found[0][1]


def test_float16_scales_the_loss_and_clips_what_is_unscaled(folder, tmp_path):
    """The norm is that of float32 to float16's digits; an overflow halves the scale and changes nothing else."""
    plain, batch = stirred(folder, tmp_path / "plain", "model.network.dropout=0", "optimizer.clip=0.01")
    half, _ = stirred(
        folder, tmp_path / "half", "model.network.dropout=0", "optimizer.clip=0.01", "run.precision=float16"
    )
    expected = plain.learner.advance(3, batch).gradient_norm
    assert half.learner.advance(3, batch).gradient_norm == pytest.approx(expected, rel=0.01)
    assert (half.learner.scale.value, half.learner.scale.good) == (2.0**16, 1)
    before = {name: tensor.clone() for name, tensor in half.learner.tensors.items()}
    half.learner.scale.value = 2.0**60
    result = half.learner.advance(4, batch)
    assert (result.applied, result.overflow) == (False, True)
    assert half.learner.scale.value == 2.0**59
    assert all(torch.equal(before[name], tensor) for name, tensor in half.learner.tensors.items())
    events = [event for event in half.run() if isinstance(event, training.Skipped)]
    assert {event.in_a_row for event in events} == {0}
    saved = json.loads((tmp_path / "half" / "checkpoints" / "step-000030" / "state.json").read_text())
    assert saved["loss_scale"] == [half.learner.scale.value, half.learner.scale.good]


@pytest.mark.parametrize(("clip", "kept"), [(0.01, 0.01), (1e6, None), (0.0, None)])
def test_gradients_longer_than_the_clip_are_cut_to_it_and_others_are_left(folder, tmp_path, clip, kept):
    trainer, batch = stirred(folder, tmp_path / "run", f"optimizer.clip={clip}")
    learner, seen = trainer.learner, []
    norm = lambda: torch.nn.utils.get_total_norm([weight.grad for weight in learner.parameters]).item()
    learner.optimizer.step = lambda lr: seen.append(norm())
    found = learner.advance(3, batch).gradient_norm
    assert seen == [pytest.approx(kept or found, rel=1e-3)]


def test_the_loss_scale_doubles_after_two_thousand_good_steps_and_stays_at_least_one():
    scale = LossScale(value=2.0)
    assert [scale.hear(True) for _ in range(2000)] == [False] * 2000
    assert (scale.value, scale.good) == (4.0, 0)
    assert [scale.hear(False) for _ in range(3)] == [True, True, False]
    assert scale.value == 1.0


def test_batches_read_ahead_are_the_batches(folder, tmp_path):
    trainer = Trainer(folder, tmp_path / "run", config())
    make = lambda step: draw(trainer.config, trainer.pictures, trainer.model.schedule, step)
    for alone, early in zip(ahead(make, 2, 9, 0), ahead(make, 2, 9, 3), strict=True):
        assert torch.equal(alone.x0, early.x0)
        assert torch.equal(alone.noise, early.noise)
        assert torch.equal(alone.level.time, early.level.time)
        assert alone.captions == early.captions


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(folder, tmp_path):
    trainer = Trainer(folder, tmp_path / "run", config())
    batch = draw(trainer.config, trainer.pictures, trainer.model.schedule, 0)
    learner = trainer.learner
    learner.advance(0, batch)
    before = {name: tensor.clone() for name, tensor in learner.tensors.items()}
    average = {name: tensor.clone() for name, tensor in learner.average.average.items()}
    batch.noise[3] = float("inf")
    result = learner.advance(1, batch)
    assert not result.applied
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.tensors.items())
    assert all(torch.equal(average[name], tensor) for name, tensor in learner.average.average.items())
    assert learner.average.updates == 1


def test_training_stops_after_so_many_bad_steps_and_names_the_last(folder, tmp_path, monkeypatch):
    trainer = Trainer(folder, tmp_path / "run", config("run.patience=3"))
    with torch.no_grad():
        trainer.learner.parameters[0].fill_(float("nan"))
    events = trainer.run()
    with pytest.raises(NonFiniteError, match="not finite in 3 steps in a row, up to step 3"):
        list(events)
    assert (tmp_path / "run" / "log.jsonl").read_text().count('"nan"') == 3


def test_asked_to_stop_it_saves_and_another_process_goes_on(folder, whole, tmp_path):
    """SIGTERM to a process in the middle of a run; what it leaves continues to the same end."""
    run = tmp_path / "run"
    settings_path = tmp_path / "tiny.toml"
    settings_path.write_text(settings.dumps(config()), encoding="utf-8")
    script = (
        "import sys, time, torch\n"
        "from pathlib import Path\n"
        "from unnoise.training import settings, train\n"
        "torch.set_num_threads(1)\n"
        "for event in train(Path(sys.argv[1]), Path(sys.argv[2]), settings.read(sys.argv[3])):\n"
        "    print(type(event).__name__, event.step, flush=True)\n"
        "    time.sleep(0.02)\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(run), str(settings_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        while "Progress 5" not in (line := process.stdout.readline()):
            assert line, "the run ended early"
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().split("\n")
    assert process.returncode == 0
    assert rest[-2].startswith("Stopped")
    list(training.train(folder, run, resume=True))
    assert same(tensors(run, 30), tensors(whole[0], 30))


def test_a_thread_may_train_and_be_stopped_by_leaving_the_loop(folder, tmp_path):
    seen = []

    def work():
        for event in training.train(folder, tmp_path / "run", config("run.steps=2")):
            seen.append(type(event).__name__)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["Started", "Progress", "Progress", "Saved", "Finished"]


def test_an_interrupt_saves_first(folder, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    events = []
    for event in training.train(folder, tmp_path / "run", config()):
        events.append(event)
        if event.step == 4 and isinstance(event, Progress):
            signal.raise_signal(signal.SIGINT)
    assert isinstance(events[-1], Stopped)
    assert events[-1].step == 4
    assert signal.getsignal(signal.SIGINT) is before


def test_runs_that_overlap_hear_one_signal_and_give_it_back_once_both_have_ended(folder, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    one, two = (training.train(folder, tmp_path / name, config()) for name in ("one", "two"))
    next(one), next(two)
    signal.raise_signal(signal.SIGINT)
    assert isinstance(list(one)[-1], Stopped)
    assert signal.getsignal(signal.SIGINT) is not before
    assert isinstance(list(two)[-1], Stopped)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_may_end_in_another_thread_than_that_which_began_it(folder, tmp_path):
    """And Ctrl-C then interrupts again as it did before."""
    before, events = (
        signal.getsignal(signal.SIGINT),
        training.train(folder, tmp_path / "run", config("run.steps=2")),
    )
    seen = [next(events)]
    worker = threading.Thread(target=lambda: seen.extend(events))
    worker.start()
    worker.join()
    assert isinstance(seen[-1], Finished)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_hears_though_another_is_left_and_somebody_took_the_signal_since(folder, tmp_path):
    """Who took it gets it back."""
    before, theirs = signal.getsignal(signal.SIGTERM), []
    left, events = training.train(folder, tmp_path / "left", config()), []
    try:
        next(left)
        signal.signal(signal.SIGTERM, lambda *_: theirs.append("heard"))
        for event in training.train(folder, tmp_path / "run", config()):
            events.append(event)
            if event.step == 2 and isinstance(event, Progress):
                signal.raise_signal(signal.SIGTERM)
        assert isinstance(events[-1], Stopped)
        assert not theirs
        left.close()
        signal.raise_signal(signal.SIGTERM)
        assert theirs == ["heard"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_settings_that_are_no_trainconfig_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="give a TrainConfig"):
        training.train(folder, tmp_path / "run", {"run": {"steps": 2}})


def test_a_run_is_never_overwritten(folder, tmp_path, whole):
    with pytest.raises(InputError, match="holds a run already; go on with --resume"):
        training.Trainer(folder, whole[0], config())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and is not a run"):
        training.Trainer(folder, tmp_path / "other", config())
    with pytest.raises(InputError, match=r"is not a run \(it has no config.toml\)"):
        training.Trainer(folder, tmp_path / "other", config(), resume=True)
    assert (tmp_path / "other" / "thesis.txt").read_text() == "precious"


def test_a_resumed_run_keeps_what_its_steps_were_made_with(folder, whole):
    with pytest.raises(InputError, match=r"optimizer\.lr differs from"):
        training.Trainer(folder, whole[0], config("optimizer.lr=0.1"), resume=True)


def test_fewer_steps_than_a_run_has_made_are_refused_and_its_settings_stay(folder, whole):
    """Its model would be called one of so few."""
    kept = (whole[0] / "config.toml").read_text()
    with pytest.raises(
        InputError, match=r"run\.steps is 20, and '.*' has a checkpoint of step 30; give 30 or more"
    ):
        list(training.train(folder, whole[0], config("run.steps=20"), resume=True))
    assert (whole[0] / "config.toml").read_text() == kept


def test_two_processes_cannot_hold_one_run(folder, tmp_path):
    events = training.train(folder, tmp_path / "run", config())
    next(events)
    with pytest.raises(FileError, match="in use by another process"):
        next(training.train(folder, tmp_path / "run", resume=True))
    events.close()


def test_a_device_that_holds_no_numbers_is_none():
    with pytest.raises(InputError, match=r"^run.device is 'meta', which is not here: .* Use auto or cpu"):
        pick_device("meta")


def test_averages_that_differ_late_have_files_of_their_own(folder, tmp_path):
    more = ["optimizer.more_ema=[0.9999998, 0.9999999]", "run.steps=2"]
    list(training.train(folder, tmp_path / "run", config(*more)))
    names = {path.name for path in (tmp_path / "run").iterdir() if path.name.startswith("model")}
    assert names == {"model", "model-0.9999998", "model-0.9999999"}


def test_a_file_system_without_locks_is_no_other_process(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(handle, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with run_folder.hold(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_resuming_on_other_pictures_is_told(folder, whole, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted(folder.iterdir())[4:]:
        (data / path.name).write_bytes(path.read_bytes())
    events = training.train(data, whole[0], resume=True)
    assert any("not those that the run began with" in note for note in next(events).notes)
    events.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.size=10", "model.size is 10, but this network needs a multiple of 4; give"),
        ("model.network.widths=9,18", "model.network: .*even"),
        ("model.network.widths=8", "model.network does not describe a UNet"),
        ("model.network.widths=8,x", "model.network does not describe a UNet"),
        ("model.network.blocks=", "model.network: blocks is ''; give a whole number"),
        ("model.schedule.kind=[]", r"schedule kind is \[\]"),
        ("model.network.classes=5", "model.network.classes asks for labels"),
        ("model.network.depth=3", "'depth' is not a setting of a UNet"),
        ("model.network.blocks=two", "model.network"),
        ("model.text.depth=3", "depth"),
        ("model.text.positions=1", "model.text: positions is 1; give a whole number of at least 2"),
        ("model.schedule.kind=log", "model.schedule: schedule kind is 'log'"),
        ("model.prediction=guess", "model.prediction: prediction is 'guess'"),
        ("model.variance=learned_range", "model.schedule.kind=discrete_vp"),
        ("model.defaults.speed=3", "'speed' is not a default"),
        ("run.device=tpu", "run.device is 'tpu'"),
        ("data.held_out=0.1", "data.held_out is 0.1: 2 of 20 pictures; hold out at least 8"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(folder, tmp_path, change, words):
    changes = [change, "model.network.widths=8,16,16"] if "size" in change else [change]
    with pytest.raises(InputError, match=words):
        training.Trainer(folder, tmp_path / "run", config(*changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["model.defaults.scheduler=DPM adaptive"],
            "samples cannot be drawn: DPM adaptive fits its steps to one",
        ),
        (["data.captions=none", "run.sample_prompts=a toy"], "this model heeds no prompt"),
        (
            ["model.schedule.kind=discrete_vp", "model.schedule.steps=9", "model.defaults.steps=20"],
            "steps is 20; .* from 1 to 9, for example 9",
        ),
    ],
)
def test_samples_that_cannot_be_drawn_are_refused_before_the_first_step(folder, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        training.Trainer(folder, tmp_path / "run", config("run.sample_every=2", *changes))
    training.Trainer(folder, tmp_path / "run", config("run.sample_every=0", *changes))


def test_captions_that_nothing_reads_are_refused(folder, tmp_path):
    """The text encoder would get no gradient, and a checkpoint of it could not be taken up."""
    changes = ["model.network.attention=0,0", "model.network.mid_attention=0"]
    with pytest.raises(InputError, match=r"model.network: no attention .* nothing reads the captions"):
        training.Trainer(folder, tmp_path / "run", config(*changes))
    training.Trainer(folder, tmp_path / "run", config(*changes, "data.captions=none"))


def test_noise_prediction_is_refused_where_the_schedule_ends_without_signal(folder, tmp_path):
    changes = ["model.schedule.kind=discrete_vp", "model.schedule.zero_terminal=true"]
    with pytest.raises(InputError, match="noise prediction cannot serve a schedule that ends without signal"):
        training.Trainer(folder, tmp_path / "run", config("model.prediction=noise", *changes))
    training.Trainer(folder, tmp_path / "run", config("model.prediction=velocity", *changes))


def test_bad_data_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataError):
        training.Trainer(tmp_path / "nothing", tmp_path / "run", config())
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_told(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        list(training.train(folder, tmp_path / "file" / "run", config()))


def test_a_small_set_and_corrupt_pictures_are_told(folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("00.png", "01.png"):
        (data / name).write_bytes((folder / name).read_bytes())
    (data / "02.png").write_bytes(b"\x89PNG")
    (data / "film.mp4").write_bytes(b"")
    notes = "\n".join(next(training.train(data, tmp_path / "run", config())).notes)
    assert "02.png' is not a PNG" in notes
    assert "1 corrupt picture skipped" in notes
    assert "1 file is not a picture and was ignored" in notes
    assert "a batch of 8 is more than 2 pictures: each is shown more than once" in notes


def test_settings_are_checked_without_torch():
    script = (
        "import sys, unnoise.training as t\n"
        "t.settings.override(t.TrainConfig(), ['run.steps=3'])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent)


def test_a_tilde_is_the_home(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(folder, tmp_path / "pictures")
    *_, last = training.train("~/pictures", "~/run", config("run.steps=1"))
    assert last.model == tmp_path / "run" / "model"


def test_a_reader_agrees_with_the_shipped_digits():
    """The recipe's own script: 500 pictures, 50 of each digit, read by a classifier of real digits."""
    pytest.importorskip("sklearn")
    script = Path(__file__).parents[2] / "recipes" / "digits" / "evaluate.py"
    done = subprocess.run([sys.executable, script, "digits"], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["reader_on_real_digits"] > 0.97
    assert report["agreement"] >= 0.95
    assert min(report["each"].values()) >= 0.9
    # Neither ten pictures nor copies: as varied as real digits, and as far from them as they are apart.
    assert report["spread"] > 0.8 * report["spread_of_real_digits"]
    assert report["distance_to_nearest_real"] > 0.8 * report["distance_between_real"]


def test_the_recipe_writes_all_digits_with_captions(tmp_path):
    pytest.importorskip("sklearn")
    script = Path(__file__).parents[2] / "recipes" / "digits" / "make_data.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    found = open_pictures(tmp_path, (1, 8, 8), training.DataConfig(strict=True))
    assert len(found) == 1797
    assert {len(captions) for captions in found.captions} == {8}
    assert found.cache.unique().numel() == 17
