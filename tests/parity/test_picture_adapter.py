"""T2I-Adapters beside diffusers': the same random weights, the same pictures to steer by."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import miniature_sd
from unnoise import checkpoints
from unnoise.checkpoints import controlnet, layouts
from unnoise.cli import main
from unnoise.errors import CheckpointError, InputError
from unnoise.networks.unet import PictureAdapter, PictureAdapterConfig
from unnoise.pipelines import load
from unnoise.schedulers import names

diffusers = pytest.importorskip("diffusers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

PROMPT, NEGATIVE = "a red apple on a wooden table", "blurry"
# a miniature's latents are a quarter of its pictures, so squares are of 4 pixels, or for XL of 8
KINDS = {
    "sd1": ("full_adapter", [32, 64, 64], 4),
    "light": ("light_adapter", [32, 64], 4),
    "sdxl": ("full_adapter_xl", [64, 64, 128, 128], 8),
}


def adapter(folder, kind, seed, channels=3):
    torch.manual_seed(seed)
    name, widths, fold = KINDS[kind]
    made = diffusers.T2IAdapter(channels, widths, downscale_factor=fold, adapter_type=name)
    for tensor in made.parameters():
        tensor.data += 0.02 * torch.randn(tensor.shape)
    made.eval().save_pretrained(folder)
    return made, folder


def picture(seed=3, size=(64, 64)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def saved(request, tmp_path_factory):
    """(family, diffusers' pipeline, its folder, two adapters with their folders)."""
    folder = tmp_path_factory.mktemp(request.param)
    pipe = miniature_sd.pipeline(request.param, folder)
    place = miniature_sd.save(pipe, folder / "model")
    pair = [adapter(folder / f"adapter-{seed}", request.param, seed) for seed in (5, 6)]
    return request.param, pipe, place, pair


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_the_maps_are_diffusers(tmp_path, kind, channels):
    theirs, folder = adapter(tmp_path / "adapter", kind, 1, channels)
    part = controlnet.read(folder)
    ours = controlnet.fill(part, torch.float32, "cpu")
    x = torch.rand((2, channels, 64, 96), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for one, other in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_sizes_that_the_levels_cannot_halve_are_steered_unless_its_squares_leave_a_rest(saved):
    family, _, folder, ((_, place), _) = saved
    pipe = load(folder).with_control(place, picture())
    if family == "sd1":
        made = pipe(PROMPT, width=68, height=60, steps=2, seed=1).images[0]
        assert made.size == (68, 60)
        assert (
            made.tobytes() != load(folder)(PROMPT, width=68, height=60, steps=2, seed=1).images[0].tobytes()
        )
        return
    with pytest.raises(InputError, match=r"68x60, and the adapter .* multiples of 8"):
        pipe(PROMPT, width=68, height=60, steps=2, seed=1)


def test_two_at_once_with_strengths_make_diffusers_picture(saved):
    family, pipe, folder, pair = saved
    kind = "StableDiffusionXLAdapterPipeline" if family == "sdxl" else "StableDiffusionAdapterPipeline"
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    parts |= {"adapter": diffusers.MultiAdapter([made for made, _ in pair])}
    if family == "sd1":
        parts["requires_safety_checker"] = False
    theirs = getattr(diffusers, kind)(**parts)
    theirs.set_progress_bar_config(disable=True)
    latents = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))
    wanted = theirs(
        PROMPT,
        image=[picture(3), picture(4)],
        negative_prompt=NEGATIVE,
        adapter_conditioning_scale=[0.8, 0.4],
        width=64,
        height=64,
        num_inference_steps=20,
        guidance_scale=5.0,
        latents=latents,
        output_type="np",
    ).images[0]
    config = {**pipe.scheduler.config, "_class_name": "DDIMScheduler"}
    scheduler = names.from_config(config, compat="diffusers").scheduler
    ours = load(folder)
    both = ours.with_control(pair[0][1], picture(3), 0.8).with_control(pair[1][1], picture(4), 0.4)
    options = {"negative": NEGATIVE, "steps": 20, "guidance": 5.0, "latents": latents, "scheduler": scheduler}
    made, plain = (one(PROMPT, width=64, height=64, **options) for one in (both, ours))
    assert np.abs(made.arrays[0] - wanted).max() <= 2e-5, family
    assert np.abs(plain.arrays[0] - wanted).max() > 0.01
    told = [one.split(":")[:2] for one in made.recipes[0].adapters.split(", ")]
    assert told == [["control adapter-5", "0.8"], ["control adapter-6", "0.4"]]


