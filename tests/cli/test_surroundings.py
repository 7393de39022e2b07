"""What a command does where nobody listens, where it is told to end, and where its surroundings are broken."""

import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from unnoise import checkpoints, files
from unnoise.cli import ending, main
from unnoise.training import settings

SMALL = ["model.size=8", "model.colour=grey", "model.network.widths=8,16", "model.network.blocks=1"]
SMALL += ["model.network.norm_groups=4", "model.text.width=16", "model.text.layers=1", "run.batch=2"]
SMALL += ["run.sample_every=0", "run.checkpoint_every=0", "run.log_every=1"]
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")
HANGS_UP = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system whose terminals do not hang up")


def typed(words, where, buffered=True):
    """What a shell tells of `unnoise WORDS`: exit status, the rest of standard output, and standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["sh", "-c", f'"$0" -m unnoise {words}', sys.executable],
        capture_output=True,
        text=True,
        cwd=where,
        env=environment if buffered else {**environment, "PYTHONUNBUFFERED": "1"},
        check=False,
    )


@FULL
@pytest.mark.parametrize("words", ["models", "--help", "--version"])
def test_a_full_disk_behind_standard_output_is_one_sentence_that_names_it(tmp_path, words):
    done = typed(f"{words} > /dev/full", tmp_path)
    assert done.stderr == (
        "unnoise: error: 'standard output': No space left on device; choose another file or folder.\n"
    )
    assert done.returncode == 1


@FULL
@pytest.mark.parametrize("buffered", [True, False])
def test_where_no_error_can_be_told_the_status_tells_it(tmp_path, buffered):
    assert typed("models --nope 2> /dev/full", tmp_path, buffered).returncode == 2
    assert typed("models 2> /dev/full", tmp_path, buffered).returncode == 0


def test_a_reader_that_goes_away_from_the_help_is_no_traceback(tmp_path):
    assert typed("--help | true", tmp_path).stderr == ""


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for place in range(6):
        Image.new("L", (8, 8), 40 * place).save(pictures / f"{place}.png")
    return pictures


class Pipe:
    """Standard output whose reader goes away after the first words."""

    encoding = "utf-8"
    told = 0

    def write(self, text):
        self.told += 1
        if self.told > 1:
            raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        pass

    def fileno(self):
        raise OSError("no file")


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_training_whose_reader_goes_away_saves_first(folder, tmp_path, monkeypatch, json):
    """Else what was learned since the last checkpoint would be lost."""
    changes = [word for change in (*SMALL, "run.checkpoint_every=2") for word in ("--set", change)]
    monkeypatch.setattr(sys, "stdout", Pipe())
    run = tmp_path / "run"
    assert main(["train", str(folder), "--out", str(run), "--steps", "50", *changes, *json]) == 1
    steps = (
        [1] if json else [2, 3]
    )  # the second words are of the first step, or of the checkpoint of the second
    names = sorted(entry.name for entry in (run / "checkpoints").iterdir())
    assert names == [f"step-{step:06d}" for step in steps]
    checkpoints.load(run)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@HANGS_UP
def test_training_saves_when_its_terminal_closes_and_goes_on_where_that_is_ignored(folder, tmp_path):
    from unnoise.training import Finished, Progress, Stopped, TrainConfig, train

    def hung_up(name):
        events = []
        config = settings.override(TrainConfig(), [*SMALL, "run.steps=4"])
        for event in train(folder, tmp_path / name, config):
            events.append(event)
            if event.step == 2 and isinstance(event, Progress):
                signal.raise_signal(signal.SIGHUP)
        return events[-1]

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        stopped = hung_up("closes")
        assert isinstance(stopped, Stopped)
        assert stopped.step == 2
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
        assert isinstance(hung_up("nohup"), Finished)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=HANGS_UP)])
def test_who_is_ended_in_the_middle_of_a_file_leaves_no_half_of_it(run, tmp_path, tiny, monkeypatch, name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr(files, "sync", lambda path: signal.raise_signal(number))
    try:
        status, _, err = run("generate", "a seven", "-m", tiny, "--steps", 1, "-o", "a.png", "--frames", "f")
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert status == 128 + number
    assert err == "unnoise: stopped; what was saved before is whole.\n"
    assert [entry.name for entry in tmp_path.rglob("*")] == ["f"]


@HANGS_UP
def test_what_others_do_at_a_signal_stays_theirs():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending.put_away(forever=False):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(ending.Ended):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_folder_that_is_gone_is_told(tmp_path):
    words = f'"{sys.executable}" -m unnoise models'
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f'rmdir "$0" && {words}', gone]
    done = subprocess.run(command, capture_output=True, text=True, cwd=gone, check=False)
    assert done.stderr == (
        "unnoise: error: the folder that this was started in is gone; go to one that exists.\n"
    )
    assert done.returncode == 1


def test_a_library_that_cannot_be_loaded_is_told(run, monkeypatch):
    from unnoise.cli import models

    def fails(*_):
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr(models, "answer", fails)
    status, _, err = run("models")
    assert status == 1
    assert err == (
        "unnoise: error: a library cannot be loaded: libtorch_cpu.so: failed to map segment from shared object; "
        "install unnoise again, or give it more memory.\n"
    )


def test_a_link_to_nothing_is_refused_before_the_picture_is_made(run, tmp_path, tiny):
    (tmp_path / "link").symlink_to("nowhere")
    for option in (("-o", "link"), ("-o", "link/x.png"), ("--frames", "link")):
        status, _, err = run("generate", "a seven", "-m", tiny, "--steps", 1, *option)
        assert status == 1
        assert "link: it is not a folder" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize("variable", ["UNNOISE_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"])
def test_the_home_of_nobody_is_refused_in_words(variable, monkeypatch):
    from unnoise.checkpoints import hub
    from unnoise.errors import InputError
    from unnoise.networks.unet import openvino

    for name in ("UNNOISE_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "~nobody-of-this-name/cache")
    with pytest.raises(InputError, match="no such user here"):
        (hub.cache if variable.startswith("HF") else openvino.cache_folder)()
