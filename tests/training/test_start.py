"""Training that begins with another model's weights: they are there, what differs is named, a resumed run agrees."""

import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from unnoise import checkpoints, training
from unnoise.errors import FileError, InputError
from unnoise.training import Progress, Saved, settings
from unnoise.training.build import build_model

WORDS = "a apple red fruit"
CAPTIONS = ["a red apple", "apple"]
TINY = ["model.size=8", "model.network.widths=8,16", "model.network.blocks=1", "model.text.width=8"]
TINY += [
    "model.text.heads=2",
    "model.text.layers=1",
    "model.text.positions=8",
    "run.batch=2",
    "run.device=cpu",
]
TINY += [
    "run.sample_every=0",
    "run.checkpoint_every=0",
    "run.log_every=1",
    "run.steps=6",
    "optimizer.warmup=2",
]


def write_words(path, words=WORDS):
    torch.manual_seed(len(words))
    vectors = torch.randint(-127, 128, (len(words.split()), 6), dtype=torch.int8)
    save_file({"vectors": vectors}, path, {"words": words, "learned": "3"})
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two pictures, a file of words, and a model that was trained on them for three steps."""
    place = tmp_path_factory.mktemp("start")
    (place / "data").mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (8, 8), (90 * number, 40, 200)).save(place / f"data/{number}.png")
        (place / f"data/{number}.txt").write_text(caption)
    write_words(place / "words.safetensors")
    list(training.train(place / "data", place / "first", config(place, "run.steps=3")))
    return place


def config(place, *more):
    return settings.override(
        training.TrainConfig(), [*TINY, f"model.words={place / 'words.safetensors'}", *more]
    )


def test_defaults_that_no_picture_can_be_made_with_are_refused_before_training(place):
    with pytest.raises(InputError, match=r"^model\.defaults: .*'DDIMM'.* the nearest are"):
        build_model(config(place, "model.defaults.scheduler=DDIMM").model, CAPTIONS, 0)
    with pytest.raises(InputError, match=r"^model\.defaults: .*steps is 0"):
        build_model(config(place, "model.defaults.steps=0").model, CAPTIONS, 0)


def begun(place, *more):
    return build_model(config(place, f"model.start={place / 'first'}", *more).model, CAPTIONS, 5)


def parts(model):
    return {
        f"{part}.{name}": tensor
        for part in ("network", "text_encoder")
        for name, tensor in getattr(model, part).state_dict().items()
    }


def test_a_built_model_has_every_weight_of_the_one_it_starts_from(place):
    first, model = parts(checkpoints.load(place / "first")), parts(begun(place))
    assert first.keys() == model.keys()
    assert all(torch.equal(first[name], model[name]) for name in first)
    fresh = parts(build_model(config(place).model, CAPTIONS, 5))
    assert not torch.equal(fresh["network.conv_in.weight"], model["network.conv_in.weight"])


def test_a_stored_model_serves_as_well_as_a_run(place):
    model = build_model(config(place, f"model.start={place / 'first' / 'model'}").model, CAPTIONS, 5)
    assert all(torch.equal(value, parts(model)[name]) for name, value in parts(begun(place)).items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.network.widths=8,24", r"whose network differs from this run's: widths \[8, 16\] there, \[8, 24\] here"),
        ("model.network.blocks=2", "whose network differs from this run's: blocks 1 there, 2 here"),
        ("model.text.layers=2", "whose text encoder differs from this run's: layers 1 there, 2 here"),
        ("model.text.token_dropout=0.5", "differs from this run's: token_dropout 0.15 there, 0.5 here"),
    ],
)  # fmt: skip
def test_each_setting_that_differs_is_named(place, change, said):
    with pytest.raises(InputError, match=rf"model.start is '.*first', .*{said}"):
        begun(place, change)


def test_other_words_are_named(place, tmp_path):
    other = write_words(tmp_path / "other.safetensors", "a apple red plant")
    with pytest.raises(InputError, match="whose vocabulary differs from this run's: other words"):
        begun(place, f"model.words={other}")


def test_a_model_without_text_does_not_start_one_with_words(place, tmp_path):
    plain = settings.override(training.TrainConfig(), TINY)
    folder = checkpoints.save(build_model(plain.model, [], 0), tmp_path / "plain")
    with pytest.raises(InputError, match=r"whose (network|text encoder) differs"):
        build_model(config(place, f"model.start={folder}").model, CAPTIONS, 0)


def test_a_missing_model_is_told_before_anything_is_written(place, tmp_path):
    with pytest.raises(FileError):
        training.train(place / "data", tmp_path / "run", config(place, f"model.start={tmp_path / 'none'}"))
    assert not (tmp_path / "run").exists()


def losses(events):
    return {event.step: event.loss for event in events if isinstance(event, Progress)}


def test_a_run_with_a_start_differs_from_one_without_and_is_cut_and_resumed_to_the_bit(place, tmp_path):
    start = f"model.start={place / 'first'}"
    whole = losses(training.train(place / "data", tmp_path / "whole", config(place, start)))
    fresh = losses(training.train(place / "data", tmp_path / "fresh", config(place)))
    assert whole[1] != fresh[1]
    wanted, first = config(place, start, "run.checkpoint_every=4"), []
    for event in training.train(place / "data", tmp_path / "cut", wanted):
        first.append(event)
        if isinstance(event, Saved):
            break
    rest = list(training.train(place / "data", tmp_path / "cut", wanted, resume=True))
    assert rest[0].step == 4
    assert losses(first) | losses(rest) == whole
    one, other = (load_file(next((tmp_path / run).glob("model/*.safetensors"))) for run in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_resumes_after_its_start_is_gone(place, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(place / "first", copy)
    wanted = config(place, f"model.start={copy}", "run.checkpoint_every=4")
    for event in training.train(place / "data", tmp_path / "run", wanted):
        if isinstance(event, Saved):
            break
    shutil.rmtree(copy)
    rest = list(training.train(place / "data", tmp_path / "run", wanted, resume=True))
    assert [event.step for event in rest if isinstance(event, Progress)] == [5, 6]
