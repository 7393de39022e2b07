"""A file of weights that is written again is the same file: its hash is how recipes know it."""

import torch
from safetensors import safe_open

from unnoise.checkpoints.weights import write_weights

TOLD = {
    "format": "pt",
    "b": 'quotes " and \\',
    "c": "line\nand\ttab\x01",
    "d": "ß 猫 🐈",
    "e": "",
    "f": "\x7f/",
}


def test_the_same_bytes_each_time_with_all_that_was_told(tmp_path):
    tensors = {"one": torch.arange(6.0).reshape(2, 3), "two": torch.ones(3, dtype=torch.bfloat16)}
    made = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        write_weights(tensors, path, dict(reversed(TOLD.items())) if number % 2 else TOLD)
        made.add(path.read_bytes())
    assert len(made) == 1
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == TOLD
        assert set(file.keys()) == set(tensors)
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
