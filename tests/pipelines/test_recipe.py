import contextlib
import json
from dataclasses import asdict, fields, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unnoise import images
from unnoise.checkpoints.adapters.asked import Lora
from unnoise.checkpoints.manifest import Defaults
from unnoise.errors import FileError, InputError
from unnoise.pipelines import (
    FeatureCache,
    Interval,
    Projected,
    Recipe,
    Rescaled,
    TokenMerging,
    recipe_adapters,
)
from unnoise.schedulers import names

FULL = Recipe(
    prompt="a seven, bold\nsecond line",
    negative="blurry: yes",
    seed=7,
    steps=25,
    guidance=3.5,
    scheduler="DPM++ 2M Karras",
    width=32,
    height=16,
    model="digits",
    model_hash="0123456789abcdef",
    version="0.1.0",
)

anything = st.builds(
    Recipe,
    prompt=st.text(alphabet=st.characters()),
    negative=st.text(alphabet=st.characters()),
    seed=st.integers(0, 2**63 - 1),
    steps=st.integers(1, 1000),
    guidance=st.floats(0, 100),
    scheduler=st.text(),
    model=st.text(alphabet=st.characters()),
    own_noise=st.booleans(),
)


@given(anything)
def test_json_loses_nothing(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe


@given(anything)
def test_a_png_loses_nothing(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("png") / "a.png"
    images.write_png(path, Image.new("L", (2, 2)), recipe.png_text())
    assert Recipe.from_png(path) == recipe


def test_the_text_reads_as_other_tools_write_it():
    assert FULL.to_parameters() == (
        "a seven, bold\nsecond line\nNegative prompt: blurry: yes\n"
        "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 3.5, Seed: 7, Size: 32x16, "
        "Model hash: 0123456789, Model: digits, Version: unnoise 0.1.0"
    )


def test_the_text_comes_back_but_for_the_hashs_tail():
    again = Recipe.from_parameters(FULL.to_parameters())
    assert again == Recipe(**{**FULL.to_dict(), "model_hash": "0123456789"})


@pytest.mark.parametrize("grid", names.grid_names())
def test_a_grid_is_told_apart_from_its_sampler(grid):
    recipe = Recipe("p", scheduler=f"DPM++ 2M {grid}", width=8, height=8)
    assert f"Sampler: DPM++ 2M, Schedule type: {grid}, " in recipe.to_parameters()
    assert Recipe.from_parameters(recipe.to_parameters()).scheduler == recipe.scheduler


@pytest.mark.parametrize("model", ['a, "b": c', "plain", "späte 🙂", "x\\y", "a: b"])
def test_odd_names_are_quoted(model):
    recipe = Recipe("p", model=model, width=8, height=8, scheduler="DDIM")
    assert Recipe.from_parameters(recipe.to_parameters()).model == model


def test_the_text_of_a1111_is_read_with_its_defaults():
    text = (
        "masterpiece, (best quality:1.2)\nNegative prompt: lowres\nbad hands\n"
        "Steps: 28, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 965400086, Size: 512x768, "
        'Model hash: 6ce0161689, Model: v1-5, Lora hashes: "ink: 0123, wash: 4567", Version: v1.10.1'
    )
    recipe = Recipe.from_parameters(text)
    assert recipe.prompt == "masterpiece, (best quality:1.2)"
    assert recipe.negative == "lowres\nbad hands"
    assert (recipe.steps, recipe.scheduler, recipe.seed) == (28, "Euler a", 965400086)
    assert (recipe.width, recipe.height, recipe.version) == (512, 768, "v1.10.1")
    assert Recipe.from_parameters("just a prompt").prompt == "just a prompt"
    assert Recipe.from_parameters("just a prompt").steps == 20


@pytest.mark.parametrize("text", ["x\nSteps: many", "Steps: 3, Size: 8", "Steps: 3, CFG scale: x"])
def test_settings_that_make_no_sense_are_refused(text):
    with pytest.raises(InputError, match="make no sense"):
        Recipe.from_parameters(text)


@given(st.text())
def test_no_text_crashes_the_reader(text):
    with contextlib.suppress(InputError):
        Recipe.from_parameters("p\nSteps: " + text)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"prompt": 3}', '{"prompt": "", "steps": true}', "[" * 9999]
)
def test_json_of_something_else_is_refused(text):
    with pytest.raises(InputError):
        Recipe.from_json(text)


def test_fields_of_a_later_version_are_passed_over():
    assert Recipe.from_json('{"prompt": "a", "added_later": 1}') == Recipe("a")


def test_a_picture_without_a_recipe_says_so(tmp_path):
    images.write_png(tmp_path / "a.png", Image.new("L", (2, 2)))
    with pytest.raises(FileError, match="holds no recipe"):
        Recipe.from_png(tmp_path / "a.png")
    images.write_png(tmp_path / "b.png", Image.new("L", (2, 2)), {"parameters": FULL.to_parameters()})
    assert Recipe.from_png(tmp_path / "b.png").prompt == FULL.prompt


@given(st.lists(st.text("a, \\:", min_size=1)))
def test_adapters_come_back_whatever_stands_in_their_names(told):
    assert recipe_adapters.parted(recipe_adapters.joined(told)) == told


def test_a_lora_whose_name_holds_the_parting_is_found_by_its_name():
    told = ["a, b.safetensors:0.8:0123456789ab", "ink.safetensors:1:ba9876543210"]
    kept = recipe_adapters.joined(told)
    assert kept == r"a,\ b.safetensors:0.8:0123456789ab, ink.safetensors:1:ba9876543210"
    loras, others = recipe_adapters.wanted_of(kept)
    assert [(one.name, one.lora.weight, one.digest) for one in loras] == [
        ("a, b", 0.8, "0123456789ab"),
        ("ink", 1.0, "ba9876543210"),
    ]
    assert others == []
    # written before there were backslashes: the one that has no comma is read as ever
    assert [one.name for one in recipe_adapters.wanted_of(", ".join(told))[0]] == ["b", "ink"]


HALF, FOUR = np.float32(0.5), np.int64(4)
OF_OTHER_NUMBERS = [
    Recipe("a seven", steps=FOUR, guidance=HALF, own_noise=np.bool_(True)),
    Recipe.from_dict({"prompt": "a seven", "steps": FOUR, "guidance": 1}),
    TokenMerging(HALF, FOUR),
    FeatureCache(Fraction(1, 2), FOUR, torch.tensor(4)),
    Interval(Rescaled(Projected(FOUR, HALF, FOUR, HALF), Fraction(1, 2)), HALF, FOUR),
    Defaults(FOUR, HALF),
    Lora("ink", Fraction(1, 2), {"mid_block": HALF}),
    Lora("ink", HALF, np.array([1.0, 0.5])),
]


@pytest.mark.parametrize("made", OF_OTHER_NUMBERS, ids=lambda made: type(made).__name__)
def test_what_a_recipe_is_written_from_holds_plain_numbers_and_words(made):
    plain = json.loads(json.dumps(asdict(made)))
    assert str(plain) == str(
        {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(made).items()}
    )


@pytest.mark.parametrize("made", OF_OTHER_NUMBERS, ids=lambda made: type(made).__name__)
def test_a_word_where_a_number_is_declared_is_refused_by_its_name(made):
    numbers = [each.name for each in fields(made) if type(getattr(made, each.name)) in (int, float)]
    for name in numbers:
        with pytest.raises(InputError, match=f"{name} is '7'; give "):
            replace(made, **{name: "7"})
