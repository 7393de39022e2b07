"""Stable Diffusion files that are whole, and those that are not: each is accounted for or refused by name."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import miniature_file
from miniature_file import TEXT, UNET, VAE
from unnoise import checkpoints
from unnoise.checkpoints import controlnet, hashes, layouts, summary
from unnoise.checkpoints.blueprint import Part, sinusoid_width
from unnoise.checkpoints.building import outline
from unnoise.cli import main
from unnoise.errors import CheckpointError, FileError, InputError
from unnoise.networks import AutoEncoder, TextEncoder, UNet, UNetConfig

WORDS = "cond_stage_model.transformer.text_model.embeddings.token_embedding"
UNET_PREFIX = "model.diffusion_model."
BIAS = f"{UNET_PREFIX}out.2.bias"
ATTENTION = "1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture(scope="module")
def whole():
    """A miniature of Stable Diffusion 1 in the layout of a single file."""
    return miniature_file.tensors()


def refused(path, words, prediction=None):
    """Loading says these words, and leaves nothing beside the file."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(path, prediction=prediction)
    assert sorted(path.parent.rglob("*")) == before


def write(path, content):
    path.write_bytes(content)
    return path


def test_a_single_file_says_what_it_is(whole, tmp_path):
    save_file(whole, tmp_path / "mini.safetensors")
    found = checkpoints.recognise(tmp_path / "mini.safetensors")
    assert found.family == "Stable Diffusion 1"
    assert {name: part.config for name, part in found.parts.items()} == {
        "network": UNET,
        "autoencoder": VAE,
        "text_encoder": TEXT,
    }
    model = checkpoints.load(tmp_path / "mini.safetensors")
    assert torch.equal(model.network.conv_out.bias, whole[BIAS])
    assert (model.shape, model.factor, model.prediction, model.name) == ((4, 64, 64), 2, "noise", "mini")
    assert len(model.fingerprint()) == 64


def test_the_weights_take_the_dtype_asked_for_and_channels_last(whole, tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in whole.items()}, path)
    model = checkpoints.load(path, dtype=torch.bfloat16)
    weight = model.network.conv_in.weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(weight, whole["model.diffusion_model.input_blocks.0.0.weight"].half().bfloat16())
    assert checkpoints.load(path).network.dtype == torch.float32


