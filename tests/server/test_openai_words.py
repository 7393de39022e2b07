"""OpenAI's fields -> what is asked here, and the form of an edit; no server needed."""

import base64
import contextlib
import json
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from unnoise import images
from unnoise.errors import InputError
from unnoise.server import multipart, pictures
from unnoise.server.a1111 import answers as a1111_answers
from unnoise.server.card import Card
from unnoise.server.job import Job, Problem
from unnoise.server.limits import Limits
from unnoise.server.openai import failures, form
from unnoise.server.openai.wanted import wanted
from unnoise.server.refusals import Closing, FieldError, Full, Loading

CARDS = (
    Card("small", "unnoise", "ab" * 32, "text", 8, 64, 64, 20, 3.0, "Euler", True),
    Card("other", "unnoise", "", "text", 8, 64, 64, 20, 3.0, "Euler", True),
    Card("editor", "unnoise", "", "edit", 8, 64, 64, 20, 3.0, "Euler", True),
)


def read(**fields):
    return wanted({"prompt": "a cat", **fields}, Limits(), CARDS)


def test_what_is_left_out_is_left_to_the_model():
    told = read()
    assert (told.asked.prompt, told.asked.count) == ("a cat", 1)
    assert (told.asked.steps, told.asked.width, told.asked.model) == (None, None, None)
    assert (told.as_url, told.kind, told.quality, told.stream, told.partial) == (False, "png", 100, False, 0)
    assert told.asked.show_every == 0
    assert read(n=None, size=None, quality=None, stream=None) == told


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"n": 3}, {"count": 3}),
        ({"size": "128x64"}, {"width": 128, "height": 64}),
        ({"size": "auto"}, {"width": None, "height": None}),
        ({"model": "other"}, {"model": "other"}),
        ({"negative_prompt": "b", "seed": 7, "steps": 4}, {"negative": "b", "seed": 7, "steps": 4}),
        ({"guidance_scale": 2.5, "num_inference_steps": 9}, {"guidance": 2.5, "steps": 9}),
        ({"scheduler": "DPM++ 2M Karras", "compat": "a1111"}, {"scheduler": "DPM++ 2M Karras"}),
        ({"user": "u", "safety_identifier": "s", "moderation": "low"}, {"prompt": "a cat"}),
        ({"stream": True, "partial_images": 3, "steps": 20}, {"show_every": 5, "show": ("x0",)}),
        ({"stream": True, "partial_images": 3, "steps": 2}, {"show_every": 1}),
        ({"stream": True, "partial_images": 0}, {"show_every": 0}),
    ],
)
def test_their_fields_are_ours(given, ours):
    asked = read(**given).asked
    assert {name: getattr(asked, name) for name in ours} == ours


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"n": 0}, "n", "n is 0"),
        ({"n": "two"}, "n", "n is 'two'"),
        ({"size": "64"}, "size", "WIDTHxHEIGHT"),
        ({"size": "60x64"}, "size", "size is 60"),
        ({"size": "64x64", "width": 32}, "size", "give one of the two"),
        ({"width": 60}, "width", "width is 60"),
        ({"model": "dall-e-3"}, "model", "this server has small, other"),
        ({"guidance_scale": -1}, "guidance_scale", "guidance_scale is -1"),
        ({"steps": 3, "num_inference_steps": 3}, "num_inference_steps", "give one"),
        ({"response_format": "png"}, "response_format", "b64_json, url"),
        ({"response_format": "url", "output_format": "webp"}, "response_format", "PNG files"),
        ({"output_format": "gif"}, "output_format", "png, jpeg, webp"),
        ({"output_compression": 50}, "output_compression", "jpeg and webp"),
        ({"output_format": "jpeg", "output_compression": 101}, "output_compression", "0 to 100"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"partial_images": 2}, "partial_images", "give stream too"),
        ({"partial_images": 2, "stream": True, "n": 2}, "n", "give n 1"),
        ({"background": "transparent"}, "background", "opaque"),
        ({"stesp": 3}, "stesp", "did you mean 'steps'"),
        ({"image": "AAAA"}, "image", "image is not a PNG"),
        ({"model": "editor"}, "image", "works on a picture"),
    ],
)
def test_a_refusal_names_their_field(given, field, said):
    with pytest.raises(FieldError, match=said) as refused:
        read(**given)
    assert refused.value.field == field


