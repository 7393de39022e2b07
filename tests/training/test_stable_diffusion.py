"""Fine-tuning of Stable Diffusion in miniature: latents, a LoRA, a word, a class kept, all weights; cut and resumed."""

import dataclasses
import os
import shlex

import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import load_file

import miniature_sd
import unnoise
from unnoise import checkpoints, images, pipelines, randomness, training
from unnoise.cli import main
from unnoise.errors import CheckpointError, DataError, InputError
from unnoise.training import (
    Finished,
    Progress,
    Saved,
    TrainConfig,
    batches,
    order,
    precision,
    samples,
    settings,
)
from unnoise.training.draws import Draws
from unnoise.training.encoded import Store
from unnoise.training.trainer import Trainer

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")

PLAIN = ["run.steps=4", "run.batch=2", "run.log_every=1", "run.checkpoint_every=0", "run.sample_every=0"]
PLAIN += ["run.device=cpu", "optimizer.warmup=0", "optimizer.lr=0.003", "loss.caption_dropout=0.3"]
SMALL = "model.size=48"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six pictures of 80x64, of other colours each, with a caption."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        image = Image.new("RGB", (80, 64), (40 * number, 90, 200 - 30 * number))
        image.paste((255, 255, 0), (20 + number, 10, 60, 50))
        image.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a yellow toy" if number % 2 else "a toy on blue")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of each family's miniature, made by diffusers when first asked for."""
    place, made = tmp_path_factory.mktemp("models"), {}

    def folder(family, prediction="epsilon"):
        if (family, prediction) not in made:
            work = place / f"{family}-{prediction}"
            work.mkdir()
            made[family, prediction] = miniature_sd.save(
                miniature_sd.pipeline(family, work, prediction), work / "model"
            )
        return made[family, prediction]

    return folder


def config(*more):
    return settings.override(TrainConfig(), [*PLAIN, *more])


def losses(events):
    return {event.step: event.loss for event in events if isinstance(event, Progress)}


def drawn(trainer, step=0):
    return batches.draw(trainer.config, trainer.pictures, trainer.model.schedule, step)