def test_each_load_has_weights_of_its_own(whole, tmp_path):
    """Though the outline whose shapes were compared is what the first load fills."""
    save_file(whole, tmp_path / "model.safetensors")
    found = checkpoints.recognise(tmp_path / "model.safetensors")
    found.check()
    one, other, third = (found.load(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float32))
    one.network.conv_in.weight.zero_()
    assert (one.network.dtype, other.network.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(third.network.conv_in.weight, whole[f"{UNET_PREFIX}input_blocks.0.0.weight"])
    assert torch.equal(other.network.conv_in.weight, third.network.conv_in.weight.bfloat16())


def test_loading_leaves_python_s_collector_as_it_was(whole, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(whole, path)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for on in (True, False):
        (gc.enable if on else gc.disable)()
        try:
            checkpoints.load(path)
            refused(tmp_path / "other.safetensors", "no model that is known here")
            assert gc.isenabled() == on
        finally:
            gc.enable()


def test_a_ckpt_with_tensors_alone_is_the_same_model(whole, tmp_path):
    torch.save({"state_dict": whole, "global_step": 7}, tmp_path / "old.ckpt")
    model = checkpoints.load(tmp_path / "old.ckpt")
    assert torch.equal(model.network.conv_out.bias, whole[BIAS])


def test_a_model_in_a_lora_s_place_is_told_as_one(whole, tmp_path):
    save_file(whole, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="it is a model, for --model"):
        checkpoints.convert("digits", tmp_path / "out", loras=[(tmp_path / "model.safetensors", 1.0)])


def test_a_ckpt_becomes_a_safetensors_file_of_the_same_numbers(whole, tmp_path):
    torch.save({"state_dict": whole}, tmp_path / "old.ckpt")
    made = checkpoints.convert(tmp_path / "old.ckpt", tmp_path / "new.safetensors")
    found = load_file(made)
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        checkpoints.convert(made, tmp_path / "again.ckpt")


@pytest.mark.parametrize("name", ["text_projection", "transformer.text_projection.weight", "logit_scale"])
def test_what_tools_keep_of_clip_beside_what_is_read_is_no_fault(whole, tmp_path, name):
    save_file(whole | {f"cond_stage_model.{name}": torch.zeros(64, 64)}, tmp_path / "merged.safetensors")
    assert checkpoints.load(tmp_path / "merged.safetensors").name == "merged"


def test_an_old_checkpoint_is_inspected_like_a_new_one(whole, tmp_path):
    more = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save({"state_dict": whole | more}, tmp_path / "old.ckpt")
    summary = checkpoints.inspect(tmp_path / "old.ckpt")
    assert (summary.kind, summary.details["family"]) == ("checkpoint", "Stable Diffusion 1")
    assert summary.dtypes == {"I64": 77, "F32": sum(t.numel() for t in whole.values())}


def test_inspect_knows_a1111_s_embedding(tmp_path):
    torch.save({"string_to_param": {"*": torch.zeros(2, 64)}, "name": "ink"}, tmp_path / "ink.pt")
    summary = checkpoints.inspect(tmp_path / "ink.pt")
    assert (summary.tensors, summary.parameters) == (1, 128)
    assert summary.details["what"].startswith("a word of a textual inversion")


@pytest.mark.parametrize(
    ("name", "shape", "fits"),
    [
        (f"control_model.input_blocks.1.{ATTENTION}", (32, 768), "SD 1.5 (text of width 768)"),
        (f"control_model.input_blocks.1.{ATTENTION}", (32, 64), "another model (text of width 64)"),
        (f"down_blocks.0.attentions.{ATTENTION}", (32, 2048), "SDXL (text of width 2048)"),
        ("emb_params", (2, 1024), "SD 2 (text of width 1024)"),
        ("clip_g", (2, 1280), "SDXL"),
        ("<my-cat>", (768,), "SD 1.5 (text of width 768)"),
        ("emb_params", (), None),
        ("control_model.zero_convs.0.0.weight", (4, 4, 1, 1), None),
    ],
)  # fmt: skip
def test_inspect_tells_for_which_family_a_part_or_a_word_is(tmp_path, name, shape, fits):
    save_file({name: torch.zeros(shape)}, tmp_path / "part.safetensors")
    found = checkpoints.inspect(tmp_path / "part.safetensors").details
    assert found["what"]
    assert found.get("fits") == fits


def test_a_safetensors_file_with_a_pickle_s_name_is_told_as_one(whole, tmp_path):
    save_file(whole, tmp_path / "model.ckpt")
    refused(tmp_path / "model.ckpt", "safetensors file under another name; let it end in .safetensors")


def test_endings_in_capitals_and_others(whole, tmp_path):
    save_file(whole, tmp_path / "MODEL.SAFETENSORS")
    assert checkpoints.load(tmp_path / "MODEL.SAFETENSORS").name == "MODEL"
    save_file(whole, tmp_path / "model.sft")
    assert "let it end in .safetensors" in checkpoints.inspect(tmp_path / "model.sft").details["problem"]


def test_a_file_of_any_kind_that_is_read_is_found_by_its_hash(tmp_path):
    """ControlNet's own files are .pth; one that cannot be read is passed over."""
    (tmp_path / "control.pth").write_bytes(b"weights")
    digest = hashes.sha256_of(tmp_path / "control.pth")[: hashes.DIGITS]
    (tmp_path / "a.safetensors").mkdir()
    assert hashes.weights_in(tmp_path, digest) == tmp_path / "control.pth"


def test_a_vector_that_text_and_sizes_cannot_make_up_is_told_with_its_place():
    network = UNetConfig(widths=(32,), pooled_width=65)
    parts = {
        name: Part(config, layouts.Layout(str), (), Path(f"xl/{name}"))
        for name, config in (("network", network), ("text_encoder_2", TEXT))
    }
    with pytest.raises(CheckpointError, match="'xl/network': the network reads a vector of 65"):
        sinusoid_width(parts, 6)


def changes(whole):
    """Each fault with the words that its refusal must hold."""
    one = torch.zeros(1)
    return {
        "missing": ({k: v for k, v in whole.items() if k != BIAS}, f"lacks '{BIAS}'"),
        "extra": (whole | {"strange": one}, "has extra 'strange'"),
        "shape": (
            whole | {BIAS: torch.zeros(5)},
            r"'model.diffusion_model.out.2.bias' is F32 of shape \[5\]; \[4\]",
        ),
        "kind": (whole | {BIAS: torch.zeros(4, dtype=torch.int64)}, "is I64 of shape"),
        "nan": (whole | {BIAS: torch.full((4,), torch.nan)}, "not finite"),
        "inf": (whole | {BIAS: torch.tensor([0, 0, 0, torch.inf])}, "not finite"),
        "depth": (
            whole | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 5, 3, 3)},
            "takes 5 channels",
        ),
        "no autoencoder": (
            {k: v for k, v in whole.items() if "first_stage" not in k},
            r"'.*model\.safetensors' is no model that can be built: the tensor 'encoder\.conv_in",
        ),
        "no text": (
            {k: v for k, v in whole.items() if "cond_stage" not in k},
            "holds a UNet but no text encoder",
        ),
        "scalar": (
            whole | {"model.diffusion_model.input_blocks.1.0.out_layers.3.weight": torch.zeros(())},
            "no model that can be built",
        ),
        "no width": (whole | {f"{WORDS}.weight": torch.zeros(0, 0)}, "no model that can be built"),
        "four axes": (whole | {f"{WORDS}.weight": torch.zeros(1, 1, 1, 1)}, "no model that can be built"),
        "lora": ({"lora_unet_x.lora_up.weight": one}, "is a LoRA"),
        "flux": ({"double_blocks.0.img_attn.qkv.weight": one}, "is Flux"),
        "unet alone": ({"down_blocks.0.resnets.0.conv1.weight": one}, "is a UNet alone"),
        "vae alone": ({"decoder.conv_in.weight": one}, "an autoencoder alone"),
        "nothing": ({"x": one}, "no model that is known here"),
    }