def test_a_prompt_must_be_there_and_may_be_empty():
    with pytest.raises(FieldError, match="prompt is missing"):
        wanted({}, Limits(), CARDS)
    assert wanted({"prompt": ""}, Limits(), CARDS).asked.prompt == ""


def test_what_is_not_heeded_is_noted():
    notes = read(quality="hd", style="vivid", input_fidelity="high").notes
    assert [note.partition(" ")[0] for note in notes] == ["quality", "style", "input_fidelity"]
    assert read(quality="auto").notes == read(quality="standard").notes == ()


def png(picture):
    return images.png_bytes(picture)


def body(*parts, boundary="b--b"):
    """A form as clients write it; a part is (headers after `form-data; `, content)."""
    rows = [
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary.encode(), head, content)
        for head, content in parts
    ]
    return b"".join(rows) + b"--%s--\r\n" % boundary.encode()


TYPE = 'multipart/form-data; boundary="b--b"'
PICTURE = png(Image.new("RGB", (8, 8), "red"))


def test_a_form_gives_the_fields_of_json():
    given = form.fields(
        body(
            (b'name="image"; filename="a.png"', PICTURE),
            (b'name="mask"; filename="m.png"', b"\x89PNG"),
            (b'name="prompt"', b"20"),
            (b'name="n"', b"2"),
            (b'name="stream"', b"true"),
            (b'name="guidance_scale"', b"1.5"),
            (b'name="size"', b"auto"),
        ),
        TYPE,
    )
    assert base64.b64decode(given.pop("image")) == PICTURE
    assert base64.b64decode(given.pop("mask")) == b"\x89PNG"
    assert given == {"prompt": "20", "n": 2, "stream": True, "guidance_scale": 1.5, "size": "auto"}


