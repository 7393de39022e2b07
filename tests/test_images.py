import io
import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unnoise import images
from unnoise.errors import FileError, InputError, NonFiniteError


def picture(width=8, height=8, mode="L"):
    count = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    ramp = np.arange(width * height * count, dtype=np.uint8).reshape(height, width, count)
    return Image.fromarray(ramp[..., 0] if count == 1 else ramp)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_every_byte_survives_the_way_to_a_tensor_and_back(channels, mode):
    before = picture(16, 16, mode)
    tensor = images.from_pil(before, channels)
    assert tensor.shape == (1, channels, 16, 16)
    assert float(tensor.min()) >= -1.0
    assert float(tensor.max()) <= 1.0
    assert images.to_pil(tensor)[0].tobytes() == before.tobytes()


def test_arrays_are_in_0_to_1_and_cut_there():
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 1, 5)
    assert images.to_arrays(values)[0].ravel().tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_never_a_black_picture(bad):
    pictures = torch.zeros(2, 1, 4, 4)
    pictures[1, 0, 2, 2] = bad
    with pytest.raises(NonFiniteError, match="picture 1"):
        images.to_pil(pictures)


def test_two_channels_are_no_picture():
    with pytest.raises(InputError, match="1, 3 or 4"):
        images.to_pil(torch.zeros(1, 2, 4, 4))


def test_transparent_places_become_white():
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert float(images.from_pil(clear, 3).min()) == 1.0


def test_sixteen_bits_are_scaled_not_cut():
    deep = Image.fromarray(np.full((2, 2), 0x8000, dtype=np.uint16))
    assert images.to_pil(images.from_pil(deep, 1))[0].getpixel((0, 0)) == 0x80


def test_a_path_may_be_a_text(tmp_path):
    place = f"{tmp_path}/deep/a.png"
    images.write_png(place, picture(6, 4), {"parameters": "a seven"})
    assert images.read_size(place) == images.open_picture(place).size == (6, 4)
    assert images.read_text(place) == {"parameters": "a seven"}
    images.write_animation(f"{tmp_path}/a.gif", [picture()])
    assert (tmp_path / "a.gif").is_file()


@pytest.mark.parametrize("mode", ["I", "F", "LAB", "La"])
def test_a_picture_whose_white_nobody_tells_is_refused(mode):
    """Floats from 0 to 1, say, would be a black picture where PIL counts to 255."""
    with pytest.raises(InputError, match=f"mode '{mode}'"):
        images.from_pil(Image.new(mode, (2, 2)))


@pytest.mark.parametrize(
    "odd", [np.zeros((2, 2), np.uint8), [], [Image.new("L", (2, 2)), Image.new("L", (3, 2))]]
)
def test_what_is_no_picture_none_or_of_several_sizes_is_refused(odd):
    with pytest.raises(InputError, match=r"^pictures"):
        images.from_pil(odd)


def test_a_tensor_of_one_picture_without_its_batch_is_refused():
    with pytest.raises(InputError, match=r"shape \[3, 4, 4\]; give \(batch"):
        images.to_pil(torch.zeros(3, 4, 4))


def test_a_grid_holds_every_picture_in_reading_order():
    sheet = images.grid([Image.new("L", (4, 4), value) for value in (10, 20, 30)], gap=1)
    assert sheet.size == (9, 9)
    assert [sheet.getpixel(place) for place in ((0, 0), (5, 0), (0, 5), (5, 5))] == [10, 20, 30, 255]


def test_a_terminal_shows_two_pixels_a_character_and_enlarges_a_digit():
    lines = images.terminal_text(picture(8, 8)).splitlines()
    assert len(lines) == 16
    assert all(line.count("▀") == 32 for line in lines)
    assert "\x1b[38;2;" in lines[0]
    assert lines[0].endswith("\x1b[0m")


def test_256_colours_use_the_grey_ramp_and_the_cube():
    assert "\x1b[38;5;231;48;5;231m" in images.terminal_text(Image.new("L", (8, 8), 255), 256)
    assert "\x1b[38;5;196;48;5;196m" in images.terminal_text(Image.new("RGB", (8, 8), (255, 0, 0)), 256)


