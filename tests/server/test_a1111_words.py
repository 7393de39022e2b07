"""A1111's fields -> what is asked here; no server needed."""

import base64
import dataclasses
import inspect
import io

import pytest
import webuiapi
from PIL import Image

from latent_model import latent_model
from unnoise import images
from unnoise.errors import InputError
from unnoise.pipelines import TextToImage
from unnoise.schedulers import names
from unnoise.server.a1111 import png_info, settings, unheeded
from unnoise.server.a1111.samplers import SAMPLERS, SCHEDULERS, THERE, chosen
from unnoise.server.a1111.wanted import KNOWN, THEIRS, wanted
from unnoise.server.card import Card
from unnoise.server.fields import FIELDS
from unnoise.server.limits import Limits
from unnoise.server.refusals import FieldError
from unnoise.server.runs import denoise
from unnoise.server.shaping import Shaping

CARDS = (
    Card("small", "unnoise", "ab" * 32, "text", 8, 64, 64, 20, 3.0, "Euler", True),
    Card("other", "unnoise", "", "text", 8, 64, 64, 20, 3.0, "Euler", True),
    Card("sd", "Stable Diffusion 1", "", "text", 8, 512, 512, 20, 7.5, "DPM++ 2M", True),
    Card("editor", "Stable Diffusion 1, editing", "", "edit", 8, 64, 64, 20, 3.0, "Euler", True),
)


def base64_png(picture):
    return base64.b64encode(images.png_bytes(picture)).decode()


def noise(size, mode="RGB"):
    return Image.effect_noise(size, 60).convert(mode)


INIT, MASK = noise((64, 64)), Image.new("L", (64, 64))
MASK.paste(255, (0, 0, 16, 64))


def read(picture=False, **fields):
    if picture:
        fields = {"init_images": [base64_png(INIT)], **fields}
    return wanted(fields, Limits(), CARDS, picture)


def opened(content):
    return Image.open(io.BytesIO(content))


def test_what_is_left_out_is_left_to_the_model():
    asked = read().parts[0]
    left = (
        "steps",
        "guidance",
        "scheduler",
        "compat",
        "noise",
        "width",
        "height",
        "seed",
        "clip_skip",
        "model",
    )
    assert {getattr(asked, name) for name in left} == {None}
    assert (asked.prompt, asked.count, asked.show_every) == ("", 1, 1)


def test_what_the_web_ui_makes_is_made():
    """The request and Python's own arguments give one picture, on a model with the web UI's table of betas."""
    pipe = TextToImage(latent_model())
    card = dataclasses.replace(CARDS[0], family="Stable Diffusion 1", unit=1, width=16, height=16)
    fields = {"prompt": "a (cat:1.2)", "seed": 5, "steps": 3, "cfg_scale": 4, "sampler_name": "DPM++ 2M"}
    asked = wanted({**fields, "width": 64, "height": 64}, Limits(), (card,)).parts[0]
    size = {"width": 64, "height": 64}
    theirs = {"scheduler": "DPM++ 2M", "compat": "a1111", "noise": "cuda", "guidance": 4.0}
    run = denoise(pipe, asked, Limits())
    alike = pipe.denoise("a (cat:1.2)", seed=5, steps=3, **theirs, **size)
    assert run.recipes == alike.recipes
    assert (run.result().arrays[0] == alike.result().arrays[0]).all()


SD = {"sd_model_checkpoint": "sd"}