@pytest.mark.parametrize(
    ("parts", "field", "said"),
    [
        ([], "image", "missing"),
        ([(b'name="image"', PICTURE)], "image", "the file"),
        ([(b'name="image"; filename="a"', PICTURE)] * 2, "image", "twice"),
        ([(b'name="image[]"; filename="a"', PICTURE)] * 2, "image", "twice"),
        ([(b'name="n"; filename="n"', b"1")], "n", "not a file"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused_by_its_field(parts, field, said):
    with pytest.raises(FieldError, match=said) as refused:
        form.fields(body(*parts), TYPE)
    assert refused.value.field == field


def test_binary_files_come_through_a_form_unchanged():
    content = bytes(range(256)) + b"\r\n--b--c\r\n--b-\r\n\r\n--b--"
    (part,) = multipart.parts(
        b"a preamble\r\n" + body((b'name="a\\"b"; filename="x"', content), boundary="b--d"),
        "multipart/form-data; boundary=b--d",
    )
    assert part == multipart.Part('a"b', content, True)


ONE = (b'name="a"', b"1")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", TYPE),
        (b"nothing of the kind", TYPE),
        (body(ONE)[:-5], TYPE),
        (body(ONE).replace(b"; name", b"; nome"), TYPE),
        (body(ONE).replace(b"form-data", b"attachment"), TYPE),
        (body(ONE).replace(b"\r\n\r\n", b"\r\n"), TYPE),
        (body(ONE).replace(b'"a"', b'"' + b"a" * 5000 + b'"'), TYPE),
        (body(*[ONE] * (multipart.PARTS + 1)), TYPE),
        (body(ONE).replace(b"\r\n\r\n1", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n1"), TYPE),
        (body(ONE), "multipart/form-data"),
        (body(ONE), "multipart/form-data; boundary=" + "b" * 71),
        (body(ONE), "multipart/mixed; boundary=b--b"),
        (body(ONE), "application/json"),
    ],
)
def test_a_body_that_is_no_form_is_refused(content, kind):
    with pytest.raises(InputError):
        multipart.parts(content, kind)


@hypothesis.given(
    st.lists(
        st.tuples(st.text("abc[]", min_size=1, max_size=9), st.binary(max_size=60), st.booleans()), max_size=6
    )
)
def test_what_a_form_is_made_of_is_what_is_read(given):
    boundary = b"a boundary that is in none of them"
    rows = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (boundary, name.encode(), b'; filename="f"' if file else b"", content)
        for name, content, file in given
    ]
    found = multipart.parts(
        b"".join(rows) + b"--%s--" % boundary, f'multipart/form-data; boundary="{boundary.decode()}"'
    )
    assert [(part.name, part.content, part.file) for part in found] == given


@hypothesis.given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(content):
    with contextlib.suppress(InputError):
        multipart.parts(content.replace(b"X", b"--b--b").replace(b"Y", b"\r\n"), TYPE)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Full("the queue is full.", 7), 429, "rate_limit_error"),
        (Loading("loading."), 503, "server_error"),
        (Closing("closing."), 503, "server_error"),
    ],
)
def test_what_may_be_asked_again_says_when(error, status, kind):
    for refused in (failures.refused(error), a1111_answers.refused(error)):
        assert (refused.status_code, refused.headers["retry-after"]) == (status, str(error.retry_after))
    told = json.loads(failures.refused(error).body)["error"]
    assert (told["type"], told["code"]) == (kind, type(error).__name__.lower())
    assert json.loads(a1111_answers.refused(error).body)["detail"] == str(error)


def test_a_failure_after_the_queue_is_told_under_their_name_of_the_field():
    message = "guidance is 7; give 1."
    asked = wanted({"prompt": "a", "guidance_scale": 7}, Limits(), CARDS)
    job = Job("a" * 20, asked.asked, state="failed", problem=Problem("bad_input", message, "guidance"))
    status, body = failures.ended(job, asked.theirs)
    assert (status, body["error"]["param"]) == (400, "guidance_scale")
    assert body["error"]["message"] == "guidance_scale is 7; give 1."
    body = json.loads(a1111_answers.failed(job).body)
    assert (body["body"], body["detail"]) == ("cfg_scale", "cfg_scale is 7; give 1.")
    unnamed = replace(job, problem=Problem("bad_input", message))
    assert failures.ended(unnamed, asked.theirs)[1]["error"]["message"] == message


def test_as_many_parts_as_are_taken_are_read():
    assert len(multipart.parts(body(*[ONE] * multipart.PARTS), TYPE)) == multipart.PARTS


@pytest.mark.parametrize(
    ("kind", "head"), [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("png", b"\x89PNG")]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_picture_in_another_format_keeps_its_recipe(kind, head, mode, tmp_path):
    content = images.png_bytes(Image.new(mode, (16, 8), 128), {"parameters": "a cät\nSteps: 4, Seed: 1"})
    made = pictures.recoded(content, kind, 90)
    assert made.startswith(head)
    text = images.read_text(tmp_path, made)
    assert text.get("parameters", text.get("UserComment")) == "a cät\nSteps: 4, Seed: 1"
    assert images.open_picture(tmp_path, made).size == (16, 8)


def test_webp_at_a_hundred_loses_nothing(tmp_path):
    picture = Image.effect_noise((32, 32), 60).convert("RGB")
    made = images.open_picture(tmp_path, pictures.recoded(images.png_bytes(picture), "webp", 100))
    assert made.tobytes() == picture.tobytes()
    less = pictures.recoded(images.png_bytes(picture), "webp", 10)
    assert len(less) < len(pictures.recoded(images.png_bytes(picture), "webp", 90))
