"""ControlNets beside diffusers': the same random weights, the same picture to steer by."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import miniature_sd
from unnoise import checkpoints
from unnoise.checkpoints import controlnet, layouts
from unnoise.cli import main
from unnoise.errors import CheckpointError, InputError
from unnoise.pipelines import load
from unnoise.schedulers import names

diffusers = pytest.importorskip("diffusers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

WEIGHTS = "diffusion_pytorch_model.safetensors"
PROMPT, NEGATIVE = "a red apple on a wooden table", "blurry"


def control_of(unet, folder, seed):
    """A ControlNet for this UNet, its zero convolutions no longer zero; its folder."""
    torch.manual_seed(seed)
    made = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96))
    for tensor in made.parameters():
        tensor.data += 0.05 * torch.randn(tensor.shape)
    made.eval().save_pretrained(folder)
    return made, folder


def picture(seed=3):
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def saved(request, tmp_path_factory):
    """(family, diffusers' pipeline, its folder, two ControlNets with their folders)."""
    folder = tmp_path_factory.mktemp(request.param)
    pipe = miniature_sd.pipeline(request.param, folder)
    place = miniature_sd.save(pipe, folder / "model")
    controls = [control_of(pipe.unet, folder / f"control-{seed}", seed) for seed in (5, 6)]
    return request.param, pipe, place, controls


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9)])
def test_what_it_adds_is_what_diffusers_adds(saved, height, width):
    family, _, folder, ((theirs, place), _) = saved
    model = controlnet.with_control(checkpoints.load(folder), place, picture())
    network = model.controls[0].network
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, height, width, generator=generator)
    hint = torch.rand(2, 3, 4 * height, 4 * width, generator=generator)
    text = torch.randn(2, 77, model.network.config.text_width, generator=generator)
    pooled, more = None, {}
    if family == "sdxl":
        vector, ids = torch.randn(2, 32, generator=generator), torch.tensor([[32.0, 32, 0, 0, 32, 32]] * 2)
        more = {"added_cond_kwargs": {"text_embeds": vector, "time_ids": ids}}
        sines = theirs.add_time_proj(ids.flatten()).reshape(2, -1)
        pooled = torch.cat([vector, sines], dim=1)
    with torch.inference_mode():
        skips, middle = theirs(x, torch.tensor([500, 500]), text, hint, return_dict=False, **more)
        found = network.residuals(x, torch.tensor([500, 500]), hint, network.remember(text), pooled)
    for one, other in zip((*found.skips, found.middle), (*skips, middle), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_two_at_once_with_strengths_and_shares_of_the_steps_make_diffusers_picture(saved):
    family, pipe, folder, controls = saved
    kind = "StableDiffusionXLControlNetPipeline" if family == "sdxl" else "StableDiffusionControlNetPipeline"
    parts = {**pipe.components, "controlnet": [net for net, _ in controls]}
    parts.pop("image_encoder", None)
    theirs = getattr(diffusers, kind)(**parts)
    theirs.set_progress_bar_config(disable=True)
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    options = {"num_inference_steps": 20, "guidance_scale": 5.0, "latents": latents, "output_type": "np"}
    wanted = theirs(
        PROMPT,
        image=[picture(3), picture(4)],
        negative_prompt=NEGATIVE,
        controlnet_conditioning_scale=[0.8, 0.4],
        control_guidance_start=[0.0, 0.2],
        control_guidance_end=[0.75, 1.0],
        width=32,
        height=32,
        **options,
    ).images[0]
    config = {**pipe.scheduler.config, "_class_name": "DDIMScheduler"}
    scheduler = names.from_config(config, compat="diffusers").scheduler
    ours = load(folder)
    both = ours.with_control(controls[0][1], picture(3), 0.8, end=0.75)
    both = both.with_control(controls[1][1], picture(4), 0.4, start=0.2)
    options = {"negative": NEGATIVE, "steps": 20, "guidance": 5.0, "latents": latents, "scheduler": scheduler}
    made, plain = (one(PROMPT, width=32, height=32, **options) for one in (both, ours))
    assert np.abs(made.arrays[0] - wanted).max() <= 2e-4, family
    assert np.abs(plain.arrays[0] - wanted).max() > 0.01
    told = r"control control-5:0\.8:\w{12}:\w{12}:0-0\.75, control control-6:0\.4:\w{12}:\w{12}:0\.2-1"
    assert re.fullmatch(told, made.recipes[0].adapters)


def test_a_single_file_is_the_folder_to_the_bit_and_another_family_is_refused(saved, tmp_path):
    family, _, folder, ((_, place), _) = saved
    model = checkpoints.load(folder)
    network = controlnet.with_control(model, place, picture()).controls[0].network
    layout = layouts.control.original(network.config, family == "sdxl", "control_model.")
    tensors = layouts.spread(layout, network.state_dict())
    assert {"control_model.input_hint_block.0.weight", "control_model.middle_block_out.0.bias"} <= set(
        tensors
    )
    assert "control_model.zero_convs.0.0.weight" in tensors
    assert "control_model.input_blocks.0.0.weight" in tensors
    path = tmp_path / "edges.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    # nothing in a file tells the number of heads; both miniatures have those of their family
    single = controlnet.with_control(model, path, picture()).controls[0].network
    for name, tensor in network.state_dict().items():
        assert torch.equal(single.state_dict()[name], tensor), name
    config = json.loads((place / "config.json").read_text())
    assert config["_class_name"] == "ControlNetModel"
    with pytest.raises(CheckpointError, match=r"fits another model .*Use a ControlNet for SD 2"):
        controlnet.with_control(checkpoints.load(other(tmp_path)), place, picture())
    short = load_file(path)
    short.pop("control_model.zero_convs.0.0.weight")
    save_file(short, tmp_path / "short.safetensors")
    with pytest.raises(CheckpointError, match="lacks"):
        controlnet.with_control(model, tmp_path / "short.safetensors", picture())


def test_a_single_file_in_diffusers_names_needs_no_description(saved, tmp_path):
    """And it is the file that was given which is read, though another and a description stand beside it."""
    _, _, folder, ((_, place), _) = saved
    model = checkpoints.load(folder)
    wanted = controlnet.with_control(model, place, picture()).controls[0].network.state_dict()
    alone = tmp_path / "alone" / "edges.safetensors"
    beside = shutil.copytree(place, tmp_path / "beside") / "edges.safetensors"
    foreign = tmp_path / "foreign" / "edges.safetensors"
    tensors = {name: 2 * tensor for name, tensor in load_file(place / WEIGHTS).items()}
    for path in (alone, beside, foreign):
        path.parent.mkdir(exist_ok=True)
        save_file(tensors, path)
    (foreign.parent / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    for path in (alone, beside, foreign):
        control = controlnet.with_control(model, path, picture()).controls[0]
        assert all(
            torch.equal(tensor, 2 * wanted[name]) for name, tensor in control.network.state_dict().items()
        )
        assert control.files == (path,)
    with pytest.raises(CheckpointError, match=r"in diffusers' names\. Use one for the loaded model"):
        controlnet.with_control(checkpoints.load(other(tmp_path)), alone, picture())


def other(tmp_path):
    return miniature_sd.save(miniature_sd.pipeline("sd2", tmp_path), tmp_path / "other")


@pytest.mark.parametrize("levels", [[10**9] * 3, [16] * 100_000])
def test_levels_that_would_build_for_minutes_are_refused(saved, tmp_path, levels):
    _, _, folder, ((_, place), _) = saved
    copy = shutil.copytree(place, tmp_path / "control")
    described = json.loads((copy / "config.json").read_text())
    described["conditioning_embedding_out_channels"] = levels
    (copy / "config.json").write_text(json.dumps(described))
    with pytest.raises(
        CheckpointError, match=r"out_channels is .*; at most 131,072 is read, and 100 in a list"
    ):
        controlnet.with_control(checkpoints.load(folder), copy, picture())


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lora_controlnet", "a Control-LoRA, which is not read here"),
        ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter, which is not read here"),
        ("lora_unet_x.lora_up.weight", "a LoRA"),
    ],
)
def test_what_else_people_take_for_a_control_net_is_named(saved, tmp_path, name, what):
    _, _, folder, _ = saved
    tensors = {name: torch.zeros(1), "input_hint_block.0.weight": torch.zeros(16, 3, 3, 3)}
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=f"is {what}.*; give a file of a ControlNet or T2I-Adapter"):
        controlnet.with_control(checkpoints.load(folder), tmp_path / "other.safetensors", picture())