@pytest.mark.parametrize(
    "fault",
    [
        "missing",
        "extra",
        "shape",
        "kind",
        "nan",
        "inf",
        "depth",
        "no autoencoder",
        "no text",
        "scalar",
        "no width",
        "four axes",
        "lora",
        "flux",
        "unet alone",
        "vae alone",
        "nothing",
    ],
)
def test_a_file_that_cannot_be_accounted_for_is_refused_with_the_name(whole, tmp_path, fault):
    tensors, words = changes(whole)[fault]
    path = tmp_path / "model.safetensors"
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    refused(path, words)


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path):
    entry = '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    text = entry + " " * (0x0480 - len(entry) - 1) + "}"
    path = write(tmp_path / "x.safetensors", (0x0480).to_bytes(8, "little") + text.encode() + bytes(4))
    refused(path, "no model that is known here")


def test_what_the_file_says_of_its_prediction_can_be_overruled(whole, tmp_path):
    save_file(whole, tmp_path / "v.safetensors", metadata={"modelspec.prediction_type": "v"})
    assert checkpoints.load(tmp_path / "v.safetensors").prediction == "velocity"
    assert checkpoints.load(tmp_path / "v.safetensors", prediction="noise").prediction == "noise"
    with pytest.raises(
        InputError, match="prediction is 'v'; give one of noise, velocity, sample, or leave it out"
    ):
        checkpoints.load(tmp_path / "v.safetensors", prediction="v")


@pytest.mark.parametrize(("kind", "marks"), [("epsilon", set()), ("v", {"v_pred"})])
def test_a_converted_file_has_the_mark_of_velocity_that_comfyui_looks_for(whole, tmp_path, kind, marks):
    save_file(whole, tmp_path / "model.safetensors", metadata={"modelspec.prediction_type": kind})
    folder = checkpoints.convert(tmp_path / "model.safetensors", tmp_path / "model")
    tensors = load_file(checkpoints.convert(folder, tmp_path / "again.safetensors"))
    assert set(tensors) - set(whole) == marks
    save_file(tensors, tmp_path / "bare.safetensors")  # the tensors alone tell it
    assert checkpoints.load(tmp_path / "bare.safetensors").prediction == {"v": "velocity"}.get(kind, "noise")


