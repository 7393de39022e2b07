import base64
import json
from dataclasses import fields, replace

import pytest

from unnoise.server import Asked, Card, FieldError, Limits
from unnoise.server.fields import FIELDS

LIMITS = Limits()
DIGITS = Card("digits", "unnoise", "ab" * 32, "text", 1, 8, 8, 20, 1.5, "Adams-Moulton 2", True)
SD = Card("sd15", "Stable Diffusion 1", "", "text", 8, 512, 512, 20, 7.0, "DPM++ 2M", True)
INPAINT = replace(SD, name="inpaint", kind="inpaint")
EDIT = replace(SD, name="edit", kind="edit")
DEAF = replace(DIGITS, name="deaf", heeds_prompt=False, guidance=1.0)
CARDS = (DIGITS, SD, INPAINT, EDIT, DEAF)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()


def read(cards=CARDS, limits=LIMITS, **given):
    return Asked.read(given, limits, cards)


def test_every_field_is_read_and_comes_back_from_its_plain_values():
    given = {
        "prompt": "a (seven:1.2)",
        "negative": "\ud800",
        "model": "sd15",
        "prompt_style": "comfyui",
        "steps": 12.0,
        "guidance": 3,
        "scheduler": "DPM++ 2M Karras",
        "compat": "a1111",
        "seed": 2**40,
        "count": 2,
        "width": 64,
        "height": 72,
        "clip_skip": 2,
        "noise": "torch",
        "variation": [5, 0.25],
        "init": f"data:image/png;base64,{PNG}",
        "mask": PNG[:8] + "\n " + PNG[8:],
        "strength": 0.5,
        "feather": 4,
        "padding": 8,
        "masked_area": True,
        "outpaint": [0, 0, 8, 0],
        "guidance_rescale": 0.7,
        "guidance_interval": [0.3, 5],
        "show_every": 0,
        "show": ["noise", "x0", "noise"],
    }
    asked = Asked.read(given, LIMITS, CARDS)
    assert (asked.steps, asked.guidance, asked.outpaint) == (12, 3.0, (0, 0, 8, 0))
    assert asked.init == asked.mask == b"\x89PNG\r\n\x1a\n" + bytes(20)
    assert asked.show == ("noise", "x0")
    again = Asked.from_dict(json.loads(json.dumps(asked.to_dict())), init=asked.init, mask=asked.mask)
    assert again == asked
    assert list(FIELDS) == [field.name for field in fields(Asked)]


def test_each_picture_alone_has_the_seed_that_it_has_among_the_others():
    assert [read(count=3, seed=7).alone(place) for place in range(2)] == [read(seed=7), read(seed=8)]
    varied = read(count=3, seed=7, variation=[20, 0.5])
    assert varied.alone(2) == read(seed=7, variation=[22, 0.5])
    assert read(seed=7, count=3, variation=[20, 0]).alone(1).seed == 8  # which is none


