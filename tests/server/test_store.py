import json
import os
import sqlite3
import stat
from dataclasses import replace

import pytest

from unnoise.errors import FileError
from unnoise.server import Asked, Job, Made, Problem
from unnoise.server.store import Store

ASKED = Asked(prompt="a \ud800 seven", model="digits", seed=7, show=("x0", "noise"), outpaint=(0, 0, 8, 0))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "served" / "jobs.sqlite")
    yield store
    store.close()


def test_a_job_comes_back_as_it_was_saved(store):
    job = Job("a" * 20, ASKED, created=1.5)
    store.add(job, "someone", "key")
    assert store.get(job.id) == job
    made = Made("a-0.png", {"prompt": "a \ud800", "seed": 7}, 7, 8, 8)
    ended = replace(
        job, state="done", begun=2.0, ended=3.0, attempt=1, step=4, steps=4, images=(made,), notes=("n",)
    )
    store.save(ended)
    assert store.get(job.id) == ended
    failed = replace(job, state="failed", problem=Problem("bad_input", "no", "steps"))
    store.save(failed)
    assert store.get(job.id) == failed


def test_pictures_are_kept_apart_until_the_job_has_ended(store):
    job = Job("a" * 20, replace(ASKED, init=b"init", mask=b"mask"))
    store.add(job, "", None)
    assert store.get(job.id).asked == ASKED
    assert store.whole(store.get(job.id)) == job
    store.save(replace(job, state="running"))
    assert store.whole(store.get(job.id)).asked.mask == b"mask"
    store.save(replace(job, state="cancelled"))
    assert store.whole(store.get(job.id)).asked == ASKED


def test_a_key_is_its_clients_own(store):
    for place, (client, key) in enumerate((("a", "k"), ("b", "k"), ("a", None), ("a", None))):
        store.add(Job(str(place), ASKED), client, key)
    assert (store.by_key("a", "k").id, store.by_key("b", "k").id, store.by_key("c", "k")) == ("0", "1", None)
    assert [job.id for job in store.latest(3)] == ["3", "2", "1"]
    assert [job.id for job in store.latest(3, before="2")] == ["1", "0"]
    store.save(replace(store.get("1"), state="done"))
    assert [(job.id, client) for job, client in store.waiting()] == [("0", "a"), ("2", "a"), ("3", "a")]
    store.forget("0")
    assert store.get("0") is None


def test_the_oldest_that_have_ended_go_first_and_no_others(store):
    states = ("done", "queued", "failed", "running", "cancelled", "done", "done")
    for place, state in enumerate(states):
        store.add(Job(str(place), ASKED, state), "", f"key {place}")
    assert store.trim(5) == []
    assert {job.id for job in store.trim(2)} == {"0", "2", "4"}
    assert [job.id for job in store.latest(9)] == ["6", "5", "3", "1"]
    assert store.by_key("", "key 0") is None


def test_nobody_but_the_owner_may_read_what_was_asked(store):
    store.add(Job("a" * 20, ASKED), "", None)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert set(modes) >= {"jobs.sqlite", "jobs.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_two_servers_cannot_have_one_folder(store):
    with pytest.raises(FileError, match="used by another server"):
        Store(store.path)


def test_jobs_of_a_later_version_are_not_touched(store, tmp_path):
    path = tmp_path / "later.sqlite"
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 2")
    later.close()
    with pytest.raises(FileError, match="has version 2, and this unnoise reads 1"):
        Store(path)


def test_a_file_that_is_no_database_is_told(tmp_path):
    path = tmp_path / "jobs.sqlite"
    path.write_text(json.dumps({"jobs": []}) * 200)
    with pytest.raises(FileError, match="is damaged"):
        Store(path)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        Store(tmp_path / "file" / "jobs.sqlite")


def test_a_full_disk_is_told_and_the_jobs_before_are_whole(store):
    resource = pytest.importorskip("resource")
    store.add(Job("before", ASKED), "", None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = os.path.getsize(f"{store.path}-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        with pytest.raises(FileError, match="Look at its disk"):
            store.add(Job("after", replace(ASKED, init=bytes(100_000))), "", None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.get("before") == Job("before", ASKED)
    store.add(Job("after", ASKED), "", None)
    assert [job.id for job in store.latest(9)] == ["after", "before"]