def test_inspect_tells_the_family_and_what_it_needs_or_why_it_cannot_be_used(whole, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_file(whole, path, metadata={"modelspec.title": "mine"})
    summary = checkpoints.inspect(path)
    assert summary.kind == "checkpoint"
    facts = summary.details
    assert (facts["family"], facts["predicts"], facts["pictures"]) == (
        "Stable Diffusion 1",
        "noise",
        "128x128",
    )
    assert facts["modelspec.title"] == "mine"
    assert facts["defaults"] == {"steps": 20, "guidance": 7.5, "scheduler": "DPM++ 2M"}
    numbers = sum(tensor.numel() for tensor in whole.values())
    assert facts["needs"] == (
        f"a prompt; {2e-9 * numbers:.3g} GB of memory for its weights in bfloat16, {4e-9 * numbers:.3g} in float32"
    )
    assert main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert f"needs       {facts['needs']}" in told
    assert "defaults    steps 20, guidance 7.5, scheduler DPM++ 2M" in told
    assert sum(facts["parts"].values()) == summary.parameters == sum(t.numel() for t in whole.values())
    assert summary.sha256 == checkpoints.load(path).fingerprint()
    save_file({name: tensor for name, tensor in whole.items() if name != BIAS}, path)
    assert f"lacks '{BIAS}'" in checkpoints.inspect(path).details["problem"]
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(1)}, path)
    assert checkpoints.inspect(path).details["what"].startswith("a LoRA")


def test_inspect_tells_of_a_ckpt_what_it_tells_of_the_same_tensors(whole, tmp_path, capsys):
    counter = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save({"state_dict": whole | counter, "global_step": 7}, tmp_path / "old.ckpt")
    save_file(whole | counter, tmp_path / "new.safetensors")
    old, new = (checkpoints.inspect(tmp_path / name) for name in ("old.ckpt", "new.safetensors"))
    assert (old.kind, old.parameters, old.dtypes, old.details) == (
        "checkpoint", new.parameters, new.dtypes, new.details,
    )  # fmt: skip
    assert main(["inspect", str(tmp_path / "old.ckpt")]) == 0
    assert "Stable Diffusion 1" in capsys.readouterr().out
    torch.save({"string_to_param": {"*": torch.zeros(2, 8)}, "name": "ink"}, tmp_path / "ink.pt")
    assert checkpoints.inspect(tmp_path / "ink.pt").parameters == 16


@pytest.fixture(scope="module")
def folder(whole, tmp_path_factory):
    """The same model as a diffusers folder."""
    place = tmp_path_factory.mktemp("folder")
    save_file(whole, place / "whole.safetensors")
    return checkpoints.convert(place / "whole.safetensors", place / "model")


@pytest.mark.parametrize(
    ("part", "what"), {"unet": "UNet", "vae": "autoencoder", "text_encoder": "encoder"}.items()
)
def test_inspect_tells_what_a_network_s_folder_and_its_file_are(folder, part, what):
    (file,) = (folder / part).glob("*.safetensors")
    found = checkpoints.inspect(folder / part)
    assert found == checkpoints.inspect(file)
    assert f"{what} alone" in found.details["what"]


