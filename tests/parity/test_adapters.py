"""Pictures with LoRAs beside diffusers' and PEFT's: the same random weights, the same files, twenty steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import adapter_files
import miniature_sd
from miniature_sd import fresh, ours, theirs
from unnoise import checkpoints
from unnoise.checkpoints import adapters
from unnoise.pipelines import load
from unnoise.text import embed

diffusers = pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

FAMILIES = ("sd1", "sd2", "sdxl")
UNET = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "proj_in",
    "proj_out",
    "conv1",
    "conv2",
]
UNET += ["time_emb_proj", "conv_shortcut", "conv_in", "downsamplers.0.conv", "upsamplers.0.conv"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory):
    """(family, the folder of diffusers' pipeline)."""
    folder = tmp_path_factory.mktemp(request.param)
    pipe = miniature_sd.pipeline(request.param, folder)
    return request.param, miniature_sd.save(pipe, folder / "model")


def with_peft(pipe, dora=False):
    """Random adapters of rank 4 in the UNet and rank 2 in the text encoders."""
    parts = {"unet": (4, 2.0, UNET), "text_encoder": (2, 6.0, TEXT), "text_encoder_2": (2, 6.0, TEXT)}
    made = {}
    for part, (rank, alpha, targets) in parts.items():
        network = getattr(pipe, part, None)
        if network is None:
            continue
        config = peft.LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=targets, use_dora=dora, init_lora_weights=False
        )
        network.add_adapter(config)
        for seed, (name, tensor) in enumerate(network.named_parameters()):
            if ".lora_A." in name or ".lora_B." in name:
                tensor.data = adapter_files.normal(*tensor.shape, seed=seed)
            elif ".lora_magnitude_vector." in name:
                tensor.data *= 1.2
        made[part] = network
    return made


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_lora_that_peft_made_and_diffusers_saved_makes_diffusers_picture(saved, tmp_path, dora):
    family, folder = saved
    if dora and family != "sd1":
        pytest.skip("as sd1")
    pipe = fresh(folder)
    made = with_peft(pipe, dora)
    layers = {f"{part}_lora_layers": peft.get_peft_model_state_dict(one) for part, one in made.items()}
    stated = {
        f"{part}_lora_adapter_metadata": one.peft_config["default"].to_dict() for part, one in made.items()
    }
    type(pipe).save_lora_weights(tmp_path, **layers, **stated)
    wanted = theirs(pipe)
    path = tmp_path / "pytorch_lora_weights.safetensors"
    for live in (False, True):
        picture = ours(load(folder).with_lora(path, live=live), pipe.scheduler.config)
        worst = np.abs(picture - wanted).max()
        assert worst <= 2e-4, (family, live, worst)
    plain = ours(load(folder), pipe.scheduler.config, steps=2)
    assert np.abs(plain - ours(load(folder).with_lora(path), pipe.scheduler.config, steps=2)).max() > 0.01


def test_a_kohya_file_makes_diffusers_picture_and_its_weight_means_the_same(saved, tmp_path):
    family, folder = saved
    path = adapter_files.kohya(checkpoints.load(folder), tmp_path / "ink.safetensors", only=attention)
    pipe = fresh(folder)
    pipe.load_lora_weights(path)
    kinds = [name for name in pipe.get_list_adapters() if name in ("unet", "text_encoder", "text_encoder_2")]
    assert {"unet", "text_encoder"} <= set(kinds)
    wanted = theirs(pipe)
    assert np.abs(ours(load(folder).with_lora(path), pipe.scheduler.config) - wanted).max() <= 2e-4
    pipe.set_adapters(pipe.get_active_adapters(), 0.5)
    half = ours(load(folder).with_lora(path, 0.5), pipe.scheduler.config)
    assert np.abs(half - theirs(pipe)).max() <= 2e-4, family


def attention(name):
    return "attn" in name or "mlp" in name or "ff_net" in name or "_proj_" in name