def test_stable_diffusion_is_sampled_as_the_web_ui_does_and_other_models_are_not():
    asked = read(sampler_name="DPM++ 2M", scheduler="Karras", override_settings=SD).parts[0]
    # its values of the sampler, and the noise of an NVIDIA card, which is where it draws by default
    assert (asked.scheduler, asked.compat, asked.noise) == ("DPM++ 2M Karras", "a1111", "cuda")
    asked = read(override_settings={**SD, "randn_source": "CPU"}).parts[0]
    assert (asked.scheduler, asked.compat, asked.noise) == ("DPM++ 2M", "a1111", "torch")
    asked = read(sampler_name="LCM", override_settings=SD).parts[0]
    assert (asked.scheduler, asked.compat, asked.noise) == ("LCM", None, "cuda")
    asked = read(sampler_name="DPM++ 2M", scheduler="Karras").parts[0]
    assert (asked.scheduler, asked.compat, asked.noise) == ("DPM++ 2M Karras", None, None)
    assert wanted({"sampler_name": "Euler"}, Limits(), CARDS, model="sd").parts[0].compat == "a1111"


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"prompt": "a", "negative_prompt": "b"}, {"prompt": "a", "negative": "b", "prompt_style": "a1111"}),
        ({"seed": -1, "steps": 30, "cfg_scale": 7}, {"seed": -1, "steps": 30, "guidance": 7.0}),
        ({"width": 128, "height": 96}, {"width": 128, "height": 96}),
        ({"batch_size": 2, "n_iter": 3}, {"count": 6}),
        ({"sampler_name": "Euler a"}, {"scheduler": "Euler a"}),
        ({"sampler_index": "Heun"}, {"scheduler": "Heun"}),
        ({"sampler_name": "Euler", "sampler_index": "Heun"}, {"scheduler": "Euler"}),
        ({"sampler_name": "DPM++ 2M", "scheduler": "karras"}, {"scheduler": "DPM++ 2M Karras"}),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Automatic"}, {"scheduler": "DPM++ 2M"}),
        ({"scheduler": "karras"}, {"scheduler": "Euler Karras"}),  # after the model's own sampler
        ({"sampler_name": "LCM", "scheduler": "automatic"}, {"scheduler": "LCM"}),
        ({"override_settings": {"sd_model_checkpoint": "other.safetensors"}}, {"model": "other"}),
        ({"override_settings": {"sd_model_checkpoint": f"small [{'ab' * 5}]"}}, {"model": "small"}),
        ({"override_settings": {"sd_model_checkpoint": "ab" * 5}}, {"model": "small"}),
        (
            {"override_settings": {"sd_model_checkpoint": f"x/other.safetensors [{'ab' * 5}]"}},
            {"model": "small"},
        ),
        ({"override_settings": {"CLIP_stop_at_last_layers": 2}}, {"clip_skip": 2}),
        ({"override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}}, {"clip_skip": None}),
        ({"override_settings": {"randn_source": "CPU"}}, {"noise": "torch"}),
        ({"enable_hr": False, "hr_scale": 3, "hr_upscaler": "R-ESRGAN 4x+"}, {"hires_scale": None}),
        (
            {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 9, "denoising_strength": 0.5},
            {"hires_scale": 1.5, "hires_steps": 9, "hires_strength": 0.5, "hires_in": "latents"},
        ),
        ({"enable_hr": True, "hr_upscaler": "Lanczos"}, {"hires_in": "pixels", "hires_strength": 0.75}),
        ({"enable_hr": True, "hr_second_pass_steps": 0}, {"hires_scale": 2.0, "hires_steps": None}),
        ({"enable_hr": True, "hr_resize_x": 192, "width": 64, "height": 64}, {"hires_scale": 3.0}),
        ({"denoising_strength": 0.4}, {"strength": None}),
        ({"subseed": 5}, {"variation": None}),
        ({"subseed": 5, "subseed_strength": 0.1}, {"variation": (5, 0.1)}),
    ],
)
def test_their_fields_are_ours(given, ours):
    asked = read(**given).parts[0]
    assert {name: getattr(asked, name) for name in ours} == ours


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"steps": 0}, "steps", "steps is 0"),
        ({"cfg_scale": "high"}, "cfg_scale", "cfg_scale is 'high'"),
        ({"width": 60}, "width", "multiple of 8"),
        ({"n_iter": 17}, "n_iter", "1 to 16"),
        ({"batch_size": 4, "n_iter": 8}, "batch_size", "batch_size is 32"),
        ({"sampler_name": 3}, "sampler_name", "a text"),
        ({"sampler_name": "Euler", "scheduler": "fast"}, "scheduler", "Karras"),
        ({"scheduler": "fast"}, "scheduler", "Karras"),
        ({"script_name": "X/Y/Z plot"}, "script_name", "not found"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"image": "a"}]}}}, "alwayson_scripts", "ControlNet"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True, {}]}}}, "alwayson_scripts", "ADetailer"),
        ({"alwayson_scripts": [1]}, "alwayson_scripts", "no table"),
        ({"subseed_strength": 1.1}, "subseed_strength", "from 0 to 1"),
        ({"subseed_strength": 0.1, "subseed": "x"}, "subseed", "whole number"),
        ({"seed_resize_from_w": 512}, "seed_resize_from_w", "not done here"),
        ({"restore_faces": True}, "restore_faces", "not done here"),
        ({"tiling": True}, "tiling", "not done here"),
        ({"styles": ["x"]}, "styles", "not done here"),
        ({"s_churn": 1}, "s_churn", "not done here"),
        ({"refiner_checkpoint": "xl"}, "refiner_checkpoint", "not done here"),
        ({"override_settings": {"sd_model_checkpoint": "none"}}, "sd_model_checkpoint", "this server has"),
        ({"override_settings": {"token_merging_ratio": 0.5}}, "override_settings", "cannot be set"),
        ({"override_settings": {"samples_format": "jpg"}}, "override_settings", "cannot be set"),
        ({"override_settings": {"randn_source": "x"}}, "randn_source", "GPU"),
        ({"override_settings": []}, "override_settings", "no table"),
        ({"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+"}, "hr_upscaler", "Lanczos"),
        ({"enable_hr": True, "hr_prompt": "other"}, "hr_prompt", "as the first"),
        ({"enable_hr": True, "hr_resize_x": 128, "hr_resize_y": 96, "width": 64}, "hr_resize_x", "aspect"),
        ({"enable_hr": True, "hr_scale": 9}, "hr_scale", "hr_scale is 9"),
        ({"send_images": "no"}, "send_images", "true or false"),
        ({"force_task_id": "x" * 101}, "force_task_id", "101"),
    ],
)
def test_a_refusal_names_their_field(given, field, said):
    with pytest.raises(FieldError, match=said) as refused:
        read(**given)
    assert refused.value.field == field


