"""Pictures in tars and parquet files are the pictures of a folder."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise import training
from unnoise.errors import DataError
from unnoise.training import DataConfig, Progress, settings
from unnoise.training.data import open_pictures

SHAPE = (3, 8, 8)


def encoded(number):
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8 + 8 * (number % 2), 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def put(tar, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def plain(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(encoded(number))
        (folder / f"{number:02}.txt").write_text(f"number {number}\nthe {number}", encoding="utf-8")
    return folder


@pytest.fixture
def tars(tmp_path):
    """Two shards, packed out of order; words as .txt in one, as .json in the other."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in reversed(range(6 * shard, 6 * shard + 6)):
                words = [f"number {number}", f"the {number}"]
                put(tar, f"{number:02}.png", encoded(number))
                if shard:
                    put(tar, f"{number:02}.json", json.dumps({"caption": words}).encode())
                else:
                    put(tar, f"{number:02}.txt", "\n".join(words).encode())
    return folder


@pytest.fixture
def tables(tmp_path):
    """Two files: bare bytes, and records as data set hubs write them; several row groups."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "tables"
    folder.mkdir()
    for shard in range(2):
        numbers = range(6 * shard, 6 * shard + 6)
        bare = [encoded(number) for number in numbers]
        image = [{"bytes": one, "path": None} for one in bare] if shard else bare
        text = [[f"number {number}", f"the {number}"] for number in numbers]
        table = pyarrow.table({"image": image, "text": text})
        parquet.write_table(table, folder / f"{shard}.parquet", row_group_size=4)
    return folder


@pytest.mark.parametrize("kind", ["tars", "tables"])
@pytest.mark.parametrize("changes", [{}, {"cache_mb": 0}, {"bucket_step": 4}])
def test_an_archive_is_the_folder_that_was_packed(request, plain, kind, changes):
    packed = open_pictures(request.getfixturevalue(kind), SHAPE, DataConfig(**changes))
    files = open_pictures(plain, SHAPE, DataConfig(**changes))
    assert packed.captions == files.captions
    assert packed.buckets == files.buckets
    assert (len(packed), packed.ignored, packed.corrupt) == (12, 0, ())
    for _, indices in files.buckets:
        assert torch.equal(packed.read(indices), files.read(indices))


def test_a_run_on_tars_is_the_run_on_the_folder_and_resumes_to_the_bit(plain, tars, tmp_path):
    words = ["model.size=8", "model.network.widths=8,16", "model.network.blocks=1", "run.device=cpu"]
    words += ["run.batch=8", "run.log_every=1", "run.sample_every=0", "data.cache_mb=0", "run.workers=0"]
    words += [
        "model.text.width=8",
        "model.text.heads=2",
        "model.text.layers=1",
        "model.text.positions=8",
        "run.steps=6",
        "run.checkpoint_every=3",
    ]
    config = settings.override(training.TrainConfig(), words)

    def losses(events):
        return {event.step: event.loss for event in events if isinstance(event, Progress)}

    whole = losses(training.train(plain, tmp_path / "whole", config))
    first = []
    for event in training.train(tars, tmp_path / "run", config):
        first.append(event)
        if type(event).__name__ == "Saved":
            break
    rest = losses(training.train(tars, tmp_path / "run", resume=True))
    assert losses(first) | rest == whole
    assert sorted(rest) == [4, 5, 6]


def test_a_tar_is_the_same_by_whatever_names_its_members_are_packed(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name in ("./a.png", "./sub//b.png", "/c.png", "./._a.png"):
            put(tar, name, encoded(0))
            put(tar, name.replace(".png", ".txt"), "a cat\r\n".encode("utf-8-sig"))
    found = open_pictures(tmp_path, SHAPE, DataConfig())
    assert found.paths == tuple(tmp_path / "0.tar" / name for name in ("a.png", "c.png", "sub/b.png"))
    assert found.captions == (("a cat",),) * 3
    assert found.corrupt == ()


def test_a_caption_ends_in_a_tar_where_it_ends_in_a_file(tmp_path):
    """At the end of a line alone: a text copied from a page may hold other marks that Python parts at."""
    words = "a cat\u2028on a mat\x85asleep\r\nthe cat\rit sleeps".encode()
    for name in ("plain", "tar"):
        (tmp_path / name).mkdir()
    (tmp_path / "plain" / "a.png").write_bytes(encoded(0))
    (tmp_path / "plain" / "a.txt").write_bytes(words)
    with tarfile.open(tmp_path / "tar" / "a.tar", "w") as tar:
        put(tar, "a.png", encoded(0))
        put(tar, "a.txt", words)
    (files,), (packed,) = (
        open_pictures(tmp_path / name, SHAPE, DataConfig()).captions for name in ("plain", "tar")
    )
    assert packed == files == ("a cat\u2028on a mat\x85asleep", "the cat", "it sleeps")


def test_what_is_damaged_is_named(tars, tables):
    first = tars / "0.tar"
    whole = first.read_bytes()
    place = whole.index(b"IHDR")
    first.write_bytes(whole[:place] + b"IHDX" + whole[place + 4 :])
    found = open_pictures(tars, SHAPE, DataConfig())
    assert len(found) == 11
    assert f"{Path('0.tar') / '05.png'}" in found.corrupt[0]
    first.write_bytes(b"no tar at all, but long enough to be looked at" * 30)
    with pytest.raises(DataError, match=r"0\.tar' cannot be read as a tar"):
        open_pictures(tars, SHAPE, DataConfig())
    first = tables / "0.parquet"
    cut = bytearray(first.read_bytes())
    cut[8:200] = bytes(192)
    first.write_bytes(cut)
    found = open_pictures(tables, SHAPE, DataConfig(captions="none"))
    assert "0.parquet' cannot be read" in found.corrupt[0]
    (tables / "2.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"2\.parquet' cannot be read"):
        open_pictures(tables, SHAPE, DataConfig())


def test_a_table_without_pictures_is_refused(tables):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"url": ["a"]}), tables / "9.parquet")
    with pytest.raises(DataError, match="name the one with the pictures 'image'"):
        open_pictures(tables, SHAPE, DataConfig())


def test_an_archive_that_was_packed_again_is_read_again(tars, plain):
    first = open_pictures(tars, SHAPE, DataConfig(cache_mb=0))
    with tarfile.open(tars / "0.tar", "w") as tar:
        put(tar, "new.txt", b"a longer text than before, so that all that follows moves")
        for name in ("05", "new"):
            put(tar, f"{name}.png", encoded(5))
    again = open_pictures(tars, SHAPE, DataConfig(cache_mb=0))
    names = [path.relative_to(tars).as_posix() for path in again.paths[:3]]
    assert names == ["0.tar/05.png", "0.tar/new.png", "1.tar/06.png"]
    known = open_pictures(plain, SHAPE, DataConfig()).read([5, 5])
    assert torch.equal(again.read([0, 1]), known)
    # A run that goes on over it takes the next one that is there still.
    assert first.take([0])[1] == [5]
    assert torch.equal(first.read([0]), known[:1])
