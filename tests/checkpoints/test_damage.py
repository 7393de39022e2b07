"""Nothing that cannot be accounted for is loaded: damage of every kind to a model folder, each refused by name."""

import hashlib
import json
import pickle
import shutil
import struct

import pytest
import torch
from safetensors.torch import load, save

from tiny_model import save_tiny
from unnoise import checkpoints
from unnoise.checkpoints import header
from unnoise.errors import CheckpointError


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "tiny")


def weights(folder):
    return folder / "weights.safetensors"


def describe(folder, **changes):
    path = folder / "model.json"
    table = json.loads(path.read_text())
    table.update(changes)
    path.write_text(json.dumps(table))


def rewrite(folder, change):
    """Alter the tensors and let the hash agree, as a careful forger or a wrong tool would."""
    tensors = load(weights(folder).read_bytes())
    change(tensors)
    data = save(tensors)
    weights(folder).write_bytes(data)
    describe(folder, sha256=hashlib.sha256(data).hexdigest())


def refused(folder, words):
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(folder)


def test_a_flipped_byte(folder):
    data = bytearray(weights(folder).read_bytes())
    data[-1] ^= 1
    weights(folder).write_bytes(data)
    refused(folder, "altered or damaged")
    assert not checkpoints.inspect(folder).details["intact"]


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_cut_short(folder, kept):
    weights(folder).write_bytes(weights(folder).read_bytes()[:kept])
    refused(folder, "not a whole|cut short|header")


def test_bytes_appended(folder):
    weights(folder).write_bytes(weights(folder).read_bytes() + b"\0")
    refused(folder, "cut short or altered")


def test_a_web_page_saved_as_weights(folder):
    weights(folder).write_bytes(b"<!doctype html><title>404</title>" * 20)
    refused(folder, "not a whole safetensors file")


def test_a_renamed_tensor(folder):
    rewrite(folder, lambda t: t.update({"network.other": t.pop("network.conv_in.weight")}))
    refused(folder, r"lacks 'network\.conv_in\.weight' and has extra 'network\.other'")


def test_all_tensors_renamed(folder):
    def rename(tensors):
        for name in list(tensors):
            tensors[f"model.{name}"] = tensors.pop(name)

    rewrite(folder, rename)
    refused(
        folder, r"lacks 'network\..* more, and has extra|lacks 'network\..* and has extra 'model\.network"
    )


def test_an_extra_tensor(folder):
    rewrite(folder, lambda t: t.update({"network.more": torch.zeros(1)}))
    refused(folder, r"has extra 'network\.more'")


def test_missing_tensors_are_counted(folder):
    def drop(tensors):
        for name in list(tensors)[:7]:
            del tensors[name]

    rewrite(folder, drop)
    refused(folder, "lacks .* and 4 more")


def test_a_tensor_of_another_shape(folder):
    rewrite(folder, lambda t: t.update({"network.conv_in.bias": torch.zeros(9)}))
    refused(folder, r"'network\.conv_in\.bias' is F32 of shape \[9\].*shape \[8\]")


def test_a_tensor_of_whole_numbers(folder):
    rewrite(folder, lambda t: t.update({"network.conv_in.bias": torch.zeros(8, dtype=torch.int64)}))
    refused(folder, "is I64")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite(folder, bad):
    rewrite(folder, lambda t: t["network.conv_in.bias"].fill_(bad))
    refused(folder, r"not finite, in 'network\.conv_in\.bias'")


class Trap:
    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


