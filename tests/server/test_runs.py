import gc
import inspect
import json
import struct
import weakref
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import adapter_files
import miniature_file
import unnoise
from tiny_model import save_tiny
from unnoise import images
from unnoise.errors import InputError
from unnoise.networks import AutoEncoder
from unnoise.pipelines import (
    Edit,
    ImageToImage,
    Inpaint,
    Recipe,
    SecondPass,
    TextToImage,
    latents,
    second_pass,
    start_noise,
)
from unnoise.pipelines.combining import from_text
from unnoise.pipelines.options import Options
from unnoise.schedulers import names
from unnoise.server import Asked, Job, Limits, Settings
from unnoise.server.card import called
from unnoise.server.fields import FIELDS, NOISE_LEVEL, PROGRAMS, STARTS, WAYS
from unnoise.server.held import Held
from unnoise.server.job import Seen
from unnoise.server.messages import Begun
from unnoise.server.problems import problem_of
from unnoise.server.reading import read
from unnoise.server.runs import Bench

ID = "A" * 20


def pixels(pictures):
    return [(picture.mode, picture.size, picture.tobytes()) for picture in pictures]


class Made:
    """Runs jobs in this process, with what they told."""

    def __init__(self, folder, left=lambda id: False, models=("digits",), held=None, **settings):
        self.settings = Settings(models=models, folder=folder, **settings)
        self.told = []
        self.bench = Bench(self.settings, held or Held(self.settings), self.told.append, left)

    def __call__(self, **asked):
        self.ended = self.bench.run(
            Job(ID, Asked(**{"model": "digits", "seed": 7, "steps": 4, "prompt": "a seven"} | asked))
        )
        return self.ended

    def pictures(self, **asked):
        ended = self(**asked)
        assert ended.problem is None
        return pixels(
            images.open_picture(self.settings.folder / "images" / made.name) for made in ended.images
        )

    @property
    def files(self):
        return sorted(path.name for path in self.settings.folder.rglob("*.png"))


@pytest.fixture(scope="module")
def held():
    return Held(Settings(models=("digits",)))


@pytest.fixture(scope="module")
def pipe():
    return unnoise.load("digits")


@pytest.fixture
def made(tmp_path, held):
    return Made(tmp_path, held=held)


def png(picture):
    return images.png_bytes(picture)


OPTIONS = {"prompt": "a seven", "seed": 7, "steps": 4}


def test_a_job_makes_the_pictures_that_the_package_makes_with_their_recipes(made, pipe):
    wanted = pipe("a seven", seed=7, steps=4, count=2, scheduler="euler", guidance=2.0, negative="an eight")
    assert made.pictures(count=2, scheduler="euler", guidance=2.0, negative="an eight") == pixels(
        wanted.images
    )
    for each, recipe in zip(made.ended.images, wanted.recipes, strict=True):
        file = made.settings.folder / "images" / each.name
        assert Recipe.from_png(file) == recipe
        assert (each.recipe, each.seed) == (recipe.to_dict(), recipe.seed)
    assert made.files == [f"{ID}-0.png", f"{ID}-1.png"]
    begun, *saws = made.told
    assert begun == Begun(4, ())
    assert [saw.index for saw in saws] == [1, 2, 3, 4]
    run = pipe.denoise("a seven", steps=4, scheduler="euler")
    assert [saw.sigma for saw in saws] == [step.start.sigma for step in run]


def test_a_model_has_one_name_before_it_is_read_and_after(tmp_path, monkeypatch):
    folder = save_tiny(tmp_path / "house v1.5")
    (tmp_path / "link.v2").symlink_to(folder)
    file = miniature_file.checkpoint(tmp_path / "mini.v3.safetensors")
    monkeypatch.chdir(folder)
    sources = ("digits", str(folder), str(tmp_path / "link.v2"), str(file))
    cards = Held(Settings(models=sources)).cards
    assert [card.name for card in cards] == ["digits", "house v1.5", "link.v2", "mini.v3"]
    assert [called(source) for source in sources] == [card.name for card in cards]
    for source in (".", "model.json", str(folder / "model.json")):
        (card,) = Held(Settings(models=(source,))).cards
        assert card.name == called(source) == "house v1.5"


