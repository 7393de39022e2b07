"""A picture made again: ours to the bit, another program's as far as it can be, and what cannot is said."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from recorded.graphs import graph, sampler
from recorded.tables import INVOKE
from tiny_model import tiny_model
from unnoise import images
from unnoise.errors import FileError, InputError
from unnoise.pipelines import Recipe, Repeat, TextToImage, verify
from unnoise.pipelines.start_noise import philox, start_noise
from unnoise.process import DiscreteVP


@pytest.fixture(scope="module")
def pipe():
    """With a table of betas, of which other programs' values are."""
    return TextToImage(tiny_model(schedule=DiscreteVP.scaled_linear(), name="tiny"))


def picture(tmp_path, **chunks):
    path = tmp_path / "a.png"
    images.write_png(path, Image.new("L", (8, 8)), chunks)
    return path


def a1111(more="", sampler="DPM++ 2M", grid="Karras"):
    return (
        f"a seven\nNegative prompt: two\nSteps: 3, Sampler: {sampler}, Schedule type: {grid}, CFG scale: 2, Seed: 5, "
        f"Size: 8x8{more}, Version: v1.10.1"
    )


def saved(pipe, tmp_path, **options):
    result = pipe("a seven", **options)
    path = tmp_path / "ours.png"
    images.write_png(path, result.images[0], result.recipes[0].png_text())
    return path


@pytest.mark.parametrize("options", [
    {"steps": 3, "seed": 9},
    {"steps": 3, "seed": 9, "noise": "torch", "negative": "two", "scheduler": "Euler a", "width": 10},
    {"steps": 3, "seed": 2**63 - 1, "compat": "a1111", "scheduler": "DPM++ 2M", "guidance": 0.0},
])  # fmt: skip
def test_our_own_picture_is_made_again_to_the_bit(pipe, tmp_path, options):
    path = saved(pipe, tmp_path, **options)
    repeat = Repeat.of(path, pipe.model)
    assert repeat.notes == ()
    again = pipe(**repeat.options)
    assert np.array_equal(np.asarray(again.images[0]), np.asarray(images.open_picture(path)))
    assert again.recipes[0] == Recipe.from_png(path)
    found = verify(pipe, path)
    assert (found.verdict, found.largest, found.share, found.reasons, found.holds) == (
        "bit-equal",
        0,
        0.0,
        (),
        True,
    )


def test_a_picture_from_noise_that_was_given_says_why_it_differs(pipe, tmp_path):
    path = saved(
        pipe, tmp_path, seed=1, latents=torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    )
    found = verify(pipe, path)
    assert found.verdict == "different"
    assert "started from noise that was given" in found.reasons[0]


@pytest.mark.parametrize(("shade", "verdict"), [(1, "within 1/255"), (2, "different")])
def test_a_changed_pixel_is_seen(pipe, tmp_path, shade, verdict):
    result = pipe("a seven", seed=1)
    pixels = np.asarray(result.images[0]).copy()
    pixels[3, 4] += shade if pixels[3, 4] < 250 else -shade
    images.write_png(tmp_path / "a.png", Image.fromarray(pixels), result.recipes[0].png_text())
    found = verify(pipe, tmp_path / "a.png")
    assert (found.verdict, found.largest) == (verdict, shade)
    assert found.share == pytest.approx(
        1 / 64 * 3 / 4
    )  # three of the four numbers of a pixel: alpha is as it was
    assert found.holds is (shade == 1)
    assert ("rounded otherwise by another number of threads" in found.reasons[0]) is (shade == 1)


@pytest.mark.parametrize(("dtype", "place"), [(torch.float32, 0), (torch.bfloat16, 0), (torch.bfloat16, 2)])
def test_a_picture_of_a_batch_is_made_again_to_the_bit(tmp_path, dtype, place):
    """Two rows of a product of matrices may be rounded otherwise than one: in bfloat16 that is seen."""
    pipe = TextToImage(tiny_model())
    for part in pipe.model.parts.values():
        part.to(dtype)
    result = pipe(["a seven", "a two", "a seven"], seeds=[1, 2, 3], steps=3)
    path = tmp_path / "a.png"
    images.write_png(path, result.images[place], result.recipes[place].png_text())
    assert Recipe.from_png(path).batch == 3
    assert pipe("a seven", seed=1).recipes[0].batch == 0
    assert verify(pipe, path).verdict == "bit-equal"
    other = Image.fromarray(255 - np.asarray(result.images[place]))
    images.write_png(path, other, result.recipes[place].png_text())
    assert verify(pipe, path).reasons[0].startswith("the pixels were changed")


