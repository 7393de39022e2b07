"""Pictures from pictures, as typed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import miniature_file
from unnoise import checkpoints, images
from unnoise.cli import asking
from unnoise.networks.unet import UNet
from unnoise.pipelines import ImageToImage, Inpaint, Interval, Rescaled, Scale, load, start_noise
from unnoise.schedulers import names


@pytest.fixture
def files(tmp_path):
    waves = np.add.outer(np.arange(8), np.arange(8)) * 16
    Image.fromarray(np.uint8(waves)).save(tmp_path / "init.png")
    mask = Image.new("L", (8, 8), 0)
    mask.paste(255, (0, 0, 4, 8))
    mask.save(tmp_path / "mask.png")


def pixels(path):
    return np.asarray(images.open_picture(path))


def test_a_picture_is_begun_from(run, tiny, tmp_path, files):
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "--init", "init.png", "--strength", 0.5)
    assert run(*words, "-o", "x.png")[0] == 0
    given = images.open_picture(tmp_path / "init.png")
    made = ImageToImage(load(tiny).model)("a seven", given, strength=0.5, seed=7)
    assert np.array_equal(pixels(tmp_path / "x.png"), np.asarray(made.images[0]))
    assert "Denoising strength: 0.5" in images.read_text(tmp_path / "x.png")["parameters"]


def test_a_mask_keeps_what_is_black(run, tiny, tmp_path, files):
    words = ("generate", "a seven", "-m", tiny, "-s", 7, "-i", "init.png", "--mask", "mask.png")
    assert run(*words, "-o", "x.png")[0] == 0
    made, given = pixels(tmp_path / "x.png"), pixels(tmp_path / "init.png")
    assert np.array_equal(made[:, 4:], given[:, 4:])
    assert not np.array_equal(made[:, :4], given[:, :4])
    assert run(*words, "-o", "y.png", "--masked-area", "--padding", 1, "--mask-blur", 1)[0] == 0
    opened = (images.open_picture(tmp_path / name) for name in ("init.png", "mask.png"))
    wanted = Inpaint(load(tiny).model)("a seven", *opened, seed=7, area="masked", padding=1, feather=1.0)
    assert np.array_equal(pixels(tmp_path / "y.png"), np.asarray(wanted.images[0]))


def test_room_is_added_and_painted(run, tiny, tmp_path, files):
    words = ("generate", "a seven", "-m", tiny, "-i", "init.png", "--outpaint", "0,0,4,2", "-o", "x.png")
    assert run(*words)[0] == 0
    made = pixels(tmp_path / "x.png")
    assert made.shape == (10, 12)
    assert np.array_equal(made[:8, :8], pixels(tmp_path / "init.png"))


def test_a_second_pass_and_tiling(run, tiny, tmp_path):
    words = ("generate", "a seven", "-m", tiny, "--hires-scale", 2, "--hires-strength", 0.5, "--vae-tiling")
    status, out, _ = run(*words, "-o", "x.png", "--json", "--hires-in", "pixels", "--hires-steps", 6)
    assert status == 0
    recipe = json.loads(out)["images"][0]["recipe"]
    assert (recipe["hires_scale"], recipe["hires_steps"], recipe["strength"]) == (2.0, 6, 0.5)
    assert "guidance 2, 16x16: " in run(*words, "--animate", "a.webp")[2]
    assert images.read_size(tmp_path / "x.png") == (16, 16)


def test_guidance_is_shaped(run, tiny, tmp_path):
    shape = ("--guidance-rescale", 0.7, "--guidance-interval", "0.3,5")
    assert run("generate", "a seven", "-m", tiny, "-s", 7, "--guidance", 3, *shape, "-o", "x.png")[0] == 0
    rule = Interval(Rescaled(Scale(3.0), 0.7), 0.3, 5.0)
    wanted = load(tiny)("a seven", seed=7, guidance=rule).images[0]
    assert np.array_equal(pixels(tmp_path / "x.png"), np.asarray(wanted))
    projected = ("--guidance-projected", "0,15,-0.5")
    assert run("generate", "a seven", "-m", tiny, *projected, "-o", "y.png")[0] == 0


def test_words_that_are_checked_without_torch_are_those_of_the_rooms_that_need_it():
    assert asking.PROGRAMS == names.PROGRAMS
    assert asking.STARTS == start_noise.STARTS


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--strength", "0.5"), 2, "--strength is given without --init"),
        (("--mask", "mask.png"), 2, "--mask is given without --init"),
        (("--init", "init.png", "--feather", "2"), 2, "--feather is given without --mask or --outpaint"),
        (("--init", "init.png", "--hires-scale", "2"), 2, "give it without --init"),
        (("--hires-steps", "2"), 2, "--hires-steps is given without --hires-scale"),
        (("--init", "nowhere.png"), 1, "there is no such file"),
        (
            ("--control", "nowhere", "--control-image", "init.png"),
            1,
            "there is no ControlNet 'nowhere'; give a file",
        ),
        (("--init", "init.png", "--strength", "2"), 2, "--strength is 2; give a number from 0 to 1"),
        (("--init", "init.png", "--strength", "0.01"), 2, "is less than one step"),
        (("--init", "init.png", "--outpaint", "4"), 2, "--outpaint is '4'; give 4 numbers"),
        (("--init", "init.png", "--image-guidance", "2"), 2, "is for models that edit by instruction"),
        (("--guidance-interval", "5,1"), 2, "--guidance-interval is 5 to 1"),
        (("--guidance-projected", "x"), 2, "give 3 numbers parted by commas"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(run, tiny, files, words, status, said):
    found, _, err = run("generate", "a seven", "-m", tiny, *words)
    assert found == status
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--embedding", "nowhere.pt"), "--embedding is 'nowhere.pt', and there is no such file"),
        (
            ("--control", "x", "--control-image", "nowhere.png"),
            "--control-image is 'nowhere.png', and there is no such",
        ),
        (
            ("--control", "nowhere", "--control-image", "init.png"),
            "there is no ControlNet 'nowhere'; give a file",
        ),
        (("--lora", "nowhere:0.5"), "there is no LoRA 'nowhere'"),
        (
            ("--init", "init.png", "--mask", "nowhere.png"),
            "--mask is 'nowhere.png', and there is no such file",
        ),
        (("--refiner", "./nowhere"), "there is no 'nowhere'; this version reads model folders"),
        (
            ("--lora-dir", "nowhere"),
            "--lora-dir is 'nowhere', and there is no such folder; give one that exists.",
        ),
        (("--embedding-dir", "init.png"), "--embedding-dir is 'init.png', and there is no such folder"),
        (("--control-dir", "nowhere"), "--control-dir is 'nowhere', and there is no such folder"),
        (("--init", "text.png"), "'text.png' is not a PNG, JPEG or WebP picture"),
        (
            ("--scheduler", "Euler Karas"),
            "scheduler 'Euler Karas' is not known; the nearest are Euler Karras",
        ),
        (("--guidance-projected", "2,15,0"), "parallel is 2.0; give a number from 0 to 1"),
        (("--refiner", "x", "--refine-from", "1"), "--refine-from is 1; give a share between 0 and 1"),
        (
            ("--control", "x", "--control-image", "init.png", "--control-range", "0.8-0.2"),
            "--control-range is 0.8-0.2; give the lower share first",
        ),
        (("--compat", "invoke"), "--compat is invoke; give one of diffusers, k-diffusion, a1111, comfyui."),
        (("-o", "a-%300d.png"), "cannot write 'a-%300d.png': File name too long. Choose another name."),
        (("-m", "sd.safetensors", "--size", "8x9"), "height is 9; this model makes multiples of 2"),
        (
            ("-m", "sd.safetensors", "--prompts", "rows.jsonl"),
            "'rows.jsonl', row 2: width is 9; this model makes multiples of 2",
        ),
    ],
)
def test_no_model_is_loaded_for_what_cannot_be(run, tiny, tmp_path, files, monkeypatch, words, said):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a two"}\n{"prompt": "a two", "width": 9}\n')
    miniature_file.checkpoint(tmp_path / "sd.safetensors")
    monkeypatch.setattr("unnoise.pipelines.load", lambda *_, **__: pytest.fail("a model was loaded"))
    prompt = () if "--prompts" in words else ("a seven",)
    assert said in run("generate", *prompt, "-m", tiny, *words)[2]


def test_a_model_that_edits_refuses_what_is_typed_and_passes_over_what_a_picture_says(
    run, tiny, tmp_path, files
):
    plain = load(tiny).model
    network = miniature_file.stirred(UNet(replace(plain.network.config, in_channels=2)))
    checkpoints.save(replace(plain, network=network), tmp_path / "edit")
    painted = ("generate", "a seven", "-m", "edit", "--init", "init.png", "--mask", "mask.png")
    for flag in ("--masked-area", "--no-paste"):
        status, _, err = run(*painted, flag)
        assert (status, f"leave {flag} out" in err) == (2, True)
    run("generate", "a seven", "-m", tiny, "--init", "init.png", "--strength", 0.5, "-o", "x.png")
    status, _, err = run(
        "generate", "--from", "x.png", "-m", "edit", "--init", "init.png", "--hires-steps", 6
    )
    assert (status, "leave --hires-steps out" in err) == (2, True)
    run("generate", "a seven", "-m", "edit", "--init", "init.png", "--image-guidance", 1.2, "-o", "y.png")
    for picture, other in (("x.png", "edit"), ("y.png", tiny)):
        assert run("generate", "--from", picture, "-m", other, "--init", "init.png", "-o", "z.png")[0] == 0
