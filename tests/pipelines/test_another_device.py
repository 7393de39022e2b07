"""All that makes pictures runs on another device than the processor, and makes the same pictures there."""

from importlib.util import find_spec
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch

from latent_model import latent_model
from pretended_gpu import pretended_gpu
from tiny_model import tiny_model
from unnoise import schedulers
from unnoise.networks.unet import openvino
from unnoise.pipelines import ImageToImage, Inpaint, SecondPass, TextToImage, calibration
from unnoise.process import DiscreteVP

ASK = {"seed": 7, "steps": 3, "guidance": 2.0}


def picture(model):
    side, channels = 8 * model.factor, 3 if model.autoencoder else model.shape[0]
    keyed = torch.Generator().manual_seed(2)
    return torch.rand((1, channels, side, side), generator=keyed, dtype=torch.float32, device="cpu") * 2 - 1


def half(model):
    made = torch.zeros(1, 1, 8 * model.factor, 8 * model.factor, dtype=torch.float32, device="cpu")
    made[..., : 4 * model.factor] = 1.0
    return made


WORKS = {
    "weighted prompt": lambda m: TextToImage(m)("a (seven:1.3) BREAK a three", **ASK).arrays,
    "changing prompt": lambda m: TextToImage(m)("a [seven:three:0.5] [one|two]", **ASK).arrays,
    "many": lambda m: TextToImage(m)(["a seven", "a three"], seeds=[1, 2], steps=3, guidance=3.0).arrays,
    "start of others": lambda m: TextToImage(m)("a seven", noise="cuda", **ASK).arrays,
    "start of torch": lambda m: TextToImage(m)("a seven", noise="torch", **ASK).arrays,
    "cached features": lambda m: TextToImage(m)("a seven", cache=0.2, **ASK).arrays,
    "merged tokens": lambda m: TextToImage(m)("a seven", merge=0.5, **ASK).arrays,
    "from a picture": lambda m: ImageToImage(m)("a seven", picture(m), strength=0.7, **ASK).arrays,
    "inpainted": lambda m: Inpaint(m)("a seven", picture(m), half(m), **ASK).arrays,
    "enlarged": lambda m: SecondPass(m)("a seven", scale=2.0, strength=0.7, **ASK).arrays,
    "previews": lambda m: [np.asarray(s.preview()) / 255 for s in TextToImage(m).denoise("a seven", **ASK)],
}


def computed_by(engine):
    """What the engine keeps is forgotten: it is written and calibrated anew."""

    def work(model):
        if find_spec("openvino") is None:
            pytest.skip("openvino is not installed")
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNNOISE_CACHE", folder)
            for room, name, value in (
                (openvino, "_compiled", WeakKeyDictionary()),
                (openvino, "sums_exactly", openvino.sums_exactly.__wrapped__),
                (calibration, "_known", WeakKeyDictionary()),
                (calibration, "MOST", 1),  # sooner
                (calibration, "STEPS", 2),
            ):
                patch.setattr(room, name, value)
            return TextToImage(model).with_engine(engine)("a seven", **ASK).arrays

    return work


HERE = WORKS | {
    "in openvino": computed_by("openvino"),
    "in eight bits": computed_by("openvino-int8"),
    "joined prompts": lambda m: TextToImage(m)("a seven AND a (red:1.3) apple :0.3", **ASK).arrays,
    "compel": lambda m: TextToImage(m)("a (seven)0.3 apple", prompt_style="compel", **ASK).arrays,
}


def same_there(make, work):
    """Made here and there, and compared; what forgets to move a tensor is refused there."""
    here = work(make())
    with pretended_gpu() as device:
        model = make()
        for part in (model.network, model.text_encoder, model.autoencoder):
            if part is not None:
                part.to(device)
        there = work(model)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-2 if one.max() > 1 else 1e-4)


@pytest.mark.parametrize("make", [tiny_model, latent_model], ids=["pixels", "latents"])
@pytest.mark.parametrize("name", WORKS)
def test_the_pictures_are_the_processor_s(make, name):
    same_there(make, WORKS[name])


@pytest.mark.parametrize("make", [tiny_model, latent_model], ids=["pixels", "latents"])
@pytest.mark.parametrize("name", HERE)
def test_neither_the_default_device_nor_the_default_type_changes_a_picture(make, name, far_defaults):
    model = make()
    here = HERE[name](model)
    with far_defaults(torch.bfloat16):
        there = HERE[name](model)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


ROWS = [row for row in schedulers.names.table() if row.name != "DPM adaptive"]  # it chooses by a hair
PARTS = [(row.name, row.scheduler.grid, row.scheduler.solver, row.scheduler.noise) for row in ROWS]
NAMES = {tuple(map(type, parts)): name for name, *parts in PARTS}.values()
PROGRAMS = [("Euler a", "a1111"), ("DPM++ SDE", "a1111"), ("LMS", "k-diffusion"), ("UniPC", "diffusers")]


@pytest.mark.parametrize(("name", "compat"), [*((name, None) for name in NAMES), *PROGRAMS])
def test_every_kind_of_grid_solver_and_noise_runs_there(name, compat):
    same_there(
        lambda: tiny_model(schedule=DiscreteVP.scaled_linear(), prediction="noise"),
        lambda model: TextToImage(model)("a seven", scheduler=name, compat=compat, **ASK).arrays,
    )


@pytest.mark.parametrize("name", ["weighted prompt", "from a picture", "inpainted", "enlarged", "previews"])
def test_the_caller_s_autocast_changes_no_number(name):
    model = latent_model()
    plain = WORKS[name](model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = torch.ones(2, 2) @ torch.ones(2, 2)
        again = WORKS[name](model)
    assert rounded.dtype == torch.bfloat16
    for one, other in zip(plain, again, strict=True):
        assert np.array_equal(one, other)
