"""The emoji recipe in miniature: eight pictures learned by the real trainer are found again from their words."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import emoji_recipe
import unnoise
from unnoise import training
from unnoise.training import Finished, settings

NAMES = ("red apple", "banana", "frog", "automobile", "house", "blue heart", "soccer ball", "sunflower")
SIZE = 16
SMALL = [
    f"model.size={SIZE}",
    "model.prediction=edm",
    "model.schedule.kind=edm",
    "model.network.widths=32,64",
    "model.network.blocks=1",
    "model.network.scale_shift=true",
    "model.network.pooled_width=32",
    "model.text.width=32",
    "model.text.heads=2",
    "model.text.layers=1",
    "model.text.positions=8",
    "loss.times=log_normal",
    "loss.mean=-0.2",
    "loss.std=1.3",
    "loss.caption_dropout=0",
    "optimizer.name=muon",
    "optimizer.lr=0.006",
    "optimizer.warmup=20",
    "optimizer.ema=0.98",
    "run.steps=300",
    "run.batch=8",
    "run.sample_every=0",
    "run.checkpoint_every=0",
    "run.device=cpu",
    "run.precision=float32",
]


@pytest.fixture(scope="module")
def pictures():
    """The eight, noto, on white."""
    make_data = emoji_recipe.module("make_data")
    chosen = [row for row in emoji_recipe.rows() if row["name"] in NAMES and row["style"] == "noto"]
    return {row["name"]: make_data.on_white(emoji_recipe.picture(row)) for row in chosen}


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    place = tmp_path_factory.mktemp("memory")
    (place / "data").mkdir()
    for name, picture in pictures.items():
        picture.save(place / "data" / f"{name}.png")
        (place / "data" / f"{name}.txt").write_text(f"{name}, noto")
    known = sorted({"noto", *" ".join(NAMES).split()})
    torch.manual_seed(0)
    vectors = torch.randint(-127, 128, (len(known), 16), dtype=torch.int8)
    words = place / "words.safetensors"
    save_file({"vectors": vectors}, words, {"words": " ".join(known), "learned": str(len(known))})
    config = settings.override(training.TrainConfig(), [*SMALL, f"model.words={words}"])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    events = list(training.train(place / "data", place / "run", config))
    yield place / "run"
    torch.set_num_threads(before)
    assert isinstance(events[-1], Finished)


def small(picture):
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX), np.float64).ravel() / 255


def distances(left, right):
    """Root of the mean squared difference of each pair."""
    return np.sqrt(((left[:, None] - right[None]) ** 2).mean(-1))


@pytest.mark.slow
def test_each_of_eight_pictures_is_found_again_from_its_words(pictures, run):
    """Closer to its own picture than half of that one's way to the nearest other, so that no other is as close."""
    real = np.stack([small(pictures[name]) for name in NAMES])
    apart = distances(real, real)
    np.fill_diagonal(apart, np.inf)
    pipe = unnoise.load(run)
    made = pipe(
        [f"{name}, noto" for name in NAMES], steps=20, guidance=1.0, seed=1, scheduler="Adams-Moulton 2"
    ).images
    own = np.diagonal(distances(np.stack([small(image) for image in made]), real))
    assert (own < apart.min(1) / 2).all()
