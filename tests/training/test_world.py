"""What processes that train as one do when they are done."""

import subprocess
import sys
import textwrap

import pytest

from unnoise.errors import InputError
from unnoise.training import world

LAST_WORDS = """
    import os
    import torch
    from torch import distributed
    from unnoise.training import world

    if hasattr(os, "sched_setaffinity"):  # on one core a thread has rarely put its tensor down yet
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    assert world.join().size == 2
    mesh = distributed.init_device_mesh("cpu", (2,))  # keeps the group, and its threads, as FSDP's does
    told = [torch.ones(1000) for _ in range(50)]
    for tensor in told:
        tensor.mark = object()  # as tensors in a graph have: dropping one asks for the interpreter
    for sent in [distributed.all_reduce(tensor, async_op=True) for tensor in told]:
        sent.wait()
    assert float(told[-1][0]) == 2.0
"""


def test_processes_that_end_right_after_their_last_word_end_well(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(LAST_WORDS), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run([*launch, script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is two; start"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is empty; start"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "x"}, "WORLD_SIZE is 2, but LOCAL_RANK is 'x'; start"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "WORLD_SIZE is 2, but RANK is not set; start"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}, "but MASTER_PORT is not set; start"),
    ],
)
def test_a_place_that_is_no_number_is_named(monkeypatch, told, words):
    for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words):
        world.join()


def test_a_world_that_nothing_told_its_places_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as some clusters set it
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(
        InputError, match=r"WORLD_SIZE is 2, but LOCAL_RANK is not set; start .* with torchrun"
    ):
        world.join()
