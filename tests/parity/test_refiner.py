"""The refiner of Stable Diffusion XL beside diffusers': the same random weights, the same noise, twenty steps."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

import miniature_sd
from unnoise import checkpoints
from unnoise.cli import main
from unnoise.errors import InputError
from unnoise.pipelines import ImageToImage, Recipe, load
from unnoise.schedulers import names

diffusers = pytest.importorskip("diffusers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

PROMPT, NEGATIVE = "a red apple on a wooden table", "blurry"


@pytest.fixture(scope="module")
def refiner(tmp_path_factory):
    """(diffusers' pipeline, its folder)."""
    folder = tmp_path_factory.mktemp("refiner")
    pipe = miniature_sd.pipeline("refiner", folder)
    return pipe, miniature_sd.save(pipe, folder / "refiner")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    pipe = miniature_sd.pipeline("sdxl", folder)
    return pipe, miniature_sd.save(pipe, folder / "base")


def noise(size=16):
    return torch.randn((1, 4, size, size), generator=torch.Generator().manual_seed(1))


def options(pipe):
    config = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    scheduler = names.from_config(config, compat="diffusers").scheduler
    return {"steps": 20, "guidance": 5.0, "latents": noise(), "scheduler": scheduler}


def theirs(**more):
    return {"num_inference_steps": 20, "guidance_scale": 5.0, "output_type": "np", **more}


@pytest.mark.parametrize(("begun", "negative"), [("picture", NEGATIVE), ("latents", "")])
def test_a_picture_refined_is_diffusers(refiner, monkeypatch, negative, begun):
    """Told 6.0 of a picture that is wanted, 2.5 of one that is not; an empty negative prompt is embedded as it is."""
    # theirs draw the latents of a picture, ours take their mean: let both take it
    kind = import_module("diffusers.models.autoencoders.vae").DiagonalGaussianDistribution
    monkeypatch.setattr(kind, "sample", lambda self, generator=None: self.mode())
    pipe, folder = refiner
    waves = np.sin(np.arange(64 * 64 * 3).reshape(64, 64, 3) / 50.0)
    picture = Image.fromarray(np.uint8(waves * 100 + 127)) if begun == "picture" else noise() * 0.7
    wanted = pipe(
        PROMPT,
        negative_prompt=negative,
        image=picture,
        strength=0.6,
        generator=torch.Generator().manual_seed(1),
        **theirs(),
    ).images[0]
    model = load(folder).model
    made = ImageToImage(model)(PROMPT, picture, strength=0.6, negative=negative, **options(pipe))
    assert wanted.std() > 0.05
    assert np.abs(made.arrays[0] - wanted).max() <= 2e-5
    assert made.recipes[0].strength == 0.6


def test_base_and_refiner_together_make_diffusers_ensemble(base, refiner):
    (first, place), (second, folder) = base, refiner
    latents = first(
        PROMPT,
        negative_prompt=NEGATIVE,
        latents=noise(),
        denoising_end=0.8,
        **theirs(output_type="latent"),
    ).images
    # they decode with the refiner's autoencoder, we with the base's; the published models have the same one
    parts = {**second.components, "vae": first.vae}
    told = {
        name: second.config[name] for name in ("requires_aesthetics_score", "force_zeros_for_empty_prompt")
    }
    second = type(second)(**parts, **told)
    wanted = second(PROMPT, negative_prompt=NEGATIVE, image=latents, denoising_start=0.8, **theirs()).images[
        0
    ]
    alone = load(place)
    both = alone.with_refiner(folder, 0.8)
    made, plain = (pipe(PROMPT, negative=NEGATIVE, **options(first)) for pipe in (both, alone))
    assert np.abs(made.arrays[0] - wanted).max() <= 2e-5
    assert np.abs(plain.arrays[0] - wanted).max() > 1e-3
    assert made.recipes[0].adapters == "refiner refiner:0.8"
    run = both.denoise(PROMPT, steps=20, seed=1)
    assert run._turn == 16


def test_single_file_and_folder_are_the_same_to_the_bit_both_ways(refiner, tmp_path):
    pipe, folder = refiner
    single = checkpoints.convert(folder, tmp_path / "refiner.safetensors")
    again = checkpoints.convert(single, tmp_path / "again")
    found = checkpoints.recognise(single)
    assert found.family == "Stable Diffusion XL refiner"
    assert found.facts()["needs"].startswith("a prompt and a picture (--init); ")
    assert found.parts["network"].config == checkpoints.recognise(folder).parts["network"].config
    states = [
        {**model.network.state_dict(), **{f"text.{k}": v for k, v in model.text_encoder.state_dict().items()}}
        for model in map(checkpoints.load, (folder, single, again))
    ]
    for other in states[1:]:
        assert other.keys() == states[0].keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in states[0].items())
    loaded = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(again)
    assert loaded.config.requires_aesthetics_score
    assert not loaded.config.force_zeros_for_empty_prompt
    assert loaded.text_encoder is None
    assert all(torch.equal(t, loaded.unet.state_dict()[name]) for name, t in pipe.unet.state_dict().items())


def test_what_cannot_be_handed_over_is_refused(base, refiner, tmp_path):
    pipe = load(base[1])
    with pytest.raises(InputError, match=r"none of 4 steps is left to the refiner: it begins below time 0,"):
        pipe.with_refiner(refiner[1], 0.9999).denoise(PROMPT, steps=4, seed=1)
    with pytest.raises(InputError, match=r"start is 1\.5; give a share"):
        pipe.with_refiner(refiner[1], 1.5)
    small = miniature_sd.save(miniature_sd.pipeline("sd1", tmp_path), tmp_path / "sd1")
    with pytest.raises(InputError, match="cannot refine 'base': their latents differ"):
        pipe.with_refiner(small)


def test_the_command_line_hands_over(base, refiner, tmp_path, capsys):
    words = ["generate", "a house", "-m", base[1], "-s", 7, "--steps", 6, "--size", "64x64"]
    out = tmp_path / "out.png"
    words += ["--refiner", refiner[1], "--refine-from", 0.5, "-o", out]
    assert main([str(word) for word in words]) == 0
    assert Recipe.from_png(out).adapters == "refiner refiner:0.5"
    again = ["verify", out, "-m", base[1]]
    assert main([str(word) for word in [*again, "--refiner", refiner[1], "--refine-from", 0.5]]) == 0
    assert "bit-equal" in capsys.readouterr().out
    assert main([str(word) for word in again]) == 1
    assert "its refiner refiner:0.5 is not applied; give it again (--refiner)" in capsys.readouterr().out
    assert main(["generate", "a house", "--refine-from", "0.5"]) == 2