def test_what_is_not_heeded_is_noted():
    told = read(
        sampler_name="DDIM", eta=1.0, stepss=3, distilled_cfg_scale=3.5, enable_hr=True, hr_upscaler="None"
    )
    assert [note.partition(";")[0].partition(":")[0] for note in told.notes] == [
        "hr_upscaler 'None'",
        "eta 1.0 is not heeded",
        "there is no field 'stepss' here",
        "there is no field 'distilled_cfg_scale' here",
    ]
    assert "did you mean steps?" in told.notes[2]


def test_a_hundred_thousand_unknown_fields_are_not_looked_up_one_by_one(monkeypatch):
    looked = []
    near = unheeded.difflib.get_close_matches
    monkeypatch.setattr(
        unheeded.difflib, "get_close_matches", lambda *words, **n: looked.append(1) or near(*words, **n)
    )
    notes = read(**{f"x{number}": 0 for number in range(100_000)}).notes
    assert len(looked) == len(notes) - 1 == 8
    assert notes[-1] == "nor are there 99992 others that were given"


def test_what_a_usual_client_sends_by_default_is_neither_refused_nor_noted(monkeypatch):
    """webuiapi sends every field with its default."""
    sent = {}
    client = webuiapi.WebUIApi(username="nobody", password="nothing", port=1)
    monkeypatch.setattr(
        webuiapi.WebUIApi,
        "post_and_get_api_result",
        lambda self, url, json, way: sent.update({url[-7:]: json}),
    )
    client.txt2img(prompt="a cat", width=64, height=64)
    client.img2img([INIT], prompt="a cat", width=64, height=64)
    told = wanted(sent["txt2img"], Limits(), CARDS)
    assert (told.parts[0].scheduler, told.parts[0].steps, told.parts[0].guidance) == ("Euler a", 20, 7.0)
    assert told.notes == ()
    told = wanted(sent["img2img"], Limits(), CARDS, picture=True)
    assert (told.parts[0].strength, told.parts[0].mask, told.notes) == (0.75, None, ())
    client.img2img([INIT], mask_image=MASK, prompt="a cat", width=64, height=64)
    told = wanted(sent["img2img"], Limits(), CARDS, picture=True)
    assert (told.parts[0].masked_area, told.parts[0].padding, told.parts[0].feather) == (True, 0, 4.0)
    assert [note.partition(" ")[0] for note in told.notes] == ["inpainting_fill"]