def test_guidance_is_shaped_as_asked(made, pipe):
    rule = from_text(pipe.model.defaults.guidance, "rescale 0.7, interval 0.1 4.0")
    asked = {"guidance_rescale": 0.7, "guidance_interval": (0.1, 4.0)}
    assert made.pictures(**asked) == pixels(pipe(**OPTIONS, guidance=rule).images)


def test_pictures_begin_from_pictures(made, pipe):
    init = pipe("a three", seed=1).images[0]
    wanted = ImageToImage(pipe.model)(OPTIONS["prompt"], init, seed=7, steps=4, strength=0.5)
    assert made.pictures(init=png(init), strength=0.5) == pixels(wanted.images)
    mask = images.array_to_pil(np.eye(8, dtype=np.float32)[..., None])
    asked = {"feather": 1.0, "padding": 2, "area": "masked"}
    wanted = Inpaint(pipe.model)(OPTIONS["prompt"], init, mask, seed=7, steps=4, **asked)
    asked = {"feather": 1.0, "padding": 2, "masked_area": True}
    assert made.pictures(init=png(init), mask=png(mask), **asked) == pixels(wanted.images)
    wanted = Inpaint(pipe.model)(OPTIONS["prompt"], init, seed=7, steps=4, outpaint=(0, 0, 4, 0))
    assert made.pictures(init=png(init), outpaint=(0, 0, 4, 0)) == pixels(wanted.images)
    assert wanted.images[0].size == (12, 8)


def test_a_second_pass_is_made_and_its_steps_count_on(made, pipe):
    wanted = SecondPass(pipe.model)(**OPTIONS, scale=2.0, strength=0.5, second_steps=6, enlarge="pixels")
    asked = {"hires_scale": 2.0, "hires_strength": 0.5, "hires_steps": 6, "hires_in": "pixels"}
    assert made.pictures(**asked) == pixels(wanted.images)
    indices = [told.index for told in made.told if isinstance(told, Seen)]
    assert indices == list(range(1, made.told[0].steps + 1))


def test_previews_show_what_was_asked_and_never_miss_the_first_and_the_last(made, pipe):
    made(show_every=3, show=("x0", "noise"), steps=20)
    seen = {told.index: told.previews for told in made.told if isinstance(told, Seen)}
    looked = [index for index, previews in seen.items() if previews]
    assert (looked[0], looked[-1]) == (1, 20)
    assert all(index % 3 == 0 for index in looked[1:-1])
    first = next(iter(pipe.denoise("a seven", seed=7, steps=20)))
    for what in ("x0", "noise"):
        shown = images.open_picture(Path("a preview"), seen[1][what])
        assert pixels([shown]) == pixels([first.preview(what)])
    made.told.clear()
    made(show_every=0)
    assert not any(told.previews for told in made.told if isinstance(told, Seen))


def test_large_previews_are_made_small(made):
    made(width=320, height=10, steps=1)
    (saw,) = [told for told in made.told if isinstance(told, Seen)]
    assert images.open_picture(Path("a preview"), saw.previews["x0"]).size == (256, 8)


def test_a_job_that_is_left_makes_no_picture(tmp_path, held):
    made = Made(tmp_path, held=held, left=lambda id: len(made.told) > 3)
    ended = made(steps=20)
    assert (ended.images, ended.problem) == ((), None)
    assert len(made.told) == 4  # its beginning and three steps
    assert made.files == []


