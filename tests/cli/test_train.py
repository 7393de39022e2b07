import json
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from tiny_model import save_tiny
from unnoise import checkpoints
from unnoise.training import settings


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place in range(6):
        Image.new("L", (8, 8), 40 * place).save(folder / f"{place}.png")
        (folder / f"{place}.txt").write_text(f"a grey number {place}")
    return folder


SMALL = ("--size", 8, "--channels", "8,16", "--batch", 2, "--set", "model.colour=grey")
SMALL += ("--set", "model.network.norm_groups=4", "--set", "model.network.blocks=1")
SMALL += ("--set", "model.text.width=16", "--set", "model.text.layers=1")


def test_a_folder_becomes_a_run_that_generates(run, pictures, tmp_path):
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    status, out, err = run(
        "train", "pictures", "--out", "run", *SMALL, "--steps", 4, "--checkpoint-every", 2, "--lr", "1e-3"
    )
    assert status == 0
    assert "6 pictures with captions" in out
    assert "torn.png" in err
    assert "done: the model is in run/model" in out
    assert out.endswith("try it: unnoise generate PROMPT -m run\n")
    written = settings.read(tmp_path / "run" / "config.toml")
    assert (written.run.steps, written.run.batch, written.optimizer.lr) == (4, 2, 1e-3)
    assert written.model.network["widths"] == [8, 16]
    assert checkpoints.load(tmp_path / "run").shape == (1, 8, 8)
    assert run("generate", "a grey number 3", "-m", "run", "--steps", 2)[0] == 0


def test_a_run_goes_on_where_it_was(run, pictures):
    words = ("train", "pictures", "--out", "run")
    assert run(*words, *SMALL, "--steps", 2, "--checkpoint-every", 2, "--sample-every", 0)[0] == 0
    assert run(*words, "--steps", 4)[0] == 2
    status, out, _ = run(*words, "--steps", 4, "--resume")
    assert status == 0
    assert "steps 2 to 4" in out


def test_a_config_file_is_changed_by_flags(run, pictures, tmp_path):
    (tmp_path / "a.toml").write_text('[run]\nsteps = 50\nseed = 9\n[model]\nsize = 8\ncolour = "grey"\n')
    words = ("train", "pictures", "--out", "run", "--config", "a.toml", *SMALL, "--max_train_steps", 1)
    assert run(*words)[0] == 0
    written = settings.read(tmp_path / "run" / "config.toml")
    assert (written.run.steps, written.run.seed) == (1, 9)


def test_json_is_a_line_an_event(run, pictures):
    status, out, _ = run(
        "train", "pictures", "--out", "run", *SMALL, "--steps", 2, "--json", "--set", "run.log_every=1"
    )
    told = [json.loads(line)["event"] for line in out.splitlines()]
    assert status == 0
    assert told[0] == "started"
    assert told.count("progress") == 2
    assert told[-1] == "finished"


def test_the_home_is_put_in_full_where_a_shell_does_not(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("train", "~/pictures", "--out=~/run", *SMALL, "--steps", 1)[0] == 0
    assert run("train", "~/pictures", "--out=~/run", "--resume", "--steps", 2)[0] == 0
    assert (tmp_path / "run" / "checkpoints" / "step-000002").is_dir()


def test_ctrl_c_saves_and_tells_how_to_go_on(pictures, tmp_path):
    words = ["train", "pictures", "--out", "run", *map(str, SMALL), "--steps", "100000", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "unnoise", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        while b"progress" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"
    assert checkpoints.load(tmp_path / "run").shape == (1, 8, 8)


def test_a_loss_that_is_no_number_is_json(capsys):
    from unnoise.cli.train import _tell_json
    from unnoise.training import Skipped

    _tell_json(iter([Skipped(5, float("nan"), 1)]), quiet=False)
    (line,) = capsys.readouterr().out.splitlines()

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(line, parse_constant=refuse)["loss"] == "nan"


def test_a_lora_is_learned_and_used(run, pictures, tmp_path):
    save_tiny(tmp_path / "base")
    words = (
        "train",
        "pictures",
        "--lora",
        "base",
        "--rank",
        2,
        "--steps",
        2,
        "--batch",
        2,
        "--sample-every",
        0,
    )
    status, out, err = run(*words, "--out", "my run")
    assert status == 0
    assert "the model never saw" in err
    assert "done: the LoRA is in my run/lora.safetensors" in out
    assert out.endswith("try it: unnoise generate PROMPT -m base --lora 'my run/lora.safetensors'\n")
    assert run("generate", "a seven", "-m", "base", "--lora", "my run/lora.safetensors", "--steps", 2)[0] == 0
    assert run("train", "pictures", "--out", "my run", "--resume", "--steps", 3)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lora", "base", "--size", 16), "model.size=16 is asked for, but what is learned begins with 'base'"),
        (("--lora", "base", "--rank", 0), "--rank is 0; give a whole number from 1"),
        (("--lora", " ",), "--lora is empty"),
        (("--lora", "base", "--shard"), "run.shard divides the weights of models trained from nothing"),
        (("--rank", 4), "lora.rank=4 is asked for without a model; give one with --lora"),
        (("--word", "<toy>"), "word.word=<toy> is asked for without a model; give one with --teach"),
        (("--teach", "base", "--word", "<toy>"), "word.like is empty; give the new word and one"),
        (("--prior", "a toy"), "prior.prompt keeps a class that a model knows already"),
        (("--lora", "base", "--finetune", "base"), "lora.model and finetune.model are both given"),
    ],
)  # fmt: skip
def test_words_that_a_lora_cannot_have_are_refused(run, pictures, words, said):
    status, _, err = run("train", "pictures", "--out", "run", *words)
    assert status == 2
    assert said in err


def test_a_plan_and_a_run_that_goes_on_are_not_asked_for_together(run, pictures):
    """The plan would say that the run is there and that --resume goes on with it, which stood beside it."""
    words = ("train", "pictures", "--out", "run", *SMALL, "--steps", 1, "--sample-every", 0)
    assert run(*words)[0] == 0
    status, _, err = run(*words, "--resume", "--plan")
    assert status == 2
    assert "leave one of them out" in err
