"""Prompts as typed: their syntax on the command line, and a sentence for each of the old troubles with them."""

import json

import pytest
from PIL import Image

from unnoise.pipelines import Recipe

REFUSED = [
    (("(a:5000)",), "the weight in '(a:5000)' is 5000; give one from -100 to 100, for example 1.2."),
    (
        ("(" * 65 + "a",),
        r"more than 64 brackets inside one another; close some, or write brackets that are meant",
    ),
    (
        ("a <hypernet:ink:1>",),
        "asks for a hypernetwork ('<hypernet:ink:1>'), which unnoise has not. Remove the tag.",
    ),
    (("a <lora:ink:x>",), "'x' in the tag '<lora:ink:x>' is no number; write the tag as <lora:name:0.8>."),
    (("a", "--negative", "(b:999)"), "the weight in '(b:999)' is 999"),
    (
        ("a", "--prompt-style", "invoke"),
        "--prompt-style is invoke; give one of a1111, comfyui, compel, plain.",
    ),
    (('("a", "b").blend(1, 1)', "--prompt-style", "compel"), "'.blend(' of compel is not read here"),
    # "LoRA loads with zero keys": nothing is ever passed over in silence
    (
        ("a <lora:ink:0.8>",),
        "asks for the LoRA 'ink' ('<lora:ink:0.8>'); say where it is with --lora-dir FOLDER, or remove the tag.",
    ),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_prompt_that_makes_no_sense_is_refused_in_one_sentence(run, tiny, words, sentence):
    status, out, err = run("generate", *words, "-m", tiny)
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_the_recipe_of_a_picture_repeats_its_prompt_and_style(run, tiny, tmp_path):
    status, _, _ = run(
        "generate", "a seven++", "--prompt-style", "compel", "-m", tiny, "-o", "x.png", "--seed", 3
    )
    assert status == 0
    recipe = Recipe.from_png(tmp_path / "x.png")
    assert (recipe.prompt, recipe.prompt_style) == ("a seven++", "compel")


def picture(run, tmp_path, name, *words):
    status, out, err = run("generate", *words, "-o", f"{name}.png", "--seed", 3, "--steps", 4, "--json")
    assert status == 0, err
    return Image.open(tmp_path / f"{name}.png").tobytes(), json.loads(out)


def test_styles_are_read_as_named(run, tiny, tmp_path):
    made = {
        name: picture(run, tmp_path, name, prompt, "-m", tiny, "--prompt-style", style)[0]
        for name, prompt, style in [
            ("one", "a (seven:1.5)", "a1111"),
            ("two", "a [[seven]]", "a1111"),
            ("three", "a (seven:1.5)", "comfyui"),
            ("four", "a seven", "plain"),
            ("five", "a (seven:1.0)", "a1111"),
        ]
    }
    assert len({made[name] for name in ("one", "two", "three", "four")}) == 4
    assert made["five"] == made["four"]


def test_what_a_small_model_cannot_take_in_is_told(run, tiny, tmp_path):
    """The 77 tokens: nothing is cut in silence."""
    _, told = picture(run, tmp_path, "x", "seven " * 40 + "(apple:1.2)", "-m", tiny)
    (note,) = told["notes"]
    assert note.startswith("the prompt is too long: its end is not used: 'seven seven")