def test_loras_in_a_prompt_are_merged_for_the_job_and_gone_after_it(tmp_path, held, pipe):
    folder = tmp_path / "loras"
    folder.mkdir()
    file = adapter_files.kohya(pipe.model, folder / "ink.safetensors")
    made = Made(tmp_path, held=held, loras=folder)
    plain = made.pictures()
    prompt = "a seven <lora:ink:0.8>"
    wanted = pipe.with_lora(file, 0.8)(prompt, seed=7, steps=4)
    assert made.pictures(prompt=prompt) == pixels(wanted.images) != plain
    assert made.ended.images[0].recipe == wanted.recipes[0].to_dict()
    assert made.pictures() == plain
    outside = adapter_files.kohya(pipe.model, tmp_path / "outside.safetensors")
    problem = made(prompt=f"a seven <lora:{outside}:1>").problem
    assert problem.message.startswith("there is no LoRA")
    assert problem.message.endswith("there are ink.")
    assert str(tmp_path / "loras") not in problem.message
    torn = folder / "torn.safetensors"
    torn.write_bytes(b"torn")
    problem = made(prompt="a seven <lora:torn:1>").problem
    assert (problem.code, problem.field) == ("bad_input", "prompt")
    assert "torn.safetensors' (4 bytes) is not a whole safetensors file" in problem.message


def test_numbers_that_are_not_finite_make_no_picture_and_the_next_job_is_as_ever(made, held):
    before = made.pictures()
    network = held.pipeline("digits").model.network

    def broken(module, given, out):
        out.sample.fill_(torch.nan)

    with network.register_forward_hook(broken):
        problem = made(count=2).problem
    assert (problem.code, problem.field) == ("non_finite", None)
    assert "at step 1 of 4" in problem.message
    assert made.pictures() == before


def test_without_memory_for_all_at_once_each_picture_is_made_alone(made, held, pipe):
    def greedy(module, given):
        if len(given[0]) > 2:  # both halves of one picture
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with held.pipeline("digits").model.network.register_forward_pre_hook(greedy):
        pictures = made.pictures(count=3)
    wanted = pipe("a seven", seed=7, steps=4, count=3)
    ours, theirs = (
        np.stack([np.frombuffer(data, np.uint8) for _, _, data in each]).astype(int)
        for each in (pictures, pixels(wanted.images))
    )
    apart = np.abs(ours - theirs)
    assert apart.max() <= 1  # another batch rounds otherwise
    alone = [recipe.to_dict() | {"batch": 0} for recipe in wanted.recipes]
    assert [each.recipe for each in made.ended.images] == alone
    begun = [told for told in made.told if isinstance(told, Begun)][-1]
    assert begun.steps == 12
    assert "memory did not suffice" in begun.notes[0]
    assert made.told[-1].index == 12


def test_without_memory_at_all_the_job_fails_and_frees_what_it_had(made, held):
    def greedy(module, given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    before = made.pictures()
    with held.pipeline("digits").model.network.register_forward_pre_hook(greedy):
        assert made(count=2).problem.code == "out_of_memory"
    assert made.pictures() == before


def living():
    """Numbers in tensors that somebody holds."""
    gc.collect()
    return sum(thing.numel() for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))


@pytest.fixture
def latent(tmp_path):
    """Jobs of a model with an autoencoder."""
    return Made(tmp_path, models=(str(miniature_file.checkpoint(tmp_path / "mini.safetensors")),))


def asked_of(latent):
    return {
        "model": latent.bench.held.cards[0].name,
        "prompt": "a house",
        "width": 64,
        "height": 64,
        "steps": 2,
    }


def test_without_memory_for_the_decoder_it_decodes_in_strips_and_a_second_time_fails(latent, monkeypatch):
    asked = asked_of(latent)
    wanted = latent.pictures(**asked)

    def greedy(plain):
        def ask(self, latents):
            if latents.shape[-1] > 16:  # previews ask for one that is smaller
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return plain(self, latents)

        return ask

    monkeypatch.setattr(AutoEncoder, "decode", greedy(AutoEncoder.decode))
    made = latent.pictures(**asked)
    apart = [np.abs(np.frombuffer(a[2], np.uint8).astype(int) - np.frombuffer(b[2], np.uint8)).max()
             for a, b in zip(made, wanted, strict=True)]  # fmt: skip
    assert max(apart) <= 1
    begun = [told for told in latent.told if isinstance(told, Begun)][-1]
    assert "decoded in strips" in begun.notes[0]
    before = living()
    monkeypatch.setattr(AutoEncoder, "inside", greedy(AutoEncoder.inside))
    problem = latent(**asked).problem
    assert problem.code == "out_of_memory"
    del problem, latent.ended
    assert living() <= before
    monkeypatch.undo()
    assert latent.pictures(**asked) == wanted


