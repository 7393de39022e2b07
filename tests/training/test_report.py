"""What a run shows of itself: its page, and TensorBoard's events."""

import builtins
import importlib.util
import json
import math
import os
from pathlib import Path

import pytest
from PIL import Image

from unnoise import training
from unnoise.errors import InputError
from unnoise.training import Progress, Validated, report, settings

TINY = ["model.size=8", "model.colour=grey", "model.network.widths=8,16", "model.network.blocks=1"]
TINY += ["run.device=cpu", "run.batch=8", "run.log_every=1", "run.checkpoint_every=0", "run.sample_every=0"]
TINY += ["data.held_out=0.5", "run.validate_every=2", "run.steps=6", "model.defaults.steps=2"]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(16):
        Image.new("L", (8, 8), 10 * number).save(folder / f"{number:02}.png")
    return folder


def config(*more):
    return settings.override(training.TrainConfig(), [*TINY, *more])


def test_the_page_is_rewritten_with_every_measurement_and_has_a_line_for_each_band(data, tmp_path):
    run, sizes = tmp_path / "run", []
    for event in training.train(data, run, config()):
        if isinstance(event, Validated):
            page = (run / report.NAME).read_text()
            # One line for each of eight bands, two for the losses, one for the bound; a point for each measurement.
            assert page.count("<polyline") == 11
            assert f"{event.bits:.3f} ± {event.bits_error:.3f} bits/dim" in page
            sizes.append(page.count("<title>8, step"))
    assert sizes == [1, 2, 3]
    assert "Step 6 of 6" in (run / report.NAME).read_text()


def test_a_run_without_held_out_pictures_has_a_page_that_says_so(data, tmp_path):
    list(training.train(data, tmp_path / "run", config("data.held_out=0", "run.steps=2")))
    page = (tmp_path / "run" / report.NAME).read_text()
    assert "No pictures are held out" in page
    assert page.count("<polyline") == 1


def test_a_run_in_a_folder_whose_name_is_no_text_has_a_page(tmp_path):
    run = tmp_path / os.fsdecode(b"run\xfe")
    run.mkdir()
    assert "Training run?" in report.write(run).read_text(encoding="utf-8")


def test_a_loss_that_float16_could_not_hold_is_told_and_has_no_place_in_the_chart(tmp_path, monkeypatch):
    entries = [
        {
            "event": "held out",
            "step": step,
            "loss": loss,
            "error": 0.1,
            "bands": [loss],
            "overfitting_since": None,
        }
        for step, loss in ((1, math.inf), (2, 0.5), (3, math.nan))
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    monkeypatch.chdir(tmp_path)
    page = report.write(Path()).read_text(encoding="utf-8")
    assert page.count("<title>held out, step") == 1
    assert f"<h1>{tmp_path.name}</h1>" in page


def test_a_balanced_loss_below_zero_has_its_place_in_the_chart(tmp_path):
    entries = [{"step": step, "steps": 9, "loss": 1.0 - step, "images_per_second": 1.0} for step in range(4)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert report.write(tmp_path).read_text(encoding="utf-8").count("<title>batches, step") == 4


def test_tensorboard_reads_what_the_events_tell_and_a_resume_continues_it(data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    more = ["run.tensorboard=true", "optimizer.decay=constant"]
    told = list(training.train(data, run, config(*more, "run.steps=4")))
    told += training.train(data, run, config(*more, "run.sample_every=6"), resume=True)
    read = accumulator.EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    steps = {event.step: event.loss for event in told if isinstance(event, Progress)}
    assert {each.step: each.value for each in read.Scalars("loss/batch")} == pytest.approx(steps)
    assert list(steps) == [1, 2, 3, 4, 5, 6]
    held = {event.step: event.bands[7] for event in told if isinstance(event, Validated)}
    assert {each.step: each.value for each in read.Scalars("held-out bands/8")} == pytest.approx(held)
    assert [each.step for each in read.Images("samples")] == [6]


def test_without_the_package_the_setting_is_refused_before_anything_is_written(data, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else found(name)
    )
    with pytest.raises(InputError, match=r"pip install 'unnoise\[tensorboard\]'"):
        training.train(data, tmp_path / "run", config("run.tensorboard=true"))
    assert not (tmp_path / "run").exists()


def test_tensorboard_is_not_imported_where_it_is_not_asked_for(data, tmp_path, monkeypatch):
    real = builtins.__import__

    def guarded(name, *rest):
        assert not name.startswith("tensorboard")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", guarded)
    list(training.train(data, tmp_path / "run", config("run.steps=1", "data.held_out=0")))
