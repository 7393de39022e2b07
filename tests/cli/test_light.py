"""Words that need no computation are answered without loading what computes."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "numpy",
    "PIL",
    "safetensors",
    "tokenizers",
    "tqdm",
    "importlib.metadata",
    "starlette",
    "uvicorn",
)

PROBE = """
import json, sys
from unnoise.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as left:
    status = left.code
sys.stderr.write("\\n" + json.dumps([status, sorted(sys.modules)]))
"""


def probe(*words, folder):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    status, modules = json.loads(done.stderr.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], 0),
        (["generate", "--help"], 0),
        (["train", "--help"], 0),
        ([], 0),
        (["generat"], 2),
        (["generate", "a seven", "--steps", "0"], 2),
        (["generate", "a seven", "--stesp", "5"], 2),
        (["generate", "a seven", "-m", "no-such-model"], 2),
        (["generate", "a seven", "-m", "owner/name@main:fp16", "--guidance", "nan"], 2),
        (["generate", "a (seven:5000)"], 2),
        (["generate", "a seven", "--init", "nowhere.png"], 1),
        (["generate", "a seven", "--strength", "0.5"], 2),
        (["tune", "--help"], 0),
        (["tune", "digits", "--steps", "1"], 2),
        (["tune", "digits", "--out", "levels.txt"], 2),
        (["inspect", "no-such-file"], 1),
        (["models"], 0),
        (["serve", "--help"], 0),
        (["serve", "--port", "70000"], 2),
        (["serve", "--host", "0.0.0.0"], 2),
        (["serve", "-m", "no-such-model"], 2),
    ],
)
def test_answered_without_torch(tmp_path, words, status):
    found, modules = probe(*words, folder=tmp_path)
    assert found == status
    assert not modules & set(HEAVY)


def test_a_refused_training_needs_no_torch(tmp_path):
    found, modules = probe("train", "nowhere", "--out", "run", "--batch", "0", folder=tmp_path)
    assert found == 2
    assert "torch" not in modules
    found, modules = probe("train", "nowhere", "--out", "run", folder=tmp_path)
    assert found == 1
    assert "torch" not in modules


def test_importing_the_package_is_light_and_its_names_arrive_when_asked_for():
    code = """
import sys, unnoise
assert "torch" not in sys.modules
assert set(unnoise.__all__) <= set(dir(unnoise))
assert unnoise.errors.UnnoiseError is unnoise.UnnoiseError
assert "torch" not in sys.modules
for name in unnoise.__all__:
    assert getattr(unnoise, name) is not None, name
try:
    unnoise.nothing
except AttributeError as error:
    assert "nothing" in str(error)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_module_and_the_version(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "unnoise", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert done.stdout.startswith("unnoise 0.")


@pytest.mark.parametrize(
    ("said", "turns"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_threads_are_told_to_wait_briefly_unless_somebody_said_how_they_wait(tmp_path, said, turns):
    words = (
        "import os, sys\nsys.argv = ['unnoise', 'models', '--json']\nfrom unnoise.cli import main\nmain()\n"
    )
    plain = {name: value for name, value in os.environ.items() if "OMP" not in name}
    done = subprocess.run(
        [sys.executable, "-c", f"{words}sys.stderr.write(repr(os.environ.get('GOMP_SPINCOUNT')))"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True, env=plain | said,
    )  # fmt: skip
    assert done.stderr == repr(turns)