@pytest.mark.parametrize("strips", [False, True])
def test_a_job_is_left_in_the_middle_of_decoding(tmp_path, monkeypatch, strips):
    monkeypatch.setattr(latents, "needs_strips", lambda *_: strips)
    done = []
    models = (str(miniature_file.checkpoint(tmp_path / "mini.safetensors")),)
    latent = Made(tmp_path / "out", left=lambda id: "first" in done, models=models)
    asked = asked_of(latent) | {"count": 3, "show_every": 0}
    decoder = latent.bench.held.pipeline(asked["model"]).model.autoencoder.decoder
    with (
        decoder.conv_in.register_forward_hook(lambda *_: done.append("first")),
        decoder.conv_out.register_forward_hook(lambda *_: done.append("last")),
    ):
        ended = latent(**asked)
    assert (ended.images, ended.problem) == ((), None)
    assert done == ["first"]
    done.clear()
    assert len(latent.pictures(**asked)) == 3  # nothing is left behind that would end the next


def test_a_job_is_left_in_the_middle_of_a_step(tmp_path, held):
    done = []
    made = Made(tmp_path, left=lambda id: "first" in done, held=held)
    network = held.pipeline("digits").model.network
    with (
        network.down_blocks[0].register_forward_hook(lambda *_: done.append("first")),
        network.up_blocks[-1].register_forward_hook(lambda *_: done.append("last")),
    ):
        ended = made()
    assert (ended.images, ended.problem) == ((), None)
    assert done == ["first"]
    done.clear()
    assert len(made.pictures()) == 1


def test_a_job_is_left_between_two_files(tmp_path, held):
    made = Made(tmp_path, left=lambda id: bool(made.files), held=held)
    assert made(count=3).images == ()
    assert made.files == [f"{ID}-0.png"]  # which the desk removes


def test_jobs_leave_nothing_in_memory(tmp_path):
    """Fifty of several kinds, and ten changes of the model: what lives is what lived after the first of each."""
    made = Made(tmp_path, models=("digits", "emoji"))
    kinds = (
        {"count": 2, "scheduler": "Euler a"},
        {"init": png(Image.new("L", (8, 8), 90)), "strength": 0.5},
        {"scheduler": "nonsuch"},
        {"hires_scale": 2.0, "hires_strength": 0.5},
        {"model": "emoji", "prompt": "a red apple", "steps": 1, "show_every": 0},
    )
    lived = []
    for _ in range(5):
        for place in range(9):
            made(steps=2, **kinds[place % 4])
        lived.append(living())
        assert made(**kinds[4]).problem is None
        made.told.clear()
        del made.ended
    assert max(lived) == min(lived[1:]) == lived[1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_does_not_suffice_is_known_by_its_words(error):
    assert problem_of(error).code == "out_of_memory"


def test_a_fault_of_ours_is_told_without_the_prompt(made, held, capfd):
    def faulty(module, given):
        raise TypeError("a secret prompt")

    with held.pipeline("digits").model.network.register_forward_pre_hook(faulty):
        problem = made(prompt="a secret prompt").problem
    assert (problem.code, problem.message[:38]) == ("failed", "an error of the server's own (TypeErro")
    logged = capfd.readouterr().err
    assert "in faulty" in logged
    # the line of the code is shown, the words that it was given are not
    assert "secret" not in problem.message + logged.replace('raise TypeError("a secret prompt")', "")


def bomb(side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("field", "content"),
    [("init", b"\x89PNG\r\n\x1a\n" + bytes(40)), ("init", bomb(13_000)), ("mask", b"RIFF")],
    ids=["damaged", "a bomb", "cut short"],
)
def test_pictures_that_cannot_be_read_are_told_by_their_field(made, pipe, field, content):
    given = {"init": png(pipe("a three", seed=1, steps=2).images[0]), field: content}
    problem = made(**given).problem
    assert (problem.code, problem.field) == ("bad_input", field)
    assert made.pictures()


def test_a_picture_asks_for_no_more_than_a_request_may(tmp_path, held):
    made = Made(tmp_path, held=held, limits=Limits(side_high=20, work=1000))
    init = png(Image.new("L", (24, 8)))
    assert made(init=init).problem.field == "init"
    assert made(init=png(Image.new("L", (16, 8))), outpaint=(0, 0, 8, 0)).problem.field == "init"
    assert made(init=init, width=8, strength=0.5).problem is None
    assert made(init=init, width=16, height=16, strength=1.0).problem.field == "steps"


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("scheduler", {"scheduler": "nonsuch"}),
        ("width", {"width": 5000}),
        ("steps", {"steps": 5000}),
        ("clip_skip", {"clip_skip": 90}),
        ("hires_strength", {"hires_scale": 2, "hires_strength": 0.1}),
        (None, {"model": "gone"}),
    ],
)
def test_what_the_model_refuses_is_bad_input(made, field, asked):
    problem = made(**asked).problem
    assert problem.code == "bad_input"
    if field is not None:
        assert problem.field == field


