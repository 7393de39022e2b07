"""A LoRA that is learned: it fits the pictures, leaves its base alone, resumes to the bit, and is a file that loads."""

import dataclasses
import json
import signal

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import unnoise
from tiny_model import save_tiny, tiny_model
from unnoise import checkpoints, images, randomness, training
from unnoise.checkpoints import adapters
from unnoise.errors import CheckpointError, InputError
from unnoise.networks import UNet
from unnoise.training import (
    Drawn,
    Finished,
    LoraConfig,
    Progress,
    Saved,
    Started,
    TrainConfig,
    held_out,
    settings,
)
from unnoise.training.data import open_pictures
from unnoise.training.objective import Objective
from unnoise.training.trainer import Trainer

PLAIN = ["run.steps=12", "run.batch=4", "run.log_every=1", "run.checkpoint_every=0", "run.sample_every=0"]
PLAIN += ["run.device=cpu", "optimizer.warmup=2", "lora.rank=4", "loss.caption_dropout=0.3"]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny base of random weights, and six pictures: a white disc or its like on black, as `a seven`."""
    place = tmp_path_factory.mktemp("lora")
    save_tiny(place / "base")
    (place / "data").mkdir()
    for number in range(6):
        image = Image.new("L", (8, 8), 0)
        image.paste(255 - 5 * number, (2, 2, 6, 6))
        image.save(place / f"data/{number}.png")
        (place / f"data/{number}.txt").write_text("a seven")
    return place


def config(place, *more):
    return settings.override(TrainConfig(), [*PLAIN, f"lora.model={place / 'base'}", *more])


@pytest.fixture(scope="module")
def learned(place):
    """Sixty steps on every sort of layer of both networks, and the events."""
    wanted = config(place, "run.steps=60", "run.batch=8", "optimizer.lr=0.02", "lora.text_encoder=true")
    events = list(training.train(place / "data", place / "learned", wanted))
    return place / "learned", events


def losses(events):
    return {event.step: event.loss for event in events if isinstance(event, Progress)}


def loss_on(model, wanted, pictures):
    """Mean loss on the pictures with noise and times that are the same for every model."""
    with torch.no_grad():
        objective = Objective(wanted.loss, model).eval()
        return float(held_out.measure(objective, wanted, pictures, torch.device("cpu")).mean())


def test_sixty_steps_halve_the_loss_and_bring_samples_to_the_pictures(place, learned):
    """The factors, 2 in the loss and 2 in the squared distance of samples, are far inside what is reached."""
    run, _ = learned
    base = unnoise.load(place / "base")
    tuned = base.with_lora(run / "lora.safetensors")
    pictures = open_pictures(place / "data", (1, 8, 8), TrainConfig().data)
    before, after = (loss_on(pipe.model, config(place), pictures) for pipe in (base, tuned))
    assert after < before / 2
    target = pictures.read([0])[0, 0].numpy() / 255
    prompts, seeds = ["a seven"] * 6, list(range(6))
    far, near = (
        sum(float(((array[..., 0] - target) ** 2).mean()) for array in made.arrays)
        for made in (pipe(prompts, seeds=seeds, steps=8, guidance=1.0) for pipe in (base, tuned))
    )
    assert near < far / 2


def test_the_base_is_what_it_was_to_the_bit(place, learned, tmp_path):
    wanted = config(place)
    trainer = Trainer(place / "data", tmp_path / "run", wanted)
    list(trainer.run())
    fresh = unnoise.load(place / "base")
    for model in (
        trainer.tuning.base,
        fresh.with_lora(learned[0] / "lora.safetensors").without_loras().model,
    ):
        for part in ("network", "text_encoder"):
            found, kept = (getattr(one, part).state_dict() for one in (model, fresh.model))
            assert found.keys() == kept.keys()
            assert all(torch.equal(found[name], kept[name]) for name in kept)
    moved = {id(weight) for weight in trainer.learner.optimizer.weights}
    assert moved == {id(weight) for weight in trainer.tuning.changes.parameters()}


def test_every_key_of_the_file_finds_its_place_and_holds_the_average(place, learned):
    """The live model that training had, and the one that reads the file, say the same of a picture."""
    run, events = learned
    path = run / "lora.safetensors"
    assert isinstance(events[-1], Finished)
    assert events[-1].model == path
    names = set(load_file(path))
    layers = {name.split(".")[0] for name in names}
    assert names == {
        f"{layer}.{end}" for layer in layers for end in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    base = checkpoints.load(place / "base")
    known = adapters.places.places(adapters.places.parts_of(base))
    assert set(adapters.read(path).changes) <= set(known)
    assert {layer[:10] for layer in layers} == {"lora_unet_", "lora_te_te"}
    trainer = Trainer(place / "data", run, resume=True)
    list(trainer.run())
    x, text = (randomness.normal(1, "test", shape=shape) for shape in ((2, 1, 8, 8), (2, 3, 16)))
    live = trainer.tuning.averaged(trainer.learner.average.average).network(x, 500.0, text).sample
    read = adapters.adapt(base, [(path, 1.0)], live=True).network(x, 500.0, text).sample
    assert torch.equal(live, read)
    assert not torch.allclose(read, base.network(x, 500.0, text).sample, atol=1e-3)


def test_the_file_tells_of_the_run_in_the_words_of_kohya(place, learned):
    with safe_open(learned[0] / "lora.safetensors", "pt") as file:
        facts = file.metadata()
    base = checkpoints.load(place / "base")
    wanted = {"ss_network_dim": "4", "ss_network_alpha": "4", "ss_network_module": "networks.lora"}
    wanted |= {"ss_sd_model_name": "base", "ss_new_sd_model_hash": base.sha256, "ss_num_train_images": "6"}
    wanted |= {"ss_max_train_steps": "60", "ss_learning_rate": "0.02", "ss_batch_size_per_device": "8"}
    wanted |= {"ss_resolution": "(8, 8)"}
    assert wanted.items() <= facts.items()


def tensors(run, step):
    folder = run / "checkpoints" / f"step-{step:06d}"
    return {path.name: load_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def test_twelve_steps_equal_five_and_seven_to_the_bit(place, tmp_path):
    more = ["optimizer.more_ema=0.9", "run.checkpoint_every=5", "run.keep=0"]
    whole = list(training.train(place / "data", tmp_path / "whole", config(place, *more)))
    first = []
    for event in training.train(place / "data", tmp_path / "cut", config(place, *more)):
        first.append(event)
        if isinstance(event, Saved):
            break
    torch.manual_seed(99)  # the state of the global generator must not matter
    rest = list(
        training.train(place / "data", tmp_path / "cut", config(place, *more, "run.workers=2"), resume=True)
    )
    assert rest[0].step == 5
    assert losses(first) | losses(rest) == losses(whole)
    one, other = (tensors(tmp_path / run, 12) for run in ("whole", "cut"))
    assert {"weights.safetensors", "optimizer.safetensors", "more.safetensors"} < one.keys()
    assert {"lora.safetensors", "lora-0.9.safetensors"} < one.keys()
    for file, held in one.items():
        assert held.keys() == other[file].keys()
        assert all(torch.equal(held[name], other[file][name]) for name in held)
    files = [load_file(tmp_path / run / "lora.safetensors") for run in ("whole", "cut")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in one["lora.safetensors"])


def test_a_run_does_not_go_on_beside_another_base(place, tmp_path):
    save_tiny(tmp_path / "base", card={"summary": "another"}, clip=0.5)
    wanted = config(place, f"lora.model={tmp_path / 'base'}", "run.steps=2")
    list(training.train(place / "data", tmp_path / "run", wanted))
    state = tmp_path / "run" / "checkpoints" / "step-000002" / "state.json"
    assert json.loads(state.read_text())["base"] == checkpoints.load(tmp_path / "base").sha256
    for file in (tmp_path / "base").iterdir():
        file.unlink()
    (tmp_path / "base").rmdir()
    save_tiny(tmp_path / "base", text=False)
    with pytest.raises(InputError, match="is not the one that this run began with"):
        list(training.train(place / "data", tmp_path / "run", resume=True))


@pytest.mark.parametrize(
    ("targets", "part"), [("attention", "attention"), ("feed-forward,projections", "feed_forward|project_")]
)
def test_only_the_layers_of_the_targets_learn(place, tmp_path, targets, part):
    trainer = Trainer(
        place / "data", tmp_path / "run", config(place, f"lora.targets={targets}", "lora.alpha=2")
    )
    assert trainer.tuning.places
    for learning, change in zip(trainer.tuning.places, trainer.tuning.changes, strict=True):
        assert any(word in learning.name for word in part.split("|"))
        assert learning.part == "network"
        assert change.scale == 0.5
        assert not change.factors["up"].any()


def test_a_model_with_a_learned_variance_and_no_words_learns_too(place, tmp_path):
    from unnoise.process import DiscreteVP

    save_tiny(tmp_path / "base", text=False, variance="learned_range", schedule=DiscreteVP.cosine())
    more = ["run.steps=20", "optimizer.lr=0.02", "run.sample_every=20"]
    wanted = config(place, f"lora.model={tmp_path / 'base'}", *more)
    events = list(training.train(place / "data", tmp_path / "run", wanted))
    assert any(isinstance(event, training.Sampled) for event in events)
    assert "the base model reads no words; the captions are not used." in events[0].notes
    values = list(losses(events).values())
    assert sum(values[-5:]) < sum(values[:5])
    unnoise.load(tmp_path / "base").with_lora(tmp_path / "run" / "lora.safetensors")


def test_all_weights_of_a_model_of_ours_learn_on(place, tmp_path):
    """As a whole model, of which every checkpoint has one; five steps and fifteen are twenty to the bit."""
    wanted = settings.override(TrainConfig(), [*PLAIN, f"finetune.model={place / 'base'}", "run.steps=20"])
    wanted = settings.override(
        wanted, ["finetune.text_encoder=true", "optimizer.lr=0.01", "optimizer.ema=0.5"]
    )
    events = list(training.train(place / "data", tmp_path / "run", wanted))
    values = list(losses(events).values())
    assert sum(values[-5:]) < sum(values[:5])
    made, before = checkpoints.load(tmp_path / "run"), checkpoints.load(place / "base")
    for part in ("network", "text_encoder"):
        new, old = (getattr(model, part).state_dict() for model in (made, before))
        assert not any(torch.equal(new[name], old[name]) for name in new if name.endswith("weight"))
    cut = settings.override(wanted, ["run.checkpoint_every=5"])
    for event in training.train(place / "data", tmp_path / "cut", cut):
        if isinstance(event, Saved):
            break
    checkpoints.load(tmp_path / "cut")
    list(training.train(place / "data", tmp_path / "cut", resume=True))
    again = checkpoints.load(tmp_path / "cut").network.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in made.network.state_dict().items())


def test_words_that_the_base_never_saw_are_told(place, tmp_path):
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a zebra")
    trainer = Trainer(tmp_path, tmp_path / "run", config(place, "run.batch=1"))
    assert trainer.notes == ["the base model never saw zebra; all such words are one word to it."]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.size=16", "model.size is 16, but with lora.model the base model's own holds; it has 8. Leave it out"),
        ("model.colour=rgb", None),
        ("model.network.blocks=2", "model.network is .*, but with lora.model the base model's own holds"),
        ("model.schedule.kind=flow", "model.schedule is .*, but with lora.model the base"),
        ("model.start=digits", "model.start is 'digits', but with lora.model the base"),
        ("model.prediction=noise", "model.prediction is 'noise', but .* holds. Leave it out"),
    ],
)  # fmt: skip
def test_settings_of_the_model_are_those_of_the_base(place, tmp_path, change, said):
    """A default gives way to the base's own; what was changed is refused."""
    if said is None:
        assert Trainer(place / "data", tmp_path / "run", config(place, change)).model.shape == (1, 8, 8)
        return
    with pytest.raises(InputError, match=said):
        Trainer(place / "data", tmp_path / "run", config(place, change))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rank": 0}, "lora.rank is 0; give a whole number from 1 to 4,096, for example 8"),
        ({"targets": ("attn",)}, "lora.targets is 'attn'; give one of attention, feed-forward"),
        ({"targets": ()}, "lora.targets is ''; give one of attention"),
        ({"alpha": -1.0}, "lora.alpha is -1"),
    ],
)
def test_what_a_lora_cannot_be_is_refused_where_it_is_made(values, said):
    with pytest.raises(InputError, match=said):
        LoraConfig(model="digits", **values)