def test_scripts_that_are_switched_off_change_nothing():
    off = {
        "ADetailer": {"args": [False]},
        "animatediff": {"args": [{"enable": False}]},
        "ControlNet": {"args": [{"enabled": False, "image": "a"}]},
        "Never OOM": {"args": []},
        "Seed": {},
    }
    assert read(alwayson_scripts=off) == read()


def infotext(more):
    return (
        "a cat\nNegative prompt: fog\nSteps: 7, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4, Seed: 5, "
        f"Size: 64x128, {more}"
    )


A1111 = "Version: v1.10.0"


def test_an_infotext_tells_what_is_left_out():
    told = read(infotext=infotext(f"Hires upscale: 2, {A1111}"), steps=9)
    asked = told.parts[0]
    assert (asked.prompt, asked.negative, asked.steps, asked.seed) == ("a cat", "fog", 9, 5)
    assert (asked.guidance, asked.width, asked.height) == (4.0, 64, 128)
    assert asked.scheduler == "DPM++ 2M Karras"
    assert told.notes == ("infotext: Hires upscale is not taken over",)  # the web UI needs its strength too


@pytest.mark.parametrize(
    ("text", "prompt", "steps"), [("", "", None), ("a cat", "a cat", None), ("a cat\nSteps: 3", "a cat", 3)]
)
def test_what_an_infotext_does_not_tell_is_left_to_the_model(text, prompt, steps):
    told = read(infotext=text)
    assert told.parts == (dataclasses.replace(read().parts[0], prompt=prompt, steps=steps),)


@pytest.mark.parametrize(
    ("more", "ours"),
    [
        (f"Model hash: {'ab' * 5}, Model: any, {A1111}", {"model": "small"}),
        (f"Model: other, {A1111}", {"model": "other"}),
        (f"RNG: CPU, {A1111}", {"noise": "torch"}),
        (f"Model: sd, {A1111}", {"noise": "cuda", "compat": "a1111"}),
        (f"Model: sd, RNG: CPU, {A1111}", {"noise": "torch"}),
        ("Model: sd, Version: unnoise 1", {"noise": None}),
        ("Model: sd, RNG: NV, Version: unnoise 1", {"noise": "cuda"}),
        (f"Clip skip: 2, {A1111}", {"clip_skip": 2}),
        (f"Variation seed: 6, Variation seed strength: 0.2, {A1111}", {"variation": (6, 0.2)}),
        (
            f"Denoising strength: 0.6, Hires upscale: 2, Hires steps: 9, Hires upscaler: Latent, {A1111}",
            {"hires_scale": 2.0, "hires_strength": 0.6, "hires_steps": 9, "hires_in": "latents"},
        ),
        (f"Denoising strength: 0.6, Hires resize: 128x256, {A1111}", {"hires_scale": 2.0}),
    ],
)
def test_an_infotext_tells_of_the_model_the_noise_and_the_passes(more, ours):
    told = read(infotext=infotext(more))
    assert {name: getattr(told.parts[0], name) for name in ours} == ours
    assert told.notes == ()


def test_what_an_infotext_tells_in_vain_is_noted():
    more = f"Model hash: 0123456789, Model: v1-5, VAE: x, ENSD: 31337, {A1111}"
    assert read(infotext=infotext(more)).notes == (
        "infotext: its model v1-5 (hash 0123456789) is not served here; another is used",
        "infotext: VAE is not taken over",
        "infotext: ENSD is not taken over",
    )
    # another file of a model's name is another model
    assert "not served" in read(infotext=infotext(f"Model hash: 0123456789, Model: small, {A1111}")).notes[0]


