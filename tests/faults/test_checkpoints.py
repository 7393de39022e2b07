"""Checkpoints of training under kills, full disks and damage: whole or absent, and the older ones stand."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from unnoise.errors import CheckpointError, FileError
from unnoise.training import checkpoints


def write(value, size=64):
    def into(folder):
        save_file({"w": torch.full((size,), float(value))}, folder / "weights.safetensors")
        (folder / "model").mkdir()
        (folder / "model" / "model.json").write_text(json.dumps({"value": value}))

    return into


def save(run, step, write, keep=0):
    with checkpoints.building(run, step) as folder:
        write(folder)
    return checkpoints.kept(run, step, keep)


def saved(run, step, keep=0):
    return save(run, step, write(step), keep)


def value(checkpoint):
    return load_file(checkpoint.folder / "weights.safetensors")["w"][0].item()


def test_the_newest_complete_one_is_found(tmp_path):
    assert checkpoints.newest(tmp_path) == (None, [])
    for step in (1, 2, 10):
        saved(tmp_path, step)
    found, faults = checkpoints.newest(tmp_path)
    assert (found.step, value(found), faults) == (10, 10.0, [])
    assert found.folder.name == "step-000010"


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "extra", "manifest gone", "manifest cut"])
def test_a_damaged_one_is_passed_over_and_named(tmp_path, damage):
    saved(tmp_path, 1)
    folder = saved(tmp_path, 2).folder
    weights, manifest = folder / "weights.safetensors", folder / "manifest.json"
    data = weights.read_bytes()
    act = {
        "cut": lambda: weights.write_bytes(data[:-7]),
        "flip": lambda: weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1])),
        "gone": weights.unlink,
        "extra": lambda: (folder / "model" / "more").write_text("x"),
        "manifest gone": manifest.unlink,
        "manifest cut": lambda: manifest.write_bytes(manifest.read_bytes()[:40]),
    }
    act[damage]()
    found, faults = checkpoints.newest(tmp_path)
    assert found.step == 1
    assert len(faults) == 1
    assert "step-000002" in faults[0]
    with pytest.raises(CheckpointError, match="step-000002"):
        checkpoints.verify(folder)


def test_hidden_files_that_systems_leave_are_no_damage_and_what_a_kill_left_is_swept(tmp_path):
    folder = saved(tmp_path, 1).folder
    (folder / "model" / ".DS_Store").write_bytes(b"where the window was")
    (folder / "._weights.safetensors").write_bytes(b"")
    (folder / ".AppleDouble").mkdir()
    (folder / ".AppleDouble" / "weights.safetensors").write_bytes(b"")
    (tmp_path / "profiles").mkdir()
    torn = [
        tmp_path / ".model.tmp-12ab34ef",
        tmp_path / ".model.tmp-12-old",
        folder.parent / ".step-000002.tmp-12",
        tmp_path / "profiles" / ".step-000002.tmp-12",
    ]
    for left in torn:
        left.mkdir()
    (tmp_path / ".config.toml.tmp-12").write_text("")
    (tmp_path / ".lock").write_text("")
    assert checkpoints.swept(tmp_path) == (checkpoints.Checkpoint(1, folder), [])
    assert {entry.name for entry in tmp_path.iterdir()} == {".lock", "checkpoints", "profiles"}
    assert not any((tmp_path / "profiles").iterdir())
    assert [entry.name for entry in folder.parent.iterdir()] == ["step-000001"]


def test_retention_keeps_the_newest_and_only_after_the_new_one_is_whole(tmp_path):
    for step in (1, 2, 3):
        saved(tmp_path, step, keep=2)
    assert [item.step for item in checkpoints.checkpoints(tmp_path)] == [2, 3]

    def fail(folder):
        write(4)(folder)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        save(tmp_path, 4, fail, keep=1)
    assert [item.step for item in checkpoints.checkpoints(tmp_path)] == [2, 3]
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == [
        "step-000002",
        "step-000003",
    ]


def test_a_torn_one_of_the_same_step_gives_way(tmp_path):
    folder = saved(tmp_path, 5).folder
    (folder / "manifest.json").unlink()
    assert value(saved(tmp_path, 5)) == 5.0
    checkpoints.verify(folder)


def test_a_full_disk_is_told_and_the_older_one_stands(tmp_path):
    saved(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(FileError, match=r"cannot write '.*step-000002"):
            save(tmp_path, 2, write(2, size=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    found, faults = checkpoints.newest(tmp_path)
    assert (found.step, faults) == (1, [])
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


SAVER = """
    import sys
    from pathlib import Path
    from tests_faults_write import write
    from unnoise.training import checkpoints
    run = Path(sys.argv[1])
    found, _ = checkpoints.newest(run)
    step = found.step if found else 0
    print("ready", flush=True)
    while True:
        step += 1
        with checkpoints.building(run, step) as folder:
            write(step)(folder)
        checkpoints.kept(run, step, keep=2)
        print(step, flush=True)
