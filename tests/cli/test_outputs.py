import errno
import itertools
import os
import sys
import threading
from functools import partial

import pytest
from PIL import Image

from unnoise import files, images
from unnoise.cli import outputs, progress
from unnoise.errors import FileError


def names(folder):
    return (folder / f"{place}.txt" for place in itertools.count(1))


def test_two_writers_at_once_never_take_one_name(tmp_path):
    gate = threading.Barrier(8)
    paths = []

    def work(place):
        gate.wait()
        for _ in range(5):
            paths.append(outputs.save_new(names(tmp_path), lambda path: path.write_text(str(place))))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 40
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def no_links(hidden, name):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_without_links_a_free_name_is_taken_by_renaming(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "1.txt").write_text("mine")
    assert outputs.save_new(names(tmp_path), lambda path: path.write_text("new")) == tmp_path / "2.txt"
    assert (tmp_path / "1.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_that_cannot_be_given_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(type(tmp_path), "rename", lambda *_: no_links(*_))
    with pytest.raises(FileError, match="cannot write"):
        outputs.save_new(names(tmp_path), lambda path: path.write_text("new"))
    assert not list(tmp_path.iterdir())


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def fail(path):
        path.write_text("half")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the writer's own
        outputs.save_new(names(tmp_path), fail)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_by_the_name_that_was_asked_for(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    write = partial(images.write_png, picture=Image.new("L", (1, 1)))
    with pytest.raises(FileError, match=f"cannot write '{tmp_path}/a.png': No space left"):
        outputs.save_new(outputs.candidates(tmp_path / "a.png", 7), write)
    assert not list(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path):
    name = tmp_path / ("写" * 83 + ".png")  # 253 bytes
    write = partial(images.write_png, picture=Image.new("L", (1, 1)))
    assert outputs.save_new(outputs.candidates(name, 7), write) == name
    assert list(tmp_path.iterdir()) == [name]


def test_a_folder_counts_on_from_its_highest_number(tmp_path):
    for name in ("00003-9.png", "00011-x.png", "note.txt"):
        (tmp_path / name).touch()
    assert next(outputs.candidates(tmp_path, 7)).name == "00012-7.png"


def test_a_counter_without_an_ending_gets_that_of_a_picture(tmp_path):
    names = outputs.candidates(tmp_path / "n%03d", 7)
    assert [next(names).name for _ in range(2)] == ["n001.png", "n002.png"]
    assert next(outputs.candidates(tmp_path / "a%d.webp", 7)).name == "a1.webp"


def test_a_percent_sign_in_a_folder_that_is_there_counts_nothing(tmp_path):
    (tmp_path / "100%done").mkdir()
    assert next(outputs.candidates(tmp_path / "100%done", 7)) == tmp_path / "100%done" / "00001-7.png"


def test_a_counter_of_a_million_places_is_a_name(tmp_path):
    assert next(outputs.candidates(tmp_path / "%1000000d.png", 7)).name == "%1000000d.png"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot make the folder"):
        outputs.new_folder(tmp_path / "file" / "frames")


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch, capsys):
    clock = itertools.count(0, 6.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress(5, "training") as bar:
        for step in range(1, 6):
            bar.reach(step, "loss 0.5")
    told = capsys.readouterr()
    assert told.err.splitlines() == ["training: step 2 of 5 loss 0.5", "training: step 4 of 5 loss 0.5"]
    assert told.out == ""


def test_a_work_may_say_how_long_it_is_once_it_runs(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with progress.Progress(None, "reading") as bar:
        assert capsys.readouterr().err == ""
        bar.told(1, 2, "a.png")
    assert capsys.readouterr().err == "reading: step 1 of 2 a.png\n"


def test_quiet_progress_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with progress.Progress(2, "x", quiet=True) as bar:
        bar.reach(1)
    assert capsys.readouterr().err == ""


def test_a_bar_shows_figures_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.Progress(2, "training", start=1) as bar:
        bar.reach(2, "loss 0.25")
        bar.write("saved\n")
    told = capsys.readouterr()
    assert "loss 0.25" in told.err
    assert told.out == "saved\n"