def test_a_folder_in_whose_json_each_begins_with_a_byte_order_mark_is_the_same_model(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    for table in (*copy.rglob("*.json"), *copy.rglob("merges.txt")):
        table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert checkpoints.load(copy).fingerprint() == checkpoints.load(folder).fingerprint()


def test_inspect_counts_what_is_read_of_a_folder_and_nothing_beside(folder, tmp_path):
    """Halves and a safety checker stand in most folders; the halves' names come first."""
    copy = shutil.copytree(folder, tmp_path / "model")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({"x": torch.zeros(9)}, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    (copy / "safety_checker").mkdir()
    save_file({"x": torch.zeros(9)}, copy / "safety_checker" / "model.safetensors")
    found, alone = checkpoints.inspect(copy), checkpoints.inspect(folder)
    assert (found.parameters, found.tensors, found.size) == (alone.parameters, alone.tensors, alone.size)
    assert found.sha256 == hashes.sha256_of(weights) == checkpoints.load(copy).fingerprint()


def test_inspect_reads_no_more_of_a_folder_than_the_file_whose_hash_it_tells(folder, monkeypatch):
    """Reading all of Stable Diffusion XL's takes seconds, and its hash is the network's."""
    read = []
    monkeypatch.setattr(summary, "sha256_of", lambda *files: read.extend(files) or hashes.sha256_of(*files))
    checkpoints.inspect(folder)
    assert read == [folder / "unet" / "diffusion_pytorch_model.safetensors"]


def test_a_conversion_keeps_every_number_and_its_type(whole, folder, tmp_path):
    back = checkpoints.convert(folder, tmp_path / "back.safetensors")
    found = load_file(back)
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())
    mixed = {name: tensor.half() if "first" in name else tensor for name, tensor in whole.items()}
    save_file(mixed, tmp_path / "mixed.safetensors")
    checkpoints.convert(tmp_path / "mixed.safetensors", tmp_path / "mixed")
    vae = load_file(tmp_path / "mixed" / "vae" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in vae.values()} == {torch.float16}


def test_queries_of_eight_bits_beside_keys_of_sixteen_are_converted_without_loss(whole, tmp_path):
    kinds = {"to_q": torch.float8_e4m3fn, "to_k": torch.float8_e5m2, "to_v": torch.float16}
    mixed = {
        name: tensor.to(kinds.get(name.split(".")[-2], tensor.dtype)).clone()
        for name, tensor in whole.items()
    }
    save_file(mixed, tmp_path / "mixed.safetensors")
    back = checkpoints.convert(
        checkpoints.convert(tmp_path / "mixed.safetensors", tmp_path / "mixed"), tmp_path / "back.safetensors"
    )
    found = load_file(back)
    assert all(torch.equal(found[name].float(), tensor.float()) for name, tensor in mixed.items())


def test_a_lora_too_strong_for_the_weights_type_is_refused_and_nothing_is_written(whole, tmp_path):
    save_file({name: tensor.half() for name, tensor in whole.items()}, tmp_path / "half.safetensors")
    lora = {"lora_down": torch.full((1, 64), 100.0), "lora_up": torch.full((64, 1), 10.0)}
    name = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    save_file({f"{name}.{role}.weight": t for role, t in lora.items()}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match="too large for float16"):
        checkpoints.convert(
            tmp_path / "half.safetensors", tmp_path / "out", loras=[(tmp_path / "lora.safetensors", 100.0)]
        )
    assert len(list(tmp_path.iterdir())) == 2


def test_an_ending_in_capitals_is_a_file_as_it_is_in_reading(folder, tmp_path):
    written = checkpoints.convert(folder, tmp_path / "MODEL.SAFETENSORS")
    assert checkpoints.load(written).name == "MODEL"


def test_a_conversion_that_is_none_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="would be written as it is"):
        checkpoints.convert(folder, tmp_path / "other")
    with pytest.raises(InputError, match="is no Stable Diffusion checkpoint"):
        checkpoints.convert("digits", tmp_path / "other")
    for name in ("other.gguf", "other.CKPT"):
        with pytest.raises(InputError, match=r"give a file that ends in \.safetensors, or a folder"):
            checkpoints.convert(folder, tmp_path / name)
    (tmp_path / "there.safetensors").write_bytes(b"")
    with pytest.raises(FileError, match="never replaces one"):
        checkpoints.convert(folder, tmp_path / "there.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.safetensors"]


UNTOLD = {
    "scale": ("vae/config.json", {"scaling_factor": 0.5}, "scale 0.5; .* would be read with 0.18215"),
    "groups": ("vae/config.json", {"norm_num_groups": 16}, "norm_groups 16"),
    "heads": ("unet/config.json", {"attention_head_dim": 4}, r"heads \[4, 4\]; .* with \[8, 8\]"),
    "activation": ("text_encoder/config.json", {"hidden_act": "gelu"}, "activation gelu"),
    "prediction": ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "predicts the sample"),
    "schedule": ("scheduler/scheduler_config.json", {"beta_end": 0.013}, "Stable Diffusion's own"),
}


