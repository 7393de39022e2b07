"""What people get wrong: each answered with one sentence that names the field, the value and a way on.

Exit status 2 for values, 1 for files; nothing that exists is changed, nothing new is left behind.
"""

import os
import shutil

import pytest
from PIL import Image

from tiny_model import save_tiny
from unnoise.cli import main
from unnoise.schedulers import tuned


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with one of everything that a command may meet."""
    folder = tmp_path_factory.mktemp("prepared")
    save_tiny(folder / "tiny")
    (folder / "file.txt").write_text("mine")
    (folder / "page.safetensors").write_bytes(b"<html>404</html>")
    (folder / "pickle.safetensors").write_bytes(b"\x80\x04\x95" + bytes(20))
    (folder / "old.ckpt").write_bytes(b"\x80\x02" + bytes(20))
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    (folder / "empty").mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "a.txt").write_text("no picture")
    (folder / "pictures").mkdir()
    for place in range(3):
        Image.new("L", (8, 8), 80 * place).save(folder / "pictures" / f"{place}.png")
    (folder / "corrupt").mkdir()
    shutil.copy(folder / "torn.png", folder / "corrupt" / "torn.png")
    (folder / "occupied").mkdir()
    (folder / "occupied" / "thesis.txt").write_text("mine")
    (folder / "run").mkdir()
    (folder / "run" / "config.toml").write_text("")
    tuned.Tuned("Euler", (3.0, 1.0, 2.0), ((), (), ())).write(folder / "rising.json")
    (folder / "bad.toml").write_text("steps = = 3")
    (folder / "odd.toml").write_text("[run]\nstesp = 3\n")
    return folder


def tree(folder):
    """Every name below the folder, and every file's content."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


G = ("generate", "a seven", "-m", "tiny/")
T = ("train", "pictures", "--out", "new", "--size", "8")