def test_null_is_as_if_a_field_were_left_out():
    assert read(steps=None, count=None, prompt=None) == Asked()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("steps", value)
            for value in (0, -1, 1.5, 1001, "20", True, float("nan"), float("inf"), 10**400, [])
        ),
        *(("width", value) for value in (0, -32, 2049, 1e9, 7.5)),
        *(("height", value) for value in (0, -32, 4096)),
        *(("guidance", value) for value in (float("nan"), float("inf"), -1, 101, "7", False)),
        *(("count", value) for value in (0, -1, 17, 2.5)),
        *(("seed", value) for value in (-2, 0.5, 2**63, "7")),
        *(("prompt", value) for value in (7, ["a"], {"a": 1}, "a" * 10_001)),
        *(("negative", value) for value in (7, "a" * 10_001)),
        *(
            ("model", value)
            for value in ("../digits", "/etc/passwd", "C:\\CON", "owner/name", "https://a.b/c", "", 1)
        ),
        *(("scheduler", value) for value in (1, "a" * 201, "tuned:/etc/passwd")),
        *(("compat", value) for value in ("webui", 1)),
        *(("prompt_style", value) for value in ("midjourney", None.__class__.__name__)),
        *(("noise", value) for value in ("mps", 1)),
        *(("clip_skip", value) for value in (0, 101, 1.5)),
        *(
            ("init", value)
            for value in ("not base64!", "", 7, base64.b64encode(b"<svg/>").decode(), "/etc/passwd")
        ),
        *(("show_every", value) for value in (-1, 1001, "1")),
        *(("show", value) for value in ("x0", ["x1"], [1], [["x0"]])),
        *(("hires_scale", value) for value in (0.5, 9, float("nan"))),
        ("guidance_rescale", 1.1),
        ("guidance_interval", [5, 1]),
        ("guidance_interval", [1]),
        *(("variation", value) for value in (7, [7], [-1, 0.5], [7, 2], ["7", 0.5])),
        ("guidance_interval", [float("nan"), 1]),
        ("masked_area", 1),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_makes_no_sense_is_refused_and_its_field_named(field, value):
    with pytest.raises(FieldError) as told:
        read(**{field: value})
    assert told.value.field == field
    assert str(told.value).startswith((field, "there is no"))
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("strength", value) for value in (-0.1, 1.5, float("nan"), "0.5")),
        *(("noise_level", value) for value in (-1, float("inf"))),
        *(
            ("outpaint", value)
            for value in ([0, 0, 0, 0], [1, 2, 3], [0, 0, -8, 0], [0.5, 0, 0, 0], "0,0,8,0")
        ),
        *(("mask", value) for value in ("not base64!", 7)),
        *(("feather", value) for value in (-1, 257)),
        *(("padding", value) for value in (-1, 4097)),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_goes_with_a_picture_is_refused_likewise(field, value):
    with pytest.raises(FieldError) as told:
        read(**{"init": PNG, "mask": PNG, field: value})
    assert told.value.field == field


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("strength", {"strength": 0.5}),
        ("mask", {"mask": PNG}),
        ("feather", {"init": PNG, "feather": 4}),
        ("masked_area", {"init": PNG, "masked_area": True}),
        ("hires_steps", {"hires_steps": 4}),
        ("hires_scale", {"hires_scale": 2, "init": PNG}),
        ("strength", {"init": PNG, "strength": 0.5, "noise_level": 1.0}),
        ("strength", {"strength": 0}),
        ("noise_level", {"noise_level": 0}),
        ("feather", {"init": PNG, "feather": 0}),
        ("padding", {"init": PNG, "padding": 0}),
        ("hires_strength", {"hires_strength": 0}),
        ("model", {"model": "nonsuch"}),
        ("width", {"model": "sd15", "width": 500}),
        ("height", {"model": "sd15", "height": 56}),
        ("hires_scale", {"model": "sd15", "hires_scale": 5}),
        ("steps", {"model": "sd15", "width": 2048, "height": 2048, "steps": 1000, "count": 16}),
        ("init", {"model": "inpaint"}),
        ("mask", {"model": "inpaint", "init": PNG}),
        ("init", {"model": "edit"}),
        ("strength", {"model": "edit", "init": PNG, "strength": 0.5}),
        ("guidance_rescale", {"model": "edit", "init": PNG, "guidance_rescale": 0.7}),
        ("guidance_interval", {"model": "edit", "init": PNG, "guidance_interval": [0.3, 5]}),
        ("image_guidance", {"model": "sd15", "init": PNG, "image_guidance": 1.5}),
        ("prompt", {"model": "deaf", "prompt": "a seven"}),
        ("guidance", {"model": "deaf", "guidance": 2}),
        ("prompt", {"prompt": "a (seven:1e9)", "prompt_style": "comfyui"}),
        ("negative", {"negative": "<lora:ink:much>"}),
        ("stepz", {"stepz": 20}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fields_that_do_not_go_together_or_not_with_the_model_are_refused(field, given):
    with pytest.raises(FieldError) as told:
        read(**given)
    assert told.value.field == field


def test_an_unknown_field_is_told_the_nearest():
    with pytest.raises(FieldError, match=r"no field 'negativ'; did you mean 'negative'\?"):
        read(negativ="ugly")


def test_models_of_small_pictures_are_asked_for_any_of_their_units():
    assert read(width=3, height=5).width == 3
    with pytest.raises(FieldError, match="give a multiple of 8 from 64 to 2048, for example 64"):
        read(model="sd15", width=40)
    assert read(model="deaf", guidance=1).guidance == 1.0


def test_without_cards_what_depends_on_the_model_is_left_to_it():
    assert read((), model="nonsuch", width=77).model == "nonsuch"


def test_a_picture_larger_than_a_request_may_be_is_refused():
    with pytest.raises(FieldError, match="has 28 bytes; give at most 20"):
        read(limits=Limits(body_with_pictures=20), init=PNG)
