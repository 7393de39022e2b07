"""Feature caching and engines, as typed."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from unnoise import images
from unnoise.pipelines import load


def pixels(path):
    return np.asarray(images.open_picture(path))


def test_a_cache_is_used_told_and_repeated(run, tiny, tmp_path):
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "--steps", 8)
    status, out, _ = run(*words, "--cache", 0.5, "--cache-blocks", 1, "-o", "x.png", "--json")
    assert status == 0
    assert json.loads(out)["images"][0]["recipe"]["cache"] == "turn 0.5 blocks 1"
    made = load(tiny)("a seven", seed=7, steps=8, cache="turn=0.5 blocks=1")
    assert np.array_equal(pixels(tmp_path / "x.png"), np.asarray(made.images[0]))
    assert run("generate", "--from", "x.png", "-m", tiny, "-o", "y.png")[0] == 0
    assert np.array_equal(pixels(tmp_path / "y.png"), pixels(tmp_path / "x.png"))
    assert run(*words, "-o", "z.png")[0] == 0
    assert not np.array_equal(pixels(tmp_path / "z.png"), pixels(tmp_path / "x.png"))
    assert run(*words, "--cache-every", 1, "-o", "w.png")[0] == 0
    assert np.array_equal(pixels(tmp_path / "w.png"), pixels(tmp_path / "z.png"))


def test_merged_tokens_are_told_repeated_and_verified(run, tiny, tmp_path):
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "--steps", 8)
    status, out, _ = run(*words, "--merge-tokens", 0.5, "--merge-least", 4, "-o", "x.png", "--json")
    assert status == 0
    assert json.loads(out)["images"][0]["recipe"]["merge"] == "share 0.5 least 4"
    made = load(tiny)("a seven", seed=7, steps=8, merge="share=0.5 least=4")
    assert np.array_equal(pixels(tmp_path / "x.png"), np.asarray(made.images[0]))
    assert run("verify", "x.png", "-m", tiny)[0] == 0
    assert run("generate", "--from", "x.png", "-m", tiny, "-o", "y.png")[0] == 0
    assert np.array_equal(pixels(tmp_path / "y.png"), pixels(tmp_path / "x.png"))
    assert run(*words, "-o", "z.png")[0] == 0
    assert not np.array_equal(pixels(tmp_path / "z.png"), pixels(tmp_path / "x.png"))
    assert run(*words, "--merge-tokens", 0, "-o", "w.png")[0] == 0
    assert np.array_equal(pixels(tmp_path / "w.png"), pixels(tmp_path / "z.png"))


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_another_engine_makes_the_picture(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "--steps", 4)
    assert run(*words, "--engine", "openvino", "-o", "x.png")[0] == 0
    assert run(*words, "-o", "y.png")[0] == 0
    assert np.abs(pixels(tmp_path / "x.png").astype(int) - pixels(tmp_path / "y.png")).max() <= 1
    assert any((tmp_path / "cache" / "openvino").iterdir())
    assert run(*words, "--engine", "openvino", "--cache", 0.3, "-o", "z.png")[0] == 0
    assert run(*words, "--cache", 0.3, "-o", "w.png")[0] == 0
    assert np.abs(pixels(tmp_path / "z.png").astype(int) - pixels(tmp_path / "w.png")).max() <= 1


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_a_picture_in_eight_bits_is_repeated_and_verified_in_eight_bits(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "--steps", 4)
    status, out, _ = run(*words, "--engine", "openvino-int8", "-o", "x.png", "--json")
    assert status == 0
    assert json.loads(out)["images"][0]["recipe"]["arithmetic"] == "int8"
    assert run("generate", "--from", "x.png", "-m", tiny, "-o", "y.png")[0] == 0
    assert np.array_equal(pixels(tmp_path / "x.png"), pixels(tmp_path / "y.png"))
    assert "bit-equal" in run("verify", "x.png", "-m", tiny)[1]
    status, out, _ = run("verify", "x.png", "-m", tiny, "--engine", "torch")
    assert "its network was computed in int8, and is here in floats" in out
    monkeypatch.setitem(sys.modules, "openvino", None)
    said = run("generate", "--from", "x.png", "-m", tiny, "-o", "z.png")[2]
    assert "for the same, use engine 'openvino-int8'" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--cache", "2"), "--cache is 2; give a number from 0 to 1.57, for example 0.15."),
        (("--cache-every", "0"), "--cache-every is 0; give a whole number from 1 to 1,000"),
        (("--cache-blocks", "1"), "--cache-blocks is given without --cache or --cache-every"),
        (("--engine", "abacus"), "--engine is abacus; give one of torch, openvino, openvino-int8."),
        (("--merge-tokens", "0.8"), "--merge-tokens is 0.8; give a number from 0 to 0.75, for example 0.5."),
        (("--merge-least", "9"), "--merge-least is given without --merge-tokens"),
    ],
)
def test_what_makes_no_sense_is_refused(run, words, sentence):
    status, _, said = run("generate", "a seven", "-m", "digits", *words)
    assert status == 2
    assert sentence in said


def test_an_engine_that_is_not_installed_is_refused_with_its_name(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    status, _, said = run("generate", "a seven", "-m", "digits", "--engine", "openvino")
    assert status == 2
    assert "unnoise[openvino]" in said