def test_a_disk_that_is_full_fails_the_job_and_not_the_next(made):
    resource = pytest.importorskip("resource")
    before = made.pictures()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        problem = made().problem
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert problem.code == "failed"
    assert problem.message.startswith(f"cannot write 'images/{ID}-0.png'")
    assert made.pictures() == before


def test_another_model_takes_the_place_of_the_first(tmp_path):
    made = Made(tmp_path, models=("digits", "emoji"))
    made()
    first = weakref.ref(made.bench.held.pipe.model.network)
    gc.disable()  # nothing may wait for the collector beside the one call that frees
    try:
        assert made.pictures(model="emoji", prompt="a red apple", steps=1)[0][1] == (64, 64)
        assert first() is None
    finally:
        gc.enable()
    assert [card.name for card in made.bench.held.cards] == ["digits", "emoji"]


def test_a_model_that_is_gone_is_told_to_its_owner_and_its_place_to_nobody_else(tmp_path, capfd):
    file = miniature_file.checkpoint(tmp_path / "a model.safetensors")
    made = Made(tmp_path, models=("digits", str(file)))
    file.write_bytes(b"torn")
    problem = made(model="a model").problem
    assert problem.code == "failed"
    assert problem.message == "model 'a model' cannot be loaded any more; the server's log says why."
    assert f"'{file}' (4 bytes) is not a whole safetensors file" in capfd.readouterr().err
    assert made().problem is None


@pytest.mark.parametrize("channels", [4, 8, 9])
def test_every_kind_of_stable_diffusion_is_served(tmp_path, channels):
    """A file of random weights: what sees the sample alone, a picture beside it, or a mask and a picture."""
    file = tmp_path / "ünï file.safetensors"
    save_file(miniature_file.tensors(replace(miniature_file.UNET, in_channels=channels)), file)
    made = Made(tmp_path, models=(str(file),))
    (card,) = made.bench.held.cards
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    mask = Image.new("L", picture.size)
    mask.paste(255, (0, 0, 32, 64))
    asked = {"compat": "a1111", "noise": "cuda", "scheduler": "DPM++ 2M Karras", "steps": 2}
    model, told = unnoise.load(file).model, {**asked, "seed": 7}
    if channels == 4:
        kind, init = "text", {}
        wanted = TextToImage(model)("a seven", **told, width=64, height=72)
        asked |= {"width": 64, "height": 72}
    elif channels == 8:
        kind, init = "edit", {"init": png(picture), "image_guidance": 1.2}
        wanted = Edit(model)("a seven", picture, picture_guidance=1.2, **told)
    else:
        kind, init = "inpaint", {"init": png(picture), "mask": png(mask), "feather": 4.0}
        wanted = Inpaint(model)("a seven", picture, mask, feather=4.0, **told)
    assert (card.name, card.kind) == ("ünï file", kind)
    assert made.pictures(model=card.name, show=("x0", "sample"), **asked, **init) == pixels(wanted.images)
    assert {"x0", "sample"} == made.told[-1].previews.keys()
    assert made.ended.images[0].recipe == wanted.recipes[0].to_dict()