@pytest.mark.parametrize("setting", UNTOLD)
def test_a_folder_that_would_be_another_model_in_one_file_is_not_written(folder, tmp_path, setting):
    file, change, words = UNTOLD[setting]
    copy = edited(folder, tmp_path, file, lambda table: table.update(change))
    with pytest.raises(InputError, match=words):
        checkpoints.convert(copy, tmp_path / "one.safetensors")
    assert not (tmp_path / "one.safetensors").exists()


def test_a_conversion_of_nothing_says_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no '.*none\.safetensors'"):
        checkpoints.convert(tmp_path / "none.safetensors", tmp_path / "folder")


def edited(folder, tmp_path, file, change):
    """A copy of the folder with one JSON table changed."""
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    table = json.loads((copy / file).read_text())
    change(table)
    (copy / file).write_text(json.dumps(table))
    return copy


UNET_JSON = "unet/config.json"
FOLDER_FAULTS = {
    "foreign class": ("model_index.json", {"unet": ["canary", "Evil"]}, "'unet' is .*canary"),
    "foreign pipeline": ("model_index.json", {"_class_name": "None.py"}, "describes a 'None.py'"),
    "foreign repository": ("model_index.json", {"unet": ["canary/canary", "Evil"]}, "'unet' is .*canary"),
    "code to fetch": (UNET_JSON, {"auto_map": {"AutoModel": "canary--canary.Evil"}}, "auto_map is"),
    "nested class": ("model_index.json", {"unet": [["a"], "b"]}, "'unet' is"),
    "text for a small number": (UNET_JSON, {"norm_eps": "x"}, "norm_eps is 'x'"),
    "list for yes": ("vae/config.json", {"mid_block_add_attention": [1]}, "mid_block_add_attention is"),
    "table for a shift": ("vae/config.json", {"shift_factor": {"a": 1}}, "does not describe a network"),
    "absurd number": ("scheduler/scheduler_config.json", {"beta_end": 10**400}, "beta_end is 1000"),
    "unknown part": ("model_index.json", {"helper": ["canary", "Evil"]}, "no such part is known"),
    "unknown setting": (UNET_JSON, {"trust_remote_code": True}, "trust_remote_code is 'True'"),
    "uncomputed setting": (UNET_JSON, {"act_fn": "gelu"}, "act_fn is 'gelu'; only 'silu' is computed"),
    "unknown block": (UNET_JSON, {"down_block_types": ["KDownBlock2D"] * 2}, "do not mirror|not known"),
    "absurd depth": (UNET_JSON, {"transformer_layers_per_block": 10**9}, "at most 100 is read"),
    "a million layers": (
        UNET_JSON,
        {
            "block_out_channels": [64] * 100,
            "down_block_types": ["CrossAttnDownBlock2D"] * 100,
            "up_block_types": ["CrossAttnUpBlock2D"] * 100,
            "layers_per_block": 100,
            "transformer_layers_per_block": 100,
        },
        "1,010,000 layers",
    ),
    "ten thousand blocks": (
        "vae/config.json",
        {
            "block_out_channels": [32] * 100,
            "down_block_types": ["DownEncoderBlock2D"] * 100,
            "up_block_types": ["UpDecoderBlock2D"] * 100,
            "layers_per_block": 100,
        },
        "blocks is 100 in 100 levels",
    ),
    "absurd blocks": (UNET_JSON, {"layers_per_block": 10**9}, "layers_per_block"),
    "text for a number": (UNET_JSON, {"cross_attention_dim": "64"}, "does not describe a network|text_width"),
    "wrong width": (UNET_JSON, {"block_out_channels": [32, 96]}, "of shape"),
    "unknown schedule": (
        "scheduler/scheduler_config.json",
        {"beta_schedule": "odd"},
        "beta_schedule is 'odd'",
    ),
    "unknown scheduler": ("scheduler/scheduler_config.json", {"_class_name": "Evil"}, "'Evil' is not known"),
}


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_a_folder_that_says_strange_things_is_refused_and_nothing_is_imported(
    folder, tmp_path, monkeypatch, fault
):
    file, change, words = FOLDER_FAULTS[fault]
    for name in ("canary.py", "None.py"):
        (tmp_path / name).write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)  # where an import would find them
    copy = edited(folder, tmp_path, file, lambda table: table.update(change))
    refused(copy, words)
    assert not {"canary", "None"} & set(sys.modules)


