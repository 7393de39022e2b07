"""Whole pictures beside diffusers' pipelines: the same random weights, the same latents, twenty steps."""

from __future__ import annotations

import copy
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import miniature_sd
from unnoise import checkpoints
from unnoise.checkpoints import layouts
from unnoise.pipelines import load
from unnoise.schedulers import names

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity

FAMILIES = {"sd1": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}
PROMPT, NEGATIVE = "a red apple on a wooden table", "blurry"
SCHEDULERS = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
}


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory):
    """(family, diffusers' pipeline, its folder)."""
    folder = tmp_path_factory.mktemp(request.param)
    pipe = miniature_sd.pipeline(request.param, folder, FAMILIES[request.param])
    return request.param, pipe, miniature_sd.save(pipe, folder / "model")


def latents(count=2):
    return torch.randn((count, 4, 16, 16), generator=torch.Generator().manual_seed(1))


def theirs(pipe, prompts, negatives, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipe(
            prompts,
            negative_prompt=negatives,
            num_inference_steps=20,
            guidance_scale=5.0,
            latents=latents(len(prompts)),
            output_type="np",
            **options,
        ).images


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_twenty_steps_make_diffusers_picture(saved, kind):
    family, pipe, folder = saved
    # Euler's own spacing starts from noise of another scale than the latents that both are given
    pipe.scheduler = SCHEDULERS[kind].from_config(pipe.scheduler.config, timestep_spacing="leading")
    config = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    scheduler = names.from_config(config, compat="diffusers").scheduler
    prompts, negatives = [PROMPT, "the sea"], [NEGATIVE, "people"]
    made = load(folder)(
        prompts, negative=negatives, steps=20, guidance=5.0, latents=latents(), scheduler=scheduler
    )
    wanted = theirs(pipe, prompts, negatives)
    assert wanted.std() > 0.05  # a picture, not a plane
    worst = np.abs(np.stack(made.arrays) - wanted).max()
    assert worst <= 2e-5, (family, worst)


def test_a_size_that_the_levels_cannot_halve_makes_diffusers_picture(saved):
    """Latents of 18x14: 9x7 and 5x4 below."""
    family, pipe, folder = saved
    config = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    scheduler = names.from_config(config, compat="diffusers").scheduler
    start = torch.randn((1, 4, 14, 18), generator=torch.Generator().manual_seed(1))
    options = {"steps": 4, "guidance": 5.0, "width": 72, "height": 56}
    made = load(folder)(PROMPT, negative=NEGATIVE, latents=start, scheduler=scheduler, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = pipe(
            PROMPT,
            negative_prompt=NEGATIVE,
            num_inference_steps=4,
            guidance_scale=5.0,
            latents=start,
            width=72,
            height=56,
            output_type="np",
        ).images
    assert made.arrays[0].shape == (56, 72, 3)
    assert np.abs(made.arrays[0] - wanted[0]).max() <= 2e-5, family


def test_an_empty_negative_prompt_means_what_it_means_there(saved):
    _, pipe, folder = saved
    config = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    scheduler = names.from_config(config, compat="diffusers").scheduler
    made = load(folder)(PROMPT, steps=20, guidance=5.0, latents=latents(1), scheduler=scheduler)
    wanted = theirs(pipe, [PROMPT], None)
    assert np.abs(made.arrays[0] - wanted[0]).max() <= 2e-5


def test_a_single_file_and_the_folder_make_the_same_picture_to_the_bit(saved, tmp_path):
    family, _, folder = saved
    path = tmp_path / "model.safetensors"
    prediction = "v" if family == "sd2" else "epsilon"
    save_file(single_file(folder, family), path, metadata={"modelspec.prediction_type": prediction})
    options = {"steps": 5, "guidance": 5.0, "latents": latents(1), "width": 64, "height": 64}
    one, other = (load(place)(PROMPT, negative=NEGATIVE, **options).arrays[0] for place in (folder, path))
    assert np.array_equal(one, other)


def single_file(folder, family):
    """The folder's tensors in the original layout, with what real files hold beside them."""
    model = checkpoints.load(folder)
    projection = family != "sd1"
    parts = [
        (model.network, layouts.unet.original(model.network.config, projection)),
        (model.autoencoder, layouts.autoencoder.original(3)),
    ]
    first = layouts.text.transformers("cond_stage_model.transformer.")
    if family == "sd2":
        first = layouts.text.open_clip("cond_stage_model.model.")
    if family == "sdxl":
        first = layouts.text.transformers("conditioner.embedders.0.transformer.")
        parts.append((model.more_text[0].encoder, layouts.text.open_clip("conditioner.embedders.1.model.")))
    parts.append((model.text_encoder, first))
    tensors = {}
    for network, layout in parts:
        tensors |= layouts.spread(layout, network.state_dict())
    if family == "sd2":  # the layer that is never used, and the projection
        last = {name: t for name, t in tensors.items() if ".resblocks.2." in name}
        tensors |= {name.replace("blocks.2.", "blocks.3."): t * 0 for name, t in last.items()}
        tensors["cond_stage_model.model.text_projection"] = torch.zeros(64, 64)
    tensors["model_ema.decay"] = torch.zeros(1)
    tensors["alphas_cumprod"] = torch.zeros(1000)
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def test_half_precision_shards_and_old_names_are_the_same_model(saved, tmp_path):
    """Folders from before diffusers 0.18 have other names for the autoencoder's attention."""
    _, pipe, folder = saved
    sharded = miniature_sd.save(pipe, tmp_path / "shards", max_shard_size="200KB")
    assert len(list((sharded / "unet").glob("*.safetensors"))) > 1
    old = sharded / "vae"
    tensors = {}
    for path in old.glob("*.safetensors"):
        tensors |= load_file(path)
        path.unlink()
    for path in old.glob("*.index.json"):
        path.unlink()
    for new, before in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        tensors = {name.replace(f".{new}.", f".{before}."): t for name, t in tensors.items()}
    save_file(tensors, old / "diffusion_pytorch_model.safetensors")
    a, b = (states(checkpoints.load(place)) for place in (folder, sharded))
    assert all(torch.equal(a[name], b[name]) for name in a)
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    for path in half.glob("*/*.safetensors"):
        short = {name: tensor.half() for name, tensor in load_file(path).items()}
        path.unlink()
        save_file(short, path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    c = states(checkpoints.load(half))
    assert all(torch.equal(a[name].half().float(), c[name]) for name in a)


def states(model):
    parts = {"network": model.network, "autoencoder": model.autoencoder}
    parts |= {f"text{place}": tower.encoder for place, tower in enumerate(model.towers)}
    return {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}


def test_previews_have_the_picture_s_size(saved):
    _, _, folder = saved
    run = load(folder).denoise(PROMPT, steps=4, seed=1, width=64, height=80)
    looks = [step.preview() for step in run]
    assert {look.size for look in looks} == {(64, 80)} == {run.result().images[0].size}


def test_converted_there_and_back_every_number_is_the_same_to_the_bit(saved, tmp_path):
    family, _, folder = saved
    single = checkpoints.convert(folder, tmp_path / "single.safetensors")
    again = checkpoints.convert(single, tmp_path / "again")
    a, b, c = (states(checkpoints.load(place)) for place in (folder, single, again))
    assert a.keys() == b.keys() == c.keys()
    assert all(torch.equal(a[name], b[name]) and torch.equal(a[name], c[name]) for name in a)
    for part in ("unet", "vae"):
        (one,), (other,) = ((place / part).glob("*.safetensors") for place in (folder, again))
        one, other = load_file(one), load_file(other)
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert checkpoints.recognise(again).prediction == ("velocity" if family == "sd2" else "noise")


def test_diffusers_makes_the_same_picture_of_what_was_converted(saved, tmp_path):
    family, pipe, folder = saved
    single = checkpoints.convert(folder, tmp_path / "single.safetensors")
    again = checkpoints.convert(single, tmp_path / "again")
    size = {"height": 64, "width": 64}  # a single file does not tell it, and XL is told it
    wanted = theirs(pipe, [PROMPT], [NEGATIVE], **size)
    kind = type(pipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {} if family == "sdxl" else {"safety_checker": None}
        other = kind.from_pretrained(again, **options)
    other.set_progress_bar_config(disable=True)
    other.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    assert np.array_equal(theirs(other, [PROMPT], [NEGATIVE], **size), wanted)


def test_diffusers_makes_the_same_picture_of_the_single_file_that_was_converted(saved, tmp_path):
    family, pipe, folder = saved
    single = checkpoints.convert(folder, tmp_path / "single.safetensors")
    size = {"height": 64, "width": 64}
    options = {"safety_checker": None}
    if family == "sdxl":
        options = {"text_encoder_2": second_encoder(pipe, single)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = type(pipe).from_single_file(str(single), config=str(folder), local_files_only=True, **options)
    other.set_progress_bar_config(disable=True)
    other.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    wanted = theirs(pipe, [PROMPT], [NEGATIVE], **size)
    assert np.abs(theirs(other, [PROMPT], [NEGATIVE], **size) - wanted).max() <= 1e-5


def second_encoder(pipe, single):
    """By diffusers' own converter alone: the pipeline tells XL's encoders apart by width, and these have the same."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    encoder = copy.deepcopy(pipe.text_encoder_2)
    for tensor in encoder.parameters():
        tensor.data.fill_(torch.nan)  # so that what the file lacks is seen
    found = convert_open_clip_checkpoint(encoder, load_file(single), prefix="conditioner.embedders.1.model.")
    encoder.load_state_dict(found)
    return encoder
