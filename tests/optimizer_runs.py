"""Six steps of a small run with some optimizer, whole and cut after two, for tests to compare."""

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from unnoise import training
from unnoise.training import Saved, settings

SMALL = [
    "model.size=8",
    "model.colour=grey",
    "model.network.widths=16,32",
    "run.batch=4",
    "run.steps=6",
    "run.log_every=1",
    "run.sample_every=0",
    "run.device=cpu",
    "optimizer.warmup=1",
]


def draw_pictures(folder):
    """Eight of noise."""
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def config(name, *more):
    return settings.override(training.TrainConfig(), [*SMALL, f"optimizer.name={name}", *more])


def check_cut_is_whole(folder, place, name):
    """Compares every number of both last checkpoints; returns the kinds of tensors that they hold."""
    list(training.train(folder, place / "whole", config(name)))
    for event in training.train(folder, place / "run", config(name, "run.checkpoint_every=2")):
        if isinstance(event, Saved):
            break
    list(training.train(folder, place / "run", resume=True))
    whole, cut = _files(place / "whole"), _files(place / "run")
    assert whole.keys() == cut.keys()
    for file, found in whole.items():
        assert found.keys() == cut[file].keys()
        assert all(torch.equal(tensor, cut[file][name]) for name, tensor in found.items())
    return {name.split(".")[1] for found in whole.values() for name in found}


def _files(run):
    place = run / "checkpoints" / "step-000006"
    return {path.relative_to(place): load_file(path) for path in place.rglob("*.safetensors")}
