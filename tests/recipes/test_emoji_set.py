"""The emoji set is built from packages whose version, hash and licence are checked: here from miniature ones."""

import base64
import hashlib
import io
import json
import random
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import emoji_recipe
from unnoise import checkpoints
from unnoise.cli import main

packages = emoji_recipe.module("packages")
build_set = emoji_recipe.module("build_set")
catalogue = emoji_recipe.module("catalogue")
drawings = emoji_recipe.module("drawings")
rendering = emoji_recipe.module("rendering")
splits = emoji_recipe.module("splits")

APPLE, DOG, WAVE = "1F34E", "1F415", "1F44B"
DISC = '<circle cx="8" cy="8" r="8" fill="#f00"/>'
SQUARE = '<path fill="#00f" d="M0 0h16v16H0z"/>'


def emoji(code, label, group, **more):
    return {"hexcode": code, "label": label, "group": group, "subgroup": 7, "tags": [label, "thing"], **more}


CAPTIONS = {
    "en/data.json": [
        emoji(APPLE, "red apple", 4),
        emoji(DOG, "dog", 3),
        emoji(WAVE, "waving hand", 1, skins=[emoji(f"{WAVE}-1F3FB", "waving hand: light skin tone", 1)]),
        emoji("1F1E6", "regional indicator A", None),
    ],
    "meta/groups.json": {"groups": {"1": "people-body", "3": "animals-nature", "4": "food-drink"}},
    "meta/unicode-names.json": {},
    "LICENSE": "MIT License",
}


def icons(codes, **bodies):
    return {
        "icons.json": {"icons": {name: {"body": body} for name, body in bodies.items()}, "width": 16, "height": 16},
        "chars.json": codes,
    }  # fmt: skip


def webp(size, colour):
    content = io.BytesIO()
    Image.new("RGBA", size, colour).save(content, "WEBP", lossless=True)
    return content.getvalue()


CONTENTS = {
    "captions": CAPTIONS,
    "noto": icons({"1f415": "dog"}, **{"dog": SQUARE, "red-apple": DISC, "nobody": DISC}),
    "flat": icons({"1f34e": "red-apple", "1f44b": "wave", "1f44b-1f3fb": "wave-light"},
                  **{"red-apple": DISC, "wave": SQUARE, "wave-light": SQUARE}),
    "3d": {"assets/1f34e.webp": webp((256, 256), "green"), "assets/1f415.webp": webp((256, 256), "green"),
           "assets/notes.webp": b"no picture"},
}  # fmt: skip


def archive(folder, name, files, licence="MIT", **info):
    """A package's .tgz, as the registry would give it, and its entry."""
    told = {"package.json": {"name": name, "version": "1.0.0", "license": licence}, **files, **info}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for path, value in told.items():
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    folder.mkdir(exist_ok=True)
    (folder / f"{name}-1.0.0.tgz").write_bytes(content.getvalue())
    digest = base64.b64encode(hashlib.sha512(content.getvalue()).digest()).decode()
    return packages.Package(name, "1.0.0", "MIT", digest)


@pytest.fixture
def entries(tmp_path):
    return {style: archive(tmp_path / "packages", style, files) for style, files in CONTENTS.items()}


@pytest.fixture
def built(entries, tmp_path):
    return tmp_path / "set", build_set.build(tmp_path / "set", tmp_path / "packages", entries)


def test_rows_are_the_named_drawings_without_skin_tones_and_strangers(built):
    """The dog is drawn in 3d, but not in `flat`, so nobody vouches for it."""
    folder, facts = built
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert [(row["style"], row["name"]) for row in rows] == [
        ("noto", "dog"), ("noto", "red apple"), ("flat", "red apple"), ("flat", "waving hand"), ("3d", "red apple")
    ]  # fmt: skip
    assert list(rows[1]) == [
        "index", "style", "hexcode", "name", "tone", "tags", "group", "subgroup", "split"
    ]  # fmt: skip
    assert rows[1] | {"split": ""} == {
        "index": 1, "style": "noto", "hexcode": "1f34e", "name": "red apple", "tone": "",
        "tags": ["red apple", "thing"], "group": "food-drink", "subgroup": "", "split": "",
    }  # fmt: skip
    assert facts["in_package"] == {"noto": 2, "flat": 3, "3d": 2}
    assert facts["licences"]["flat"]["licence"] == "MIT"
    assert facts["licences"]["captions"]["licence_files"] == ["LICENSE"]
    assert json.loads((folder / "summary.json").read_text()) == facts


