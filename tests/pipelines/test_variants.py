"""Pictures from pictures: what must be equal to something simpler, and what must not change."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import adapter_files
from latent_model import latent_model
from tiny_model import tiny_model
from unnoise.errors import InputError
from unnoise.networks.vae import AutoEncoder
from unnoise.networks.vae_strips import decode_in_strips
from unnoise.pipelines import Edit, ImageToImage, Inpaint, SecondPass, TextToImage
from unnoise.pipelines import latents as halves
from unnoise.pipelines.canvas import Canvas, feathered, outpainted, read_mask
from unnoise.pipelines.latents import decode, needs_strips
from unnoise.pipelines.request import check
from unnoise.pipelines.strength import entered
from unnoise.process import DiscreteVP
from unnoise.schedulers import names

ASK = {"seed": 7, "steps": 4, "guidance": 2.0}
SCHEDULERS = ["DPM++ 2M", "Heun", "DDPM", "Euler a", "Adams-Moulton 2"]


@pytest.fixture(params=["pixels", "latents"])
def model(request):
    return tiny_model() if request.param == "pixels" else latent_model()


def discrete():
    """A schedule with some signal at its end, which the values of other programs need."""
    return dataclasses.replace(tiny_model(), schedule=DiscreteVP.scaled_linear())


def picture(model, size=None):
    channels = halves.picture_channels(model)
    side = 8 * model.factor
    height, width = size or (side, side)
    return torch.rand((1, channels, height, width), generator=torch.Generator().manual_seed(2)) * 2 - 1


def mask(model, value):
    return torch.full((1, 1, 8 * model.factor, 8 * model.factor), float(value))


def half(model):
    made = mask(model, 0)
    made[..., : 4 * model.factor] = 1.0
    return made


def same(made, other):
    return np.array_equal(made.arrays[0], other.arrays[0])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_image_to_image_at_strength_one_is_text_to_image(model, name):
    made = ImageToImage(model)("a seven", picture(model), strength=1.0, scheduler=name, **ASK)
    assert same(made, TextToImage(model)("a seven", scheduler=name, **ASK))


@pytest.mark.parametrize("kind", [ImageToImage, Inpaint, SecondPass, Edit])
def test_every_pipeline_takes_adapters_and_stays_what_it_is(kind, tmp_path):
    plain = tiny_model()
    pipe = kind(plain).with_lora(adapter_files.kohya(plain, tmp_path / "ink.safetensors"), 0.8)
    assert type(pipe) is kind
    assert [one.told.partition(":")[0] for one in pipe.model.adapters] == ["ink.safetensors"]
    assert pipe.without_loras().model is plain


@pytest.mark.parametrize("name", SCHEDULERS)
def test_inpainting_with_a_full_mask_is_text_to_image(model, name):
    made = Inpaint(model)("a seven", picture(model), mask(model, 1), scheduler=name, **ASK)
    assert same(made, TextToImage(model)("a seven", scheduler=name, **ASK))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("options", [{}, {"area": "masked"}, {"strength": 0.5}])
def test_inpainting_with_an_empty_mask_returns_the_input(model, name, options):
    given = picture(model)
    made = Inpaint(model)("a seven", given, mask(model, 0), scheduler=name, **ASK, **options)
    assert np.array_equal(made.arrays[0], (given[0].permute(1, 2, 0).numpy() * 0.5 + 0.5))
    assert "dark everywhere" in made.notes[0]


@pytest.mark.parametrize("name", ["DPM++ 2M", "Heun", "Euler", "Euler CFG++"])
def test_known_places_stand_at_every_level_where_noise_puts_them(name):
    model = tiny_model()
    given, fresh = picture(model), half(model)
    eps = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    run = Inpaint(model).denoise("a seven", given, fresh, scheduler=name, latents=eps, steps=6)
    for step in run:
        level = step.level
        wanted = float(level.alpha) * given + float(level.sigma) * eps
        assert (step.x - wanted)[fresh == 0].abs().max() <= 1e-4


def test_only_masked_places_change_and_they_do():
    model = tiny_model()
    given, fresh = picture(model), half(model)
    made = torch.from_numpy(Inpaint(model)("a seven", given, fresh, **ASK).arrays[0]).permute(2, 0, 1)[None]
    known = given * 0.5 + 0.5
    assert torch.equal(made[fresh == 0], known[fresh == 0])
    assert (made - known)[fresh == 1].abs().min() > 0.0


@pytest.mark.parametrize("paint", [(255, 255, 255, 255), (0, 0, 0, 255)])
def test_a_mask_painted_on_an_empty_layer_is_what_is_painted_light(paint):
    layer = Image.new("RGBA", (8, 6), (255, 255, 255, 0))
    layer.paste(paint, (2, 1, 5, 4))
    plain = torch.zeros(1, 1, 6, 8)
    plain[..., 1:4, 2:5] = float(paint[0] == 255)
    assert torch.equal(read_mask(layer, (6, 8)), plain)


def test_a_picture_of_a_larger_size_keeps_its_size_and_its_known_bits():
    model = tiny_model()
    given = picture(model, (21, 35))
    fresh = torch.zeros(1, 1, 21, 35)
    fresh[..., 5:9, 20:26] = 1.0
    options = {"area": "masked", "padding": 2, "feather": 1.0}
    made = Inpaint(model)("a seven", given, fresh, **options, **ASK)
    assert made.arrays[0].shape == (21, 35, 1)
    changed = made.arrays[0][..., 0] != (given[0, 0] * 0.5 + 0.5).numpy()
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 2
    assert rows.max() <= 11
    assert columns.min() >= 17
    assert columns.max() <= 28
    recipe = made.recipes[0]
    assert (recipe.area, recipe.padding, recipe.feather, recipe.variant) == ("masked", 2, 1.0, "inpaint")


def test_the_box_around_a_mask_has_the_size_s_aspect_and_stays_inside():
    fresh = torch.zeros(1, 1, 60, 100)
    fresh[..., 50:58, 90:99] = 1.0
    canvas = Canvas(torch.zeros(1, 1, 60, 100), fresh, (0, 0, 100, 60), (16, 32)).around_mask(4)
    left, top, right, bottom = canvas.box
    assert (right - left, bottom - top) == (32, 16)
    assert (right, bottom) == (100, 60)


def test_a_feather_leaves_ones_and_fades_out_around_them():
    fresh = torch.zeros(1, 1, 31, 31)
    fresh[..., 10:21, 10:21] = 1.0
    soft = feathered(fresh, 2.0)
    assert torch.equal(soft[fresh == 1], torch.ones(121))
    row = soft[0, 0, 15, 20:]
    assert (row[1:] <= row[:-1]).all()
    assert 0.5 < row[1] < 1.0
    assert row[-1] == 0.0
    assert torch.equal(feathered(fresh, 0.0), fresh)


def test_outpainting_adds_room_and_keeps_the_picture():
    model = tiny_model()
    given = picture(model)
    made = Inpaint(model)("a seven", given, outpaint=(0, 2, 4, 0), **ASK)
    assert made.arrays[0].shape == (10, 12, 1)
    assert np.array_equal(made.arrays[0][2:, :8, 0], (given[0, 0] * 0.5 + 0.5).numpy())
    wide, fresh = outpainted(given, (0, 2, 4, 0))
    assert wide.shape == fresh.shape == (1, 1, 10, 12)
    assert fresh.sum() == 120 - 64
    assert made.recipes[0].outpaint == "0,2,4,0"


def test_less_strength_stays_nearer_to_the_picture():
    model = tiny_model()
    given = picture(model)
    known = (given[0].permute(1, 2, 0).numpy()) * 0.5 + 0.5
    far = [
        np.abs(
            ImageToImage(model)("a seven", given, strength=share, seed=1, steps=20).arrays[0] - known
        ).mean()
        for share in (0.05, 0.3, 1.0)
    ]
    assert far[0] < far[1] < far[2]


@pytest.mark.parametrize(
    ("steps", "strength", "kept"), [(20, 0.75, 15), (100, 0.29, 29), (20, 0.05, 1), (3, 1, 3)]
)
def test_strength_is_a_share_of_the_steps(pipe, steps, strength, kept):
    run = ImageToImage(pipe.model).denoise("a seven", picture(pipe.model), steps=steps, strength=strength)
    whole = pipe.denoise("a seven", steps=steps)
    assert len(run) == kept
    assert run._plan.levels == whole._plan.levels[-kept - 1 :]


@pytest.mark.parametrize("program", ["diffusers", "k-diffusion", "a1111", "comfyui"])
def test_other_programs_values_are_entered_midway_too(pipe, program):
    ask = {"steps": 10, "scheduler": "Euler", "compat": program}
    request, schedule = check(pipe.model, "a seven", **ask), DiscreteVP.scaled_linear()
    plan, _ = entered(request, schedule, 0.6, None)
    # A1111 makes one more, ComfyUI as many as are asked for
    whole, kept = {"a1111": (10, 7), "comfyui": (16, 10)}.get(program, (10, 6))
    assert plan.levels == request.scheduler.plan(schedule, whole).levels[-kept - 1 :]


@pytest.mark.parametrize("ratio", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_noise_level_is_where_all_steps_begin(pipe, ratio, steps):
    run = ImageToImage(pipe.model).denoise("a seven", picture(pipe.model), steps=steps, noise_level=ratio)
    levels = [float(level.ratio) for level in run._plan.levels]
    assert len(run) == steps
    assert levels[0] == pytest.approx(ratio)
    assert levels == sorted(levels, reverse=True)
    assert run.recipes[0].noise_level == ratio


def test_a_noise_level_where_the_run_begins_anyway_is_the_whole_grid(pipe):
    scheduler, schedule = names.get("DPM++ 2M"), DiscreteVP.scaled_linear()
    whole = scheduler.plan(schedule, 6)
    request = check(pipe.model, "", steps=6, scheduler=scheduler)
    plan, _ = entered(request, schedule, None, float(whole.levels[0].ratio))
    assert [float(a.sigma) for a in plan.levels] == pytest.approx([float(a.sigma) for a in whole.levels])


@pytest.mark.parametrize("way", ["latents", "pixels"])
def test_the_second_pass_makes_a_larger_picture_from_the_first(model, way):
    run = SecondPass(model).denoise("a seven", scale=2.0, enlarge=way, strength=0.5, **ASK)
    assert len(run) == 4 + 2
    assert [step.index for step in run] == list(range(6))
    made = run.result()
    assert made.images[0].size == (16 * model.factor, 16 * model.factor)
    recipe = made.recipes[0]
    assert (recipe.hires_scale, recipe.hires_steps, recipe.strength, recipe.hires_in) == (2.0, 4, 0.5, way)
    assert recipe.width == 8 * model.factor
    again = type(recipe).from_parameters(recipe.to_parameters())
    assert (again.variant, again.hires_scale, again.hires_in) == ("second pass", 2.0, way)


def test_what_the_first_pass_was_told_until_some_step_is_behind_in_the_second(model):
    """So 1.0 of the steps and all 4 of them are one moment: the end of the first pass."""

    def run(prompt, **more):
        steps = SecondPass(model).denoise(prompt, scale=2.0, strength=1.0, **{**ASK, **more})
        return [step.x.clone() for step in steps]

    seven, share, whole, late = (
        run(prompt)
        for prompt in ("a seven", "[a seven:a two:1.0]", "[a seven:a two:4]", "[a seven:a two:1.5]")
    )
    assert all(map(torch.equal, share, whole))
    assert [torch.equal(*pair) for pair in zip(seven, share, strict=True)] == [True] * 4 + [False] * 4
    assert [torch.equal(*pair) for pair in zip(seven, late, strict=True)] == [True] * 6 + [False] * 2
    after = [run("a seven", negative=negative) for negative in ("[dark:light:1.0]", "[dark:light:4]")]
    assert all(map(torch.equal, *after))


@pytest.mark.parametrize(
    ("name", "prompt", "strength", "seven"),
    [
        ("Euler", "[a seven:a two:2]", 1.0, [True, True, True, False]),
        ("Euler", "[a seven|a two]", 1.0, [True, True, False, False]),
        ("Heun", "[a seven:a two:2]", 1.0, [True, False, False, False]),
        ("Heun", "[a seven:a two:3]", 1.0, [True, True, False, False]),
        ("Euler", "[a seven:a two:0.5]", 0.5, [True, True, True]),
        ("Euler", "[a seven:a two:0.25]", 0.5, [True, True, False]),
    ],
)
def test_with_a1111_s_values_prompts_change_by_its_count_of_network_calls(name, prompt, strength, seven):
    """From 0, and of all steps: words that end with the second call, of Heun's two a step, are said in calls 0 to 2."""
    model, ask = discrete(), {"scheduler": name, "compat": "a1111", "strength": strength, **ASK}
    runs = (
        [step.x.clone() for step in ImageToImage(model).denoise(text, picture(model), **ask)]
        for text in ("a seven", prompt)
    )
    assert [torch.equal(*pair) for pair in zip(*runs, strict=True)] == seven