"""
WRITE = """
    import os, json
    def write(value):
        def into(folder):
            for name in ("a", "b"):
                (folder / name).write_bytes(bytes([value % 251]) * 300_000)
        return into
"""


def test_killed_again_and_again_it_always_goes_on_from_a_whole_one(tmp_path):
    """Eight SIGKILLs at spread times during a loop that does nothing but save; `benchmarks/durability.py` has fifty."""
    (tmp_path / "tests_faults_write.py").write_text(textwrap.dedent(WRITE))
    run, last = tmp_path / "run", 0
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for kill in range(8):
        command = [sys.executable, "-c", textwrap.dedent(SAVER), str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout.readline() == b"ready\n"
            told = process.stdout.readline()
            time.sleep(0.0137 * kill)
            process.kill()
            told += process.stdout.read()
        found, faults = checkpoints.newest(run)
        assert faults == []
        last = max(last, int(told.split()[-1]))
        assert found.step >= last
        assert (found.folder / "a").read_bytes() == bytes([found.step % 251]) * 300_000
        last = found.step
    checkpoints.swept(run)
    left = [entry.name for entry in (run / "checkpoints").iterdir()]
    assert all(name.startswith("step-") for name in left), left
    assert len(checkpoints.checkpoints(run)) <= 3


CUT = """
    import os, resource, signal, sys
    from pathlib import Path
    from unnoise.training import checkpoints

    def save(run, step, limit=None):
        with checkpoints.building(run, step) as folder:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for name, size in (("a", 10), ("b", 20)):  # the manifest, of hundreds, is written last
                (folder / name).write_bytes(bytes([step]) * size)
        checkpoints.kept(run, step)

    for limit in map(int, sys.argv[2:]):
        run = Path(sys.argv[1]) / str(limit)
        save(run, 1)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the write that passes the limit ends the process
            save(run, 2, limit)
            os._exit(0)
        print(limit, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), checkpoints.swept(run)[0].step)
"""


def test_killed_inside_a_write_of_the_first_the_second_and_the_manifest_it_goes_on_from_the_older_one(
    tmp_path,
):
    """Where a random kill rarely falls; the last limit is never reached."""
    command = [sys.executable, "-c", textwrap.dedent(CUT), str(tmp_path), "5", "15", "100", "100000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    killed = [f"{limit} {-signal.SIGXFSZ} 1" for limit in (5, 15, 100)]
    assert done.stdout.splitlines() == [*killed, "100000 0 2"]


def test_files_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    """Every file of the folder is synced before the rename that makes it visible."""
    from pathlib import Path

    from unnoise import files

    told = []
    sync, rename = files.sync, Path.rename
    monkeypatch.setattr(files, "sync", lambda path: (told.append(("sync", Path(path).name)), sync(path))[1])
    monkeypatch.setattr(
        Path, "rename", lambda self, to: (told.append(("rename", Path(to).name)), rename(self, to))[1]
    )
    saved(tmp_path, 1)
    at = told.index(("rename", "step-000001"))
    assert {("sync", "weights.safetensors"), ("sync", "manifest.json"), ("sync", "model.json")} <= set(
        told[:at]
    )
    assert ("sync", "checkpoints") in told[at:]