def test_two_at_once_are_what_diffusers_makes_of_two(saved, tmp_path):
    family, folder = saved
    if family != "sd1":
        pytest.skip("as sd1")
    model = checkpoints.load(folder)
    one = adapter_files.kohya(model, tmp_path / "ink.safetensors", only=attention)
    other = adapter_files.kohya(model, tmp_path / "light.safetensors", rank=2, alpha=None, only=attention)
    pipe = fresh(folder)
    pipe.load_lora_weights(one, adapter_name="ink")
    pipe.load_lora_weights(other, adapter_name="light")
    pipe.set_adapters(["ink", "light"], [0.8, -0.3])
    made = load(folder).with_loras([("ink", 0.8), ("light", -0.3)], folder=tmp_path)
    assert np.abs(ours(made, pipe.scheduler.config) - theirs(pipe)).max() <= 2e-4


def test_a_folder_that_peft_wrote_is_the_same_adapter(saved, tmp_path):
    family, folder = saved
    if family != "sd1":
        pytest.skip("as sd1")
    unet = fresh(folder).unet
    config = peft.LoraConfig(r=4, lora_alpha=3, target_modules=["to_q", "to_v"], use_rslora=True)
    wrapped = peft.get_peft_model(unet, config)
    for seed, (name, tensor) in enumerate(wrapped.named_parameters()):
        if "lora_" in name:
            tensor.data = adapter_files.normal(*tensor.shape, seed=seed)
    wrapped.save_pretrained(tmp_path)
    found = adapters.adapt(checkpoints.load(folder), [(tmp_path, 1.0)]).network.state_dict()
    merged = wrapped.merge_and_unload().state_dict()
    layout = checkpoints.recognise(folder).parts["network"].layout
    for name, tensor in found.items():
        rows = torch.cat([merged[name] for name in layout.source(name).names])
        torch.testing.assert_close(tensor, rows.reshape(tensor.shape), rtol=0, atol=1e-6)


def test_a_checkpoint_with_a_lora_merged_in_loads_in_diffusers_in_both_layouts(saved, tmp_path):
    family, folder = saved
    path = adapter_files.kohya(checkpoints.load(folder), tmp_path / "ink.safetensors", only=attention)
    asked = [(path, 0.8)]
    again = checkpoints.convert(folder, tmp_path / "again", loras=asked)
    single = checkpoints.convert(folder, tmp_path / "single.safetensors", loras=asked)
    wanted = load(folder).with_loras(asked)
    adapted = wanted.model.network.state_dict()
    for place in (again, single):
        found = checkpoints.load(place).network.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in adapted.items())
    pipe = fresh(again)
    assert np.abs(ours(wanted, pipe.scheduler.config, steps=4) - theirs(pipe, steps=4)).max() <= 2e-4
    layout = checkpoints.recognise(again).parts["network"].layout
    state = pipe.unet.state_dict()
    spread = checkpoints.layouts.spread(layout, adapted)
    assert all(torch.equal(state[name], tensor) for name, tensor in spread.items()), family


FORMS = {
    "a1111.pt": lambda table, path: torch.save(
        {"string_to_param": {"*": table}, "name": "inkstyle", "step": 3}, path
    ),
    "inkstyle.safetensors": lambda table, path: save_file({"emb_params": table}, path),
    "diffusers.safetensors": lambda table, path: save_file({"inkstyle": table}, path),
    "learned_embeds.bin": lambda table, path: torch.save({"inkstyle": table}, path),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_word_of_two_vectors_is_embedded_as_diffusers_does(tmp_path_factory, tmp_path, name):
    folder = tmp_path_factory.getbasetemp() / "words-model"
    if not folder.exists():
        miniature_sd.save(miniature_sd.pipeline("sd1", tmp_path), folder)
    table = adapter_files.normal(2, 64, scale=0.5)
    FORMS[name](table, tmp_path / name)
    pipe = fresh(folder)
    pipe.load_textual_inversion({"inkstyle": table}, token="inkstyle")
    text = pipe.maybe_convert_prompt("a drawing in inkstyle, blurry", pipe.tokenizer)
    ids = pipe.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
    wanted = pipe.text_encoder(ids).last_hidden_state
    taught = load(folder).with_word(tmp_path / name)
    tower = taught.model.towers[0]
    found = embed(tower.encoder, tower.tokenizer, "A drawing in Inkstyle, blurry")
    torch.testing.assert_close(found.hidden, wanted, rtol=0, atol=2e-5)
    plain = load(folder).model.towers[0]
    assert (
        embed(plain.encoder, plain.tokenizer, "a drawing in inkstyle, blurry").hidden - wanted
    ).abs().max() > 0.01