def test_of_a_second_pass_with_a1111_s_values_all_steps_are_made():
    """The last 4 of the 8 that a strength of 0.5 makes of them."""
    model, ask = discrete(), {"scheduler": "Euler", "compat": "a1111", **ASK}
    starts = [float(s.start.sigma) for s in SecondPass(model).denoise("a seven", strength=0.5, **ask)]
    grid = names.get("Euler", "a1111").plan(model.schedule, 8).levels
    assert starts[4:] == [float(level.sigma) for level in grid[4:8]]
    assert len(SecondPass(model).denoise("a seven", strength=0.5, second_steps=3, **ask)) == 4 + 3


def test_different_prompts_pictures_and_seeds_go_in_one_batch(model):
    pictures = torch.cat([picture(model), -picture(model)])
    ask = {"steps": 4, "strength": 0.5}
    both = ImageToImage(model)(["a seven", "a red apple"], pictures, seeds=[3, 4], **ask)
    alone = ImageToImage(model)("a red apple", pictures[1:], seed=4, **ask)
    assert np.abs(both.arrays[1] - alone.arrays[0]).max() <= 1e-4


def test_latents_of_an_odd_size_make_a_picture_of_theirs():
    model = latent_model()
    factor, more = model.network.config.factor, model.factor
    made = ImageToImage(model)("", torch.zeros(1, 4, factor, factor + 1), steps=2, seed=1)
    assert made.images[0].size == ((factor + 1) * more, factor * more)