def test_pictures_of_models_of_one_name_are_told_apart_by_their_hash(tmp_path):
    one = miniature_file.checkpoint(tmp_path / "a.safetensors")
    (tmp_path / "other").mkdir()
    tensors = {name: tensor * 1.5 for name, tensor in miniature_file.tensors().items()}
    save_file(tensors, tmp_path / "other" / "a.safetensors")
    made = Made(tmp_path, models=(str(one), str(tmp_path / "other" / "a.safetensors")))
    made(model="a-2", width=64, height=64, steps=1)
    held, picture = made.bench.held, (tmp_path / "images" / made.ended.images[0].name).read_bytes()
    assert read(picture, held.pipe.model, held.cards, None)[0]["model"] == "a-2"
    unknown = Held(made.settings).cards
    assert "model" not in read(picture, held.pipe.model, unknown, None)[0]


def test_models_of_one_name_are_told_apart(tmp_path):
    held = Held(Settings(models=("digits", "digits"), folder=tmp_path))
    assert [card.name for card in held.cards] == ["digits", "digits-2"]
    assert held.pipeline("digits-2") is not held.pipeline("digits")


def test_a_picture_is_read_as_the_fields_that_ask_for_it_again(made, held, pipe, tmp_path):
    rule = {"guidance": 3.0, "guidance_rescale": 0.7, "guidance_interval": (0.1, 4.0)}
    first = made.pictures(prompt="a (seven:1.2)", negative="an eight", scheduler="ddim", **rule)
    file = (tmp_path / "images" / made.ended.images[0].name).read_bytes()
    fields, notes = read(file, pipe.model, held.cards, None)
    assert notes == ()
    assert made.pictures(**Asked.read(fields, made.settings.limits, held.cards).to_dict()) == first
    init = (tmp_path / "images" / made.ended.images[0].name).read_bytes()
    made(init=init, strength=0.5)
    file = (tmp_path / "images" / made.ended.images[0].name).read_bytes()
    fields, notes = read(file, pipe.model, held.cards, None)
    assert fields["strength"] == 0.5
    assert notes == ("it was begun from another picture, which it does not hold; give init",)


def test_every_field_of_a_begun_picture_is_read_from_it_again(made, held, pipe, tmp_path):
    init = png(pipe("a three", seed=1, steps=2).images[0])
    painted = {"strength": 0.5, "feather": 1.0, "padding": 2, "masked_area": True}
    for asked in (
        {"hires_scale": 2.0, "hires_strength": 0.5, "hires_steps": 6, "hires_in": "pixels"},
        {"variation": (20, 0.3), "noise": "torch"},
        {"init": init, "outpaint": [0, 0, 4, 0], "noise_level": 1.5, "feather": 0.0},
        {"init": init, "mask": png(Image.new("L", (8, 8), "white")), **painted},
    ):
        made(**asked)
        file = (tmp_path / "images" / made.ended.images[0].name).read_bytes()
        fields, _ = read(file, pipe.model, held.cards, None)
        told = {name: value for name, value in asked.items() if name not in ("init", "mask")}
        assert {name: fields.get(name) for name in told} == told


