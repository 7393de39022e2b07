"""Files appear whole or not at all, under any system's habits and whoever else writes beside."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unnoise import files
from unnoise.errors import CheckpointError, DataError, FileError, InputError


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL])
def test_a_system_that_syncs_no_folders_can_be_written_to(tmp_path, monkeypatch, code):
    """As Windows refuses to open one, and some network mounts to sync it."""
    really = os.open

    def opened(path, *rest, **options):
        if Path(path).is_dir():
            raise OSError(code, "no folders")
        return really(path, *rest, **options)

    monkeypatch.setattr(os, "open", opened)
    files.write_text(tmp_path / "a.txt", "whole")
    with files.building_folder(tmp_path / "b") as folder:
        (folder / "in").mkdir()
        (folder / "in" / "c.txt").write_text("whole")
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b" / "in" / "c.txt").read_text() == "whole"


def test_no_name_at_all_is_not_the_folder_that_one_stands_in():
    with pytest.raises(InputError, match="'' is given as a path"):
        files.expanded("")


def test_a_mount_that_knows_no_rights_can_be_written_to(tmp_path, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    files.write_text(tmp_path / "a.txt", "x")
    with files.building_folder(tmp_path / "b") as folder:
        (folder / "c.txt").write_text("x")
    assert len(list(tmp_path.rglob("*.txt"))) == 2


def test_a_full_disk_told_while_a_file_is_synced_is_an_error(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"a\.txt': No space left"):
        files.write_text(tmp_path / "a.txt", "x")
    assert not list(tmp_path.iterdir())


def test_two_who_write_one_name_at_once_never_mix(tmp_path):
    path = tmp_path / "a.txt"
    with files.replacing(path) as first:
        with files.replacing(path) as second:
            first.write_text("first")
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


def test_weights_can_be_read_by_whom_other_new_files_can(tmp_path):
    """safetensors makes files that nobody but their owner reads."""
    (tmp_path / "plain").touch()
    with files.replacing(tmp_path / "alone") as path:
        save_file({"x": torch.zeros(1)}, path)
    with files.building_folder(tmp_path / "folder") as folder:
        save_file({"x": torch.zeros(1)}, folder / "inside")
    names = ("plain", "alone", "folder/inside")
    assert len({stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names}) == 1


def test_a_name_too_long_is_not_there_and_cannot_be_written(tmp_path):
    path = tmp_path / ("x" * 300)
    files.check_new(path, "a model")
    with pytest.raises(DataError, match="does not exist; give a folder"):
        files.check_folder(path)
    with pytest.raises(FileError, match="File name too long"):
        files.write_text(path, "x")


def test_a_folder_is_no_name_for_a_file():
    with pytest.raises(FileError, match=r"'\.' names a folder that is there; give a name"):
        files.write_text(Path(), "x")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b" " * (files.TABLE_LIMIT + 1), "over 16,777,216 bytes"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[1]", "holds no table"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_name(tmp_path, content, says):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\.json.*{says}|{says}.*a\.json"):
        files.read_table(tmp_path / "a.json")


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes('\ufeff{"a": 1}'.encode())
    assert files.read_table(tmp_path / "a.json") == {"a": 1}