def test_without_colours_the_text_is_plain_ascii_and_square():
    lines = images.terminal_text(Image.new("L", (8, 8), 255), 0).splitlines()
    assert len(lines) == 16
    assert set("".join(lines)) == {"@"}
    assert len(lines[0]) == 32


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (100, 30), (64, 65), (2000, 10)])
@pytest.mark.parametrize("colours", [0, 256, 2**24])
def test_any_size_fits_the_terminal(size, colours):
    for line in images.terminal_text(Image.new("RGB", size), colours, columns=64).splitlines():
        assert line.count("▀") <= 64
        assert colours or len(line) <= 64


@pytest.mark.parametrize("colours", [0, 2**24])
def test_a_picture_is_no_wider_than_the_terminal(monkeypatch, colours):
    monkeypatch.setenv("COLUMNS", "40")
    for line in images.terminal_text(Image.new("RGB", (64, 64), "white"), colours).splitlines():
        assert (line.count("▀") or len(line)) == 40


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("settings", "colours"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm"}, 2**24),
        ({"TERM": "xterm-256color"}, 256),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, 0),
        ({"TERM": "dumb"}, 0),
    ],
)
def test_colours_follow_the_terminal(monkeypatch, settings, colours):
    for name in ("COLORTERM", "TERM", "NO_COLOR", "WT_SESSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert images.terminal_colours(Terminal()) == colours
    assert images.terminal_colours(io.StringIO()) == 0


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_text_in_a_png_comes_back_exactly(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("png") / "a.png"
    images.write_png(path, picture(), {"parameters": text})
    assert images.read_text(path).get("parameters", "") == text


def test_a_png_replaces_the_old_one_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.png"
    images.write_png(path, picture(8))
    images.write_png(path, picture(16), {"unnoise": json.dumps({"prompt": "x"})})
    assert images.open_picture(path).size == (16, 8)
    assert images.recipe_json(images.read_text(path)) == {"prompt": "x"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"a": ' * 100_000])
def test_a_recipe_that_is_no_table_is_none(text):
    assert images.recipe_json({"unnoise": text}) is None


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_an_animation_holds_every_frame_large_enough_to_see(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    images.write_animation(path, [Image.new("L", (8, 8), value) for value in (0, 90, 250)])
    with Image.open(path) as animation:
        assert animation.n_frames == 3
        assert animation.size == (256, 256)


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_an_animation_of_two_passes_has_one_size(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    images.write_animation(path, [Image.new("L", size, size[0]) for size in ((8, 8), (100, 80), (200, 160))])
    with Image.open(path) as animation:
        assert animation.n_frames == 3
        for place in range(3):
            animation.seek(place)
            assert animation.size == (400, 320)
            assert animation.convert("L").getpixel((399, 319)) == pytest.approx((8, 100, 200)[place], abs=1)


def test_an_animation_is_webp_or_gif(tmp_path):
    with pytest.raises(InputError, match=r"webp or \.gif"):
        images.write_animation(tmp_path / "a.mp4", [picture()])


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_the_three_kinds_are_read(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    picture(12, 10).save(path)
    assert images.open_picture(path).size == (12, 10)
    assert images.read_size(path) == (12, 10)


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    picture(12, 10).save(tmp_path / "a.jpg", exif=exif)
    assert images.open_picture(tmp_path / "a.jpg").size == (10, 12)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "not a PNG"),
        (b"GIF89a" + bytes(40), "not a PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged"),
        (b"\xff\xd8\xff" + bytes(40), "damaged"),
        (b"RIFF\x10\0\0\0WEBP" + bytes(40), "damaged"),
    ],
)
def test_what_is_no_whole_picture_is_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"odd\.png.*{reason}|{reason}.*odd\.png"):
        images.open_picture(path)


def test_a_picture_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(FileError, match="damaged or cut short"):
        images.open_picture(path)


def test_broken_exif_is_no_fault_of_the_picture(tmp_path):
    """In a PNG it made PIL raise a SyntaxError, and one such picture stopped the training on a folder."""
    path = tmp_path / "a.png"
    text = PngInfo()
    text.add_text("parameters", "a cat")
    picture(8, 8).save(path, exif=b"neither II nor MM", pnginfo=text)
    assert images.open_picture(path).size == (8, 8)
    assert images.read_text(path) == {"parameters": "a cat"}


def test_text_behind_the_pixels_is_read(tmp_path):
    """Where ImageMagick puts it."""
    path = tmp_path / "a.png"
    text = PngInfo()
    text.add(b"tEXt", b"parameters\0a cat", after_idat=True)
    picture(8, 8).save(path, pnginfo=text)
    assert images.read_text(path) == {"parameters": "a cat"}


def test_a_name_that_the_system_does_not_take_is_an_error_of_ours(tmp_path):
    with pytest.raises(FileError, match=r"cannot write '.*x\.png': File name too long"):
        images.write_png(tmp_path / ("x" * 300 + "x.png"), picture(8, 8))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"there is no file '.*none\.png'"):
        images.open_picture(tmp_path / "none.png")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_bomb_is_refused_from_its_header(tmp_path, kind):
    path = tmp_path / "bomb"
    if kind == "PNG":
        small = io.BytesIO()
        picture().save(small, "PNG")
        header = bytearray(small.getvalue())
        header[16:24] = (50_000).to_bytes(4, "big") * 2
        import zlib

        header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
        path.write_bytes(header)
    else:
        side = (16_000 - 1).to_bytes(3, "little")
        path.write_bytes(b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + side + side + bytes(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FileError, match="pixels; at most"):
            images.open_picture(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: images.grid([]), "no pictures for a grid"),
        (
            lambda: images.grid([picture(), picture()], columns=0),
            "columns is 0; give a whole number of at least 1",
        ),
        (lambda: images.enlarge(picture(), 0), "factor is 0; give a whole number of at least 1"),
        (lambda: images.write_animation("none.gif", []), "has no frames"),
        (lambda: images.array_to_pil(np.zeros((8, 3))), r"shape \[8, 3\]; give \(height, width, channels\)"),
    ],
)
def test_nothing_to_show_is_said(make, says):
    with pytest.raises(InputError, match=says):
        make()


