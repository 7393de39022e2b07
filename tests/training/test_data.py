"""A folder of pictures: what is taken, how it is captioned, what is refused."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.errors import DataError, FileError
from unnoise.evaluation import read_folder
from unnoise.process import Cosine
from unnoise.training import (
    DataConfig,
    LossConfig,
    RunConfig,
    TrainConfig,
    batches,
    held_out,
    order,
    run_folder,
)
from unnoise.training.data import open_pictures
from unnoise.training.pictures import read_picture
from unnoise.training.prior import Prior
from unnoise.training.repeats import repeated

SHAPE = (3, 4, 4)


def picture(path, size=(4, 4), value=128, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 255 - value)).save(path, **options)
    return path


def opened(folder, shape=SHAPE, **config):
    return open_pictures(folder, shape, DataConfig(**config))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_the_three_formats_are_read(tmp_path, name):
    picture(tmp_path / name)
    (pixels,) = opened(tmp_path).read([0])
    assert pixels.shape == SHAPE
    assert pixels.dtype == torch.uint8
    assert pixels[:, 0, 0].tolist() == pytest.approx([128, 0, 127], abs=4)


def test_a_picture_is_known_by_its_first_bytes_not_by_its_name(tmp_path):
    picture(tmp_path / "a.png").rename(tmp_path / "holiday.bak")
    picture(tmp_path / "b.png").rename(tmp_path / "table.csv")
    found = opened(tmp_path)
    assert (len(found), found.ignored) == (2, 0)


def test_the_middle_is_kept_and_the_right_size_is_not_resampled(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(np.ascontiguousarray(wide[:, 4:8])).save(tmp_path / "exact.png")
    exact = read_picture(tmp_path / "exact.png", SHAPE)
    assert torch.equal(exact, torch.from_numpy(wide[:, 4:8].transpose(2, 0, 1).copy()))
    assert torch.equal(read_picture(tmp_path / "wide.png", SHAPE), exact)


def test_grey_clear_and_deep_pictures_become_plain_ones(tmp_path):
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png", SHAPE).unique().tolist() == [255]
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png", (1, 4, 4)).unique().tolist() == [128]
    assert read_picture(picture(tmp_path / "colour.png"), (1, 4, 4)).shape == (1, 4, 4)


def test_captions_come_from_text_metadata_or_folders(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat\n\na sleeping cat\n", encoding="utf-8")
    picture(tmp_path / "red_apples" / "b.png")
    picture(tmp_path / "sub" / "c.png")
    lines = [{"file_name": "c.png", "text": "a dog"}, {"file_name": "d.png", "text": ["one", "two"]}]
    (tmp_path / "sub" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    picture(tmp_path / "sub" / "d.png")
    found = opened(tmp_path)
    named = dict(zip((path.name for path in found.paths), found.captions, strict=True))
    assert named == {
        "a.png": ("a cat", "a sleeping cat"),
        "b.png": ("red apples",),
        "c.png": ("a dog",),
        "d.png": ("one", "two"),
    }
    assert found.ignored == 0
    assert opened(tmp_path, captions="text").captions.count(()) == 3
    assert not opened(tmp_path, captions="none").captioned


def test_a_table_in_csv_says_what_the_same_in_jsonl_says(tmp_path):
    rows = [
        ("a.png", "a cat"),
        ("sub/b.png", 'a "dog", asleep\nat noon'),
        ("./caf\u00e9.png", "one\u2028two"),
    ]
    for folder in (tmp_path / "csv", tmp_path / "jsonl"):
        for name in ("a.png", "sub/b.png", "cafe\u0301.png"):
            picture(folder / name)
    with (tmp_path / "csv" / "metadata.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows([("file_name", "text", "licence"), *((*row, "CC0") for row in rows)])
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
    (tmp_path / "jsonl" / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = opened(tmp_path / "csv", captions="metadata")
    assert found.captions == opened(tmp_path / "jsonl").captions
    assert found.captions.count(()) == 0
    assert found.ignored == 0
    (tmp_path / "csv" / "metadata.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"csv' has metadata\.jsonl and metadata\.csv; keep one of the two"):
        opened(tmp_path / "csv")


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("a.png", '"text" a string'),
        ("a.png,one, two", "line 3 has more values than there are columns; put a text with commas in quotes"),
        ('a.png,"one', "close each quote"),
    ],
)
def test_a_bad_row_of_csv_names_its_line(tmp_path, rest, says):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text(f"file_name,text\nb.png,x\n{rest}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"metadata\.csv', line 3") as caught:
        opened(tmp_path)
    assert says in str(caught.value)


def test_a_table_of_other_columns_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name;text\na.png;x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"metadata\.csv', line 2: give \"file_name\" and \"text\""):
        opened(tmp_path)


def test_captions_are_the_same_with_the_mark_that_editors_put_first(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_bytes("a cat\r\na sleeping cat\r\n".encode("utf-8-sig"))
    (tmp_path / "metadata.jsonl").write_bytes(
        json.dumps({"file_name": "b.png", "text": "a dog"}).encode("utf-8-sig")
    )
    assert opened(tmp_path).captions == (("a cat", "a sleeping cat"), ("a dog",))


def test_metadata_names_a_picture_however_its_accents_are_stored(tmp_path):
    picture(tmp_path / "cafe\u0301.png")
    (tmp_path / "metadata.jsonl").write_text(
        json.dumps({"file_name": "caf\u00e9.png", "text": "a cup"}), "utf-8"
    )
    assert opened(tmp_path).captions == (("a cup",),)


def test_words_of_cameras_and_of_kohyas_tools_are_found(tmp_path):
    for name, words in (("IMG_1.JPG", "IMG_1.TXT"), ("b.png", "b.caption")):
        picture(tmp_path / name)
        (tmp_path / words).write_text(f"of {name}", encoding="utf-8")
    found = opened(tmp_path, captions="text")
    assert found.captions == (("of IMG_1.JPG",), ("of b.png",))
    assert found.ignored == 0


def test_metadata_may_hold_unicode_line_ends_and_paths_that_begin_with_a_dot(tmp_path):
    picture(tmp_path / "a.png")
    line = json.dumps({"file_name": "./a.png", "text": "one\u2028two\u0085three"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(line, encoding="utf-8")
    assert opened(tmp_path).captions == (("one\u2028two\u0085three",),)


def test_links_to_folders_are_followed_and_hidden_folders_are_not(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    picture(data / "a.png")
    picture(data / ".ipynb_checkpoints" / "a-checkpoint.png")
    picture(elsewhere / "b.png")
    (data / "cats").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(data)
    assert opened(data).paths == (data / "a.png", data / "cats" / "b.png")


def test_what_a_run_among_the_pictures_has_drawn_is_neither_trained_on_nor_measured(tmp_path):
    picture(tmp_path / "a.png")
    with run_folder.hold(tmp_path / "run"):
        run_folder.create(tmp_path / "run", TrainConfig(), resume=False)
    picture(tmp_path / "run" / "samples" / "step-000002.png")
    assert opened(tmp_path).paths == (tmp_path / "a.png",)
    assert read_folder(tmp_path).paths == (tmp_path / "a.png",)
    assert read_folder(tmp_path / "run").paths == (tmp_path / "run" / "samples" / "step-000002.png",)


def test_links_to_nothing_are_counted_as_pictures_that_cannot_be_read(tmp_path):
    picture(tmp_path / "a.png")
    for name in ("b.png", "c.jpg", "notes.txt", "clip.mp4"):
        (tmp_path / name).symlink_to(tmp_path / "moved" / name)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    found = opened(tmp_path)
    assert found.paths == (tmp_path / "a.png",)
    assert [sentence.split("'")[1] for sentence in found.corrupt] == [
        str(tmp_path / name) for name in ("b.png", "c.jpg", "loop.png")
    ]
    assert found.ignored == 1
    with pytest.raises(DataError, match=r"b\.png' links to nothing"):
        opened(tmp_path, strict=True)
    with pytest.raises(FileError, match=r"b\.png' links to nothing"):
        read_folder(tmp_path)


def test_a_source_of_captions_that_has_none_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    assert not opened(tmp_path).captioned
    for source in ("text", "metadata", "folders"):
        with pytest.raises(DataError, match=f"no captions of the kind '{source}'"):
            opened(tmp_path, captions=source)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"text": "x"}', '{"file_name": "a.png", "text": 3}', '{"file_name": 1, "text": "x"}']
)
def test_bad_metadata_names_its_line(tmp_path, line):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(
        f'{{"file_name": "b.png", "text": "x"}}\n{line}\n', encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"metadata\.jsonl', line 2"):
        opened(tmp_path)


def test_captions_that_are_not_text_are_named(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"a\.txt' cannot be read as UTF-8"):
        opened(tmp_path)


def test_a_corrupt_picture_is_named_and_skipped_or_refused(tmp_path):
    picture(tmp_path / "good.png", size=(64, 64))
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    found = opened(tmp_path)
    assert [path.name for path in found.paths] == ["good.png"]
    assert [sentence.split("'")[1].rpartition("/")[2] for sentence in found.corrupt] == [
        "cut.png",
        "empty.png",
        "page.jpg",
    ]
    with pytest.raises(DataError, match=r"cut\.png': it is damaged or cut short"):
        opened(tmp_path, strict=True)


def test_a_picture_too_large_is_refused_by_its_header(tmp_path):
    Image.new("1", (9000, 8000)).save(tmp_path / "huge.png")
    with pytest.raises(DataError, match="9000 x 8000 pixels; at most"):
        opened(tmp_path)


def test_a_photo_of_fifty_million_pixels_is_read(tmp_path):
    Image.new("L", (8192, 6144), 77).save(tmp_path / "photo.png")
    found = opened(tmp_path)
    assert len(found.paths) == 1
    assert not found.corrupt


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no files"):
        opened(tmp_path)
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "table.csv").write_bytes(b"a,b")
    with pytest.raises(DataError, match="holds 2 files, but no picture"):
        opened(tmp_path)
    with pytest.raises(DataError, match="is a file"):
        opened(tmp_path / "notes.txt")


def test_files_that_are_not_pictures_are_counted_but_captions_are_not(tmp_path):
    picture(tmp_path / "a.png")
    for name in ("a.txt", "metadata.jsonl", "Thumbs.db", "clip.mp4", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    assert opened(tmp_path).ignored == 2


def test_what_does_not_fit_in_memory_reads_the_same(tmp_path):
    for number in range(5):
        picture(tmp_path / f"{number}.png", size=(7, 5), value=number * 40)
    cached, lazy = opened(tmp_path), opened(tmp_path, cache_mb=0)
    assert lazy.cache is None
    assert torch.equal(cached.read([3, 0, 3]), lazy.read([3, 0, 3]))
    assert cached.digest == lazy.digest


def test_a_picture_that_breaks_later_gives_way_to_the_next(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png", value=number * 40)
    lazy, strict = opened(tmp_path, cache_mb=0), opened(tmp_path, cache_mb=0, strict=True)
    (tmp_path / "1.png").write_bytes(b"")
    assert torch.equal(lazy.read([1]), lazy.read([2]))
    with pytest.raises(DataError, match=r"1\.png"):
        strict.read([1])


def test_the_words_of_a_batch_are_those_of_the_pictures_that_stand_in_for_broken_ones(tmp_path):
    for number in range(4):
        picture(tmp_path / "own" / f"{number}.png", value=number * 40)
        (tmp_path / "own" / f"{number}.txt").write_text(str(number * 40), encoding="utf-8")
    (tmp_path / "own" / "1.png").write_bytes(b"")
    lazy = opened(tmp_path / "own", cache_mb=0)
    config = TrainConfig(loss=LossConfig(caption_dropout=0.0), run=RunConfig(batch=8))
    for pictures, every in ((lazy, 1), (replace(lazy, prior=Prior(lazy, 0.5)), 2)):
        found = batches.draw(config, pictures, Cosine(), 0)
        shown = ((found.x0[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
        assert [int(words) for words in found.captions] == shown
        assert set(shown[::every]) == {0, 80, 120}
    parts = list(held_out.batches(config, lazy, Cosine()))
    assert parts[0][1].captions == ("0", "80", "80", "120")


def test_folders_that_name_repeats_count_that_often_in_an_epoch(tmp_path):
    """kohya's layout: `3_sks dog` has each picture three times; its words are the caption of last resort."""
    picture(tmp_path / "3_sks dog" / "a.png", value=10)
    picture(tmp_path / "1_dog" / "b.png", value=200)
    picture(tmp_path / "1_dog" / "c.png", value=100)
    (tmp_path / "1_dog" / "c.txt").write_text("a brown dog", encoding="utf-8")
    found = repeated(opened(tmp_path, repeats=True))
    assert [path.name for path in found.paths] == ["b.png", "c.png", "a.png", "a.png", "a.png"]
    assert found.captions == (("dog",), ("a brown dog",), *[("sks dog",)] * 3)
    assert found.read(range(5))[:, 0, 0, 0].tolist() == [200, 100, 10, 10, 10]
    lazy = repeated(opened(tmp_path, repeats=True, cache_mb=0))
    assert torch.equal(lazy.read(range(5)), found.read(range(5)))
    shown = order.pictures_at(0, range(5), len(found))
    assert sorted(shown) == list(range(5))


@pytest.mark.parametrize("name", ["dogs", "0_dogs", "3_", "many_dogs"])
def test_a_folder_without_a_count_is_named(tmp_path, name):
    picture(tmp_path / name / "a.png")
    with pytest.raises(DataError, match=f"{name}' is not named like '10_words'"):
        repeated(opened(tmp_path, repeats=True))


def test_reading_a_large_folder_is_told(tmp_path):
    for number in range(5):
        picture(tmp_path / f"{number}.png")
    told = []
    open_pictures(tmp_path, SHAPE, DataConfig(), lambda done, total: told.append((done, total)))
    assert told == [(done, 5) for done in range(1, 6)]