def test_what_a_field_is_passed_on_as_is_an_argument_of_a_pipeline():
    several = {argument for begun in (ImageToImage, Inpaint, Edit, SecondPass)
               for argument in inspect.signature(begun.denoise).parameters}  # fmt: skip
    assert {row.begun for row in FIELDS.values() if row.begun} <= several
    assert {name for name, row in FIELDS.items() if row.common} <= set(Options.__annotations__)
    assert (PROGRAMS, STARTS, WAYS) == (names.PROGRAMS, start_noise.STARTS, second_pass.WAYS)


def test_what_a_picture_tells_is_json_whatever_stands_in_it(held, pipe):
    def told(text):
        file = images.png_bytes(pipe("a seven", steps=1).images[0], {"parameters": text})
        fields, notes = read(file, pipe.model, held.cards, None)
        json.dumps(fields, allow_nan=False)
        return fields, notes

    whole = "a seven\nSteps: 5, Sampler: Euler, CFG scale: 3, Seed: 9, Size: 8x8, Version: unnoise 1"
    fields, notes = told(f"{whole}, Guidance: interval 0.5 inf")
    assert fields["guidance_interval"] == [0.5, NOISE_LEVEL]
    assert any("no upper end" in note for note in notes)
    assert Asked.read(fields, Limits(), held.cards).guidance_interval == (0.5, NOISE_LEVEL)
    for name, field in (("strength", "Denoising strength"), ("noise_level", "Noise level")):
        with pytest.raises(InputError, match=f"make no sense: {name} is inf"):
            told(f"{whole}, {field}: inf")


def test_a_sent_picture_is_opened_once(held, pipe, monkeypatch):
    picture = pipe("a seven", seed=7, steps=1)
    file = images.png_bytes(picture.images[0], picture.recipes[0].png_text())
    opened, plain = [], images.read_text
    monkeypatch.setattr(images, "read_text", lambda *given: opened.append(1) or plain(*given))
    read(file, pipe.model, held.cards, None)
    assert opened == [1]


def test_what_is_missing_is_told_without_where_it_was_looked_for(held, pipe, tmp_path):
    text = (
        "a seven <lora:ink:0.8>\nSteps: 5, Sampler: Euler, CFG scale: 3, Seed: 9, Size: 8x8, "
        'TI hashes: "inky: 0123456789"'
    )
    file = images.png_bytes(pipe("a seven", steps=1).images[0], {"parameters": text})
    for loras in (None, tmp_path):
        notes = read(file, pipe.model, held.cards, loras)[1]
        missing = [note for note in notes if "no file here has its name" in note]
        assert [note.partition(" ")[0] for note in missing] == ["LoRA", "the"]
        assert not any("/" in note for note in notes)


def test_approximations_that_no_field_asks_for_are_noted(held, pipe):
    made = pipe("a seven", steps=2, cache=0.3, merge=0.5)
    file = images.png_bytes(made.images[0], made.recipes[0].png_text())
    fields, notes = read(file, pipe.model, held.cards, None)
    assert not {"cache", "merge"} & set(fields)
    assert "it was made with a cache of deep features; none is used" in notes
    assert "it was made with merged tokens; none are merged" in notes


def test_what_a_picture_says_that_is_not_served_is_noted(held, pipe, tmp_path):
    text = (
        "a seven <lora:ink:0.8>\nSteps: 5, Sampler: Euler a, CFG scale: 3, Seed: 9, Size: 8x8, Model: other"
    )
    file = images.png_bytes(pipe("a seven", steps=1).images[0], {"parameters": text})
    fields, notes = read(file, pipe.model, held.cards, None)
    assert (fields["steps"], fields["scheduler"], fields["seed"], fields["guidance"]) == (
        5,
        "Euler a",
        9,
        3.0,
    )
    assert "model" not in fields
    assert any("ink" in note for note in notes)
    with pytest.raises(unnoise.errors.InputError, match="'the picture' holds no recipe"):
        read(images.png_bytes(pipe("a seven", steps=1).images[0]), pipe.model, held.cards, None)