VALUES = [
    ((*G, "--steps", "0"), "--steps is 0; give a whole number from 1 to 1,000, for example 20."),
    ((*G, "--steps", "-1"), "--steps is -1; give"),
    ((*G, "--steps", "1.5"), "--steps is 1.5; give"),
    ((*G, "--steps", "1001"), "--steps is 1001; give"),
    ((*G, "--steps", ""), "--steps is ''; give"),
    ((*G, "--steps", "many"), "--steps is many; give"),
    ((*G, "--guidance", "nan"), "--guidance is nan; give a number from 0 to 100"),
    ((*G, "--guidance", "inf"), "--guidance is inf; give"),
    (
        (
            *G,
            "--guidance=-inf",
        ),
        "--guidance is -inf; give",
    ),
    ((*G, "--guidance", "-2"), "--guidance is -2; give"),
    (
        ("generate", "x", "-m", "emoji", "--width", "33"),
        "width is 33; this model makes multiples of 2, the nearest are 32 and 34.",
    ),
    (("generate", "x", "-m", "emoji", "--size", "8x33"), "height is 33; this model"),
    ((*G, "--size", "8"), "--size is 8; give width x height in pixels"),
    ((*G, "--size", "0x8"), "--size is 0; give"),
    ((*G, "--size", "8x8", "--width", "8"), "--size is 8x8 and --width 8; give one of the two."),
    ((*G, "--size", "99999x8"), "--size is 99999; give"),
    ((*G, "--count", "0"), "--count is 0; give"),
    ((*G, "--seed", "-2"), "--seed is -2; give"),
    ((*G, "--seed", "1e9"), "--seed is 1e9; give"),
    ((*G, "--threads", "0"), "--threads is 0; give"),
    ((*G, "--enlarge", "0"), "--enlarge is 0; give"),
    ((*G, "--show-every", "0"), "--show-every is 0; give"),
    ((*G, "--show-every", "2", "--json"), "--show-every prints pictures and --json nothing but JSON"),
    ((*G, "--scheduler", "DPM++ 2N"), "scheduler 'DPM++ 2N' is not known; the nearest are"),
    ((*G, "--scheduler", "DPM++ 4M"), "scheduler 'DPM++ 4M' is not known; the nearest are"),
    (
        (*G, "--scheduler", "LCM", "--steps", "51"),
        "51 steps are asked of a model distilled at 50; give at most",
    ),
    ((*G, "--scheduler", "tuned:rising.json"), "the grid's levels do not strictly decrease; choose"),
    (
        (*G, "--scheduler", "dpm_adaptive", "--count", "2"),
        "DPM adaptive fits its steps to one picture, and 2 are given; make one at a time",
    ),
    ((*G, "--animate", "a.mp4"), "--animate is 'a.mp4'; give a file that ends in .webp or .gif."),
    ((*G, "--animate", "film"), "--animate is 'film'; give a file"),
    ((*G, "-o", "a.jpg"), "--out is 'a.jpg'; give a name that ends in .png, or a folder"),
    ((*G, "-o", "v1.5/"), "or a folder (with a dot in its name one that is there)."),
    ((*G, "--frames", "file.txt"), "--frames is 'file.txt', a file; give a folder."),
    ((*G, "-p", "again"), "the prompt is given twice, 'a seven' and 'again'; give one."),
    (("generate", "-m", "tiny/"), "a prompt is missing; give it in quotes"),
    (("generate", "a", "seven"), "'seven' is one word too many; put a prompt of several words in quotes."),
    (("generate", "x", "--stesp", "3"), "--stesp is not an option here; did you mean --steps"),
    (("generate", "x", "--steps"), "--steps needs a value after it"),
    (("generate", "x", "\u2014steps", "3"), "begins with a dash that is no hyphen; type it as --steps."),
    (("--nope",), "--nope is not an option here; `unnoise --help` shows what it takes."),
    (("generate", "x", "-m", ""), "--model is empty; give a word, a name or a path."),
    ((*G, "-o", ""), "--out is empty; give"),
    ((*G, "--frames", ""), "--frames is empty; give"),
    ((*G, "--animate", ""), "--animate is empty; give"),
    ((*G, "--lora-dir", ""), "--lora-dir is empty; give"),
    (("generate", "-m", "tiny/", "--prompts", ""), "--prompts is empty; give"),
    (("inspect", ""), "FILE is empty; give"),
    (("compare", "tiny/", "--out", ""), "--out is empty; give"),
    (
        ("evaluate", "distance", "a", "b", "--features", ".x"),
        "--features is .x; give pixels, an encoder's file",
    ),
    (("evaluate", "likelihood", "none", "none", "--fit-variance"), "--fit-variance needs training pictures"),
    (
        ("evaluate", "likelihood", "none", "none", "--fit-variance", "--train", "x", "--method", "ode"),
        "--fit-variance is for --method vlb, not ode; leave it out.",
    ),
    (
        ("evaluate", "likelihood", "none", "none", "--method", "ode", "--calls", "3"),
        "--calls is for --method vlb or vdm, not ode; leave it out.",
    ),
    (
        ("evaluate", "likelihood", "none", "none", "--probes", "3"),
        "--probes is for --method ode, not vlb or vdm; leave",
    ),
    (("generate", "x", "-m", "digitz"), "there is no model 'digitz'; "),
    (("generate", "x", "-m", "x" * 300), "there is no model 'xxx"),
    (("generat", "x"), "'generat' is not a command; did you mean generate"),
    (("train", "pictures"), "-o/--out is missing"),
    (("train",), "DATA, -o/--out are missing"),
    (("inspect",), "FILE is missing"),
    (("train", "", "--out", "new"), "DATA is empty; give a word, a name or a path."),
    ((*T, "--steps", "0"), "--steps is 0; give"),
    ((*T, "--batch", "x"), "--batch is x; give"),
    ((*T, "--channels", "64,"), "--channels is ''; give"),
    ((*T, "--lr", "nan"), "--lr is nan; give"),
    ((*T, "--set", "run.stesp=3"), "'run.stesp' is not a setting; did you mean run.steps"),
    ((*T, "--set", "run.steps"), "has no '='"),
    ((*T, "--set", "model.prediction=magic", "--steps", "1"), "magic"),
    (
        (*T, "--set", "model.prediction=noise", "--steps", "1"),
        "noise prediction cannot serve a schedule that ends without",
    ),
    ((*T, "--config", "bad.toml"), "'bad.toml' is not TOML"),
    ((*T, "--config", "odd.toml"), "stesp"),
    (("train", "pictures", "--out", "run"), "'run' holds a run already; go on with --resume"),
    (("train", "pictures", "--out", "occupied"), "'occupied' exists and is not a run"),
    (("train", "pictures", "--out", "none", "--resume"), "'none' is not a run"),
]

