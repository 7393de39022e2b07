"""Pictures and masks of other programs' kinds in the shape of ours."""

import io

import numpy as np
import pytest
from PIL import Image

from unnoise import images
from unnoise.server.refusals import FieldError
from unnoise.server.reshaping import reshaped, texts
from unnoise.server.shaping import Shaping

PICTURE = images.png_bytes(Image.effect_noise((16, 8), 60), {"parameters": "a cat"})


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_what_is_right_already_is_left_as_it_is():
    for how in (Shaping(), Shaping(width=16, height=8), Shaping(width=16, crop=True)):
        assert reshaped(how, PICTURE, None) == {"init": PICTURE, "mask": None}


def test_a_picture_of_another_aspect_is_stretched_or_gives_its_middle():
    halves = np.zeros((8, 16), np.uint8)
    halves[:, :4] = 255
    content = images.png_bytes(Image.fromarray(halves))
    stretched = opened(reshaped(Shaping(width=8, height=8), content, content)["mask"])
    middle = opened(reshaped(Shaping(width=8, crop=True), content, content)["mask"])
    assert stretched.shape == middle.shape == (8, 8)
    # the left quarter of sixteen columns is two of eight; it lies outside the middle eight
    assert (stretched[:, 0] > 200).all()
    assert (middle == 0).all()


def test_a_side_that_is_not_asked_for_stays_and_the_mask_goes_along():
    for crop in (False, True):
        made = reshaped(Shaping(width=24, crop=crop), PICTURE, PICTURE)
        assert [opened(made[name]).shape[:2] for name in ("init", "mask")] == [(8, 24)] * 2


def test_a_mask_is_light_where_the_picture_is_to_be_new():
    mask = np.zeros((8, 16), np.uint8)
    mask[:4] = 255
    light = Image.fromarray(mask)
    for new, given in (("light", light), ("dark", Image.fromarray(255 - mask))):
        assert (opened(reshaped(Shaping(new), PICTURE, images.png_bytes(given))["mask"]) == mask).all()
    layer = Image.new("RGBA", light.size, "blue")
    layer.putalpha(Image.fromarray(255 - mask))
    made = reshaped(Shaping("transparent"), PICTURE, images.png_bytes(layer))["mask"]
    assert (opened(made) == mask).all()


@pytest.mark.parametrize(
    ("init", "mask", "field"),
    [
        (PICTURE, PICTURE, "mask"),  # transparent nowhere
        (PICTURE, PICTURE[:60], "mask"),
        (b"GIF89a", PICTURE, "init"),
        (PICTURE[:60], None, "init"),
    ],
)
def test_what_is_no_picture_or_no_mask_is_refused(init, mask, field):
    with pytest.raises(FieldError) as refused:
        reshaped(Shaping("transparent"), init, mask)
    assert refused.value.field == field


def test_the_texts_of_a_picture_are_read():
    assert texts(PICTURE) == {"parameters": "a cat"}
    with pytest.raises(FieldError, match="not a PNG"):
        texts(b"GIF89a")