def test_the_settings_of_a_request_go_before_those_of_its_infotext():
    text = infotext(f"Model: other, RNG: CPU, Clip skip: 2, {A1111}")
    asked = read(infotext=text, override_settings={"sd_model_checkpoint": "sd", "randn_source": "NV"}).parts[
        0
    ]
    assert (asked.model, asked.noise, asked.clip_skip) == ("sd", "cuda", 2)
    unserved = read(
        infotext=infotext(f"Model: v1-5, {A1111}"), override_settings={"sd_model_checkpoint": "sd"}
    )
    assert (unserved.parts[0].model, unserved.notes) == ("sd", ())
    with pytest.raises(FieldError, match="no table"):
        read(infotext=text, override_settings=[1])


def test_a_random_variation_is_chosen_once():
    first, second = (read(subseed_strength=0.1).parts[0].variation for _ in range(2))
    assert first[0] != second[0]
    several = read(
        True, init_images=[base64_png(INIT)] * 2, batch_size=2, seed=7, subseed=9, subseed_strength=0.1
    )
    assert [(part.seed, part.variation) for part in several.parts] == [(7, (9, 0.1)), (7, (10, 0.1))]


def test_a_picture_is_begun_from():
    told = read(True)
    assert opened(told.parts[0].init).tobytes() == INIT.tobytes()
    assert (told.parts[0].strength, told.parts[0].mask, told.shaping) == (0.75, None, Shaping())
    assert read(True, denoising_strength=0.3).parts[0].strength == 0.3
    size = {"width": 128, "height": 64}
    assert read(True, **size).shaping == Shaping(**size)
    assert read(True, **size, resize_mode=1).shaping == Shaping(**size, crop=True)
    assert read(True, width=128, resize_mode=1).shaping == Shaping(crop=True, width=128)
    assert read().shaping is None


def test_several_pictures_are_begun_from_one_each():
    """As the web UI's batch: the seeds count on through the batches, and the batch is as large as the list."""
    several = [base64_png(INIT), base64_png(MASK.convert("RGB"))]
    told = read(True, init_images=several, batch_size=3, n_iter=2, seed=7)
    assert told.batch == 2
    assert [(part.seed, part.count) for part in told.parts] == [(7, 1), (8, 1), (9, 1), (10, 1)]
    assert [base64.b64encode(part.init).decode() for part in told.parts] == several * 2
    (alone,) = read(True, batch_size=3, n_iter=2, seed=7).parts
    assert (alone.seed, alone.count) == (7, 6)
    first, second = read(True, init_images=several, batch_size=2).parts
    assert second.seed == first.seed + 1


@pytest.mark.parametrize("invert", [0, 1])
@pytest.mark.parametrize("area", [True, False])
def test_a_mask_says_where_to_paint(invert, area):
    size = {"width": 128, "height": 128}
    told = read(
        True,
        mask=base64_png(MASK),
        inpainting_mask_invert=invert,
        inpaint_full_res=area,
        inpaint_full_res_padding=8,
        inpainting_fill=1,
        mask_blur=2,
        **size,
    )
    # where only the masked area is worked on, width and height are of that and not of the picture
    assert told.shaping == Shaping("dark" if invert else "light", **({} if area else size))
    assert (told.parts[0].masked_area, told.parts[0].padding) == ((True, 8) if area else (False, None))
    assert (told.parts[0].feather, told.parts[0].width) == (2.0, 128)
    assert opened(told.parts[0].mask).tobytes() == MASK.tobytes()


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"init_images": []}, "init_images", "list of pictures"),
        ({"init_images": [base64_png(INIT)] * 2}, "init_images", "a batch_size of 2"),
        ({"init_images": [base64_png(INIT), "AAAA"], "batch_size": 2}, "init_images", "not a PNG"),
        ({"init_images": [base64_png(INIT)] * 3, "batch_size": 3, "n_iter": 9}, "batch_size", "is 27"),
        ({"init_images": ["http://127.0.0.1/a.png"]}, "init_images", "base64"),
        ({"init_images": ["R0lGODlh"]}, "init_images", "PNG, JPEG or WebP"),
        ({"resize_mode": 2}, "resize_mode", "crop and resize"),
        ({"mask": base64_png(MASK), "inpainting_fill": 2}, "inpainting_fill", "latent noise"),
        ({"mask": base64_png(MASK), "inpaint_full_res": "yes"}, "inpaint_full_res", "true or false"),
        ({"mask": base64_png(MASK), "mask_blur_x": 2, "mask_blur_y": 3}, "mask_blur_x", "differ"),
        ({"mask": base64_png(MASK), "mask_blur": -1}, "mask_blur", "mask_blur is -1"),
        ({"denoising_strength": 2}, "denoising_strength", "denoising_strength is 2"),
        ({"mask": "AAAA"}, "mask", "mask is not a PNG"),
    ],
)
def test_a_refusal_of_img2img_names_their_field(given, field, said):
    with pytest.raises(FieldError, match=said) as refused:
        read(True, **given)
    assert refused.value.field == field