def test_pictures_are_the_drawings_with_a_clear_margin(built):
    with zipfile.ZipFile(built[0] / "images.webpz") as pictures:
        assert pictures.namelist() == [f"{index:06d}.webp" for index in range(5)]
        dog, apple, *_, shrunk = (
            np.asarray(Image.open(io.BytesIO(pictures.read(name))).convert("RGBA")) for name in pictures.namelist()
        )  # fmt: skip
    # A margin of 3 % of 64 is 2 pixels on each side.
    assert (dog[2:62, 2:62] == (0, 0, 255, 255)).all()
    assert not dog[:2].any() and not dog[:, 62:].any()  # noqa: PT018 - one border
    inside = np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 29
    assert (apple[inside] == (255, 0, 0, 255)).all()
    assert not apple[np.hypot(*(np.mgrid[:64, :64] - 31.5)) > 31].any()
    assert (shrunk[2:62, 2:62] == (0, 128, 0, 255)).all()


def test_a_set_is_the_same_at_every_build_and_its_hash_sees_each_pixel(built, entries, tmp_path):
    folder, facts = built
    again = build_set.build(tmp_path / "again", tmp_path / "packages", entries)
    assert again == facts
    assert (tmp_path / "again" / "images.webpz").read_bytes() == (folder / "images.webpz").read_bytes()
    with zipfile.ZipFile(folder / "images.webpz") as pictures:
        stored = [Image.open(io.BytesIO(pictures.read(name))) for name in pictures.namelist()]
    lines = (folder / "captions.jsonl").read_bytes()
    assert build_set.content_hash(lines, iter(stored)) == facts["sha256"]
    captions, picture = b"{}", Image.new("RGBA", (2, 2), "red")
    other = picture.copy()
    other.putpixel((1, 1), (255, 0, 0, 254))
    hashes = {
        build_set.content_hash(text, iter([image]))
        for text in (captions, b"{ }")
        for image in (picture, other)
    }
    assert len(hashes) == 4


def test_the_hash_does_not_see_the_colour_of_what_is_clear():
    """Lossless WebP changes it, as this gradient below half a disc shows."""
    pixels = np.full((64, 64, 4), 255, np.uint8)
    pixels[..., :2] = np.stack(np.mgrid[:64, :64], -1) * 4
    pixels[32:, 10:, 3] = 0
    plain, content = Image.fromarray(rendering.cleared(pixels), "RGBA"), io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(content, "WEBP", lossless=True)
    stored = Image.open(content)
    assert np.asarray(stored)[32:, 10:].any()
    assert build_set.content_hash(b"", iter([stored])) == build_set.content_hash(b"", iter([plain]))


@pytest.mark.parametrize("licence", [None, "CC-BY-4.0", ""])
def test_another_licence_or_none_is_refused(tmp_path, licence):
    entry = archive(tmp_path, "flat", CONTENTS["flat"], licence=licence)
    with pytest.raises(
        SystemExit, match=r"flat 1.0.0: its package.json names the licence .*, expected is 'MIT'"
    ):
        entry.read(tmp_path)


def test_a_licence_that_the_set_itself_gives_otherwise_is_refused(tmp_path):
    info = {"info.json": {"license": {"spdx": "CC-BY-4.0"}, "author": {"name": "who"}}}
    entry = archive(tmp_path, "flat", CONTENTS["flat"], **info)
    with pytest.raises(SystemExit, match=r"info\.json names the licence 'CC-BY-4.0'"):
        entry.read(tmp_path)


def test_an_archive_with_another_hash_is_refused(entries, tmp_path):
    path = tmp_path / "packages" / "flat-1.0.0.tgz"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SystemExit, match=r"flat-1\.0\.0\.tgz' has sha512 .*; delete it to fetch it again"):
        build_set.build(tmp_path / "set", tmp_path / "packages", entries)
    assert not (tmp_path / "set").exists()


def test_what_is_not_there_is_fetched_once_and_kept(tmp_path, monkeypatch):
    registry = tmp_path / "registry"
    monkeypatch.setattr(packages, "REGISTRY", registry.as_uri())
    (registry / "flat" / "-").mkdir(parents=True)
    entry = archive(registry / "flat" / "-", "flat", CONTENTS["flat"])
    kept = tmp_path / "kept" / entry.file
    assert "icons.json" in entry.read(tmp_path / "kept")
    (registry / "flat" / "-" / entry.file).unlink()
    assert "icons.json" in entry.read(tmp_path / "kept")
    kept.unlink()
    with pytest.raises(SystemExit, match=r"cannot fetch file://.*by hand"):
        entry.read(tmp_path / "kept")
    assert not kept.exists()


