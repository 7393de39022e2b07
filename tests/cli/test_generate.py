import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tiny_model import save_tiny
from unnoise import images
from unnoise.cli.threads import fit_threads
from unnoise.pipelines import Recipe, load


def test_a_prompt_becomes_a_png_with_its_recipe(run, tiny, tmp_path):
    status, out, err = run("generate", "a seven", "-m", tiny, "--seed", 7)
    assert status == 0
    path = tmp_path / "outputs" / "00001-7.png"
    assert out == "saved outputs/00001-7.png  seed 7\n"
    assert "4 steps of DPM++ 2M, guidance 2, 8x8" in err
    recipe = Recipe.from_png(path)
    assert (recipe.prompt, recipe.seed, recipe.steps, recipe.model) == ("a seven", 7, 4, "tiny")
    again = load(tiny)("a seven", seed=7).images[0]
    assert np.array_equal(np.asarray(images.open_picture(path)), np.asarray(again))


def test_one_step_is_told_as_one(run, tiny):
    assert "\n1 step of DPM++ 2M, " in "\n" + run("generate", "a seven", "-m", tiny, "--steps", 1)[2]


def test_threads_are_those_asked_for_else_one_where_no_more_are_worth_it(tiny):
    small, larger = load(tiny).model, SimpleNamespace(network=torch.nn.Linear(2000, 1000))
    cases = [
        (small, 1000, None, 1),
        (larger, 4, None, 1),
        (larger, 5, None, 2),
        (small, 1, 3, 3),
        (larger, 5, 1, 1),
    ]
    try:
        for model, pictures, asked, computing in cases:
            torch.set_num_threads(2)
            fit_threads(model, pictures, asked)
            assert torch.get_num_threads() == computing
    finally:
        torch.set_num_threads(1)


def test_every_spelling_that_people_type_means_the_same(run, tiny):
    ours = ["--steps", 3, "--guidance", 3, "--scheduler", "Euler", "-n", "two", "-b", 2, "--size", "10x8"]
    theirs = [
        (
            "--num_inference_steps",
            3,
            "--cfg-scale",
            3,
            "--sampler",
            "euler",
            "--negative-prompt",
            "two",
            "--W",
            10,
        ),
        (
            "--ddim_steps",
            3,
            "--scale",
            3,
            "--sampling-method",
            "k_euler",
            "--negative_prompt",
            "two",
            "-W",
            10,
        ),
        ("--steps", 3, "--guidance_scale", 3, "--scheduler", "EULER", "--negative", "two", "--width", 10),
    ]
    spelt = [["generate", "-p", "a seven", *words, "--n_iter", 2] for words in theirs]
    told = []
    for words in [["generate", "a seven", *ours], *spelt]:
        status, out, _ = run(*words, "-m", tiny, "-s", 5, "--json")
        assert status == 0
        told.append([image["recipe"] for image in json.loads(out)["images"]])
    assert all(recipes == told[0] for recipes in told)
    assert [recipe["seed"] for recipe in told[0]] == [5, 6]


def test_json_is_one_object_and_nothing_else(run, tiny, tmp_path):
    status, out, err = run("generate", "a zebra", "-m", tiny, "--json", "-o", "x.png", "--animate", "x.gif")
    told = json.loads(out)
    assert status == 0
    assert told["images"][0]["path"] == "x.png"
    assert told["images"][0]["recipe"]["prompt"] == "a zebra"
    assert "zebra" in told["notes"][0]
    assert set(told["seconds"]) == {"load", "sample"}
    assert told["animation"] == "x.gif"
    assert err.count("\n") == 1


def test_nothing_that_exists_is_replaced(run, tiny, tmp_path):
    kept = tmp_path / "x.png"
    kept.write_bytes(b"mine")
    status, out, _ = run("generate", "a seven", "-m", tiny, "-o", "x.png", "-b", 2)
    assert status == 0
    assert [line.split()[1] for line in out.splitlines()] == ["x-2.png", "x-3.png"]
    assert kept.read_bytes() == b"mine"
    for _ in range(2):
        run("generate", "a seven", "-m", tiny, "-o", "%03d.png", "-b", 2)
    assert sorted(p.name for p in tmp_path.glob("0*.png")) == ["001.png", "002.png", "003.png", "004.png"]
    for _ in range(2):
        run("generate", "a seven", "-m", tiny, "-s", 1)
    assert sorted(p.name for p in (tmp_path / "outputs").iterdir()) == ["00001-1.png", "00002-1.png"]


def test_a_folder_and_odd_patterns(run, tiny, tmp_path):
    run("generate", "a seven", "-m", tiny, "-o", "some/new/folder", "-s", 3)
    assert (tmp_path / "some" / "new" / "folder" / "00001-3.png").is_file()
    run("generate", "a seven", "-m", tiny, "-o", "100%-%d.png")
    assert (tmp_path / "100%-1.png").is_file()


def test_metadata_can_be_left_out(run, tiny, tmp_path):
    run("generate", "a secret", "-m", tiny, "-o", "x.png", "--no-metadata")
    assert b"secret" not in (tmp_path / "x.png").read_bytes()
    assert images.read_text(tmp_path / "x.png") == {}


def test_a_random_seed_is_told_and_makes_the_picture_again(run, tiny, tmp_path):
    for seed in ((), ("-s", "-1")):
        _, out, _ = run("generate", "a seven", "-m", tiny, "-o", "x.png", *seed)
        again = run("generate", "a seven", "-m", tiny, "-o", "y.png", "-s", out.split()[-1])
        first, second = (tmp_path / out.split()[1], tmp_path / again[1].split()[1])
        assert images.open_picture(first).tobytes() == images.open_picture(second).tobytes()


