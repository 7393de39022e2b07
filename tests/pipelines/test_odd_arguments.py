"""A pipeline's arguments, given everything that they are not: taken, or refused in one line, never a traceback."""

import pytest
import torch

import unnoise
from odd_values import ODD
from tiny_model import tiny_model
from unnoise.errors import UnnoiseError
from unnoise.pipelines import ImageToImage, Inpaint, Recipe, Repeat, SecondPass, TextToImage, verify
from unnoise.pipelines.options import Options

MODEL = tiny_model()
PIPE = TextToImage(MODEL)
BLACK, WHITE = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
ASK = {"prompt": "a seven", "steps": 1}


def asked(make, name, **given):
    return lambda odd: make(MODEL).denoise(**{**ASK, **given, name: odd})


CALLS = {
    **{name: asked(TextToImage, name) for name in ("prompt", *Options.__annotations__)},
    **{name: asked(ImageToImage, name, picture=BLACK) for name in ("picture", "strength", "noise_level")},
    **{
        name: asked(Inpaint, name, picture=BLACK, mask=WHITE)
        for name in ("mask", "outpaint", "feather", "area", "padding", "paste")
    },
    **{name: asked(SecondPass, name) for name in ("scale", "enlarge", "second_steps")},
    "lora": PIPE.with_lora,
    "weight of a lora": lambda odd: PIPE.with_lora("there/is/none", odd),
    "word": PIPE.with_word,
    "control": lambda odd: PIPE.with_control(odd, BLACK),
    "refiner": PIPE.with_refiner,
    "engine": PIPE.with_engine,
    "clip skip": PIPE.with_clip_skip,
    "model": unnoise.load,
    "recipe of a picture": Recipe.from_png,
    "recipe in JSON": Recipe.from_json,
    "recipe as a table": Recipe.from_dict,
    "recipe as text": Recipe.from_parameters,
    "repeated": lambda odd: Repeat.of(odd, MODEL),
    "verified": lambda odd: verify(PIPE, odd),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_odd_argument_is_taken_or_refused_in_one_line(name):
    for odd in ODD:
        refused = _said(CALLS[name], odd)
        assert "\n" not in refused


def _said(call, odd):
    try:
        call(odd)
    except UnnoiseError as error:
        return str(error)
    return ""
