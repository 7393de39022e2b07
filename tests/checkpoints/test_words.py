"""Words of a textual inversion: what they are for the tokenizer, and what is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from adapter_files import normal
from tiny_model import tiny_model
from unnoise.checkpoints.adapters import teach
from unnoise.checkpoints.adapters.word import read_word
from unnoise.errors import CheckpointError, InputError
from unnoise.text import TaughtTokenizer, Tokenizer


def taught(*words):
    tokenizer = Tokenizer()
    for word, tokens in words:
        tokenizer = TaughtTokenizer.with_word(tokenizer, word, tokens)
    return tokenizer


def test_a_word_is_its_row_of_new_ids_and_all_else_is_as_before():
    plain, tokenizer = Tokenizer(), taught(("ink", 2), ("<cat-toy>", 1))
    assert tokenizer.size == plain.size + 3
    ids = tokenizer.encode("a <Cat-Toy> in INK, inky")
    new = range(plain.size, plain.size + 3)
    wanted = [*plain.encode("a"), new[2], *plain.encode("in"), new[0], new[1], *plain.encode(", inky")]
    assert ids == wanted
    assert tokenizer.decode(ids) == "a <cat-toy> in ink , inky"
    assert tokenizer("ink", 77).ids.shape == (1, 77)
    assert tokenizer("a " * 75 + "ink").cut == ("ink",)


def test_longer_words_are_found_first():
    tokenizer = taught(("ink", 1), ("ink wash", 1))
    assert tokenizer.encode("ink wash") == [Tokenizer().size + 1]


def test_words_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="is taken"):
        taught(("ink", 1), ("INK", 1))
    with pytest.raises(InputError, match="with a letter"):
        taught(("**", 1))
    with pytest.raises(InputError, match="cannot be written"):
        taught(("ink", 1)).config()


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Marker:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "bad.pt").write_bytes(pickle.dumps({"string_to_param": {"*": Marker()}}))
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        read_word(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "table",
    [[1], {"*": torch.zeros(1).as_strided((70, 2**38), (0, 0))}, {"*": torch.eye(3).to_sparse()}],
    ids=["list", "terabytes", "sparse"],
)
def test_a_pickle_of_an_odd_table_is_refused(tmp_path, table):
    torch.save({"string_to_param": table}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError):
        read_word(tmp_path / "bad.pt")


@pytest.mark.parametrize("content", [normal(2, 16), {"clip_l": normal(2, 16)}], ids=["bare", "one tower"])
def test_a_tensor_without_a_name_is_a_word_of_the_file_s(tmp_path, content):
    """As scripts leave it that save the learned vectors alone, or one encoder's."""
    torch.save(content, tmp_path / "ink.pt")
    found = read_word(tmp_path / "ink.pt")
    assert found.word == "ink"
    assert torch.equal(found.tables[0], normal(2, 16))


def test_an_embedding_of_another_width_or_family_is_refused_with_both(tmp_path):
    save_file({"emb_params": normal(2, 768)}, tmp_path / "ink.safetensors")
    save_file({"clip_l": normal(2, 768), "clip_g": normal(2, 1280)}, tmp_path / "xl.safetensors")
    model = tiny_model(name="tiny")
    words = r"'ink.safetensors' fits SD 1.5 \(vectors of width 768\); the loaded model is tiny \(16\)"
    with pytest.raises(CheckpointError, match=words):
        teach(model, tmp_path / "ink.safetensors")
    with pytest.raises(CheckpointError, match=r"fits SDXL .*768 and 1280.*load SDXL"):
        teach(model, tmp_path / "xl.safetensors")
    save_file({"emb_params": normal(2, 16)}, tmp_path / "tiny.safetensors")
    with pytest.raises(InputError, match="small vocabulary"):
        teach(model, tmp_path / "tiny.safetensors")


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": normal(1, 16), "b": normal(1, 16)},
        {"emb_params": normal(2, 3, 4)},
        {"emb_params": torch.ones(1, 16) / 0},
        {"emb_params": torch.ones(1, 16, dtype=torch.uint8)},
    ],
    ids=["two", "shape", "infinite", "bytes"],
)
def test_what_is_no_embedding_is_refused(tmp_path, tensors):
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError):
        read_word(tmp_path / "bad.safetensors")
