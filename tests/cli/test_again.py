"""`generate --from`, `verify` and `inspect` on pictures, as a person would type them."""

import json

import numpy as np
import pytest
from PIL import Image

from unnoise import images
from unnoise.pipelines import Recipe

TEXT = (
    "a seven\nNegative prompt: two\nSteps: 3, Sampler: Euler a, Schedule type: Karras, CFG scale: 2, Seed: 5, "
    "Size: 8x8, Model hash: 6ce0161689, Model: v1-5, Version: v1.10.1"
)


@pytest.fixture
def foreign(tmp_path):
    images.write_png(tmp_path / "theirs.png", Image.new("L", (8, 8)), {"parameters": TEXT})
    return "theirs.png"


def test_a_picture_is_made_again_and_verified(run, tiny, tmp_path):
    run(
        "generate",
        "a seven",
        "-m",
        tiny,
        "-s",
        7,
        "-n",
        "two",
        "--steps",
        3,
        "-o",
        "x.png",
        "--scheduler",
        "LMS Karras",
    )
    status, out, err = run("generate", "--from", "x.png", "-m", tiny, "-o", "y.png")
    assert (status, out) == (0, "saved y.png  seed 7\n")
    assert "note" not in err
    assert np.array_equal(*(np.asarray(images.open_picture(tmp_path / name)) for name in ("x.png", "y.png")))
    assert Recipe.from_png(tmp_path / "x.png") == Recipe.from_png(tmp_path / "y.png")
    assert run("verify", "y.png", "-m", tiny) == (0, "y.png: bit-equal\n", "")
    told = json.loads(run("verify", "y.png", "-m", tiny, "--json")[1])
    assert told == {"verdict": "bit-equal", "largest": 0, "share": 0.0, "reasons": [], "holds": True}


def test_what_is_typed_has_the_last_word(run, tiny, tmp_path):
    run(
        "generate",
        "a seven",
        "-m",
        tiny,
        "-s",
        7,
        "-n",
        "two",
        "--steps",
        3,
        "-o",
        "x.png",
        "--compat",
        "a1111",
    )
    words = ("--from", "x.png", "-m", tiny, "-o", "y.png", "-s", 8, "--scheduler", "DEIS", "--negative", "")
    assert run("generate", "a red apple", *words)[0] == 0
    before, after = (Recipe.from_png(tmp_path / name) for name in ("x.png", "y.png"))
    changed = {name for name, value in after.to_dict().items() if value != getattr(before, name)}
    assert changed == {"prompt", "seed", "scheduler", "negative", "compat"}
    assert run("generate", *words[:-4], "--steps", 2, "--size", "10x8", "-b", 2, "-s", "-1")[0] == 0


def test_a_variation_is_made_again(run, tiny, tmp_path):
    asked = ("generate", "a seven", "-m", tiny, "-s", 7, "--steps", 3)
    assert run(*asked, "--variation", "9:0.3", "-o", "x.png")[0] == 0
    recipe = Recipe.from_png(tmp_path / "x.png")
    assert (recipe.seed, recipe.variation_seed, recipe.variation) == (7, 9, 0.3)
    assert run("verify", "x.png", "-m", tiny) == (0, "x.png: bit-equal\n", "")


def test_the_model_that_ships_is_found_by_its_name(run, tmp_path):
    run("generate", "a seven", "-s", 1, "--steps", 2, "-o", "x.png")
    assert run("verify", "x.png") == (0, "x.png: bit-equal\n", "")
    assert run("generate", "--from", "x.png", "-o", "y.png")[0] == 0


def test_another_programs_picture_says_what_is_not_honoured(run, tiny, foreign, tmp_path):
    status, _, err = run("generate", "--from", foreign, "-m", tiny, "-o", "x.png")
    assert status == 0
    assert "the picture's model is 'v1-5' (hash 6ce0161689), not 'tiny'" in err
    assert "Euler a draws noise at every step" in err
    recipe = Recipe.from_png(tmp_path / "x.png")
    assert (recipe.noise, recipe.compat, recipe.scheduler, recipe.negative) == (
        "cuda",
        "",
        "Euler a Karras",
        "two",
    )
    assert run("verify", "x.png", "-m", tiny)[0] == 0
    told = json.loads(run("generate", "--from", foreign, "-m", tiny, "-o", "z.png", "--json")[1])
    assert any("v1-5" in note for note in told["notes"])
    status, out, _ = run("verify", foreign, "-m", tiny)
    assert status == 1
    assert out.startswith("theirs.png: different: up to ")
    assert "v1-5" in out


def test_inspect_shows_another_programs_recipe(run, foreign):
    out = run("inspect", foreign)[1]
    for words in ("A1111", "a seven", "Euler a", "6ce0161689", "Karras"):
        assert words in out


def test_refusals(run, tiny, foreign, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "plain.png")
    images.write_png(tmp_path / "odd.png", Image.new("L", (8, 8)), {"parameters": "x\nSteps: 3, Seed: y"})
    images.write_png(tmp_path / "torn.png", Image.new("L", (8, 8)), {"unnoise": "{"})
    images.write_png(tmp_path / "deep.png", Image.new("L", (8, 8)), {"unnoise": "[" * 100_000})
    asked = {
        ("generate", "--from", foreign): (2, "was made by the model 'v1-5', which does not come with unnoise; give"),
        ("generate", "--from", "none.png"): (1, "there is no file 'none.png'"),
        ("generate", "--from", "plain.png"): (1, "holds no recipe"),
        ("verify", "plain.png", "-m", tiny): (1, "holds no recipe"),
        ("verify", "torn.png", "-m", tiny): (1, "is damaged"),
        ("verify", "deep.png", "-m", tiny): (1, "is damaged"),
        ("generate", "--from", "odd.png", "-m", tiny): (2, "make no sense"),
        ("verify", foreign): (2, "--model"),
        ("verify",): (2, "IMAGE is missing"),
        ("generate", "a seven", "-m", tiny, "--variation", "7"): (2, "--variation is '7'; give a seed and a share"),
        ("generate", "a seven", "-m", tiny, "--variation", "7:"): (2, "--variation is '7:'; give a seed and a share"),
        ("generate", "a seven", "-m", tiny, "--variation", ":0.1"): (2, "--variation is ':0.1'; give a seed and a"),
        ("generate", "a seven", "-m", tiny, "--variation", "7:2"): (2, "--variation is 2; give a number from 0 to 1"),
        ("generate", "a seven", "-m", tiny, "--noise", "gpu"): (2, "--noise is gpu; give one of torch, cuda."),
    }  # fmt: skip
    for words, (status, sentence) in asked.items():
        found, out, err = run(*words)
        assert (found, out) == (status, ""), words
        assert sentence in err, (words, err)
        assert err.count("\n") == 1
