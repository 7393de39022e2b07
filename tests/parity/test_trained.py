"""What training writes for Stable Diffusion, read by diffusers and PEFT: all keys have a place, the picture is ours."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from miniature_sd import fresh, ours, pipeline, save, theirs
from unnoise import checkpoints, training
from unnoise.pipelines import load
from unnoise.text import embed
from unnoise.training import TrainConfig, settings
from unnoise.training.tuning_config import SORTS

pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

STEPS = 4
WORDS = ["model.size=48", "run.steps=3", "run.batch=2", "run.device=cpu", "run.sample_every=0"]
WORDS += ["run.checkpoint_every=0"]
WORDS += ["optimizer.warmup=0", "optimizer.decay=constant", "optimizer.ema=0", "loss.caption_dropout=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        Image.new("RGB", (48, 48), (200 * number, 90, 20)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a toy")
    return folder


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, save(pipeline(request.param, folder), folder / "model")


def learn(data, out, *more):
    """The path of what a short run made."""
    *_, last = training.train(data, out, settings.override(TrainConfig(), [*WORDS, *more]))
    return last.model


def test_a_learned_lora_is_all_taken_by_diffusers_and_makes_our_picture(data, saved, tmp_path):
    """Convolutions and all text encoders learn too; every tensor to the bit, the picture within 2e-4 of 1."""
    family, folder = saved
    more = [
        f"lora.model={folder}",
        "lora.rank=3",
        "lora.alpha=6",
        "lora.text_encoder=true",
        "optimizer.lr=0.02",
    ]
    path = learn(data, tmp_path / "run", *more, f"lora.targets={','.join(SORTS)}")
    held, pipe = load_file(path), fresh(folder)
    pipe.load_lora_weights(path)
    taken = Counter(
        tensor.detach().numpy().tobytes()
        for part in ("unet", "text_encoder", "text_encoder_2")
        if getattr(pipe, part, None) is not None
        for name, tensor in getattr(pipe, part).named_parameters()
        if "lora_" in name
    )
    assert taken == Counter(t.numpy().tobytes() for name, t in held.items() if not name.endswith("alpha"))
    picture, base = theirs(pipe, STEPS), load(folder)
    tuned = base.with_lora(path)
    assert np.abs(ours(tuned, pipe.scheduler.config, STEPS) - picture).max() <= 2e-4, family
    assert np.abs(ours(base, pipe.scheduler.config, STEPS) - picture).max() > 0.01
    kept, found = (one.model.network.state_dict() for one in (base, tuned.without_loras()))
    assert all(torch.equal(kept[name], found[name]) for name in kept)


def test_a_learned_dora_is_what_peft_computes(data, saved, tmp_path):
    """diffusers leaves DoRA out of kohya's files and says so; under PEFT's names it makes our picture."""
    family, folder = saved
    if family != "sd1":
        pytest.skip("as sd1")
    path = learn(
        data, tmp_path / "run", f"lora.model={folder}", "lora.rank=3", "lora.dora=true", "optimizer.lr=0.02"
    )
    part = checkpoints.recognise(folder).parts["network"]
    paths = {
        "lora_unet_" + name.removesuffix(".weight").replace(".", "_"): name.removesuffix(".weight")
        for mine in checkpoints.load(folder).network.state_dict()
        for name in part.layout.source(mine).names
    }
    roles = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    tensors = {}
    for name, tensor in load_file(path).items():
        layer, _, role = name.partition(".")
        if role == "dora_scale":
            flat = tensor.flatten()
            whole = flat.view(1, -1, 1, 1) if tensor.ndim == 4 else flat
            tensors[f"unet.{paths[layer]}.lora_magnitude_vector"] = whole
        elif role != "alpha":  # as large as the rank, which is what is taken without one
            tensors[f"unet.{paths[layer]}.{roles[role]}"] = tensor
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "peft.safetensors")
    pipe = fresh(folder)
    pipe.load_lora_weights(tmp_path / "peft.safetensors")
    assert any("magnitude" in name for name, _ in pipe.unet.named_parameters())
    picture = theirs(pipe, STEPS)
    assert np.abs(ours(load(folder).with_lora(path), pipe.scheduler.config, STEPS) - picture).max() <= 2e-4


def test_a_learned_word_means_the_same_to_diffusers(data, saved, tmp_path):
    family, folder = saved
    more = [
        f"word.model={folder}",
        "word.word=<gizmo>",
        "word.like=toy",
        "word.vectors=2",
        "optimizer.lr=0.1",
    ]
    path = learn(data, tmp_path / "run", *more)
    pipe = fresh(folder)
    tokens = [("clip_l", pipe.tokenizer, pipe.text_encoder)]
    if family == "sdxl":
        tokens.append(("clip_g", pipe.tokenizer_2, pipe.text_encoder_2))
        for name, tokenizer, encoder in tokens:
            table = load_file(path)[name]
            pipe.load_textual_inversion(table, token="<gizmo>", tokenizer=tokenizer, text_encoder=encoder)
    else:
        pipe.load_textual_inversion(path)
    taught = load(folder).with_word(path, "<gizmo>" if family == "sdxl" else None)
    for tower, (_, tokenizer, encoder) in zip(taught.model.towers, tokens, strict=True):
        text = pipe.maybe_convert_prompt("a drawing of <gizmo>", tokenizer)
        ids = tokenizer(text, padding="max_length", return_tensors="pt").input_ids
        wanted = encoder(ids).last_hidden_state
        found = embed(tower.encoder, tower.tokenizer, "a drawing of <gizmo>")
        torch.testing.assert_close(found.hidden, wanted, rtol=0, atol=2e-5)


def test_a_fine_tuned_model_is_a_folder_that_diffusers_runs_and_convert_makes_one_file(data, saved, tmp_path):
    family, folder = saved
    if family == "sd2":
        pytest.skip("as sd1")
    more = [f"finetune.model={folder}", "finetune.text_encoder=true", "optimizer.lr=0.003"]
    path = learn(data, tmp_path / "run", *more)
    pipe, tuned = fresh(path), load(path)
    picture = theirs(pipe, STEPS)
    assert np.abs(ours(tuned, pipe.scheduler.config, STEPS) - picture).max() <= 2e-4, family
    assert np.abs(ours(load(folder), pipe.scheduler.config, STEPS) - picture).max() > 0.01
    again = checkpoints.load(tmp_path / "run")  # the run stands for its model
    single = checkpoints.load(checkpoints.convert(path, tmp_path / "one.safetensors"))
    plain = checkpoints.load(folder)
    for name, tensor in tuned.model.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
        assert torch.equal(tensor, single.network.state_dict()[name])
    for mine, before in zip(tuned.model.towers, plain.towers, strict=True):
        one, other = mine.encoder.state_dict(), before.encoder.state_dict()
        assert not torch.equal(one["blocks.0.up.weight"], other["blocks.0.up.weight"])
    kept, found = (model.autoencoder.state_dict() for model in (plain, single))
    assert all(torch.equal(kept[name], found[name]) for name in kept)