def test_recipes_tell_what_a_picture_was_begun_from(pipe):
    recipe = ImageToImage(pipe.model)("a seven", picture(pipe.model), strength=0.5, **ASK).recipes[0]
    assert (recipe.variant, recipe.strength) == ("image to image", 0.5)
    assert len(recipe.init_hash) == 64
    text = recipe.to_parameters()
    assert "Denoising strength: 0.5, " in text
    assert type(recipe).from_parameters(text).variant == "image to image"
    assert "Denoising" not in pipe("a seven", **ASK).recipes[0].to_parameters()
    inpainted = Inpaint(pipe.model)("a seven", picture(pipe.model), half(pipe.model), feather=1.0, **ASK)
    assert "Denoising strength: 1, Mask blur: 1, " in inpainted.recipes[0].to_parameters()


def refusals(model):
    given, wrong = picture(model), torch.zeros(1, 1, 4, 4)
    image, paint = ImageToImage(model), Inpaint(model)
    return {
        r"strength 0.02 of 20 steps is less than one step.*at least 0.05, or at least 50 steps": lambda: (
            image("", given, strength=0.02, steps=20)
        ),
        "strength 0 of 20 steps is less than one step": lambda: image("", given, strength=0, steps=20),
        "strength is 1.5; give a share": lambda: image("", given, strength=1.5),
        "give one of the two": lambda: image("", given, strength=0.5, noise_level=1.0),
        "noise_level is 1e-09; .* levels of this grid run from": lambda: image("", given, noise_level=1e-9),
        "cannot be used with the values of diffusers": lambda: image(
            "", given, noise_level=1.0, compat="diffusers"
        ),
        "cannot be entered midway": lambda: image("", given, strength=0.5, steps=30, scheduler="Restart"),
        r"picture is \[1, 3, 8, 8\]; give \[1, 1, height, width\]": lambda: image(
            "", torch.zeros(1, 3, 8, 8)
        ),
        "picture is 'x'; give a PIL picture": lambda: image("", "x"),
        "picture runs from 0 to 255; give pixels within": lambda: image(
            "", torch.tensor([0.0, 255.0]).repeat(1, 1, 8, 4)
        ),
        r"picture is of torch\.uint8; give floats within": lambda: image(
            "", torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
        ),
        "at most 4096 pixels a side": lambda: image("", torch.zeros(1, 1, 8, 4100)),
        r"mask is \[1, 1, 4, 4\]; give a picture, or": lambda: paint("", given, wrong),
        "the mask is 4x4 and the picture 8x8": lambda: paint("", given, Image.new("L", (4, 4))),
        "mask is missing": lambda: paint("", given),
        "outpaint is": lambda: paint("", given, outpaint=(0, 0, 0, 0)),
        "outpaint is 4; give the pixels": lambda: paint("", given, outpaint=4),
        r"outpaint is \(True, 0, 0, 0\)": lambda: paint("", given, outpaint=(True, 0, 0, 0)),
        "prompt is None": lambda: image(None, given),
        "height is 0": lambda: image("", given, height=0),
        r"picture is \[1, 1, 0, 8\]; give": lambda: image("", torch.zeros(1, 1, 0, 8)),
        r"strength 9.99989e-321 of 20 steps is less .* at least 0.05\.$": lambda: image(
            "", given, strength=1e-320, steps=20
        ),
        "strength 0.01 makes the last 20 of 2,000 steps": lambda: image(
            "", given, strength=0.01, steps=20, compat="comfyui"
        ),
        r"noise_level is 1000+\.\.\.; give": lambda: image("", given, noise_level=10**400),
        "scale is 8, and 1024 pixels become more than 4096; give at most 4.": lambda: SecondPass(model)(
            "", scale=8, width=1024
        ),
        "feather is -1": lambda: paint("", given, half(model), feather=-1),
        "area is 'all'": lambda: paint("", given, half(model), area="all"),
        "padding is 1.5": lambda: paint("", given, half(model), padding=1.5),
        "scale is 9": lambda: SecondPass(model)("", scale=9),
        "enlarge is 'x'": lambda: SecondPass(model)("", enlarge="x"),
    }