def test_a_set_never_replaces_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["build_set.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="exists; give a folder that does not exist yet"):
        build_set.main()


def test_every_source_is_pinned_and_its_licence_free_of_conditions_on_outputs():
    assert {package.licence for package in packages.PACKAGES.values()} == {"MIT", "Apache-2.0"}
    for package in packages.PACKAGES.values():
        assert len(base64.b64decode(package.sha512)) == 64
    noto = packages.PACKAGES["noto"]
    assert noto.url == "https://registry.npmjs.org/@iconify-json/noto/-/noto-1.2.9.tgz"


def test_the_notice_has_a_line_for_every_source():
    notice = " ".join((emoji_recipe.RECIPE.parents[1] / "NOTICE").read_text(encoding="utf-8").split())
    for package in packages.PACKAGES.values():
        assert f"{package.name} {package.version}" in notice


def test_the_shipped_model_tells_what_it_was_made_from_and_is_small(capsys):
    folder = checkpoints.find("emoji")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 40e6
    assert main(["inspect", "emoji"]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["sha256"] == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert told["set"] == f"sha256 {build_set.RECORDED}"
    assert told["recipe"] == "recipes/emoji"
    readme = (emoji_recipe.RECIPE / "README.md").read_text(encoding="utf-8")
    assert f"--steps {told['steps']} --lr 6e-4 --seed {told['seed']}" in readme
    settings = (emoji_recipe.RECIPE / "emoji-gpu.toml").read_text(encoding="utf-8")
    assert f"\nbatch = {told['batch']}\n" in settings  # that line leaves it as the file has it


def test_a_drawing_of_nothing_is_refused():
    empty = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="16" height="16"></svg>'
    with pytest.raises(ValueError, match="nothing of the drawing"):
        rendering.render(empty, 64)


def test_shrinking_weighs_colours_by_alpha():
    """A red pixel beside clear ones, whose hidden colour is blue, stays red."""
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 2] = 255
    pixels[0, 0] = (255, 0, 0, 255)
    assert rendering.shrunk(Image.fromarray(pixels, "RGBA"), 1).getpixel((0, 0)) == (255, 0, 0, 64)


@pytest.mark.parametrize(
    ("given", "key"), [("1F34E-FE0F", "1f34e"), ("00A9", "a9"), ("1f468_200d_1f373", "1f468-200d-1f373")]
)
def test_codes_are_written_in_one_way(given, key):
    assert catalogue.code_key(given) == key


NAMES = {
    "1f415": "dog", "1f436": "dog face", "1f415-200d-1f9ba": "service dog", "1f9d1-200d-1f373": "cook",
    "1f468-200d-1f373": "man cook", "1f550": "one o’clock", "1f55c": "one-thirty", "1f1e6-1f1e8": "flag: Ascension",
    "1f1e6-1f1e9": "flag: Andorra", "1f34e": "red apple",
}  # fmt: skip


def grouped(order):
    return splits.groups({code: catalogue.Emoji(NAMES[code], "", (), "", "") for code in order})


def test_like_emoji_are_held_out_together_in_whatever_order_they_come():
    found = grouped(NAMES)
    assert found["1f415"] == found["1f436"] == found["1f415-200d-1f9ba"]
    assert found["1f9d1-200d-1f373"] == found["1f468-200d-1f373"]
    assert found["1f550"] == found["1f55c"]
    assert found["1f1e6-1f1e8"] == found["1f1e6-1f1e9"]
    assert len(set(found.values())) == 5
    for seed in range(5):
        assert grouped(random.Random(seed).sample(list(NAMES), len(NAMES))) == found


def test_the_split_is_the_recorded_one():
    """Pairs by their hash, the dog with its like, the fluent finishes as one."""
    rows = emoji_recipe.rows()
    for row in rows:
        if row["split"] != "concept":
            assert (
                splits.split_of(row["hexcode"], "a group that is not held out", row["style"]) == row["split"]
            )
    held = {row["name"] for row in rows if row["split"] == "concept"}
    assert held == {"dog face", "umbrella", "winking face", "thumbs up"}
    assert splits.split_of("1f436", grouped(NAMES)["1f436"], "noto") == "concept"
    finishes = {(row["name"], row["split"]) for row in rows if row["style"] in ("flat", "3d")}
    assert len(finishes) == 50
