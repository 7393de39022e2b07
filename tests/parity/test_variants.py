"""Pictures from pictures beside diffusers' pipelines: the same random weights, the same noise, twenty steps."""

from __future__ import annotations

import json
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

import miniature_sd
from unnoise import checkpoints
from unnoise.errors import InputError
from unnoise.pipelines import Edit, ImageToImage, Inpaint, Rescaled, Scale, load
from unnoise.schedulers import names

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity

PROMPTS, NEGATIVES = ["a red apple on a wooden table", "the sea"], ["blurry", "people"]
CLOSE = 2e-5  # ten times closer than asked: seen are 1e-6 to 8e-6


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """diffusers' text to image pipeline in miniature."""
    return miniature_sd.pipeline("sd1", tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="module")
def inpainting(parts):
    return miniature_sd.with_channels(parts, diffusers.StableDiffusionInpaintPipeline, 9)


@pytest.fixture(scope="module")
def editing(parts):
    return miniature_sd.with_channels(parts, diffusers.StableDiffusionInstructPix2PixPipeline, 8)


@pytest.fixture(autouse=True)
def means(monkeypatch):
    """Theirs draw the latents of a picture, ours take their mean: let both take it."""
    kind = import_module("diffusers.models.autoencoders.vae").DiagonalGaussianDistribution
    monkeypatch.setattr(kind, "sample", lambda self, generator=None: self.mode())


def picture(size=(64, 64)):
    """Bright waves in colour: no two rows or channels are alike."""
    down, across = np.meshgrid(np.arange(size[1]), np.arange(size[0]), indexing="ij")
    waves = [np.sin(down / 5.0 + k) * np.cos(across / 7.0 - k) for k in range(3)]
    return Image.fromarray(np.uint8((np.stack(waves, axis=-1) * 0.5 + 0.5) * 255))


def mask(size=(64, 64)):
    """A box in the middle, of whole latents (four pixels a side here)."""
    made = Image.new("L", size, 0)
    made.paste(255, (16, 24, 48, 52))
    return made


def noise(count=2):
    return torch.randn((count, 4, 16, 16), generator=torch.Generator().manual_seed(1))


