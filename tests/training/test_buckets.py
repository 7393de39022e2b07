"""Aspect-ratio buckets: their shapes, and a plan of batches that is a function of (seed, step) and fair."""

import struct
import zlib
from collections import Counter

import pytest
import torch
from PIL import Image

from unnoise import training
from unnoise.errors import InputError
from unnoise.training import DataConfig, Finished, Validated, buckets, settings
from unnoise.training.data import open_pictures


@pytest.mark.parametrize(("side", "step"), [(512, 64), (1024, 64), (32, 8), (8, 4), (8, 8)])
def test_shapes_have_the_models_number_of_pixels_and_are_mirrored(side, step):
    found = buckets.shapes(side, step)
    assert (side, side) in found
    assert {(width, height) for height, width in found} == set(found)
    for height, width in found:
        assert height % step == width % step == 0
        assert side / 2 <= height <= 2 * side
        # A further step on the shorter side would be too many pixels.
        assert height * width <= side * side < (min(height, width) + step) * max(height, width)


def test_a_step_larger_than_the_picture_is_refused():
    with pytest.raises(InputError, match=r"bucket_step is 64; give a number up to model\.size \(32\)"):
        buckets.shapes(32, 64)


def test_a_picture_goes_to_the_nearest_ratio_as_its_camera_held_it(tmp_path):
    sizes = [(4, 16), (8, 8), (16, 4)]
    assert [buckets.nearest(sizes, *size) for size in [(10, 39), (100, 99), (500, 100)]] == sizes
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 10)).save(tmp_path / "a.jpg", exif=exif)
    assert buckets.size_for(tmp_path / "a.jpg", sizes, (8, 8)) == (16, 4)
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    assert buckets.size_for(tmp_path / "b.png", sizes, (8, 8)) == (8, 8)


def test_a_picture_larger_than_any_that_is_read_goes_to_the_square_without_a_warning(tmp_path):
    head = b"IHDR" + struct.pack(">II5B", 9000, 12000, 8, 2, 0, 0, 0)
    chunks = (
        struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + bytes([0, 0, 9, 9]) + b"IDAT"
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert buckets.size_for(tmp_path / "a.png", [(16, 4), (8, 8)], (8, 8)) == (8, 8)


@pytest.mark.parametrize(("counts", "batch"), [((13, 5, 30), 4), ((1, 50), 8), ((3, 3, 2), 16), ((7,), 4)])
def test_every_picture_is_shown_equally_often(counts, batch):
    """In so many steps that every bucket comes out even: to the picture, in any order of asking."""
    steps = sum(counts)  # `batch` epochs: each bucket has given its count of batches
    shown = Counter()
    for step in reversed(range(steps)):
        bucket, places = buckets.batch_at(3, step, batch, counts, range(batch))
        shown.update((bucket, place) for place in places)
    assert len(shown) == sum(counts)
    assert set(shown.values()) == {batch}


def test_positions_and_seeds():
    whole = buckets.batch_at(0, 9, 8, (13, 40), range(8))
    parts = [buckets.batch_at(0, 9, 8, (13, 40), range(at, at + 2)) for at in range(0, 8, 2)]
    assert {bucket for bucket, _ in parts} == {whole[0]}
    assert [place for _, places in parts for place in places] == whole[1]
    plans = [[buckets.batch_at(seed, step, 8, (40, 40), [0])[0] for step in range(30)] for seed in (0, 1)]
    assert plans[0] != plans[1]


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(30):
        size = [(8, 8), (16, 4), (5, 15)][number % 3]
        Image.new("L", size, 8 * number).save(data / f"{number:02}.png")
    (data / "30.png").write_bytes(b"\x89PNG")
    return data


@pytest.mark.parametrize("cache", [0, 100])
def test_pictures_keep_their_ratio(folder, cache):
    found = open_pictures(folder, (1, 8, 8), DataConfig(bucket_step=4, cache_mb=cache))
    assert {size: len(indices) for size, indices in found.buckets}.keys() == {(4, 16), (8, 8), (16, 4)}
    for size, indices in found.buckets:
        pixels = found.read(indices[:10])
        assert pixels.shape[1:] == (1, *size)
        assert [int(picture.float().mean()) for picture in pixels] == [
            8 * int(found.paths[i].stem) for i in indices[:10]
        ]
    part = found.select([5, 0, 3])
    assert part.sizes == (found.sizes[5], found.sizes[0], found.sizes[3])


def test_a_run_on_buckets_is_trained_measured_and_resumed(folder, tmp_path):
    torch.set_num_threads(1)
    tiny = ["model.size=8", "model.colour=grey", "model.network.widths=8,16", "model.network.blocks=1"]
    tiny += ["data.bucket_step=4", "run.batch=4", "run.steps=12", "run.sample_every=0", "run.device=cpu"]
    tiny += ["data.held_out=0.3", "run.validate_every=6"]
    config = settings.override(training.TrainConfig(), tiny)
    events = list(training.train(folder, tmp_path / "run", config))
    assert isinstance(events[-1], Finished)
    assert [event.step for event in events if isinstance(event, Validated)] == [6, 12]
    with pytest.raises(InputError, match=r"data\.bucket_step is 3, but this network needs a multiple of 2"):
        training.Trainer(folder, tmp_path / "other", settings.override(config, ["data.bucket_step=3"]))
