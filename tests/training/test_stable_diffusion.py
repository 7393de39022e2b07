"""Fine-tuning of Stable Diffusion in miniature: latents, LoRAs, words, DreamBooth, all weights; cut and gone on with."""

import dataclasses

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import miniature_sd
import unnoise
from unnoise import checkpoints, randomness, training
from unnoise.errors import InputError
from unnoise.training import Finished, Progress, Saved, TrainConfig, batches, memory, order, settings
from unnoise.training.trainer import Trainer

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")

PLAIN = ["run.steps=4", "run.batch=2", "run.log_every=1", "run.checkpoint_every=0", "run.sample_every=0"]
PLAIN += ["run.device=cpu", "optimizer.warmup=0", "optimizer.lr=0.003", "loss.caption_dropout=0.3"]


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
    index = order.batch_at(0, 0, 2, 6)[1]
    picture = trainer.pictures.read([index]).float() / 127.5 - 1
    found = model.autoencoder.encode(picture)
    eps = randomness.normal(0, "latent", 0, 1, shape=(4, 16, 16))
    by_hand = 0.18215 * (found.mean + (0.5 * found.log_variance).exp() * eps)
    torch.testing.assert_close(batch.x0[1:], by_hand.detach(), rtol=0, atol=1e-6)
    mean = drawn(Trainer(data, tmp_path / "run", config(f"lora.model={folder}", "data.latents=mean"))).x0
    torch.testing.assert_close(mean[1:], 0.18215 * found.mean.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("family", "prediction"), [("sd1", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon")])
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
    """With a moving average, held-out pictures, dropped captions, mirrored pictures, and 0 then 2 workers."""
    folder = models(family)
    more = [each.format(folder) for each in WAYS[way]]
    more += ["run.steps=13", "run.checkpoint_every=6", "data.mirror=true", f"data.held_out_from={held(tmp_path)}"]
    more += ["run.validate_every=6"]
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
    assert [dataclasses.replace(e) for e in curves[0]] == curves[1]


def held(tmp_path):
    """A folder of eight more pictures."""
    folder = tmp_path / "held"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (64, 64), (9 * number, 0, 255)).save(folder / f"{number}.png")
    return folder


def tensors(run):
    newest = run / "checkpoints" / "step-000013"
    files = [*sorted(newest.rglob("*.safetensors")), *run.glob("*.safetensors"), *run.glob("model/unet/*.safetensors")]
    return {str(file.relative_to(run)): load_file(file) for file in files}