FILES = [
    (("generate", "x", "-m", "none/"), "there is no 'none'; this version reads model folders"),
    (("generate", "x", "-m", "file.txt"), "'file.txt' is not a model; this version reads"),
    (
        ("generate", "x", "-m", "old.ckpt"),
        "'old.ckpt' is a pickle that holds more than tensors, or is damaged",
    ),
    (("generate", "x", "-m", "empty"), "the folder 'empty' holds no model"),
    (("generate", "x", "-m", "run"), "the run 'run' has no complete checkpoint yet"),
    ((*G, "-o", "file.txt/x.png"), "cannot write 'file.txt/x.png': file.txt: it is not a folder."),
    ((*G, "-o", "/proc/none/x.png"), "cannot write '/proc/none/x.png': /proc: "),
    ((*G, "--frames", "/proc/none"), "cannot write '/proc/none"),
    ((*G, "-o", "x" * 300 + ".png"), "xxx.png': File name too long; choose another"),
    (("inspect", "none.png"), "there is no file 'none.png'; give"),
    (("inspect", "torn.png"), "cannot read the picture 'torn.png': it is damaged or cut short"),
    (("inspect", "page.safetensors"), "'page.safetensors' (16 bytes) is not a whole safetensors file"),
    (("inspect", "pickle.safetensors"), "is a pickled file, which can run code"),
    (("inspect", "empty"), "the folder 'empty' holds no model"),
    (("train", "none", "--out", "new"), "'none' does not exist; give a folder of pictures"),
    (("train", "file.txt", "--out", "new"), "'file.txt' is a file; give a folder of pictures"),
    (("train", "empty", "--out", "new"), "'empty' holds no files; put PNG, JPEG or WebP pictures there."),
    (("train", "words", "--out", "new"), "but no picture"),
    (("train", "corrupt", "--out", "new", "--strict"), "torn.png"),
    (("train", "corrupt", "--out", "new"), "torn.png"),
    (("train", "pictures", "--out", "/proc/none"), "cannot write '/proc/none"),
    (("train", "pictures", "--out", "new", "--config", "none.toml"), "cannot read 'none.toml'"),
]


def refused(words, capsys):
    status = main(words)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("unnoise: error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    return status, told.err


@pytest.mark.parametrize(("words", "sentence"), VALUES, ids=[" ".join(words)[:60] for words, _ in VALUES])
def test_a_value_that_makes_no_sense(prepared, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(prepared)
    before = tree(prepared)
    status, told = refused(words, capsys)
    assert sentence in told
    assert status == 2
    assert tree(prepared) == before


@pytest.mark.parametrize(("words", "sentence"), FILES, ids=[" ".join(words)[:60] for words, _ in FILES])
def test_a_file_that_cannot_serve(prepared, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(prepared)
    before = tree(prepared)
    status, told = refused(words, capsys)
    assert sentence in told
    assert status == 1
    assert tree(prepared) == before


def test_a_full_disk_while_saving_leaves_nothing(prepared, monkeypatch, capsys, tmp_path):
    resource = pytest.importorskip("resource")
    import signal

    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        status = main(["generate", "a seven", "-m", str(prepared / "tiny"), "-o", "x.png"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert status == 1
    assert (
        capsys.readouterr().err == "unnoise: error: cannot write 'x.png': File too large. Free some space.\n"
    )
    assert os.listdir(tmp_path) == []


def test_a_network_that_leaves_the_finite_numbers_makes_no_file(prepared, monkeypatch, capsys, tmp_path):
    import torch

    from unnoise.networks.unet import UNet

    monkeypatch.chdir(tmp_path)
    forward = UNet.forward
    spoilt = lambda *a, **k: forward(*a, **k)._replace(sample=torch.tensor(float("nan")).expand(1, 1, 8, 8))
    monkeypatch.setattr(UNet, "forward", spoilt)
    assert main(["generate", "a seven", "-m", str(prepared / "tiny"), "--guidance", "1"]) == 1
    assert "left the finite numbers at step 1 of 4" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