def test_a_model_that_edits_is_told_how_strongly_it_keeps_to_the_picture():
    chosen_model = {"override_settings": {"sd_model_checkpoint": "editor"}}
    told = read(True, image_cfg_scale=1.2, denoising_strength=0.75, **chosen_model)
    assert (told.parts[0].image_guidance, told.parts[0].strength) == (1.2, None)
    assert told.notes[0].startswith("denoising_strength")
    assert read(True, image_cfg_scale=1.2).parts[0].image_guidance is None


def test_the_names_of_samplers_are_known_and_so_are_their_values_there():
    known = set()
    for name, others in SAMPLERS.items():
        assert names.get(name) == names.get(others[0])
        try:
            names.get(name, compat="a1111")
        except InputError:
            continue
        known.add(name)
    assert known == THERE


@pytest.mark.parametrize("label", [label for label, _ in SCHEDULERS.values() if label != "Automatic"])
def test_every_schedule_type_may_follow_every_sampler(label):
    for sampler in SAMPLERS.keys() - {"DPM adaptive"}:
        whole, compat = chosen(sampler, label)
        assert whole == f"{sampler} {label}"
        names.get(whole, compat=compat)


@pytest.mark.parametrize(
    ("sampler", "scheduler", "found"),
    [
        ("DPM++ 2M Karras", "", ("DPM++ 2M Karras", "a1111")),
        ("DPM++ 2M Karras", "Automatic", ("DPM++ 2M Karras", "a1111")),
        ("DPM++ 2M Karras", "Simple", ("DPM++ 2M Simple", "a1111")),
        ("k_dpmpp_2m_sde_ka", "", ("DPM++ 2M SDE Karras", "a1111")),
        ("DPM++ 2M SDE Exponential", "", ("DPM++ 2M SDE Exponential", "a1111")),
        ("euler a", "sgm_uniform", ("Euler a SGM Uniform", "a1111")),
        ("ddim", "", ("DDIM", "a1111")),
        ("Adams-Moulton 2", "karras", ("Adams-Moulton 2 Karras", None)),
    ],
)
def test_names_of_samplers_are_read_as_that_program_read_them(sampler, scheduler, found):
    assert chosen(sampler, scheduler) == found


def test_no_field_is_both_heeded_and_not():
    assert not KNOWN & unheeded.USUAL.keys()
    sent = {*inspect.signature(webuiapi.WebUIApi.txt2img).parameters} & KNOWN
    assert {"prompt", "enable_hr", "override_settings", "sampler_name"} <= sent
    assert set(THEIRS.values()) <= KNOWN
    assert set(THEIRS) <= set(FIELDS)


def test_the_title_of_a_model_finds_it_again():
    for card in CARDS:
        assert settings.named(settings.title(card), CARDS) == card.name
    twin = dataclasses.replace(CARDS[0], name="small-2")
    assert settings.named("small-2", (CARDS[0], twin)) == "small-2"


def test_the_texts_of_a_picture_are_told():
    text = {
        "parameters": "a cat\nSteps: 7, Sampler: Euler a, CFG scale: 4, Seed: 5, Size: 64x128",
        "other": "x",
    }
    told = png_info.told(text)
    assert (told["info"], told["items"]) == (text["parameters"], text)
    read_back = told["parameters"]
    assert (read_back["Prompt"], read_back["Sampler"], read_back["CFG scale"]) == ("a cat", "Euler a", "4")
    assert (read_back["Size-1"], read_back["Size-2"], read_back["Seed"]) == ("64", "128", "5")
    assert png_info.told({}) == {"info": "", "items": {}, "parameters": {}}