def test_bases_that_cannot_be_trained_are_refused(place, tmp_path):
    folder = save_tiny(tmp_path / "plain", text=False)
    with pytest.raises(InputError, match=r"reads no text, so lora.text_encoder has nothing to change"):
        Trainer(
            place / "data", tmp_path / "run", config(place, f"lora.model={folder}", "lora.text_encoder=true")
        )
    with pytest.raises(InputError, match=r"no layer; it has convolutions \(\d+\), attention \(\d+\)"):
        Trainer(
            place / "data",
            tmp_path / "run",
            config(place, f"lora.model={folder}", "lora.targets=feed-forward"),
        )
    folder = save_tiny(tmp_path / "four", channels=4)
    with pytest.raises(InputError, match="makes samples of 4 channels"):
        Trainer(place / "data", tmp_path / "run", config(place, f"lora.model={folder}"))
    with pytest.raises(InputError, match=r"optimizer.profile_every makes profiles of whole models"):
        config(place, "optimizer.profile_every=5")


def test_the_run_of_a_lora_is_a_lora_and_no_model(place, learned):
    run = learned[0]
    with pytest.raises(CheckpointError, match=r"holds a LoRA, no model; .* --lora .*lora.safetensors"):
        checkpoints.load(run)
    base = unnoise.load(place / "base")
    told = [base.with_lora(path).model.adapters[0].told for path in (run, run / "lora.safetensors")]
    assert told[0] == told[1]