@pytest.mark.parametrize(
    "change",
    [
        {"input_hint_block.0.weight": torch.zeros(())},
        {f"input_hint_block.{2 * place}.weight": torch.zeros(()) for place in range(1, 4)},
    ],
    ids=["first", "next"],
)
def test_a_controlnet_of_scalars_is_refused(tmp_path, change):
    sound = {
        "input_hint_block.0.weight": torch.zeros(4, 3, 3, 3),
        "input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3),
        "input_blocks.1.0.out_layers.3.weight": torch.zeros(32, 32, 3, 3),
    }
    save_file(sound | change, tmp_path / "edges.safetensors")
    with pytest.raises(CheckpointError, match="no ControlNet that can be built"):
        controlnet.read(tmp_path / "edges.safetensors")
    theirs = {"controlnet_cond_embedding.conv_in.weight": torch.zeros(())}
    save_file(theirs, tmp_path / "diffusers.safetensors")
    with pytest.raises(CheckpointError, match="no ControlNet that can be built"):
        controlnet.read(tmp_path / "diffusers.safetensors", UNET)


@pytest.mark.parametrize("hints", [3, "x", [None], [[1]], [], [16, -1]])
def test_hints_of_a_controlnet_that_are_no_numbers_are_refused(folder, tmp_path, hints):
    table = json.loads((folder / UNET_JSON).read_text())
    del table["out_channels"], table["up_block_types"]
    table |= {"_class_name": "ControlNetModel", "conditioning_embedding_out_channels": hints}
    (tmp_path / "config.json").write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match="does not describe a ControlNet"):
        controlnet.read(tmp_path)


def test_shards_stay_in_their_folder_and_weights_must_be_there(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    index = copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    weights.rename(copy / "moved.safetensors")
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../moved.safetensors"}}))
    refused(copy, "names the file '../moved.safetensors', which is not in its folder")
    index.unlink()
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    refused(copy, "has no diffusion_pytorch_model.safetensors. It has pickled weights")
    shutil.copy(copy / "moved.safetensors", weights.with_suffix(".non_ema.safetensors"))
    refused(copy, "It has 'diffusion_pytorch_model.non_ema.safetensors'. Call the variant that you want")
    weights.with_suffix(".non_ema.safetensors").unlink()
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": 3000 * "x"}}))
    refused(copy, "which is not in its folder")


MEMORY = """
import sys, torch
from unnoise import checkpoints
found = checkpoints.recognise(sys.argv[1])
numbers = sum(found.parameters().values())
def peak():  # of this process alone; getrusage begins with its parent's
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
model = found.load(torch.bfloat16)
print((peak() - before) / (2 * numbers))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pages are given back to the system on Linux")
def test_loading_takes_hardly_more_memory_than_the_weights(tmp_path):
    """Of a model whose weights outweigh torch's own buffers: 0.4 GB in bfloat16, from float32."""
    config = UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(256, 512, 512, 512),
        attention=(1, 1, 1, 0),
        heads=8,
        text_width=64,
    )
    tensors = {}
    for build, layout in (
        (lambda: UNet(config), layouts.unet.original(config, False)),
        (lambda: AutoEncoder(VAE), layouts.autoencoder.original(2)),
        (lambda: TextEncoder(TEXT), layouts.text.transformers("cond_stage_model.transformer.")),
    ):
        network = outline(build).to_empty(device="cpu")
        for tensor in network.parameters():
            tensor.fill_(0.01)
        tensors |= layouts.spread(layout, network.state_dict())
    save_file(tensors, tmp_path / "model.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "model.safetensors")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 1.0 < float(done.stdout) < 1.25