def test_a_batch_is_told_where_alone_it_would_round_otherwise(pipe, tmp_path, monkeypatch):
    """Whatever rounds so: here a network whose answer depends on how many rows it is asked of."""
    rounded = TextToImage(tiny_model())
    network = rounded.model.network
    plain = type(network).forward

    def forward(self, x, *rest, **more):
        found = plain(self, x, *rest, **more)
        return found._replace(sample=found.sample * (1 + 1e-3 * len(x)))

    monkeypatch.setattr(type(network), "forward", forward)
    result = rounded("a seven", count=4, seed=5, steps=3)
    images.write_png(tmp_path / "a.png", result.images[2], result.recipes[2].png_text())
    assert not np.array_equal(rounded("a seven", seed=7, steps=3).arrays[0], result.arrays[2])
    assert verify(rounded, tmp_path / "a.png").verdict == "bit-equal"


def test_how_many_another_program_made_at_once_means_nothing_here(pipe, tmp_path):
    path = picture(tmp_path, parameters=a1111(", Batch size: 4, Batch pos: 2"))
    assert (Recipe.from_png(path).batch, Repeat.of(path, pipe.model).batch) == (0, 0)


def test_an_enlarged_picture_and_one_of_another_size(pipe, tmp_path):
    result = pipe("a seven", seed=1)
    images.write_png(tmp_path / "a.png", images.enlarge(result.images[0], 4), result.recipes[0].png_text())
    assert verify(pipe, tmp_path / "a.png").verdict == "bit-equal"
    images.write_png(tmp_path / "b.png", result.images[0].crop((0, 0, 8, 6)), result.recipes[0].png_text())
    found = verify(pipe, tmp_path / "b.png")
    assert (found.verdict, found.largest) == ("different", None)
    assert "8x6, its recipe makes 8x8" in found.reasons[0]


def test_another_model_is_named(pipe, tmp_path):
    path = saved(pipe, tmp_path, seed=1)
    other = TextToImage(tiny_model(name="other", sha256="ff" * 32))
    assert "not 'other' (hash ffffffffff)" in Repeat.of(path, other.model).notes[0]


def test_a1111_s_picture_has_its_scheduler_and_the_card_s_noise(pipe, tmp_path):
    repeat = Repeat.of(picture(tmp_path, parameters=a1111()), pipe.model)
    assert repeat.program == "A1111"
    assert repeat.options == {
        "prompt": "a seven", "negative": "two", "seed": 5, "steps": 3, "guidance": 2.0, "width": 8, "height": 8,
        "noise": "cuda", "scheduler": "DPM++ 2M Karras", "compat": "a1111",
        "prompt_style": "a1111",
    }  # fmt: skip
    pipe(**repeat.options)


def test_comfyui_s_start_is_torch_s_draw_of_the_seed(pipe, tmp_path):
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}}
    nodes = graph(n3=sampler(seed=11, steps=3, cfg=2.0), n5=latent)
    repeat = Repeat.of(picture(tmp_path, prompt=json.dumps(nodes)), pipe.model)
    noise = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(11))
    wanted = pipe(
        "a glass bottle", negative="text, watermark", steps=3, guidance=2.0, scheduler="Euler", compat="comfyui",
        latents=noise, seed=11, width=8, height=8,
    )  # fmt: skip
    assert np.array_equal(pipe(**repeat.options).arrays[0], wanted.arrays[0])


SAID = [
    (a1111(sampler="Quantum", grid="Automatic"), "sampler Quantum is not known; the model's default, DPM++ 2M, is"),
    (a1111(grid="Spiral"), "grid Spiral is not known for DPM++ 2M; its own is used"),
    (a1111(sampler="DEIS", grid="Automatic"), "a1111 values of DEIS are not known here; the right ones are used"),
    (a1111(", ENSD: 31337", "Euler a"), "that noise (and ENSD 31337) is ours, so the picture will differ"),
    (a1111(", Clip skip: 2"), "clip skip 2 is not applied"),
    (a1111(", Model hash: 6ce0161689, Model: v1-5"), "the picture's model is 'v1-5' (hash 6ce0161689), not"),
    (a1111(", Model hash: 6ce0161689"), "the picture's model is unnamed (hash 6ce0161689), not"),
    (a1111(", Model hash: 7460a6fa"), "the picture's model is unnamed; whether"),
    (a1111(", Model hash: 7460a6fa, Model: v1-5"), "its hash 7460a6fa is of the old kind"),
    (a1111(", Denoising strength: 0.6"), "it was made from another picture (denoising strength 0.6)"),
    (a1111(", Denoising strength: 0.6, Hires upscale: 20"), "passes after the first are not made (Hires upscale 20)"),
    (a1111(", Denoising strength: 0.6, Hires upscale: 2, Hires upscaler: ESRGAN"), "its upscaler, ESRGAN, is not here"),
    (a1111(", Hires upscale: 2, Hires prompt: a dog"), "not honoured in the second pass: Hires prompt a dog"),
    (a1111().replace("a seven", "a <hypernet:ink:1> seven"), "<hypernet:ink:1> is not applied"),
    (a1111().replace("a seven", "(a:900)"), "its prompt is taken word for word: the weight in '(a:900)' is 900"),
    (a1111(", VAE: own.safetensors"), "VAE 'own.safetensors' is not loaded"),
    (a1111(", Tiling: True, Token merging ratio: 0.5"), "not honoured: Tiling True; Token merging ratio 0.5"),
    (a1111().replace("a seven", "a seven <lora:ink:0.8>"), "LoRA 'ink' at 0.8 is not applied"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), SAID, ids=[sentence[:40] for _, sentence in SAID])