PAPER = Image.new("RGB", (2, 2))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: images.to_pil(np.zeros((1, 3, 4, 4))),
            r"pictures is array.*; give a Tensor \(batch, \.\.\.\) of floats",
        ),
        (
            lambda: images.to_pil(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)),
            r"pictures is torch\.uint8 of shape \[1, 3, 4",
        ),
        (lambda: images.to_arrays(None), "pictures is None; give a Tensor"),
        (lambda: images.array_to_pil(torch.zeros(4, 4, 3)), "array is tensor.*; give a ndarray"),
        (lambda: images.array_to_pil(np.full((4, 4, 3), 255, np.uint8)), "uint8.*give floats from 0 to 1"),
        (lambda: images.array_to_pil(np.full((4, 4, 3), 1.5)), "float64.*give floats from 0 to 1"),
        (lambda: images.array_to_pil(np.full((4, 4, 3), math.nan)), "float64.*give floats from 0 to 1"),
        (lambda: images.in_mode(torch.zeros(3), "RGB"), "picture is tensor.*; give an Image"),
        (lambda: images.in_mode(PAPER, "nonsense"), "mode is 'nonsense'; give one of L, RGB, RGBA"),
        (lambda: images.grid([PAPER, None]), "pictures is None; give an Image"),
        (lambda: images.grid([PAPER, PAPER], gap=-1), "gap is -1; give a whole number of at least 0"),
        (lambda: images.enlarge(None, 2), "picture is None; give an Image"),
        (lambda: images.png_bytes(None), "picture is None; give an Image"),
        (lambda: images.png_bytes(PAPER, {"seed": 7}), "text is 7; give a word"),
        (lambda: images.write_png(None, PAPER), "None is given as a path"),
        (lambda: images.write_animation("a.gif", [None]), "frames is None; give an Image"),
        (lambda: images.open_picture(None), "None is given as a path"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_name(make, says):
    with pytest.raises(InputError, match=says):
        make()
