"""The catalogue: what people meet in other programs, provoked here with real files, and the sentence that they read.

Each row is a situation that is asked about again and again elsewhere, with the message that it gives there. The page
docs/messages.md shows the same rows; the last test holds the two together.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import miniature_file
from tiny_model import save_tiny
from unnoise import UnnoiseError, images
from unnoise.cli import main
from unnoise.networks import UNetConfig
from unnoise.networks.unet import ControlNet, ControlNetConfig
from unnoise.pipelines import ImageToImage, load

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"
SMALL = {"width": 16, "height": 16, "steps": 2, "seed": 3}
WORDS = ("--size", "16x16", "--steps", "2", "-s", "3")
MINI = ("generate", "a house", "-m", "mini.safetensors", *WORDS)
UNET = "model.diffusion_model."
WIDE = UNetConfig(
    in_channels=4, out_channels=4, widths=(32, 64), blocks=1, attention=(1, 0), heads=8, text_width=2048
)
XL_LAYER = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a miniature of Stable Diffusion 1, and with what people try on it or in its place."""
    folder = tmp_path_factory.mktemp("files")
    whole = miniature_file.tensors()

    def save(name, tensors):
        save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, folder / name)

    def without(part):
        return {name: tensor for name, tensor in whole.items() if part not in name}

    save("mini.safetensors", whole)
    save("half.safetensors", {name: tensor.half() for name, tensor in whole.items()})
    save_tiny(folder / "tiny")
    # 7
    Image.fromarray(np.uint8(np.add.outer(np.arange(16), np.arange(16)) * 8)).save(folder / "init.png")
    # 11: finite weights, and numbers that are not after one layer
    first, last = f"{UNET}input_blocks.0.0.weight", "first_stage_model.decoder.conv_out.weight"
    save("loud.safetensors", whole | {first: whole[first] * 1e38})
    save("burnt.safetensors", whole | {last: whole[last] * 0 + 3e38})
    # 16
    save("flux.safetensors", {"double_blocks.0.img_attn.qkv.weight": torch.zeros(3, 1)})
    save("unet.safetensors", without("cond_stage_model"))
    save("short.safetensors", without(f"{UNET}out.2.bias"))
    save("odd.safetensors", {"blk.0.attn_q.weight": torch.zeros(1)})
    # 17 and 18
    lora = {"lora_down.weight": torch.ones(4, 2048), "lora_up.weight": torch.ones(640, 4)}
    save("xl-lora.safetensors", {f"{XL_LAYER}.{role}": tensor for role, tensor in lora.items()})
    own = {"lora_down.weight": torch.ones(4, 64), "lora_up.weight": torch.ones(32, 4)}
    save("own-lora.safetensors", {f"lora_unet_transformer_h_0_attn.{r}": t for r, t in own.items()})
    loha = {"hada_w1_a": (32, 4), "hada_w1_b": (4, 64), "hada_w2_a": (32, 4), "hada_w2_b": (4, 64)}
    save("loha.safetensors", {f"lora_unet_layer_9.{role}": torch.ones(shape) for role, shape in loha.items()})
    save("page-lora.safetensors", {"epoch": torch.ones(1)})
    control = miniature_file.stirred(ControlNet(ControlNetConfig(WIDE, (3, 16, 32))))
    layout = miniature_file.layouts.control.original(WIDE, False, "control_model.")
    save("xl-control.safetensors", miniature_file.layouts.spread(layout, control.state_dict()))
    save("xl-word.safetensors", {"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)})
    return folder


def pipe(name="mini.safetensors", **options):
    return load(name, **options)


@dataclass(frozen=True)
class Row:
    """point: of our notes on what people suffer from. elsewhere: the message there. says: our sentence, or its part.

    call: provokes it in Python; words: on the command line, where a person would meet it there.
    """

    point: int
    elsewhere: str
    says: str
    call: object
    words: tuple[str, ...] = ()


CATALOGUE = [
    Row(
        7,
        "cannot reshape tensor of 0 elements",
        "strength 0 of 2 steps is less than one step, and nothing would change. Give a strength of at least 0.5.",
        lambda: ImageToImage(pipe().model)("a house", Image.open("init.png"), strength=0.0, steps=2),
        (*MINI, "--init", "init.png", "--strength", "0"),
    ),
    Row(
        7,
        "ZeroDivisionError, or the picture comes back unchanged",
        "strength 0.1 of 2 steps is less than one step, and nothing would change. Give a strength of at least 0.5, "
        "or at least 10 steps.",
        lambda: ImageToImage(pipe().model)("a house", Image.open("init.png"), strength=0.1, steps=2),
        (*MINI, "--init", "init.png", "--strength", "0.1"),
    ),
    Row(
        8,
        "Torch not compiled with CUDA enabled",
        "has no such device here; leave device out, to use the processor, or install torch for this machine's "
        "graphics card.",
        lambda: pipe(device="cuda"),
    ),
    Row(
        11,
        "A tensor with all NaNs was produced in Unet. Use --disable-nan-check",
        "the network left the finite numbers at step 1 of 2",
        lambda: pipe("loud.safetensors")("a house", **SMALL),
        ("generate", "a house", "-m", "loud.safetensors", *WORDS),
    ),
    Row(
        11,
        "A tensor with all NaNs was produced in VAE (or a black picture, and no message)",
        "the autoencoder left the finite numbers, in float32 too, first in its layer 'decoder.conv_out'; no picture "
        "was made.",
        lambda: pipe("burnt.safetensors")("a house", **SMALL),
        ("generate", "a house", "-m", "burnt.safetensors", *WORDS),
    ),
    Row(
        16,
        "KeyError: 'img_in.weight'",
        "'flux.safetensors' is Flux; give a whole Stable Diffusion 1, Stable Diffusion 2, Stable Diffusion XL",
        lambda: pipe("flux.safetensors"),
        ("generate", "a house", "-m", "flux.safetensors"),
    ),
    Row(
        16,
        "divide by zero: your model is not supported",
        "'odd.safetensors' is no model that is known here (its first tensor is 'blk.0.attn_q.weight')",
        lambda: pipe("odd.safetensors"),
        ("generate", "a house", "-m", "odd.safetensors"),
    ),
    Row(
        16,
        "KeyError: 'cond_stage_model.transformer. ... .position_embedding.weight'",
        "'unet.safetensors' holds a UNet but no text encoder; give a whole model (a 'checkpoint', not 'UNet only').",
        lambda: pipe("unet.safetensors"),
        ("generate", "a house", "-m", "unet.safetensors"),
    ),
    Row(
        16,
        "Error(s) in loading state_dict: Missing key(s)",
        "lacks 'model.diffusion_model.out.2.bias'",
        lambda: pipe("short.safetensors"),
        ("generate", "a house", "-m", "short.safetensors"),
    ),
    Row(
        17,
        "No LoRA keys associated to UNet2DConditionModel found (a warning, and the picture has no LoRA)",
        "'page-lora.safetensors' is no LoRA, LoHa or LoKr: it has 1 tensor, none known. Give an adapter's file.",
        lambda: pipe().with_lora("page-lora.safetensors"),
        (*MINI, "--lora", "page-lora.safetensors"),
    ),
    Row(
        17,
        "lora key not loaded: lora_unet_transformer_h_0_attn.lora_up.weight",
        "LoRA 'own-lora.safetensors' does not fit the loaded model, SD 1.5 (64): 0 of the 1 layers fit",
        lambda: pipe().with_lora("own-lora.safetensors"),
        (*MINI, "--lora", "own-lora.safetensors:0.8"),
    ),
    Row(
        17,
        "lora key not loaded: ... .hada_w1_a",
        "LoHa 'loha.safetensors' does not fit the loaded model, SD 1.5 (64): 0 of the 1 layers fit",
        lambda: pipe().with_lora("loha.safetensors"),
        (*MINI, "--lora", "loha.safetensors"),
    ),
    Row(
        17,
        "Couldn't find Lora with name ink (in the log, and the picture has no LoRA)",
        "the prompt asks for the LoRA 'ink' ('<lora:ink:0.8>')",
        lambda: pipe()("a house <lora:ink:0.8>", **SMALL),
        ("generate", "a house <lora:ink:0.8>", "-m", "mini.safetensors", *WORDS),
    ),
    Row(
        18,
        "mat1 and mat2 shapes cannot be multiplied (77x768 and 2048x640): a LoRA of SDXL",
        "LoRA 'xl-lora.safetensors' fits SDXL (unet keys of width 2048); the loaded model is SD 1.5 (64), and 0 of the "
        "1 layers fit. Use an SD 1.5 LoRA or load an SDXL checkpoint.",
        lambda: pipe().with_lora("xl-lora.safetensors"),
        (*MINI, "--lora", "xl-lora.safetensors"),
    ),
    Row(
        18,
        "mat1 and mat2 shapes cannot be multiplied (77x2048 and 768x320): a ControlNet of SDXL",
        "ControlNet 'xl-control.safetensors' fits SDXL (text of width 2048, levels (32, 64)); the loaded model is SD "
        "1.5 (64, (32, 64)). Use a ControlNet for SD 1.5 or load SDXL.",
        lambda: pipe().with_control("xl-control.safetensors", "init.png"),
        (*MINI, "--control", "xl-control.safetensors", "--control-image", "init.png"),
    ),
    Row(
        18,
        "Expected size 768 but got size 1280: an embedding of SDXL",
        "embedding 'xl-word.safetensors' fits SDXL (vectors of width 768 and 1280); the loaded model is SD 1.5 (64). "
        "Use an embedding for SD 1.5 or load SDXL.",
        lambda: pipe().with_word("xl-word.safetensors"),
        (*MINI, "--embedding", "xl-word.safetensors"),
    ),
    Row(
        19,
        "Token indices sequence length is longer than the specified maximum (77)",
        "the prompt has more than 64 chunks of 75 tokens, which is more than any model heeds. Shorten it.",
        lambda: pipe()("red " * 4801, **SMALL),
        ("generate", "red " * 4801, "-m", "mini.safetensors", *WORDS),
    ),
    Row(
        19,
        "(nothing: the weight is read as text, or the picture is burnt)",
        "the weight in 'a (red:5000)' is 5000; give one from -100 to 100",
        lambda: pipe()("a (red:5000) house", **SMALL),
        ("generate", "a (red:5000) house", "-m", "mini.safetensors", *WORDS),
    ),
]
NAMES = [f"{row.point} {row.elsewhere[:50]}" for row in CATALOGUE]


@pytest.fixture
def here(files, monkeypatch):
    """In that folder, without a graphics card, and with every socket shut."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def shut(*_args, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", shut)
    return files


def seen(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("row", CATALOGUE, ids=NAMES)
def test_python_reads_our_sentence(here, row):
    before = seen(here)
    with pytest.raises(UnnoiseError) as caught:
        row.call()
    assert row.says in str(caught.value)
    assert seen(here) == before


@pytest.mark.parametrize(
    "row",
    [row for row in CATALOGUE if row.words],
    ids=[name for row, name in zip(CATALOGUE, NAMES, strict=True) if row.words],
)
def test_the_command_line_says_it_in_one_line(here, row, capsys):
    before = seen(here)
    assert main(list(row.words)) in (1, 2)
    told = capsys.readouterr()
    assert row.says in told.err
    assert told.err.startswith("unnoise: error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    assert seen(here) == before


def made(prompt="a house", name="mini.safetensors", **options):
    return load(name, **options)(prompt, **SMALL)


def test_8_half_precision_runs_on_the_processor(here):
    """Elsewhere: "LayerNormKernelImpl" not implemented for 'Half'."""
    exact = made(name="half.safetensors")
    half = made(name="half.safetensors", dtype=torch.float16)
    assert load("half.safetensors").model.network.dtype == torch.float32
    assert half.arrays[0].std() > 0.01
    assert np.abs(half.arrays[0] - exact.arrays[0]).max() < 0.05


def test_11_a_layer_is_named_and_a_way_on(here):
    with pytest.raises(
        UnnoiseError, match=r"\(sigma .*\), first in its layer 'conv_in'; no picture .* way on"
    ):
        made(name="loud.safetensors")


def test_16_a_single_file_needs_no_network_and_no_configuration(here):
    """Elsewhere: it looks for a configuration on the hub, and fails without a connection."""
    assert made().images[0].size == (16, 16)  # the fixture shuts every socket


def test_19_nothing_of_a_long_prompt_is_cut_and_weights_are_heeded(here):
    long = "red " * 80
    one, other = made(long + "house"), made(long + "boat")
    assert one.notes == other.notes == ()
    assert not np.array_equal(one.arrays[0], other.arrays[0])
    assert not np.array_equal(made("a (red:1.4) house").arrays[0], made("a red house").arrays[0])


def test_19_a_model_that_cuts_says_what(here, capsys):
    """Elsewhere: silence. This model was trained on single short prompts."""
    said = "the prompt is too long: its end is not used: '"
    notes = load("tiny")("a seven " * 40).notes
    assert any(note.startswith(said) for note in notes)
    assert main(["generate", "a seven " * 40, "-m", "tiny/", "-o", "long.png", "-s", "1"]) == 0
    assert said in capsys.readouterr().err
    images.open_picture(here / "long.png")
    (here / "long.png").unlink()


@pytest.mark.parametrize("row", CATALOGUE, ids=NAMES)
def test_the_page_shows_the_row(row):
    page = PAGE.read_text(encoding="utf-8").replace("\\|", "|")
    assert row.elsewhere in page
    assert row.says in page


def test_the_miniature_is_what_its_file_says(here):
    """What the rows above are measured against: the whole file loads, and makes a picture."""
    assert len(load_file("mini.safetensors")) > 100
    assert load("mini.safetensors").model.card["family"] == "Stable Diffusion 1"