def test_beside_a_control_net_both_are_heard(saved, tmp_path):
    family, pipe, folder, ((_, place), _) = saved
    if family != "sd1":
        pytest.skip("as sd1")
    net = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32, 96))
    for tensor in net.parameters():
        tensor.data += 0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2))
    net.save_pretrained(tmp_path / "net")
    adapted = load(folder).with_control(place, picture())
    steered = load(folder).with_control(tmp_path / "net", picture(4))
    both = adapted.with_control(tmp_path / "net", picture(4))
    other = steered.with_control(place, picture())
    options = {"steps": 2, "seed": 1, "width": 64, "height": 64}
    a, b, c, d = (pipe(PROMPT, **options).arrays[0] for pipe in (adapted, steered, both, other))
    assert np.abs(c - d).max() < 1e-5
    assert min(np.abs(c - a).max(), np.abs(c - b).max()) > 1e-3


def test_one_network_with_two_pictures_is_two_adapters(saved):
    family, _, folder, ((_, place), _) = saved
    one = load(folder).with_control(place, picture(3))
    two = one.with_control(place, picture(4))
    first, second = two.model.controls
    shared = two._over(one.model.changed(controls=(first, replace(second, network=first.network))))
    made, wanted = (pipe(PROMPT, steps=2, seed=1, width=64, height=64).arrays[0] for pipe in (shared, two))
    assert np.array_equal(made, wanted), family


def test_settings_that_would_build_for_minutes_are_refused(saved, tmp_path):
    _, _, folder, ((_, place), _) = saved
    model, copy = checkpoints.load(folder), shutil.copytree(place, tmp_path / "adapter")
    described = json.loads((copy / "config.json").read_text())
    for changes, said in {"in_channels": 10**9, "num_res_blocks": 10**6, "adapter_type": "other"}.items():
        (copy / "config.json").write_text(json.dumps(described | {changes: said}))
        with pytest.raises(CheckpointError, match=rf"{changes} is .*[^.]\.$"):
            controlnet.with_control(model, copy, picture())


REAL = {
    "full": PictureAdapterConfig(widths=(8, 16, 32, 32)),
    "grey": PictureAdapterConfig(channels=1, widths=(8, 16, 32, 32)),
    "xl": PictureAdapterConfig(fold=16, widths=(8, 16, 32, 32), halves=(2,)),
    "light": PictureAdapterConfig(widths=(8, 16, 32, 32), blocks=4, light=True),
}


@pytest.mark.parametrize("names_of", ["authors", "diffusers"])
@pytest.mark.parametrize("kind", REAL)
def test_a_file_without_a_description_is_told_by_its_tensors(tmp_path, kind, names_of):
    config = REAL[kind]
    network = PictureAdapter(config)
    layout = layouts.picture_adapter.original(config)
    if names_of == "diffusers":
        layout = layouts.picture_adapter.diffusers()
    tensors = layouts.spread(layout, network.state_dict())
    save_file(tensors, tmp_path / "adapter.safetensors")
    part = controlnet.read(tmp_path / "adapter.safetensors")
    assert part.config == config
    read = controlnet.fill(part, torch.float32, "cpu")
    assert all(torch.equal(tensor, read.state_dict()[name]) for name, tensor in network.state_dict().items())
    torch.save(tensors, tmp_path / "adapter.pth")  # as its authors publish it
    assert controlnet.read(tmp_path / "adapter.pth").config == config
    with pytest.raises(CheckpointError, match="is a T2I-Adapter, which steers a model"):
        checkpoints.load(tmp_path / "adapter.safetensors")


def test_one_of_another_family_is_refused(saved, tmp_path):
    family, _, folder, _ = saved
    _, place = adapter(tmp_path / "other", "sdxl" if family == "sd1" else "sd1", 1)
    with pytest.raises(CheckpointError, match=r"T2I-Adapter 'other' has levels .* Use a T2I-Adapter for SD"):
        controlnet.with_control(checkpoints.load(folder), place, picture())


def test_the_command_line_steers(saved, tmp_path):
    family, _, folder, ((_, place), _) = saved
    if family != "sd1":
        pytest.skip("as sd1")
    picture().save(tmp_path / "edges.png")
    words = ["generate", "a house", "-m", folder, "-s", 7, "--steps", 3, "--size", "64x64"]
    words += ["--t2i-adapter", place, "--control-image", tmp_path / "edges.png", "--control-strength", 0.5]
    assert main([str(word) for word in [*words, "-o", tmp_path / "out.png"]]) == 0
    pipe = load(folder).with_control(place, tmp_path / "edges.png", 0.5)
    wanted = pipe("a house", seed=7, steps=3, width=64, height=64).images[0]
    assert (
        np.abs(np.asarray(Image.open(tmp_path / "out.png"), dtype=int) - np.asarray(wanted, dtype=int)).max()
        <= 1
    )