def test_pictures_of_a_class_are_told_of_before_they_are_drawn_stop_on_request_and_go_on_at_a_resume(
    place, tmp_path, monkeypatch
):
    drawn, write = [], images.write_png

    def asked_at_the_first(path, picture):
        write(path, picture)
        drawn.append(path.name)
        if len(drawn) == 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(images, "write_png", asked_at_the_first)
    wanted = config(place, "prior.prompt=a seven", "prior.count=6", "prior.steps=1", "run.steps=1")
    events = training.train(place / "data", tmp_path / "run", wanted)
    assert next(events) == Drawn(0, 6)
    assert drawn == []
    assert next(events) == Drawn(4, 6)
    with pytest.raises(KeyboardInterrupt):
        next(events)
    assert drawn == [f"{number:05}.png" for number in range(4)]
    first, second, started, *_, last = training.train(place / "data", tmp_path / "run", wanted, resume=True)
    assert (first, second) == (Drawn(0, 2), Drawn(2, 2))
    assert isinstance(started, Started)
    assert isinstance(last, Finished)
    assert drawn == [f"{number:05}.png" for number in range(6)]


def test_pictures_of_a_class_are_what_the_model_draws_though_its_own_networks_learn_with_dropout(
    place, tmp_path
):
    base = tiny_model()
    network = UNet(dataclasses.replace(base.network.config, dropout=0.5))
    network.load_state_dict(base.network.state_dict())
    folder = checkpoints.save(dataclasses.replace(base, network=network), tmp_path / "base")
    changes = [
        f"finetune.model={folder}",
        "prior.prompt=a seven",
        "prior.count=2",
        "prior.steps=2",
        "run.steps=1",
    ]
    wanted = settings.override(TrainConfig(), [*PLAIN, *changes])
    trainer = Trainer(place / "data", tmp_path / "run", wanted)
    list(trainer.run())
    plain = unnoise.load(folder)(["a seven"] * 2, seeds=[0, 1], steps=2).images
    made = [Image.open(tmp_path / f"run/class/{number:05}.png") for number in range(2)]
    assert [picture.tobytes() for picture in made] == [picture.tobytes() for picture in plain]
    assert trainer.model.network.training