def test_latents_are_a_draw_from_the_autoencoder_in_the_units_of_the_diffusion(data, models, tmp_path):
    """By hand: scale (mean + deviation eps), of the picture cut from its centre; the mean where that is asked for."""
    folder = models("sd1")
    wanted = config(f"lora.model={folder}")
    trainer = Trainer(data, tmp_path / "run", wanted)
    batch = drawn(trainer)
    assert batch.x0.shape == (2, 4, 16, 16)
    model = checkpoints.load(folder)
    index = order.pictures_at(0, [1], 6)[0]
    picture = trainer.pictures.read([index]).float() / 127.5 - 1
    found = model.autoencoder.encode(picture)
    eps = randomness.normal(0, "latent", 0, 1, shape=(4, 16, 16))
    by_hand = 0.18215 * (found.mean + (0.5 * found.log_variance).exp() * eps)
    torch.testing.assert_close(batch.x0[1:], by_hand.detach(), rtol=0, atol=1e-6)
    mean = drawn(Trainer(data, tmp_path / "run", config(f"lora.model={folder}", "data.latents=mean"))).x0
    torch.testing.assert_close(mean[1:], 0.18215 * found.mean.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "prediction"), [("sd1", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon")]
)
def test_the_loss_is_the_one_that_diffusers_networks_give(data, models, tmp_path, family, prediction):
    """Before the first step: the same latents, noise and times through diffusers' own classes; 1e-5 of the loss."""
    import diffusers

    folder = models(family, prediction)
    trainer = Trainer(data, tmp_path / "run", config(f"lora.model={folder}", "loss.caption_dropout=0"))
    batch = drawn(trainer)
    ours = trainer.learner.objective(batch).detach()
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    times = torch.as_tensor(batch.level.time).long()
    noisy = pipe.scheduler.add_noise(batch.x0, batch.noise, times)
    given = {}
    with torch.no_grad():
        if family == "sdxl":
            text, _, pooled, _ = pipe.encode_prompt(list(batch.captions), do_classifier_free_guidance=False)
            # the height of all pictures is that of the model; eight columns are cut at either side
            sizes = torch.tensor([[64.0, 80, 0, 8, 64, 64]] * 2)
            assert torch.equal(batch.sizes, sizes)
            given = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
        else:
            text, _ = pipe.encode_prompt(list(batch.captions), "cpu", 1, False)
        output = pipe.unet(noisy, times, text, **given).sample
    target = batch.noise
    if prediction == "v_prediction":
        target = pipe.scheduler.get_velocity(batch.x0, batch.noise, times)
    theirs = (output - target).square().flatten(1).mean(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


WAYS = {
    "lora": ["lora.model={}", "lora.rank=4", "lora.text_encoder=true", "optimizer.more_ema=0.9"],
    "word": ["word.model={}", "word.word=<gizmo>", "word.like=toy", "word.vectors=2"],
    "finetune": ["finetune.model={}"],
}


@pytest.mark.parametrize(("way", "family"), [("lora", "sdxl"), ("word", "sd1"), ("finetune", "sd1")])
def test_thirteen_steps_equal_six_and_seven_to_the_bit(data, models, tmp_path, way, family):
    """With averages, dropped captions, mirrored pictures, 0 then 2 workers, and for the word held-out pictures."""
    folder = models(family)
    more = [each.format(folder) for each in WAYS[way]]
    more += ["run.steps=13", "run.checkpoint_every=6", "data.mirror=true", SMALL, "run.validate_every=13"]
    more += [f"data.held_out_from={held(tmp_path)}"] * (way == "word")
    whole = list(training.train(data, tmp_path / "whole", config(*more)))
    first = []
    for event in training.train(data, tmp_path / "cut", config(*more)):
        first.append(event)
        if isinstance(event, Saved):
            break
    torch.manual_seed(99)  # the state of the global generator must not matter
    rest = list(training.train(data, tmp_path / "cut", config(*more, "run.workers=2"), resume=True))
    assert rest[0].step == 6
    assert losses(first) | losses(rest) == losses(whole)
    both = [tensors(tmp_path / run) for run in ("whole", "cut")]
    assert both[0].keys() == both[1].keys()
    for file, found in both[0].items():
        assert all(torch.equal(found[name], both[1][file][name]) for name in found), file
    curves = [[e for e in events if isinstance(e, training.Validated)] for events in (whole, first + rest)]
    assert curves[0] == curves[1]
    assert len(curves[0]) == (way == "word")


@pytest.mark.parametrize("way", ["lora", "finetune"])
def test_all_that_learns_in_two_text_encoders_has_a_gradient(data, models, tmp_path, way):
    """One without would have no moments in a checkpoint, which then could not be taken up."""
    more = [each.format(models("sdxl")) for each in WAYS[way]] + [f"{way}.text_encoder=true"]
    trainer = Trainer(data, tmp_path / "run", config(*more, SMALL))
    trainer.learner.gradients(0, drawn(trainer))
    assert all(weight.grad is not None for weight in trainer.learner.parameters)


def held(tmp_path):
    """A folder of eight more pictures."""
    folder = tmp_path / "held"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (64, 64), (9 * number, 0, 255)).save(folder / f"{number}.png")
    return folder


def tensors(run):
    newest = run / "checkpoints" / "step-000013"
    files = [
        *sorted(newest.rglob("*.safetensors")),
        *run.glob("*.safetensors"),
        *run.glob("model/unet/*.safetensors"),
    ]
    return {str(file.relative_to(run)): load_file(file) for file in files}


def first_step(trainer):
    """Loss and gradients of the first batch."""
    trainer.learner.gradients(0, drawn(trainer))
    return {id(w): w.grad.clone() for w in trainer.learner.parameters if w.grad is not None}


def test_each_way_moves_what_it_should_and_nothing_else(data, models, tmp_path):
    """A LoRA its matrices, a word its two vectors, fine-tuning the UNet: all of it and the text encoder not at all."""
    folder = models("sd1")
    plain = checkpoints.load(folder)
    for way, more in WAYS.items():
        wanted = config(*[each.format(folder) for each in more], "run.steps=2", SMALL)
        trainer = Trainer(data, tmp_path / way, wanted)
        before = {name: tensor.clone() for name, tensor in trainer.learner.tensors.items()}
        events = list(trainer.run())
        assert isinstance(events[-1], Finished)
        moved = [
            name for name, tensor in trainer.learner.tensors.items() if not torch.equal(tensor, before[name])
        ]
        assert moved == list(before)
        for part in ("network", "text_encoder", "autoencoder"):
            if (way, part) == ("finetune", "network"):
                continue
            found, kept = (getattr(model, part).state_dict() for model in (trainer.base, plain))
            assert all(torch.equal(found[name], kept[name]) for name in kept), (way, part)
    word = load_file(tmp_path / "word" / "gizmo.safetensors")
    assert {name: tuple(table.shape) for name, table in word.items()} == {"<gizmo>": (2, 64)}


def test_a_word_begins_as_the_word_it_is_like_and_stands_in_every_caption(data, models, tmp_path):
    folder = models("sdxl")
    trainer = Trainer(data, tmp_path / "run", config(*[each.format(folder) for each in WAYS["word"]], SMALL))
    said = {caption for captions in trainer.pictures.captions for caption in captions}
    assert said == {"<gizmo>, a yellow toy", "<gizmo>, a toy on blue"}
    toy = [
        tower.encoder.token_embedding.weight[tower.tokenizer.encode("toy")[0]]
        for tower in trainer.base.towers
    ]
    for table, row in zip(trainer.tuning.tables, toy, strict=True):
        assert torch.equal(table.detach(), torch.stack([row, row]))
    assert {weight.shape for weight in trainer.learner.parameters} == {torch.Size([2, 64])}
    list(trainer.run())
    word = load_file(tmp_path / "run" / "gizmo.safetensors")
    assert set(word) == {"clip_l", "clip_g"}
    unnoise.load(folder).with_word(tmp_path / "run" / "gizmo.safetensors", "<gizmo>")


def test_pictures_without_captions_teach_a_word_in_templates(models, tmp_path):
    folder = held(tmp_path)
    wanted = config(*[each.format(models("sd1")) for each in WAYS["word"]], "data.caption=")
    captions = Trainer(folder, tmp_path / "run", wanted).pictures.captions
    assert len(captions[0]) == 8
    assert all("<gizmo>" in text for text in captions[0])


def test_the_class_is_every_other_picture_of_a_batch_and_weighs_as_asked(data, models, tmp_path):
    """Made once, in the run's folder, by the base model with the picture's number as its seed; kept at a resume."""
    folder = models("sd1")
    more = [f"lora.model={folder}", "data.caption=a sks toy", "prior.prompt=a toy", "prior.count=3"]
    more += [
        "prior.steps=2",
        "prior.weight=0.5",
        "run.batch=4",
        "loss.caption_dropout=0",
        "run.checkpoint_every=2",
        SMALL,
    ]
    trainer = Trainer(data, tmp_path / "run", config(*more))
    assert (
        f"3 pictures of 'a toy' are made before the first step, into {tmp_path / 'run' / 'class'}."
        in trainer.notes
    )
    list(trainer.run())
    files = sorted((tmp_path / "run" / "class").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    again = unnoise.load(folder, dtype=torch.float32)("a toy", seed=1, steps=2, width=48, height=48).images[0]
    difference = torch.tensor(list(again.tobytes())).float() - torch.tensor(
        list(Image.open(files[1]).tobytes())
    )
    assert difference.abs().max() <= 1
    batch = drawn(trainer)
    assert batch.captions == ("a sks toy", "a toy") * 2
    assert batch.weight.tolist() == [1.0, 0.5] * 2
    with torch.no_grad():
        errors = trainer.learner.objective.errors(batch)
        torch.testing.assert_close(trainer.learner.objective(batch), errors * torch.tensor([1, 0.5, 1, 0.5]))
    stamp = files[0].stat().st_mtime_ns
    list(training.train(data, tmp_path / "run", config(*more, "run.steps=5"), resume=True))
    assert files[0].stat().st_mtime_ns == stamp
    shown = [batches._shown(4, trainer.pictures, Draws(0, step, range(4)))[1] for step in range(3)]
    ours = [index for places in shown for _, index in places[::2]]
    assert sorted(ours) == list(range(6))  # three batches show every picture of the thing once


def test_a_sheet_of_latents_is_drawn_few_at_a_time_and_is_the_same(models, tmp_path, monkeypatch):
    pipe = unnoise.load(models("sd1"), dtype=torch.float32)
    model = dataclasses.replace(pipe.model, shape=(4, 16, 16), defaults={"steps": 2, "guidance": 2.0})
    prompts = ["a toy", "blue", "", "a toy", "yellow", "a toy on blue"]
    whole = pipelines.TextToImage(model)(prompts, seeds=range(6)).images
    together, call = [], pipelines.TextToImage.__call__
    monkeypatch.setattr(
        pipelines.TextToImage,
        "__call__",
        lambda self, asked, **more: together.append(len(asked)) or call(self, asked, **more),
    )
    samples.write_grid(model, prompts, tmp_path / "sheet.png")
    assert together == [4, 2]
    sheet, wanted = Image.open(tmp_path / "sheet.png"), images.grid(whole, 6)
    assert sheet.size == wanted.size
    assert max(high for _, high in ImageChops.difference(sheet, wanted).getextrema()) <= 1


def test_what_was_encoded_once_is_taken_from_the_folder_and_damage_is_made_good(
    data, models, tmp_path, monkeypatch
):
    from unnoise.networks.vae import AutoEncoder

    folder, calls, encode = models("sd1"), [], AutoEncoder.encode
    monkeypatch.setattr(AutoEncoder, "encode", lambda self, x: calls.append(len(x)) or encode(self, x))
    more = [f"lora.model={folder}", f"data.encoded_folder={tmp_path / 'kept'}", "loss.caption_dropout=0"]
    more += ["run.batch=6"]
    first = drawn(Trainer(data, tmp_path / "run", config(*more)))
    assert calls == [1] * 6
    again = drawn(Trainer(data, tmp_path / "run", config(*more)))
    assert len(calls) == 6
    assert torch.equal(first.x0, again.x0)
    assert torch.equal(first.told.hidden, again.told.hidden)
    entries = sorted((tmp_path / "kept").rglob("*.safetensors"))
    assert len(entries) == 6 + 2  # pictures, captions
    for entry in entries[:3]:
        entry.write_bytes(entry.read_bytes()[:-40] + bytes(40))
    mended = drawn(Trainer(data, tmp_path / "run", config(*more)))
    assert torch.equal(first.x0, mended.x0)
    assert torch.equal(first.told.hidden, mended.told.hidden)
    other = drawn(Trainer(data, tmp_path / "run", config(*more, "model.size=128")))
    assert other.x0.shape[2:] == (32, 32)
    assert len(calls) > 12  # another size is another picture


def test_a_store_keeps_its_bounds_in_memory_and_on_the_disk(tmp_path, monkeypatch):
    def entry(number):
        return {"x": torch.full((1000,), float(number))}

    store = Store(2 * 4000, tmp_path, 4 * 4400)
    for number in range(9):
        store.put(f"{number:032x}", entry(number))
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.safetensors")]
    assert sum(sizes) <= 4 * 4400
    assert len(store._known) == 2
    newest = Store(0, tmp_path, 4 * 4400).get(f"{8:032x}")
    assert torch.equal(newest["x"], entry(8)["x"])
    assert Store(0, tmp_path, 4 * 4400).get(f"{0:032x}") is None
    monkeypatch.setattr(
        os, "utime", lambda path: (_ for _ in ()).throw(PermissionError(path))
    )  # another user's
    assert Store(0, tmp_path, 4 * 4400).get(f"{8:032x}") is not None
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_half_precision_keeps_the_base_small_and_what_learns_exact(data, models, tmp_path, half):
    more = [f"lora.model={models('sd1')}", "loss.caption_dropout=0", SMALL]
    trainer = Trainer(data, tmp_path / "run", config(*more, f"run.precision={half}"))
    dtype = getattr(torch, half)
    assert trainer.base.network.dtype == dtype
    assert trainer.base.autoencoder.dtype == torch.float32
    assert all(weight.dtype == torch.float32 for weight in trainer.learner.parameters)
    assert (trainer.learner.scale is None) == (half == "bfloat16")
    exact = Trainer(data, tmp_path / "run", config(*more))
    with torch.no_grad():
        ours, theirs = (one.learner.objective(drawn(one)) for one in (trainer, exact))
    torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0)
    assert len(losses(trainer.run())) == 4


@pytest.mark.parametrize(("device", "count", "computes"), [("cpu", 19, 32), ("cpu", 20, 16), ("cuda", 1, 16)])
def test_auto_precision_goes_by_the_device_and_on_a_processor_by_size(monkeypatch, device, count, computes):
    monkeypatch.setattr("unnoise.networks.hardware.fast_dtype", lambda device: torch.bfloat16)
    found = precision.compute_dtype("auto", torch.device(device), count * 1_000_000)
    assert found == {16: torch.bfloat16, 32: torch.float32}[computes]
    assert precision.compute_dtype("float32", torch.device(device), count * 1_000_000) == torch.float32


@pytest.mark.parametrize("smallest", [0, 10**9])
def test_auto_precision_is_told_and_keeps_the_frozen_base_in_it(
    data, models, tmp_path, monkeypatch, smallest
):
    monkeypatch.setattr("unnoise.networks.hardware.SMALL", smallest)
    monkeypatch.setattr("unnoise.networks.hardware.fast_dtype", lambda device: torch.bfloat16)
    trainer = Trainer(data, tmp_path / "run", config(f"lora.model={models('sd1')}", SMALL))
    wanted = torch.float32 if smallest else torch.bfloat16
    frozen = (trainer.base.network, trainer.base.text_encoder)
    assert {next(part.parameters()).dtype for part in frozen} == {wanted}
    assert trainer.base.autoencoder.dtype == torch.float32
    assert all(weight.dtype == torch.float32 for weight in trainer.learner.parameters)
    events = list(trainer.run())
    assert events[0].precision == str(wanted).removeprefix("torch.")
    assert all(event.loss > 0 for event in events if isinstance(event, Progress))


def test_recomputed_blocks_give_the_same_gradient(data, models, tmp_path):
    more = [f"lora.model={models('sd1')}", "lora.rank=2", SMALL]
    plain, again = (
        first_step(Trainer(data, tmp_path / "run", config(*more, f"run.recompute={value}")))
        for value in ("false", "true")
    )
    for one, other in zip(plain.values(), again.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_pictures_keep_their_aspect_ratio_in_buckets(models, tmp_path):
    """Twice as wide as high: 80x48 is nearest of the multiples of 16 with 64 x 64 pixels; XL is told of the cut."""
    (tmp_path / "wide").mkdir()
    for number in range(2):
        Image.new("RGB", (96, 48), (90, 100 * number, 0)).save(tmp_path / "wide" / f"{number}.png")
    more = [f"lora.model={models('sdxl')}", "data.bucket_step=16"]
    trainer = Trainer(tmp_path / "wide", tmp_path / "run", config(*more))
    batch = drawn(trainer)
    assert [size for size, _ in trainer.pictures.buckets] == [(48, 80)]
    assert batch.x0.shape == (2, 4, 12, 20)
    assert batch.sizes.tolist() == [[48, 96, 0, 8, 48, 80]] * 2
    assert torch.isfinite(trainer.learner.objective(batch)).all()


def test_any_size_that_is_generated_can_be_trained_at(models, tmp_path):
    """Latents of 13 x 19: no level of the network halves them without a rest, and generate makes the same size."""
    (tmp_path / "wide").mkdir()
    Image.new("RGB", (90, 60), (90, 10, 0)).save(tmp_path / "wide" / "a.png")
    more = [
        f"lora.model={models('sd1')}",
        "data.bucket_step=4",
        "model.size=64",
        "run.batch=1",
        "run.steps=1",
    ]
    more += ["lora.rank=2"]
    trainer = Trainer(tmp_path / "wide", tmp_path / "run", config(*more))
    assert [size for size, _ in trainer.pictures.buckets] == [(52, 76)]
    list(trainer.run())
    pipe = unnoise.load(models("sd1")).with_lora(tmp_path / "run" / "lora.safetensors")
    assert pipe("a toy", steps=1, height=52, width=76, seed=1).images[0].size == (76, 52)


def test_long_captions_go_on_in_further_chunks(data, models, tmp_path):
    trainer = Trainer(data, tmp_path / "run", config(f"lora.model={models('sd1')}", SMALL))
    told = trainer.pictures.frozen.told(["a toy", "a toy " * 50])
    assert told.hidden.shape == (2, 154, 64)
    assert told.mask.sum(1).tolist() == [77, 154]
    with torch.no_grad():
        batch = drawn(trainer)
        plain = dataclasses.replace(batch, told=trainer.pictures.frozen.told(["a toy"] * 2))
        found = trainer.learner.objective(dataclasses.replace(batch, told=told))
    # the short one hears what it hears alone
    torch.testing.assert_close(found[0], trainer.learner.objective(plain).detach()[0], rtol=1e-5, atol=0)


def test_the_command_teaches_a_word_and_tells_how_to_use_it(data, models, tmp_path, capsys):
    run, words = tmp_path / "run", ["--word", "<gizmo>", "--like", "toy", "--size", "48", "--steps", "1"]
    words += ["--batch", "2", "--sample-every", "0", "--set", "run.device=cpu"]
    assert main(["train", str(data), "--out", str(run), "--teach", str(models("sd1")), *words]) == 0
    out = capsys.readouterr().out
    assert f"done: the word is in {run / 'gizmo.safetensors'}" in out
    told = shlex.split(out.splitlines()[-1].removeprefix("try it: unnoise "))
    assert told[:2] == ["generate", "a picture of <gizmo>"]
    assert main([*told, "--steps", "1", "--size", "32x32", "-o", str(tmp_path / "a.png")]) == 0
    with pytest.raises(CheckpointError, match=r"taught a word; give the model .* and --embedding"):
        checkpoints.load(run)


REFUSED = [
    (["lora.model={}", "model.size=74"], "model.size is 74, but this model needs a multiple of 4; give 76"),
    (["lora.model={}", "model.prediction=velocity", "model.schedule.kind=flow"], "but with lora.model the base"),
    (["lora.model={}", "data.bucket_step=6"], "data.bucket_step is 6, but this model needs a multiple of 4; give 8"),
    (["word.model={}", "word.word=gizmo", "word.like=  "], "word.like is empty; give the new word"),
    (["word.model={}", "word.word=***", "word.like=toy"], "give one with a letter or a digit"),
    (["lora.model={}", "finetune.model={}"], "lora.model and finetune.model are both given; give one"),
    (["lora.model={}", "prior.prompt=a toy", "run.batch=3"], "run.batch is 3; with prior.prompt half of it"),
    (["word.model={}", "word.word=a", "word.like=b", "prior.prompt=a toy"], "prior.prompt keeps a class"),
    (["lora.model={}", "prior.prompt=a toy", "prior.pictures=nowhere"], "'nowhere' does not exist"),
    (["lora.model={}", "lora.targets=auto,attention"], "give auto alone, or sorts of layers"),
    (["finetune.model={}", "optimizer.profile_every=5"], "finetune.model begins with one; leave one of them out"),
    (["word.model=digits", "word.word=<a>", "word.like=b"], "has its own small vocabulary"),
    (["lora.model={}", "data.encoded_folder=pyproject.toml"], "data.encoded_folder is .*which is a file"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), REFUSED)
def test_what_cannot_be_is_told_before_anything_is_written(data, models, tmp_path, more, said):
    folder = models("sd1")
    with pytest.raises((InputError, DataError), match=said):
        Trainer(data, tmp_path / "run", config(*[each.format(folder) for each in more]))
    assert not (tmp_path / "run").exists()
