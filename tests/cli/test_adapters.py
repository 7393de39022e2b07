"""LoRAs as they are typed."""

import argparse
import json

import numpy as np

import adapter_files
from unnoise import checkpoints, images
from unnoise.cli import adapting
from unnoise.pipelines import load


def test_generate_with_loras_by_path_and_by_name(run, tiny, tmp_path):
    model = checkpoints.load(tiny)
    (tmp_path / "loras").mkdir()
    (tmp_path / "ink").mkdir()  # pictures that were made with it, say
    one = adapter_files.kohya(model, tmp_path / "loras" / "ink.safetensors")
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "--json", "--lora-dir", "loras", "--lora")
    told = [
        json.loads(run(*words, text, *more)[1])
        for text, more in ((f"{one}:0.5", ()), ("ink:0.5", ("--lora-live",)))
    ]
    wanted = np.asarray(load(tiny).with_lora(one, 0.5)("a seven", seed=7).images[0], dtype=int)
    for each in told:
        assert each["images"][0]["recipe"]["adapters"].startswith("ink.safetensors:0.5:")
        made = np.asarray(images.open_picture(tmp_path / each["images"][0]["path"]), dtype=int)
        assert np.abs(made - wanted).max() <= 1
    assert np.abs(wanted - np.asarray(load(tiny)("a seven", seed=7).images[0], dtype=int)).max() > 1


def test_refusals_are_one_sentence_each(run, tiny, tmp_path):
    status, _, err = run("generate", "a seven", "-m", tiny, "--lora", "ink:0.8")
    assert (status, err) == (
        1,
        "unnoise: error: there is no LoRA 'ink'; give the path of a .safetensors file.\n",
    )
    assert run("generate", "a seven", "-m", tiny, "--lora", "ink:much")[0] == 2
    assert "there is no LoRA '.'" in run("generate", "a seven", "-m", tiny, "--lora", ".")[2]
    (tmp_path / "bad.safetensors").write_bytes(b"<html>")
    status, _, err = run("generate", "a seven", "-m", tiny, "--lora", "bad.safetensors")
    assert (status, err.count("\n")) == (1, 1)


def test_a_file_of_an_embedding_may_have_the_sign_of_a_word_in_its_name(tmp_path):
    odd, plain = tmp_path / "a=b.pt", tmp_path / "c.pt"
    odd.touch()
    plain.touch()
    typed = argparse.Namespace(embedding=[f"{odd}", f"{odd}=ink", f"{plain}=wash", f"{plain}"])
    assert adapting.words(typed) == [
        (f"{odd}", None),
        (f"{odd}", "ink"),
        (f"{plain}", "wash"),
        (f"{plain}", None),
    ]


def test_controls_are_given_with_a_picture_each(run, tiny):
    words = ("generate", "a seven", "-m", tiny, "--control", "net")
    assert (
        run(*words)[2] == "unnoise: error: 1 --control and 0 --control-image are given; give one for one.\n"
    )
    status, _, err = run(*words, "--control-image", "edges.png", "--control-range", "0-2")
    assert (status, err) == (
        2,
        "unnoise: error: --control-range is 2; give a number from 0 to 1, for example 0.8.\n",
    )
    status, _, err = run(*words, "--control-image", "edges.png")
    assert (status, err.count("\n")) == (1, 1)


def test_inspect_and_convert(run, tiny, tmp_path):
    path = adapter_files.kohya(
        checkpoints.load(tiny), tmp_path / "ink.safetensors", metadata={"ss_steps": "300"}
    )
    status, out, _ = run("inspect", path)
    assert status == 0
    for row in ("what        LoRA", "names       kohya", "ranks       4 (", "ss_steps    300"):
        assert row in out
    status, out, _ = run("convert", tiny, "merged", "--lora", "ink.safetensors:0.5")
    assert (status, out) == (0, "saved merged; use it: -m merged\n")
    merged, wanted = load("merged"), load(tiny).with_lora(path, 0.5)
    one, other = (pipe("a seven", seed=1, steps=2).arrays[0] for pipe in (merged, wanted))
    assert np.array_equal(one, other)
