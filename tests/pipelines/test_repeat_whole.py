"""Pictures made again with their LoRAs, second passes, the pictures they began from, and each program's own syntax."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import adapter_files
from recorded.extensions import EXTENDED
from recorded.graphs import COMFYUI, LORA, graph, sampler
from recorded.tables import INVOKE, TABLES
from recorded.web_ui import A1111, KIN
from tiny_model import tiny_model, tokenizer
from unnoise import images
from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.pipelines import (
    ImageToImage,
    Inpaint,
    Recipe,
    Repeat,
    Rescaled,
    Scale,
    SecondPass,
    TextToImage,
    verify,
)
from unnoise.process import DiscreteVP

LATENT = {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}}


@pytest.fixture(scope="module")
def pipe():
    return TextToImage(tiny_model(schedule=DiscreteVP.scaled_linear(), name="tiny"))


@pytest.fixture(scope="module")
def loras(tmp_path_factory, pipe):
    folder = tmp_path_factory.mktemp("loras")
    adapter_files.kohya(pipe.model, folder / "ink.safetensors")
    return folder


@pytest.fixture(scope="module")
def begun():
    """A picture, and a mask of its left half."""
    waves = np.uint8(np.add.outer(np.arange(8), np.arange(8)) * 16)
    mask = Image.new("L", (8, 8), 0)
    mask.paste(255, (0, 0, 4, 8))
    return Image.fromarray(waves), mask


def written(tmp_path, result, only=("unnoise", "parameters")):
    text = {name: value for name, value in result.recipes[0].png_text().items() if name in only}
    images.write_png(tmp_path / "a.png", result.images[0], text)
    return tmp_path / "a.png"


def theirs(tmp_path, **chunks):
    images.write_png(tmp_path / "b.png", Image.new("L", (8, 8)), chunks)
    return tmp_path / "b.png"


def a1111(prompt="a seven", more=""):
    return f"{prompt}\nSteps: 3, Sampler: DPM++ 2M, CFG scale: 2, Seed: 5, Size: 8x8{more}, Version: v1.10.1"


def same(made, wanted):
    return np.array_equal(made.arrays[0], wanted.arrays[0])


@pytest.mark.parametrize("enlarge", ["latents", "pixels"])
def test_our_second_pass_is_verified_to_the_bit(pipe, tmp_path, enlarge):
    options = {"scale": 2, "enlarge": enlarge, "strength": 0.5, "second_steps": 6, "seed": 3, "steps": 3}
    made = SecondPass(pipe.model)("a [seven:two:0.5]", **options)
    path = written(tmp_path, made)
    assert verify(pipe, path).verdict == "bit-equal"
    assert Repeat.of(path, pipe.model).denoise(pipe).recipes == made.recipes


def test_our_second_pass_is_read_from_a1111_s_text_too(pipe, tmp_path):
    rule = Rescaled(Scale(3.0), 0.7)
    made = SecondPass(pipe.model)("a seven", scale=2, enlarge="pixels", seed=3, steps=3, guidance=rule)
    repeat = Repeat.of(written(tmp_path, made, ("parameters",)), pipe.model)
    assert same(repeat.denoise(pipe).result(), made)


def test_a1111_s_second_pass_is_made(pipe, tmp_path):
    more = ", Denoising strength: 0.6, Hires upscale: 2, Hires steps: 4, Hires upscaler: Latent"
    made = Repeat.of(theirs(tmp_path, parameters=a1111(more=more)), pipe.model).denoise(pipe).result()
    wanted = SecondPass(pipe.model)(
        "a seven", scale=2, strength=0.6, second_steps=4, seed=5, steps=3, guidance=2.0, noise="cuda",
        scheduler="DPM++ 2M", compat="a1111",
    )  # fmt: skip
    assert same(made, wanted)
    sized = theirs(tmp_path, parameters=a1111(more=more.replace("upscale: 2", "resize: 16x16")))
    assert same(Repeat.of(sized, pipe.model).denoise(pipe).result(), wanted)


def test_a_picture_from_a_picture_asks_for_it_and_knows_it(pipe, tmp_path, begun):
    init, mask = begun
    made = ImageToImage(pipe.model)("a (seven:1.3)", init, strength=0.5, seed=3)
    path = written(tmp_path, made)
    with pytest.raises(
        InputError, match=rf"hash {made.recipes[0].init_hash[:10]}\); give that file with --init FILE"
    ):
        verify(pipe, path)
    assert verify(pipe, path, init=init).verdict == "bit-equal"
    found = verify(pipe, path, init=mask)
    assert found.verdict == "different"
    assert "is not the picture that it was made with" in found.reasons[0]


@pytest.mark.parametrize("options", [
    {"feather": 1.0, "area": "masked", "padding": 1},
    {"outpaint": (0, 2, 4, 0), "paste": False},
    {"noise_level": 2.0},
])  # fmt: skip
def test_inpainting_is_verified_with_its_picture_and_mask(pipe, tmp_path, begun, options):
    path = written(tmp_path, Inpaint(pipe.model)("a seven", *begun, seed=3, **options))
    assert verify(pipe, path, init=begun[0], mask=begun[1]).verdict == "bit-equal"
    if "outpaint" not in options:
        with pytest.raises(InputError, match=r"with a mask.* --mask FILE"):
            verify(pipe, path, init=begun[0])


def test_another_program_s_inpainting_is_made_with_what_is_given(pipe, tmp_path, begun):
    init, mask = begun
    repeat = Repeat.of(
        theirs(tmp_path, parameters=a1111(more=", Denoising strength: 0.75, Mask blur: 1")), pipe.model
    )
    common = {
        "seed": 5,
        "steps": 3,
        "guidance": 2.0,
        "noise": "cuda",
        "scheduler": "DPM++ 2M",
        "compat": "a1111",
    }
    wanted = Inpaint(pipe.model)("a seven", init, mask, strength=0.75, feather=1.0, **common)
    assert same(repeat.denoise(pipe, init, mask).result(), wanted)
    wanted = ImageToImage(pipe.model)("a seven", init, strength=0.75, **common)
    assert same(repeat.denoise(pipe, init).result(), wanted)
    assert same(repeat.denoise(pipe).result(), pipe("a seven", **common))


RECORDED = [*A1111, *KIN, *EXTENDED, *COMFYUI, *TABLES]


@pytest.mark.parametrize("chunks", [row[1] for row in RECORDED], ids=[row[0] for row in RECORDED])
def test_every_program_s_picture_begins_again_and_what_is_not_honoured_is_told(pipe, tmp_path, chunks):
    images.write_png(tmp_path / "a.png", Image.new("L", (2, 2)), chunks)
    repeat = Repeat.of(tmp_path / "a.png", pipe.model)
    mask = Image.new("L", (64, 64), 255) if repeat.variant == "inpaint" else None
    run = repeat.denoise(pipe, Image.new("RGB", (64, 64)), mask)
    assert run.recipes[0].seed == repeat.options.get("seed", run.recipes[0].seed)
    assert repeat.notes


def test_what_a_text_leaves_out_is_told(pipe, tmp_path):
    text = "a seven\nSteps: 3, Sampler: Euler, CFG scale: 2, Size: 8x8, Version: v1.10.1\0"
    images.write_png(tmp_path / "a.png", Image.new("L", (2, 2)), {"parameters": text})
    assert "not told, and taken as A1111 has them: Seed 0" in Repeat.of(tmp_path / "a.png", pipe.model).notes


def test_a_setting_of_ours_means_nothing_in_a_text_of_another_program(pipe, tmp_path):
    """stable-diffusion.cpp writes the guidance of distilled models by the name of our rule."""
    settings = "Steps: 3, Sampler: euler, Guidance: 3.5, Seed: 7, Size: 8x8, Version: "
    images.write_png(
        tmp_path / "a.png", Image.new("L", (2, 2)), {"parameters": f"x\n{settings}stable-diffusion.cpp"}
    )
    assert "not honoured: Guidance 3.5" in Repeat.of(tmp_path / "a.png", pipe.model).notes


def test_loras_are_found_by_name_or_said_to_be_missing(pipe, tmp_path, loras):
    text = a1111("a seven <lora:ink:0.8> <lora:gone:1>")
    repeat = Repeat.of(theirs(tmp_path, parameters=text), pipe.model, loras)
    assert repeat.options["prompt"] == "a seven <lora:ink:0.8>"
    assert any("'gone' at 1 is not applied; no file in" in note for note in repeat.notes)
    options = dict(repeat.options)
    assert same(repeat.denoise(pipe).result(), pipe.with_lora(loras / "ink.safetensors", 0.8)(**options))
    alone = Repeat.of(theirs(tmp_path, parameters=text), pipe.model)
    assert alone.options["prompt"] == "a seven"
    assert same(alone.denoise(pipe).result(), pipe(**{**options, "prompt": "a seven"}))
    other = Repeat.of(theirs(tmp_path, parameters=text), pipe.model, loras, prompt="a red apple")
    assert (other.options["prompt"], other.loras) == ("a red apple", ())


def test_no_name_of_a_stranger_leads_out_of_the_folder(pipe, tmp_path, loras, monkeypatch):
    monkeypatch.chdir(loras)
    for name in ("ink.safetensors", "../ink", str(loras / "ink.safetensors")):
        repeat = Repeat.of(theirs(tmp_path, parameters=a1111(f"a <lora:{name}:1>")), pipe.model, tmp_path)
        assert repeat.loras == ()
        assert repeat.denoise(pipe).result().images


def test_comfyui_s_lora_has_its_own_weight_in_the_text(pipe, tmp_path, loras):
    loader = {**LORA, "inputs": {**LORA["inputs"], "strength_model": 0.8, "strength_clip": 0.4}}
    nodes = graph(n10=loader, n3=sampler(seed=11, steps=3, cfg=2.0, model=["10", 0]), n5=LATENT)
    repeat = Repeat.of(theirs(tmp_path, prompt=json.dumps(nodes)), pipe.model, loras)
    (lora,) = repeat.loras
    assert (lora.weight, lora.blocks) == (0.8, {"text_encoder": 0.5})


def test_our_loras_are_verified_and_their_hash_is_compared(pipe, tmp_path, loras):
    from unnoise.checkpoints.adapters import Lora

    adapted = pipe.with_loras([Lora("ink", 0.8, {"text_encoder": 0.5})], folder=loras)
    path = written(tmp_path, adapted("a seven", seed=3, steps=3))
    assert verify(pipe, path, lora_dir=loras).verdict == "bit-equal"
    assert verify(adapted, path).verdict == "bit-equal"
    assert verify(pipe, path, lora_dir=loras, live=True).holds
    live = pipe.with_loras([Lora("ink", 0.8, {"text_encoder": 0.5})], folder=loras, live=True)
    again = Repeat.of(path, pipe.model, loras).denoise(pipe, live=True)
    assert same(again.result(), live("a seven", seed=3, steps=3))
    found = verify(pipe, path)
    assert found.verdict == "different"
    assert "LoRA 'ink' at 0.8 (hash " in found.reasons[0]
    adapter_files.kohya(pipe.model, tmp_path / "ink.safetensors", alpha=1.0)
    assert "is another" in verify(pipe, path, lora_dir=tmp_path).reasons[0]


def test_adapters_stand_in_a1111_s_text_as_tags_and_come_back(pipe, tmp_path, loras):
    made = pipe.with_lora(loras / "ink.safetensors", 0.8)("a seven, bold", seed=3, steps=3)
    text = made.recipes[0].to_parameters()
    assert text.startswith("a seven, bold <lora:ink:0.8>\n")
    again = Recipe.from_parameters(text)
    assert (again.prompt, again.adapters) == ("a seven, bold", made.recipes[0].adapters)
    tagged = replace(made.recipes[0], prompt="a seven <lora:ink:0.8>")
    assert tagged.to_parameters().startswith("a seven <lora:ink:0.8>\nSteps")
    path = written(tmp_path, made, ("parameters",))
    assert same(Repeat.of(path, pipe.model, loras).denoise(pipe).result(), made)


def test_each_program_s_prompt_is_read_in_its_own_syntax(pipe, tmp_path):
    nodes = graph(n3=sampler(seed=11, steps=3, cfg=2.0), n5=LATENT)
    comfyui = Repeat.of(theirs(tmp_path, prompt=json.dumps(nodes)), pipe.model)
    assert comfyui.options["prompt_style"] == "comfyui"
    table = INVOKE | {"width": 8, "height": 8, "steps": 2, "positive_prompt": "a seven++"}
    invokeai = Repeat.of(theirs(tmp_path, invokeai_metadata=json.dumps(table)), pipe.model)
    assert invokeai.options["prompt_style"] == "compel"
    wanted = pipe(**{**invokeai.options, "prompt": "a (seven:1.21)", "prompt_style": "a1111"})
    assert np.abs(invokeai.denoise(pipe).result().arrays[0] - wanted.arrays[0]).max() < 0.2
    assert not same(invokeai.denoise(pipe).result(), pipe(**{**invokeai.options, "prompt": "a seven"}))


def test_clip_skip_is_set_for_the_run_and_told(pipe, tmp_path):
    encoder = TextEncoder(
        TextEncoderConfig.small(tokenizer().size, tokenizer().end, width=16, layers=2)
    ).eval()
    deep = TextToImage(replace(pipe.model, text_encoder=encoder))
    repeat = Repeat.of(theirs(tmp_path, parameters=a1111(more=", Clip skip: 2")), deep.model)
    assert not any("clip skip" in note for note in repeat.notes)
    made = repeat.denoise(deep).result()
    assert same(made, TextToImage(replace(deep.model, text_skip=1))(**repeat.options))
    assert not same(made, deep(**repeat.options))
    assert made.recipes[0].clip_skip == 2
    assert "Clip skip: 2" in made.recipes[0].to_parameters()
    assert verify(deep, written(tmp_path, made)).verdict == "bit-equal"
    with pytest.raises(InputError, match="give a whole number from 1 to 2"):
        deep.with_clip_skip(3)


@pytest.mark.parametrize("compat", ["", "a1111", "comfyui", "diffusers"])
def test_for_a_scheduler_of_a_name_unknown_here_the_model_s_own_is_used_as_the_note_says(
    pipe, tmp_path, compat
):
    """As in a picture of a later version."""
    recipe = replace(
        pipe("a seven", seed=3, steps=3).recipes[0], scheduler="Euler of tomorrow", compat=compat
    )
    images.write_png(tmp_path / "a.png", Image.new("L", (8, 8)), recipe.png_text())
    repeat = Repeat.of(tmp_path / "a.png", pipe.model)
    assert repeat.notes == ("its scheduler, Euler of tomorrow, has no name; the model's default is used",)
    assert same(repeat.denoise(pipe).result(), pipe("a seven", seed=3, steps=3))