def theirs(pipe, kind, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = pipe if isinstance(pipe, kind) else kind(**pipe.components, requires_safety_checker=False)
        other.set_progress_bar_config(disable=True)
        return other(
            PROMPTS,
            negative_prompt=NEGATIVES,
            num_inference_steps=20,
            guidance_scale=5.0,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
            **options,
        ).images


def scheduler_of(pipe):
    config = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    return names.from_config(config, compat="diffusers").scheduler


def options(pipe):
    return {
        "negative": NEGATIVES,
        "steps": 20,
        "guidance": 5.0,
        "latents": noise(),
        "scheduler": scheduler_of(pipe),
    }


def check(made, wanted):
    assert wanted.std() > 0.05  # a picture, not a plane
    assert np.abs(np.stack(made.arrays) - wanted).max() <= CLOSE


@pytest.fixture(scope="module")
def ours(parts, tmp_path_factory):
    return load(miniature_sd.save(parts, tmp_path_factory.mktemp("folder") / "model")).model


@pytest.mark.parametrize("strength", [0.6, 0.75])
def test_image_to_image(parts, ours, strength):
    wanted = theirs(parts, diffusers.StableDiffusionImg2ImgPipeline, image=picture(), strength=strength)
    check(ImageToImage(ours)(PROMPTS, picture(), strength=strength, **options(parts)), wanted)


def test_image_to_image_with_euler_s_own_units(parts, ours):
    plain = parts.scheduler
    try:
        parts.scheduler = diffusers.EulerDiscreteScheduler.from_config(
            plain.config, timestep_spacing="leading"
        )
        wanted = theirs(parts, diffusers.StableDiffusionImg2ImgPipeline, image=picture(), strength=0.6)
        check(ImageToImage(ours)(PROMPTS, picture(), strength=0.6, **options(parts)), wanted)
    finally:
        parts.scheduler = plain


@pytest.mark.parametrize("strength", [0.1, 0.6, 0.95])
def test_image_to_image_with_plms_which_counts_from_a_list_with_a_time_twice(parts, ours, strength):
    plain = parts.scheduler
    try:
        parts.scheduler = diffusers.PNDMScheduler.from_config(plain.config, skip_prk_steps=True)
        wanted = theirs(parts, diffusers.StableDiffusionImg2ImgPipeline, image=picture(), strength=strength)
        check(ImageToImage(ours)(PROMPTS, picture(), strength=strength, **options(parts)), wanted)
    finally:
        parts.scheduler = plain


@pytest.mark.parametrize("strength", [0.5, 0.95])
def test_inpainting_with_an_ordinary_model(parts, ours, strength):
    kind = diffusers.StableDiffusionInpaintPipeline
    wanted = theirs(parts, kind, image=picture(), mask_image=mask(), strength=strength, height=64, width=64)
    made = Inpaint(ours)(PROMPTS, picture(), mask(), strength=strength, paste=False, **options(parts))
    check(made, wanted)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting_with_nine_channels(inpainting, strength, tmp_path):
    model = load(miniature_sd.save(inpainting, tmp_path / "model")).model
    kind = diffusers.StableDiffusionInpaintPipeline
    wanted = theirs(
        inpainting, kind, image=picture(), mask_image=mask(), strength=strength, height=64, width=64
    )
    made = Inpaint(model)(PROMPTS, picture(), mask(), strength=strength, paste=False, **options(inpainting))
    check(made, wanted)


def test_editing_with_eight_channels(editing, tmp_path):
    model = load(miniature_sd.save(editing, tmp_path / "model")).model
    kind = diffusers.StableDiffusionInstructPix2PixPipeline
    wanted = theirs(editing, kind, image=picture(), image_guidance_scale=1.5)
    check(Edit(model)(PROMPTS, picture(), picture_guidance=1.5, **options(editing)), wanted)


def test_rescaled_guidance(parts, ours):
    wanted = theirs(parts, diffusers.StableDiffusionPipeline, guidance_rescale=0.7, height=64, width=64)
    asked = {**options(parts), "guidance": Rescaled(Scale(5.0), 0.7)}
    check(load_of(ours)(PROMPTS, width=64, height=64, **asked), wanted)


def load_of(model):
    from unnoise.pipelines import TextToImage

    return TextToImage(model)


@pytest.mark.parametrize(("kind", "channels"), [("inpainting", 9), ("editing", 8)])
def test_models_that_see_more_load_from_both_layouts_and_come_back(kind, channels, request, tmp_path):
    pipe = request.getfixturevalue(kind)
    folder = miniature_sd.save(pipe, tmp_path / "model")
    found = checkpoints.recognise(folder)
    found.check()
    assert found.facts()["family"] == f"Stable Diffusion 1, {kind}"
    shown = {"inpainting": ", a picture and a mask (--init, --mask)", "editing": " and a picture (--init)"}[
        kind
    ]
    assert found.facts()["needs"].startswith(f"a prompt{shown}; ")
    assert checkpoints.inspect(folder).details["family"] == f"Stable Diffusion 1, {kind}"
    single = checkpoints.convert(folder, tmp_path / "single.safetensors")
    again = checkpoints.convert(single, tmp_path / "again")
    models = [checkpoints.load(place) for place in (folder, single, again)]
    states = [model.network.state_dict() for model in models]
    assert states[0]["conv_in.weight"].shape[1] == channels
    for other in states[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in states[0].items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = diffusers.DiffusionPipeline.from_pretrained(again, safety_checker=None)
    assert type(read) is type(pipe)
    assert read.unet.config.in_channels == channels


def test_a_model_that_sees_more_says_which_pipeline_it_is_for(inpainting, editing, parts, ours, tmp_path):
    paint, change = (
        load(miniature_sd.save(pipe, tmp_path / name))
        for pipe, name in ((inpainting, "paint"), (editing, "change"))
    )
    with pytest.raises(InputError, match=r"'paint' is an inpainting model, .*use Inpaint"):
        paint("a red apple")
    with pytest.raises(InputError, match="'change' is an editing model"):
        ImageToImage(change.model)("a red apple", picture())
    with pytest.raises(InputError, match="a plain model"):
        Edit(ours)("a red apple", picture())


def test_the_command_line_finds_the_pipeline_that_a_model_is_for(inpainting, editing, tmp_path, capsys):
    from unnoise.cli import main

    picture().save(tmp_path / "init.png")
    mask().save(tmp_path / "mask.png")
    paint, change = (
        str(miniature_sd.save(pipe, tmp_path / name))
        for pipe, name in ((inpainting, "paint"), (editing, "change"))
    )
    common = ["generate", "make it snow", "--steps", "2", "-o", str(tmp_path / "out"), "--json"]
    init, covered = ["--init", str(tmp_path / "init.png")], ["--mask", str(tmp_path / "mask.png")]
    for model, words, variant in (
        (paint, [*init, *covered], "inpaint"),
        (change, [*init, "--image-guidance", "2"], "edit"),
    ):
        capsys.readouterr()
        assert main([*common, "-m", model, *words]) == 0
        assert json.loads(capsys.readouterr().out)["images"][0]["recipe"]["variant"] == variant
    assert main([*common, "-m", paint, *init]) == 2
    assert "use Inpaint (--init and --mask)" in capsys.readouterr().err
    assert main([*common, "-m", change, *init, *covered]) == 2
    assert "leave --mask out" in capsys.readouterr().err