@pytest.mark.parametrize("words", refusals(tiny_model()))
def test_what_makes_no_sense_is_told(words):
    with pytest.raises(InputError, match=words):
        refusals(tiny_model())[words]()


def test_latents_are_decoded_in_strips_where_memory_would_not_suffice(monkeypatch):
    model = latent_model()
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    called = []
    monkeypatch.setattr(halves, "decode_in_strips", lambda *rest: called.append(1) or decode_in_strips(*rest))
    whole = decode(model, x)
    assert not called
    monkeypatch.setattr(halves, "free_memory", lambda device: 1000)
    assert torch.allclose(decode(model, x), whole, atol=1e-5)
    assert called
    monkeypatch.setattr(halves, "free_memory", lambda device: None)
    decode(model, x)
    assert len(called) == 1


def test_the_memory_of_a_decoder_grows_with_its_pixels():
    autoencoder = latent_model().autoencoder
    needed = 3.5 * 32 * 4 * 64 * 64 * 4  # maps, width, pixels a latent, latents, bytes
    assert not needs_strips(autoencoder, 64, 64, int(needed) + 1)
    assert needs_strips(autoencoder, 64, 64, int(needed) - 1)


def test_bfloat16_that_is_not_finite_is_asked_again_and_the_model_is_left_alone(monkeypatch):
    model = latent_model()
    model.autoencoder.bfloat16()
    asked = []

    def broken(self, latents):
        asked.append(self.dtype)
        made = plain(self, latents)
        return made if self.dtype == torch.float32 else made * torch.nan

    plain = AutoEncoder.decode
    monkeypatch.setattr(AutoEncoder, "decode", broken)
    assert bool(torch.isfinite(decode(model, torch.zeros(1, 4, 8, 8))).all())
    assert asked == [torch.bfloat16, torch.float32]
    assert model.autoencoder.dtype == torch.bfloat16


def test_an_option_that_no_pipeline_has_is_refused():
    model = tiny_model()
    with pytest.raises(TypeError, match="step"):
        ImageToImage(model)("a seven", picture(model), seed=7, step=4)
    with pytest.raises(TypeError, match="step"):
        TextToImage(model).denoise("a seven", seed=7, step=4)
    with pytest.raises(TypeError, match="picture"):
        SecondPass(model)("a seven", seed=7, picture=(8, 8))