def test_what_is_not_honoured_is_said(pipe, tmp_path, text, sentence):
    repeat = Repeat.of(picture(tmp_path, parameters=text), pipe.model)
    assert any(sentence in note for note in repeat.notes), repeat.notes
    assert pipe(**repeat.options).images


def test_nothing_is_said_where_nothing_is_lacking(tmp_path):
    digest = hashlib.sha256(b"weights").hexdigest()
    model = tiny_model(name="own", sha256=digest, schedule=DiscreteVP.scaled_linear())
    text = a1111(f", Model hash: {digest[:10]}, Model: any name, RNG: CPU")
    assert Repeat.of(picture(tmp_path, parameters=text), model).notes == ()


def test_other_programs_values_are_left_where_the_model_has_no_table_of_betas(tmp_path):
    continuous = TextToImage(tiny_model(name="tiny"))
    repeat = Repeat.of(
        picture(tmp_path, parameters=a1111(sampler="Euler", grid="Automatic")), continuous.model
    )
    assert "compat" not in repeat.options
    assert continuous(**repeat.options).images


def test_invokeai_s_picture(pipe, tmp_path):
    table = INVOKE | {"width": 8, "height": 8, "steps": 2}
    repeat = Repeat.of(picture(tmp_path, invokeai_metadata=json.dumps(table)), pipe.model)
    assert (repeat.options["scheduler"], repeat.options["compat"]) == ("dpmpp_2m Karras", "diffusers")
    assert repeat.options["noise"] == "torch"
    assert pipe(**repeat.options).images


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ({}, "holds no recipe"),
        ({"Comment": "holiday"}, "holds no recipe"),
        ({"unnoise": "{"}, "not a recipe"),
    ],
)
def test_a_picture_without_a_recipe_is_refused(pipe, tmp_path, chunks, words):
    with pytest.raises((FileError, InputError), match=words):
        Repeat.of(picture(tmp_path, **chunks), pipe.model)


def test_philox_gives_its_published_answers():
    """Known answers of Random123's kat_vectors for philox4x32-10."""
    ones = 0xFFFFFFFF
    cases = {
        ((0, 0, 0, 0), (0, 0)): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ((ones,) * 4, (ones, ones)): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)): (
            0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1,
        ),
    }  # fmt: skip
    for (counter, key), answer in cases.items():
        assert tuple(philox(np.array(counter, dtype=np.uint64)[:, None], key)[:, 0].tolist()) == answer


def test_the_card_s_noise_is_what_a_card_draws():
    """torch.manual_seed(0); torch.randn(12, device="cuda"), printed with four digits."""
    printed = [
        -0.9247,
        -0.4253,
        -2.6438,
        0.1452,
        -0.1209,
        -0.5797,
        -0.6229,
        -0.3284,
        -1.0745,
        -0.3631,
        -1.6711,
        2.2655,
    ]
    assert start_noise("cuda", [0], (1, 12))[0].tolist() == pytest.approx(printed, abs=5e-5)
    several = start_noise("cuda", [3, 4], (2, 4, 64, 64))
    assert torch.equal(several[1], start_noise("cuda", [4], (1, 4, 64, 64))[0])
    assert abs(float(several.mean())) < 3 / 32768**0.5
    assert float(several.var()) == pytest.approx(1.0, abs=3 * (2 / 32768) ** 0.5)


@pytest.mark.parametrize(("options", "words"), [
    ({"noise": "gpu"}, "give one of torch, cuda, or leave it out"),
    ({"noise": "cuda", "latents": torch.zeros(1, 1, 8, 8)}, "give one of the two"),
])  # fmt: skip
def test_noise_that_makes_no_sense_is_refused(pipe, options, words):
    with pytest.raises(InputError, match=words):
        pipe("a seven", steps=1, **options)
