"""What was built side by side, used together, as typed; and each picture verified."""

import re

import numpy as np
import pytest
from PIL import Image

import adapter_files
from unnoise import checkpoints, images
from unnoise.pipelines import Recipe


@pytest.fixture
def files(tmp_path, tiny):
    waves = np.add.outer(np.arange(8), np.arange(8)) * 16
    Image.fromarray(np.uint8(waves)).save(tmp_path / "init.png")
    mask = Image.new("L", (8, 8), 0)
    mask.paste(255, (0, 0, 4, 8))
    mask.save(tmp_path / "mask.png")
    (tmp_path / "loras").mkdir()
    adapter_files.kohya(checkpoints.load(tiny), tmp_path / "loras" / "ink.safetensors")


INIT, MASK, LORAS = ("--init", "init.png"), ("--mask", "mask.png"), ("--lora-dir", "loras")
RULE = ("--guidance-rescale", 0.7, "--scheduler", "Euler CFG++", "--guidance", 0.8)


@pytest.mark.parametrize(("prompt", "pictures", "more"), [
    ("a (seven:1.3)", INIT, ("--strength", 0.5)),
    ("a seven AND a red apple:0.5", (*INIT, *MASK), ()),
    ("a [seven:red apple:0.5]", (), ("--hires-scale", 2, "--hires-strength", 0.5)),
    ("a seven <lora:ink:0.8>", (*INIT, *MASK, *LORAS), ("--feather", 1)),
    ("a seven", INIT, (*RULE, "--strength", 0.5)),
    ("a seven++", INIT, ("--prompt-style", "compel", "--noise-level", 2)),
], ids=["weights", "and", "schedule", "lora", "rule", "compel"])  # fmt: skip
def test_parts_work_together_and_are_verified(run, tiny, tmp_path, files, prompt, pictures, more):
    words = ("-m", tiny, *pictures)
    status, _, err = run("generate", prompt, *words, "-s", 3, "-o", "x.png", "-n", "two", *more)
    assert status == 0, err
    assert run("verify", "x.png", *words) == (0, "x.png: bit-equal\n", "")
    assert run("generate", "--from", "x.png", *words, "-o", "y.png")[0] == 0
    assert Recipe.from_png(tmp_path / "y.png") == Recipe.from_png(tmp_path / "x.png")


def test_what_is_missing_is_told_or_refused(run, tiny, tmp_path, files):
    run("generate", "a <lora:ink:0.8> seven", "-m", tiny, *LORAS, *INIT, "-s", 3, "-o", "x.png")
    for words in (("generate", "--from", "x.png", "-o", "y.png"), ("verify", "x.png")):
        status, out, err = run(*words, "-m", tiny)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "give that file with --init FILE" in err
    status, _, err = run("generate", "--from", "x.png", "-m", tiny, "--init", "mask.png", "-o", "y.png")
    assert status == 0
    assert re.search(
        r"LoRA 'ink' at 0.8 \(hash \w{12}\) is not applied; its folder is not given \(--lora-dir\)", err
    )
    assert "is not the picture that it was made with" in err
    assert Recipe.from_png(tmp_path / "y.png").prompt == "a  seven"
    assert run("verify", "x.png", "-m", tiny, *INIT, "--lora", "loras/ink.safetensors:0.8")[0] == 0
    assert run("verify", "x.png", "-m", tiny, *INIT, "--lora-dir", "nowhere")[0] == 1


def test_what_is_typed_changes_a_second_pass(run, tiny, tmp_path):
    run(
        "generate",
        "a seven",
        "-m",
        tiny,
        "-s",
        3,
        "-o",
        "x.png",
        "--hires-scale",
        2,
        "--guidance-rescale",
        0.5,
    )
    words = ("--hires-steps", 6, "--hires-strength", 0.5, "--guidance", 3)
    assert run("generate", "--from", "x.png", "-m", tiny, "-o", "y.png", *words)[0] == 0
    made = Recipe.from_png(tmp_path / "y.png")
    assert (made.hires_scale, made.hires_steps, made.strength, made.guidance, made.guidance_rule) == (
        2.0, 6, 0.5, 3.0, "rescale 0.5",
    )  # fmt: skip
    run("generate", "a seven", "-m", tiny, "-s", 3, "-o", "z.png")
    status, _, err = run("generate", "--from", "z.png", "-m", tiny, *words)
    assert (status, err) == (
        2,
        "unnoise: error: this picture has no second pass; give --hires-scale beside --hires options.\n",
    )


def test_a_file_of_prompts_with_weights_in_a_style(run, tiny, tmp_path):
    (tmp_path / "p.txt").write_text("a seven++\na (red apple)1.3\n")
    words = ("--prompts", "p.txt", "-m", tiny, "-o", "many", "--prompt-style", "compel")
    assert run("generate", *words)[:2] == (0, "2 made, 0 there already; in many\n")
    assert run("generate", *words)[1] == "0 made, 2 there already; in many\n"
    for path in (tmp_path / "many").iterdir():
        assert Recipe.from_png(path).prompt_style == "compel"
        assert run("verify", path, "-m", tiny)[0] == 0
        assert images.read_size(path) == (8, 8)