def test_the_picture_shows_in_the_terminal_as_it_appears(run, tiny):
    _, out, _ = run("generate", "a seven", "-m", tiny, "--steps", 5, "--show-every", 2)
    heads = [line for line in out.splitlines() if line.startswith("step")]
    assert [head.split(",")[0] for head in heads] == ["step 2 of 5", "step 4 of 5", "step 5 of 5"]
    assert heads[-1].endswith("noise 0.000")


def test_frames_and_animation_tell_the_whole_way(run, tiny, tmp_path):
    words = (
        "generate",
        "a seven",
        "-m",
        tiny,
        "--frames",
        "f",
        "--animate",
        "a.webp",
        "-o",
        "x.png",
        "--seed",
        1,
    )
    run(*words)
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == [f"step-000{n}.png" for n in (1, 2, 3, 4)]
    with Image.open(tmp_path / "a.webp") as animation:
        assert animation.n_frames == 4  # the last step's prediction is the picture: equal frames are one
    last = images.open_picture(tmp_path / "f" / "step-0004.png")
    assert last.tobytes() == images.open_picture(tmp_path / "x.png").tobytes()
    run(*words, "--show-every", 2)
    assert sorted(p.name for p in (tmp_path / "f-2").iterdir()) == ["step-0002.png", "step-0004.png"]
    assert (tmp_path / "a-2.webp").is_file()


def test_a_small_picture_can_be_saved_large(run, tiny, tmp_path):
    run("generate", "a seven", "-m", tiny, "-o", "x.png", "--enlarge", 16)
    assert images.read_size(tmp_path / "x.png") == (128, 128)


def test_a_model_without_captions_needs_no_prompt(run, tmp_path):
    plain = save_tiny(tmp_path / "plain", text=False)
    assert run("generate", "-m", plain)[0] == 0


class Terminal:
    """A standard stream that says it is a terminal with colours."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


def test_in_a_terminal_there_is_a_bar_and_the_small_picture(run, tiny, monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert run("generate", "a seven", "-m", tiny, "--steps", 6)[0] == 0
    assert out.text.count("▀") == 32 * 16
    assert "denoising" in err.text
    assert run("generate", "a seven", "-m", tiny, "--steps", 4, "--show-every", 2)[0] == 0
    assert out.text.count("▀") == 3 * 32 * 16
    err.text = ""
    assert run("generate", "a seven", "-m", tiny, "--lora", tiny / "weights.safetensors")[0] == 1
    assert "...\r\x1b[Kunnoise: error: " in err.text


def test_ctrl_c_ends_with_130_and_leaves_nothing_torn(tiny, tmp_path):
    words = [
        sys.executable,
        "-m",
        "unnoise",
        "generate",
        "a seven",
        "-m",
        str(tiny),
        "--steps",
        "1000",
        "-b",
        "64",
    ]
    with subprocess.Popen(
        [*words, "-o", "x.png", "--show-every", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout.readline().startswith(b"step 1 of 1000")
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.decode() == "unnoise: stopped; what was saved before is whole.\n"
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    script = f"{sys.executable} -m unnoise schedulers | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr == ""


def test_what_a_stream_has_no_letter_for_is_escaped(run, tiny, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # of a pipe on Windows
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", None)  # closed
    assert run("generate", "a seven", "-m", tiny, "-o", "\u5199.png", "--steps", 1, "-s", 1)[0] == 0
    assert sys.stdout is out
    assert out.buffer.getvalue() == b"saved \\u5199.png  seed 1\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_picture(run, tiny, tmp_path, threads):
    import torch

    before = torch.get_num_threads()
    try:
        run("generate", "a seven", "-m", tiny, "-s", 1, "-o", "x.png", "--threads", threads, "--steps", 2)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    made = np.asarray(images.open_picture(tmp_path / "x.png"), dtype=int)
    wanted = np.asarray(load(tiny)("a seven", seed=1, steps=2).images[0], dtype=int)
    assert abs(made - wanted).max() <= 1  # a last digit of float32 may round to the next of 256 greys


def test_texts_that_begin_with_a_hyphen(run, tiny, tmp_path):
    status, _, err = run("generate", "a seven", "-m", tiny, "-n", "-two")
    assert (status, "-n=VALUE" in err) == (2, True)
    assert run("generate", "-m", tiny, "-n=-two", "-o", "x.png", "--", "-seven")[0] == 0
    recipe = Recipe.from_png(tmp_path / "x.png")
    assert (recipe.prompt, recipe.negative) == ("-seven", "-two")


@pytest.mark.parametrize("card", [True, False])
def test_without_memory_it_is_a_sentence(run, tiny, monkeypatch, card):
    import torch

    def load(*_, **__):
        if card:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")
        torch.empty(2**50)  # more than any machine's address space holds beside itself

    monkeypatch.setattr("unnoise.pipelines.load", load)
    told = "unnoise: error: out of memory; ask for fewer or smaller pictures at once.\n"
    assert run("generate", "a seven", "-m", tiny) == (1, "", told)


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "~nobody-here/x"),
        ("generate", "a", "-m", "~nobody-here/x"),
        ("generate", "a", "-o", "~nobody-here/x"),
        ("generate", "a", "--lora", "~nobody-here/x:0.5"),
        ("generate", "a", "--scheduler", "tuned:~nobody-here/x"),
    ],
)
def test_a_path_in_the_home_of_nobody_is_told(run, words):
    told = "'~nobody-here/x' begins with '~nobody-here', and there is no such user here; give the whole path."
    assert run(*words) == (2, "", f"unnoise: error: {told}\n")
