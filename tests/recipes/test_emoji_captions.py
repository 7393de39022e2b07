"""The emoji recipe's words and colours, on the sample of 200 pictures."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

import emoji_recipe

captions = emoji_recipe.module("captions")
colours = emoji_recipe.module("colours")
make_data = emoji_recipe.module("make_data")

ROWS = emoji_recipe.rows()
WANTED = captions.concepts()


def disc(hue):
    """A disc of one hue with a dark outline and a grey shine."""
    picture = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((4, 4, 60, 60), fill=f"hsv({hue}, 80%, 90%)", outline="#222222", width=3)
    draw.ellipse((20, 20, 28, 28), fill="#dddddd")
    return picture


def recolourable():
    """What the recipe turns to other colours: row, picture, its colour, the new one."""
    for row in ROWS:
        picture = emoji_recipe.picture(row)
        colour = colours.main_colour(picture) if row["group"] in make_data.RECOLOUR_GROUPS else None
        if colour and not {*row["name"].split()} & {*captions.COLOUR_WORDS}:
            for after in make_data.other_colours(row, colour):
                yield row, picture, colour, after


@pytest.mark.parametrize("before", list(colours.HUES))
@pytest.mark.parametrize("after", list(colours.HUES))
def test_a_disc_of_one_hue_has_its_colour_and_recoloured_the_new_one(before, after):
    picture = disc(colours.HUES[before])
    assert colours.main_colour(picture) == before
    turned = colours.recoloured(picture, before, after)
    assert colours.main_colour(turned) == after


def test_recolouring_keeps_greys_alpha_and_brightness():
    picture = disc(210)
    before = np.asarray(picture).astype(int)
    after = np.asarray(colours.recoloured(picture, "blue", "red")).astype(int)
    assert (after[..., 3] == before[..., 3]).all()
    grey = (before[..., 0] == before[..., 1]) & (before[..., 1] == before[..., 2])
    assert (after[grey] == before[grey]).all()
    assert np.abs(after[..., :3].max(-1) - before[..., :3].max(-1)).max() <= 1


@pytest.mark.parametrize("paint", ["#808080", "#ffffff", "#101010"])
def test_grey_has_no_colour(paint):
    assert colours.main_colour(Image.new("RGBA", (8, 8), paint)) is None


def test_two_colours_in_equal_parts_are_none():
    picture = Image.new("RGBA", (8, 8), "red")
    picture.paste("blue", (0, 0, 8, 4))
    assert colours.main_colour(picture) is None


def test_recoloured_emoji_mostly_read_as_the_new_colour():
    """Colour words have stretches of hue of unequal width, so a picture near an edge may land beside its word."""
    read = [
        colours.main_colour(colours.recoloured(p, c, after)) == after for _, p, c, after in recolourable()
    ]
    assert len(read) == 218
    assert np.mean(read) > 0.85


def named(line):
    return {*re.findall(r"\w+", line)} & {*captions.COLOUR_WORDS}


def test_no_caption_names_two_colours():
    lines = [line for row in ROWS for line in captions.captions(row, WANTED[row["name"]], None)]
    lines += [
        line for row, *_, new in recolourable() for line in captions.coloured(row, WANTED[row["name"]], new)
    ]
    assert [line for line in lines if len(named(line)) > 1] == []


def test_a_recoloured_picture_is_only_ever_asked_for_in_its_new_colour():
    for row, *_, after in recolourable():
        lines = captions.coloured(row, WANTED[row["name"]], after)
        assert all(named(line) == {after} for line in lines)


def test_a_colour_takes_the_place_of_the_one_in_the_name():
    row = next(row for row in ROWS if row["name"] == "red apple" and row["style"] == "noto")
    assert captions.coloured(row, ["apple"], "blue") == ["blue apple, noto", "a blue apple, noto"]
    orange = captions.coloured(row, ["apple"], "orange")
    assert orange == ["orange apple, noto", "an orange apple, noto"]


def test_captions_are_what_the_tokenizer_reads_and_nearly_all_name_the_style():
    for row in ROWS:
        lines = captions.captions(row, WANTED[row["name"]], None)
        style = captions.STYLES[row["style"]]
        assert sum(line.endswith(f", {style}") for line in lines) == len(lines) - 1
        assert all(re.fullmatch(r"[a-z0-9 ]+(, [a-z0-9]+)?", line.replace("’", " ")) for line in lines), lines


ALL = {"train", "pair", "concept"}


@pytest.mark.parametrize(
    ("flags", "splits", "styles"),
    [
        ([], {"train"}, {"noto", "flat", "3d"}),
        (["--all"], ALL, {"noto", "flat", "3d"}),
        (["--all", "--styles", "noto-v1,3d"], ALL, {"noto-v1", "3d"}),
    ],
)
def test_the_data_command_writes_what_split_and_styles_allow(tmp_path, flags, splits, styles):
    script = emoji_recipe.RECIPE / "make_data.py"
    done = subprocess.run(
        [sys.executable, script, emoji_recipe.SAMPLE, tmp_path / "out", *flags], capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [row for row in ROWS if row["style"] in styles]
    wanted = {f"{row['index']:06d}" for row in rows if row["split"] in splits}
    written = {path.stem for path in tmp_path.glob("out/*/*.png")}
    assert {stem for stem in written if "-" not in stem} == wanted
    assert {stem.partition("-")[0] for stem in written} == wanted
    assert {path.stem for path in tmp_path.glob("out/*/*.txt")} == written
    new = {path.stem for path in tmp_path.glob("out/12_new/*.png")}
    assert new == {f"{row['index']:06d}" for row in rows if row["split"] in splits - {"train"}}
    assert f"{len(wanted)} pictures and {len(written - wanted)} recoloured ones" in done.stdout


def test_the_sample_is_what_its_readme_says():
    assert len(ROWS) == 200
    assert {row["style"] for row in ROWS} == {*captions.STYLES}
    assert {row["name"] for row in ROWS} <= {*WANTED}
    assert emoji_recipe.picture(ROWS[0]).size == (64, 64)
    assert sum(path.stat().st_size for path in emoji_recipe.SAMPLE.iterdir()) < 700_000
