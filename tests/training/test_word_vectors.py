"""The file of words and vectors: read, refused, built into a model, stored and read again."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from unnoise import checkpoints, training
from unnoise.errors import InputError
from unnoise.text import WordTokenizer
from unnoise.training import settings
from unnoise.training.build import build_model
from unnoise.training.words import WordVectors

WORDS = ("a", "apple", "red", "fruit", "pear")
CAPTIONS = ["a red apple", "apple"]
TINY = ["model.size=8", "model.network.widths=8,16", "model.network.blocks=1", "model.text.width=8"]
TINY += [
    "model.text.heads=2",
    "model.text.layers=1",
    "model.text.positions=8",
    "run.batch=2",
    "run.device=cpu",
]
TINY += ["run.sample_every=0", "run.checkpoint_every=0", "model.defaults.steps=2"]


def table():
    torch.manual_seed(3)
    return torch.randint(-127, 128, (len(WORDS), 6), dtype=torch.int8)


def write(path, vectors=None, **facts):
    told = {"words": " ".join(WORDS), "learned": "3"} | facts
    tensors = {"vectors": table() if vectors is None else vectors}
    save_file(tensors, path, {name: value for name, value in told.items() if value is not None})
    return path


def config(path, *more):
    return settings.override(training.TrainConfig(), [*TINY, f"model.words={path}", *more])


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "words.safetensors")


def test_a_file_reads_back_as_it_was_written(file):
    found = WordVectors.read(file)
    assert found.tokenizer == WordTokenizer(WORDS)
    assert found.learned == 3
    assert torch.equal(found.vectors, table())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"words": None}, "does not hold words with vectors: 'words'"),
        ({"learned": None}, "does not hold words with vectors: 'learned'"),
        ({"learned": "many"}, "does not hold words with vectors"),
        ({"words": "a apple red fruit Pear"}, "known holds 'Pear'"),
        ({"words": "a apple red fruit a"}, "known holds a word twice"),
        ({"words": "a apple red fruit"}, "shape \\[5, 6\\]; give int8, a row for each of its 4 words"),
        ({"vectors": torch.zeros(5, 6)}, "its vectors are torch.float32"),
        ({"vectors": torch.zeros(5, dtype=torch.int8)}, "torch.int8 of shape \\[5\\]"),
        ({"learned": "6"}, "learned is 6; give a number from 0 to 5"),
        ({"learned": "-1"}, "learned is -1"),
    ],
)
def test_each_fault_of_the_file_is_told_with_its_path(tmp_path, changes, said):
    path = write(tmp_path / "bad.safetensors", **changes)
    with pytest.raises(InputError, match=said) as told:
        WordVectors.read(path)
    assert str(path) in str(told.value)


def test_a_file_that_is_missing_or_something_else_is_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"rows": table()}, other, {"words": "a", "learned": "1"})
    text = tmp_path / "text.safetensors"
    text.write_text("not a tensor")
    for path in (tmp_path / "missing.safetensors", text, other):
        with pytest.raises(InputError, match=r"which does not hold words with vectors.*Give a .safetensors"):
            WordVectors.read(path)


def test_a_caption_with_a_word_that_the_file_lacks_is_named(file):
    with pytest.raises(InputError, match="'a red dragon' has the word 'dragon'"):
        build_model(config(file).model, [*CAPTIONS, "a red dragon"], 0)


def test_a_word_is_understood_by_its_vector_in_a_model_that_was_built(file):
    model = build_model(config(file).model, CAPTIONS, 0)
    encoder = model.text_encoder
    assert encoder.config.learned == 3 + 4
    assert encoder.config.token_dropout == 0.15
    assert torch.equal(encoder.token_embedding.vectors[4:], table())
    assert not encoder.token_embedding.vectors[:4].any()
    assert model.tokenizer("fruit").unknown == ((),)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_vectors_stay_exact_int8_in_a_stored_model(file, tmp_path, dtype):
    model = build_model(config(file).model, CAPTIONS, 0)
    folder = checkpoints.save(model, tmp_path / "model", dtype=dtype)
    stored = load_file(folder / "weights.safetensors")
    assert stored["text_encoder.token_embedding.vectors"].dtype == torch.int8
    assert stored["text_encoder.token_embedding.project.weight"].dtype == (dtype or torch.float32)
    back = checkpoints.load(folder)
    assert back.tokenizer == model.tokenizer
    assert torch.equal(back.text_encoder.token_embedding.vectors[4:], table())
    assert back.text_encoder.token_embedding.vectors.dtype == torch.int8
    assert back.text_encoder.token_embedding.learned.weight.dtype == torch.float32
    half = checkpoints.load(folder, dtype=torch.bfloat16).text_encoder.token_embedding
    assert half.vectors.dtype == torch.int8
    assert half.project.weight.dtype == torch.bfloat16


def test_training_leaves_the_vectors_as_they_are_and_exports_them(file, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (8, 8), (80 * number, 40, 200)).save(data / f"{number}.png")
        (data / f"{number}.txt").write_text(caption)
    wanted = config(file, "run.steps=3", "optimizer.more_ema=0.5")
    list(training.train(data, tmp_path / "run", wanted))
    before = build_model(wanted.model, CAPTIONS, 0).text_encoder.token_embedding
    after = checkpoints.load(tmp_path / "run").text_encoder.token_embedding
    assert after.vectors.dtype == torch.int8
    assert torch.equal(after.vectors, before.vectors)
    assert not torch.equal(after.project.weight, before.project.weight)
