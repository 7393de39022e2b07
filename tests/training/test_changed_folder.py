"""What changed in the folders between a cut and a resume is told, and takes no word from the model."""

import shutil

import pytest
from PIL import Image

from unnoise import checkpoints, training
from unnoise.training import Saved, Started, report, settings
from unnoise.training.plan import plan

TINY = ["model.size=8", "model.colour=grey", "model.network.widths=8,16", "model.network.blocks=1"]
TINY += ["model.text.width=8", "model.text.heads=2", "model.text.layers=1", "run.batch=2", "run.steps=4"]
TINY += ["run.device=cpu", "run.sample_every=0", "run.checkpoint_every=2", "optimizer.warmup=0"]


def config(*more):
    return settings.override(training.TrainConfig(), [*TINY, *more])


@pytest.fixture
def data(tmp_path):
    for number, caption in enumerate(("a cat", "a dog", "a cat", "a dog")):
        put(tmp_path / "data", number, caption)
    return tmp_path / "data"


def put(folder, number, caption, shade=40):
    folder.mkdir(exist_ok=True)
    Image.linear_gradient("L").resize((8, 8 + number)).point(lambda v: v * shade // 255).save(
        folder / f"{number}.png"
    )
    (folder / f"{number}.txt").write_text(caption)


def cut(data, run, *more):
    """A run of two steps of four."""
    for event in training.train(data, run, config(*more)):
        if isinstance(event, Saved):
            break


def resumed(data, run):
    events = list(training.train(data, run, resume=True))
    (started,) = (event for event in events if isinstance(event, Started))
    return started


def test_a_folder_as_it_was_says_nothing(data, tmp_path):
    cut(data, tmp_path / "run")
    assert resumed(data, tmp_path / "run").notes == ()


def test_a_picture_that_was_replaced_is_told(data, tmp_path):
    cut(data, tmp_path / "run")
    put(data, 1, "a dog", shade=255)
    assert "the pictures or their captions are not those" in resumed(data, tmp_path / "run").notes[0]


def test_other_held_out_pictures_are_told_and_begin_a_curve_of_their_own(data, tmp_path):
    """Losses of other pictures cannot be compared, so that a rise beside the old ones says nothing."""
    unseen, run = tmp_path / "unseen", tmp_path / "run"
    for number in range(8):
        put(unseen, number, "a dog")
    cut(data, run, f"data.held_out_from={unseen}", "run.validate_every=1", "optimizer.ema=0")
    for number in range(8):
        put(unseen, number, "a dog", shade=255)
    trainer = training.Trainer(data, run, resume=True)
    started = next(event for event in trainer.run() if isinstance(event, Started))
    assert [note for note in started.notes if "not those" in note] == [
        "the held-out pictures or their captions are not those that the run began with."
    ]
    assert trainer.curve.step == 0


def test_a_run_keeps_the_vocabulary_that_it_began_with(data, tmp_path):
    """As many other words as before would else take the old ones' vectors; more or fewer would fit no checkpoint."""
    cut(data, tmp_path / "begun")
    wanted = checkpoints.load(tmp_path / "begun" / "checkpoints" / "step-000002" / "model").tokenizer
    for name, captions in (
        ("other", ["a cow"] * 2),
        ("more", ["a cow in the green"] * 2),
        ("fewer", ["", ""]),
    ):
        run = shutil.copytree(tmp_path / "begun", tmp_path / name)
        for number, caption in zip((0, 2), captions, strict=True):
            put(data, number, caption)
        notes = resumed(data, run).notes
        assert checkpoints.load(run).tokenizer == wanted
        assert any("the model never saw cow" in note for note in notes) == (name != "fewer")


def test_a_run_that_goes_on_needs_its_words_file_no_more(data, tmp_path):
    """Its checkpoint has them; the file may be gone, or be another by now."""
    import torch
    from safetensors.torch import save_file

    words = tmp_path / "words.safetensors"
    save_file({"vectors": torch.ones(3, 4, dtype=torch.int8)}, words, {"words": "a cat dog", "learned": "2"})
    cut(data, tmp_path / "run", f"model.words={words}")
    words.unlink()
    assert resumed(data, tmp_path / "run").step == 2


def test_the_page_of_a_run_that_was_stopped_says_at_which_step(data, tmp_path):
    """Though no figure was due by then, and on every later visit too: all of it stands in the log."""
    import signal

    for event in training.train(
        data, tmp_path / "run", config("run.log_every=100", "run.checkpoint_every=1")
    ):
        if isinstance(event, Saved) and event.step == 2:
            signal.raise_signal(signal.SIGTERM)
    assert "Step 3 of 4." in (tmp_path / "run" / report.NAME).read_text(encoding="utf-8")


def test_a_plan_keeps_nothing_of_what_it_encodes(data, tmp_path):
    pytest.importorskip("diffusers")
    import miniature_sd

    model = miniature_sd.save(miniature_sd.pipeline("sd1", tmp_path), tmp_path / "model")
    kept = tmp_path / "kept"
    base = [
        f"lora.model={model}",
        "model.size=48",
        f"data.encoded_folder={kept}",
        "run.steps=1",
        "run.batch=1",
    ]
    asked = settings.override(training.TrainConfig(), [*base, "run.device=cpu", "run.sample_every=0"])
    plan(data, tmp_path / "run", asked)
    assert not kept.exists()
    list(training.train(data, tmp_path / "run", asked))
    assert list(kept.rglob("*.safetensors"))


def test_a_run_that_was_killed_while_its_settings_were_written_can_be_begun_again(data, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / ".config.toml.tmp-0a1b2c3d").touch()
    list(training.train(data, run, config()))
    assert not list(run.glob(".config*"))