def test_a_pickle_under_our_name_is_never_opened(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    weights(folder).write_bytes(pickle.dumps(Trap()))
    refused(folder, "pickled file, which can run code")
    assert not (tmp_path / "trap-was-sprung").exists()


def test_a_torch_file_under_our_name(folder):
    torch.save({"x": torch.zeros(1)}, weights(folder))
    refused(folder, "pickled file")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_name": "os.system"}, "'class_name' is not part"),
        ({"format": "other"}, "does not describe an unnoise model"),
        ({"version": 2}, "format version 2"),
        ({"network": {"klass": "x"}}, "'klass' is not a setting"),
        ({"network": {"widths": "x"}}, "does not describe a model"),
        ({"network": {"widths": [[8]]}}, r"network\.widths"),
        ({"network": {"widths": [10**12]}}, r"network\.widths.*at most"),
        ({"network": {"blocks": 10**9}}, r"network\.blocks.*at most 200"),
        ({"network": {"blocks": []}}, "one a level"),
        ({"network": {"blocks": ""}}, "does not describe a model"),
        ({"network": []}, "'network' is"),
        ({"schedule": {"kind": "cosine", "start": 10**400}}, "does not describe a model"),
        ({"defaults": {"guidance": 10**400}}, "defaults.guidance is 10000"),
        ({"text_encoder": {"layers": 10**6}}, r"text_encoder\.layers"),
        ({"text_encoder": None}, "does not describe a model"),
        ({"vocabulary": {"kind": "import os"}}, "does not describe a model"),
        ({"schedule": {"kind": "os"}}, "schedule kind is 'os'"),
        ({"prediction": "magic"}, "prediction is 'magic'"),
        ({"prediction": 3}, "'prediction' is 3"),
        ({"size": [1, 8]}, "three whole numbers"),
        ({"size": [1, 8.5, 8]}, "three whole numbers"),
        ({"size": 8}, "three whole numbers"),
        ({"size": [1, 8, -8]}, "'size' is"),
        ({"clip": float("nan")}, "'clip' is"),
        ({"defaults": {"eta": 1}}, "'eta' is not a default"),
    ],
)
def test_a_description_is_an_allow_list(folder, changes, words):
    describe(folder, **changes)
    refused(folder, words)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_description_that_is_no_table(folder, text):
    (folder / "model.json").write_text(text)
    refused(folder, r"model\.json")


def test_a_description_without_its_weights(folder):
    weights(folder).unlink()
    refused(folder, "cannot read")


def raw(table, data=b""):
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (raw({"a": ONE, "b": {**ONE, "data_offsets": [8, 12]}}, bytes(12)), "'b' begins at byte 8"),
        (raw({"a": ONE, "b": ONE}, bytes(4)), "'b' begins at byte 0"),
        (raw({"a": {**ONE, "data_offsets": [0, 8]}}, bytes(8)), "does not make sense"),
        (raw({"a": {**ONE, "shape": [-1]}}, bytes(4)), "does not make sense"),
        (raw({"a": {**ONE, "shape": [2**60, 2**60]}}, bytes(4)), "does not make sense"),
        (raw({"a": {**ONE, "shape": [2**47] * 65}}, bytes(4)), "does not make sense"),
        (raw({"a": {**ONE, "shape": [0, 2**47, 2**47], "data_offsets": [0, 0]}}), "does not make sense"),
        (raw({"a": {**ONE, "dtype": "X"}}, bytes(4)), "does not make sense"),
        (raw({"a": 3}), "does not make sense"),
        (raw({"a": {**ONE, "dtype": "F8_E8M0"}}, bytes(4)), "'a' is F8_E8M0, a type that is not read here"),
        (raw({"a": ONE}, bytes(2)), "cut short or altered"),
        (
            raw(
                b'{"a": ' + json.dumps(ONE).encode() + b', "a": ' + json.dumps(ONE).encode() + b"}", bytes(4)
            ),
            "twice",
        ),
        (
            raw(b"{" + b"".join(b'"t%d": 0, ' % i for i in range(200_000)) + b'"t199999": 0}'),
            "'t199999' twice",
        ),
        (raw(b"[" * 50_000), "does not begin with a header"),
        (raw([1]), "no table"),
        (struct.pack("<Q", 2**60) + b"{}", "not a whole"),
        (
            raw({f"t{i}": {**ONE, "shape": [0], "data_offsets": [0, 0]} for i in range(50_001)}),
            "at most 50,000",
        ),
    ],
)
def test_headers_that_lie(tmp_path, content, words):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        header.read_header(path)


def test_a_header_too_long_is_not_read(tmp_path):
    path = tmp_path / "bomb.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", header.HEADER_LIMIT + 1))
        file.truncate(header.HEADER_LIMIT + 10_000)
    with pytest.raises(CheckpointError, match="at most 16,777,216"):
        header.read_header(path)