def test_numbers_out_of_range_are_refused(saved):
    _, _, folder, ((_, place), _) = saved
    pipe = load(folder)
    with pytest.raises(InputError, match="strength is 3"):
        pipe.with_control(place, picture(), 3)
    with pytest.raises(InputError, match="start and end"):
        pipe.with_control(place, picture(), start=0.5, end=0.5)


def test_the_command_line_steers_and_knows_a_new_word(saved, tmp_path):
    family, _, folder, ((_, place), _) = saved
    if family != "sd1":
        pytest.skip("as sd1")
    picture().save(tmp_path / "edges.png")
    save_file({"emb_params": torch.ones(2, 64)}, tmp_path / "inkstyle.safetensors")
    words = ["generate", "a house in inkstyle", "-m", folder, "-s", 7, "--steps", 3, "--size", "32x32"]
    words += ["--control", place, "--control-image", tmp_path / "edges.png", "--control-strength", 0.5]
    words += ["--control-range", "0-0.7", "--embedding", tmp_path / "inkstyle.safetensors"]
    assert main([str(word) for word in [*words, "-o", tmp_path / "out.png"]]) == 0
    pipe = load(folder).with_word(tmp_path / "inkstyle.safetensors")
    pipe = pipe.with_control(place, tmp_path / "edges.png", 0.5, end=0.7)
    wanted = pipe("a house in inkstyle", seed=7, steps=3, width=32, height=32).images[0]
    made = np.asarray(Image.open(tmp_path / "out.png"), dtype=int)
    assert np.abs(made - np.asarray(wanted, dtype=int)).max() <= 1
