import asyncio
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import unnoise
from running_desk import RunningDesk
from unnoise import images
from unnoise.errors import FileError, InputError, UnnoiseError
from unnoise.pipelines import Recipe
from unnoise.server import (
    Asked,
    Card,
    Closing,
    Desk,
    FieldError,
    Full,
    Job,
    Limits,
    Loading,
    Made,
    Problem,
    Seen,
    Settings,
    Unknown,
)
from unnoise.server import desk as desks
from unnoise.server.messages import Begun, Ended, Known
from unnoise.server.store import Store

SEVEN = Asked(prompt="a seven", model="digits", seed=7, steps=4)
LONG = replace(SEVEN, steps=1000, show_every=0)
CARD = Card("digits", "unnoise", "", "text", 1, 8, 8, 20, 1.5, "DDIM", True)


def left_behind(folder):
    """The jobs of a server that was killed: two that ran, two that waited."""
    store = Store(folder / "jobs.sqlite")
    for place, (state, attempt, asked) in enumerate(
        [
            ("running", 2, SEVEN),
            ("running", 1, SEVEN),
            ("queued", 0, replace(SEVEN, model="gone")),
            ("queued", 0, replace(SEVEN, seed=8)),
        ]
    ):
        store.add(Job(str(place) * 20, asked, state, created=float(place), attempt=attempt), "", None)
    store.close()
    (folder / "images").mkdir()
    (folder / "images" / f".{'1' * 20}-0.png.tmp-0123abcd").touch()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    left_behind(folder)
    with RunningDesk(folder, limits=Limits(queue=3, each_client=2)) as running:
        for place in range(4):  # so that every test finds the queue empty, whichever runs first
            running.ended(str(place) * 20)
        yield running


@pytest.fixture(scope="module")
def pipe():
    return unnoise.load("digits")


def shown(running, job):
    pictures = [images.open_picture(running.desk.picture(made.name)) for made in job.images]
    return [picture.tobytes() for picture in pictures]


def test_a_job_is_told_of_from_its_beginning_to_the_picture_that_its_recipe_makes_again(running, pipe):
    asked = replace(SEVEN, count=2, show=("x0", "sample"))
    job = running.submit(asked)
    told = running(running.told(job.id))
    names = [event.name for event in told]
    assert names[-5:] == ["step"] * 4 + ["done"]
    assert set(names[:-5]) <= {"queued", "running"}
    steps = [event.seen for event in told if event.name == "step"]
    assert [(seen.index, seen.steps) for seen in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(steps[0].previews) == set(steps[-1].previews) == {"x0", "sample"}
    done = told[-1].job
    assert (done.state, done.step, done.steps, done.attempt, done.place) == ("done", 4, 4, 1, None)
    assert done.created <= done.begun <= done.ended
    wanted = pipe("a seven", seed=7, steps=4, count=2)
    assert shown(running, done) == [picture.tobytes() for picture in wanted.images]
    second = Recipe.from_png(running.desk.picture(done.images[1].name))
    assert second == wanted.recipes[1]
    again = pipe(second.prompt, seed=second.seed, steps=second.steps, scheduler=second.scheduler)
    assert [again.images[0].tobytes()] == shown(running, done)[1:]
    late = running(running.told(job.id))
    assert [event.name for event in late] == ["step"] * 4 + ["done"]
    assert [event.seen for event in late[:-1]] == steps
    assert [event.job.state for event in late] == ["running"] * 4 + ["done"]


def test_who_comes_late_to_a_job_that_runs_is_told_of_its_first_step(running):
    job = running.submit(replace(LONG, show_every=1))
    running(running.told(job.id, lambda event: event.seen and event.seen.index >= 5))
    now, *past, live = running(running.told(job.id, lambda event: event.seen and event.seen.index > 20))
    assert (now.name, live.name) == ("running", "step")
    assert [event.seen.index for event in past[:5]] == [1, 2, 3, 4, 5]
    assert past[0].seen.previews
    indices = [event.seen.index for event in (*past, live)]
    assert indices == sorted(set(indices))
    running.cancel(job.id)
    *steps, end = running(running.told(job.id))
    assert end.name == "cancelled"
    assert steps[: len(past)] == past


def test_jobs_of_a_server_that_was_killed_are_made_by_the_next(running, pipe):
    crashed, again, gone, waiting = (running.ended(str(place) * 20) for place in range(4))
    assert (crashed.state, crashed.problem.code) == ("failed", "crashed")
    assert (again.state, again.attempt) == ("done", 2)
    assert (gone.state, gone.problem.code, gone.problem.field) == ("failed", "bad_input", "model")
    assert "this server has digits, emoji" in gone.problem.message
    assert shown(running, again) == [pipe("a seven", seed=7, steps=4).images[0].tobytes()]
    assert waiting.state == "done"
    assert [path for path in os.listdir(running.desk.settings.folder / "images") if path[0] == "."] == []


def test_jobs_wait_in_line_and_a_full_queue_refuses_more(running):
    before = running.desk.jobs(1)[0].id
    first = running.submit(LONG)
    assert (first.state, first.place) == ("running", None)
    waiting = [running.submit(SEVEN, client="one") for _ in range(2)]
    with pytest.raises(Full, match="2 jobs of yours wait") as told:
        running.submit(SEVEN, client="one")
    assert told.value.retry_after >= 1
    waiting.append(running.submit(SEVEN, client="two"))
    assert [running.desk.job(job.id).place for job in waiting] == [0, 1, 2]
    assert not running.desk.ready
    for client in ("", "three"):
        with pytest.raises(Full, match="the queue is full: 3 jobs wait"):
            running.submit(SEVEN, client=client)
    assert [job.id for job in running.desk.jobs(4)] == [job.id for job in (*waiting[::-1], first)]
    assert running.desk.jobs(1, before=first.id)[0].id == before
    assert running.cancel(waiting[0].id).state == "cancelled"
    assert [running.desk.job(job.id).place for job in waiting[1:]] == [0, 1]
    running.cancel(first.id)
    assert [running.ended(job.id).state for job in waiting] == ["cancelled", "done", "done"]
    assert running.desk.ready


def test_a_hundred_at_once_are_taken_as_far_as_there_are_places(running):
    async def at_once():
        asked = (running.desk.submit(replace(SEVEN, seed=seed), "") for seed in range(100))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = running(at_once())
    taken = [answer for answer in answers if isinstance(answer, Job)]
    assert [job.state for job in taken] == ["running", "queued", "queued", "queued"]
    assert sum(isinstance(answer, Full) for answer in answers) == 96
    assert [running.ended(job.id).images[0].seed for job in taken] == [0, 1, 2, 3]


def test_the_log_tells_of_jobs_and_not_of_prompts(running, caplog):
    with caplog.at_level(logging.INFO, "unnoise.server"):
        job = running.ended(running.submit(replace(SEVEN, prompt="a secret seven")).id)
        assert f"job {job.id} done: 4 steps, 1 x 8x8, " in caplog.text
        assert "secret" not in caplog.text
        plain = running.desk.settings
        running.desk.settings = replace(plain, log_prompts=True)
        running.ended(running.submit(replace(SEVEN, prompt="a secret seven")).id)
        running.desk.settings = plain
    assert "prompt: 'a secret seven'" in caplog.text


def test_with_a_full_disk_no_job_is_taken_and_the_one_that_runs_is_told_of(running):
    resource = pytest.importorskip("resource")
    job = running.submit(replace(SEVEN, steps=30))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(FileError, match="Look at its disk"):
            running.submit(SEVEN)
        assert running.ended(job.id).state == "done"
        assert running.desk.jobs(1)[0].state == "done"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    running.ended(running.submit(SEVEN).id)
    assert running.desk._ledger._store.get(job.id).state == "done"


def test_a_job_that_runs_is_left_at_once_without_a_picture_and_the_next_is_as_ever(running, pipe):
    job, following = running.submit(replace(LONG, count=2)), running.submit(SEVEN)
    running.first_step(job.id)
    worker = running.desk._workshop._keeper.process.pid
    os.kill(worker, signal.SIGINT)  # as Ctrl-C in a terminal, which is for the front to hear
    cancelled = running.cancel(job.id)
    assert (cancelled.state, cancelled.images) == ("cancelled", ())
    assert cancelled.step < 1000
    names = [event.name for event in running(running.told(job.id))]
    assert (names[-1], set(names[:-1])) == ("cancelled", {"step"})
    done = running.ended(following.id)
    assert shown(running, done) == [pipe("a seven", seed=7, steps=4).images[0].tobytes()]
    assert not list((running.desk.settings.folder / "images").glob(f"{job.id}*"))
    assert running.desk._workshop._keeper.process.pid == worker
    assert running.cancel(following.id) == done  # what has ended stays as it is


def test_a_key_that_was_given_before_gives_its_job(running):
    first = running.submit(SEVEN, key="once")
    assert running.submit(SEVEN, key="once").id == first.id
    with pytest.raises(FieldError, match=f"job '{first.id}', and prompt differs") as told:
        running.submit(replace(SEVEN, prompt="an eight"), key="once")
    assert told.value.field == "Idempotency-Key"
    assert running.submit(SEVEN, client="another", key="once").id != first.id
    done = running.ended(first.id)
    assert running.submit(SEVEN, key="once") == done

    async def at_once():
        return await asyncio.gather(
            *(running.desk.submit(replace(SEVEN, scheduler="euler"), "", "twice") for _ in range(2))
        )

    one, other = running(at_once())
    assert one.id == other.id
    left_open = replace(SEVEN, seed=-1)
    assert running.submit(left_open, key="open").id == running.submit(left_open, key="open").id
    running.ended(one.id)


def test_what_only_the_worker_knows_is_refused_at_once(running):
    for field, asked in (
        ("scheduler", replace(SEVEN, scheduler="nonsuch")),
        ("scheduler", replace(SEVEN, scheduler="LCM", compat="k-diffusion")),
        ("model", replace(SEVEN, model="gone")),
        ("prompt", replace(SEVEN, prompt="a <lora:ink:1>")),
    ):
        with pytest.raises(FieldError) as told:
            running.submit(asked)
        assert told.value.field == field
    with pytest.raises(InputError, match="'the picture' is not a PNG"):
        running(running.desk.read(b"no picture"))
    assert {"DDIM", "UniPC"} < set(running.desk.schedulers)
    assert "Karras" in running.desk.grids


def test_a_seed_that_was_left_open_is_told_and_kept(running):
    seeds = {running.submit(replace(SEVEN, seed=seed, steps=1)).asked.seed for seed in (None, -1)}
    assert len(seeds) == 2
    for job in running.desk.jobs(2):
        assert running.ended(job.id).images[0].seed in seeds


def test_a_picture_is_read_back_as_fields(running):
    done = running.ended(running.submit(replace(SEVEN, negative="an eight")).id)
    file = running.desk.picture(done.images[0].name).read_bytes()
    fields, notes = running(running.desk.read(file))
    assert notes == ()
    asked = Asked.read(fields, running.desk.settings.limits, running.desk.cards)
    assert (asked.prompt, asked.negative, asked.seed, asked.model) == ("a seven", "an eight", 7, "digits")


def test_what_has_ended_can_be_forgotten_and_nothing_else(running):
    job = running.submit(SEVEN)
    with pytest.raises(InputError, match="has not ended"):
        running.desk.forget(job.id)
    made = running.ended(job.id).images[0]
    path = running.desk.picture(made.name)
    assert stat.S_ISREG(path.stat().st_mode)
    running.desk.forget(job.id)
    assert not path.exists()
    for ask in (
        lambda: running.desk.job(job.id),
        lambda: running.desk.forget(job.id),
        lambda: running.desk.events(job.id),
        lambda: running.desk.jobs(before=job.id),
        lambda: running.desk.picture(made.name),
        lambda: running.cancel(job.id),
    ):
        with pytest.raises(Unknown):
            ask()


@pytest.mark.parametrize(
    "name",
    [
        "../jobs.sqlite",
        "/etc/passwd",
        "..\\jobs.sqlite",
        "",
        "\0",
        "CON",
        "a" * 300,
        f"{'1' * 20}-0.png/.",
        "A-0.png",
    ],
    ids=lambda name: repr(name)[:20],
)
def test_no_name_leads_out_of_the_folder(running, name):
    with pytest.raises(Unknown):
        running.desk.picture(name)
    with pytest.raises(Unknown):
        running.desk.job(name)


def test_a_reader_that_is_slow_misses_steps_and_never_the_end(running):
    async def slow():
        job = await running.desk.submit(replace(SEVEN, steps=60, show_every=0), "")
        told = []
        async for event in running.desk.events(job.id):
            told.append(event)
            if len(told) == 1:
                while not running.desk.job(job.id).over:
                    await asyncio.sleep(0.02)
        return told

    told = running(slow())
    steps = [event.seen.index for event in told if event.name == "step"]
    assert steps == sorted(steps)
    assert 1 <= len(steps) < 60
    assert steps[-1] == 60
    assert told[-1].name == "done"


def kill_at_first_step(running, id):
    running.first_step(id)
    pid = running.desk._workshop._keeper.process.pid
    os.kill(pid, signal.SIGKILL)
    return pid


def state_of(pid):
    """Of a process on Linux: "S" sleeping, "R" running, "Z" a zombie, "" not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_job_that_takes_a_worker_with_it_is_made_again_once(running, pipe):
    poison = running.submit(LONG)
    unlucky = running.submit(replace(SEVEN, steps=40, show_every=0))
    dead = [kill_at_first_step(running, poison.id)]
    assert running(running.told(poison.id, lambda event: event.name == "queued"))[-1].job.attempt == 1
    dead.append(kill_at_first_step(running, poison.id))
    failed = running.ended(poison.id)
    assert (failed.state, failed.problem.code, failed.attempt) == ("failed", "crashed", 2)
    dead.append(kill_at_first_step(running, unlucky.id))
    done = running.ended(unlucky.id)
    *steps, _ = running(running.told(unlucky.id))
    assert [event.seen.index for event in steps] == list(range(1, 41))  # of the second attempt alone
    assert {event.job.attempt for event in steps} == {2}
    assert (done.state, done.attempt) == ("done", 2)
    assert shown(running, done) == [pipe("a seven", seed=7, steps=40).images[0].tobytes()]
    assert [state_of(pid) for pid in dead] == ["", "", ""]  # no zombies


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process")
def test_a_worker_that_does_not_leave_a_cancelled_job_is_replaced(running, monkeypatch):
    monkeypatch.setattr(desks, "_GRACE", 0.01)
    stuck, following = running.submit(LONG), running.submit(SEVEN)
    running.first_step(stuck.id)
    os.kill(running.desk._workshop._keeper.process.pid, signal.SIGSTOP)
    assert running.cancel(stuck.id).state == "cancelled"
    assert running.ended(following.id).state == "done"


def test_a_server_that_ends_finishes_what_runs_and_keeps_what_waits(tmp_path):
    desk = Desk(Settings(models=("digits",), folder=tmp_path))
    assert not desk.ready

    async def go():
        await desk.start()
        with pytest.raises(Loading):
            await desk.submit(SEVEN, "")
        await desk.loaded()
        running, waiting = [await desk.submit(replace(SEVEN, steps=30), "") for _ in range(2)]
        news = asyncio.ensure_future(anext(desk.events(waiting.id)))
        stopping = asyncio.ensure_future(desk.stop(60))
        await asyncio.sleep(0)
        assert not desk.ready
        with pytest.raises(Closing):
            await desk.submit(SEVEN, "")
        await stopping
        await news
        return running.id, waiting.id

    ran, waits = asyncio.run(go())
    store = Store(tmp_path / "jobs.sqlite")
    assert (store.get(ran).state, store.get(waits).state) == ("done", "queued")
    assert (tmp_path / "images" / f"{ran}-0.png").is_file()
    store.close()


def test_of_those_that_have_ended_the_latest_are_kept_with_their_pictures(tmp_path):
    ids = [str(place) * 20 for place in range(7)]
    store = Store(tmp_path / "jobs.sqlite")
    for id in ids[:5]:
        store.add(Job(id, SEVEN, "done", images=(Made(f"{id}-0.png", {}, 7, 8, 8),)), "", None)
    for id in ids[5:]:
        store.add(Job(id, SEVEN), "", None)
    store.close()
    images = tmp_path / "images"
    images.mkdir()
    for id in ids[:5]:
        (images / f"{id}-0.png").touch()

    async def left(keep, ends):
        """Jobs and pictures that are there when these jobs have ended."""
        desk = Desk(Settings(models=("digits",), folder=tmp_path, keep=keep))
        await desk.start()
        for id in ends:
            desk.cancel(id)
        found = [job.id for job in desk.jobs()][::-1], sorted(os.listdir(images))
        await desk.stop(0)
        return found

    assert asyncio.run(left(3, [])) == (ids[2:], [f"{id}-0.png" for id in ids[2:5]])
    assert asyncio.run(left(3, ids[6:])) == (ids[3:], [f"{id}-0.png" for id in ids[3:5]])
    assert asyncio.run(left(1, ids[5:6])) == (ids[5:6], [])  # the last to end, though another is younger


def test_a_picture_that_cannot_be_removed_keeps_no_other_from_going(tmp_path):
    ids = [str(place) * 20 for place in range(4)]
    store = Store(tmp_path / "jobs.sqlite")
    for id in ids:
        store.add(Job(id, SEVEN, "done", images=(Made(f"{id}-0.png", {}, 7, 8, 8),)), "", None)
    store.close()
    (tmp_path / "images" / f"{ids[0]}-0.png").mkdir(parents=True)
    for id in ids[1:]:
        (tmp_path / "images" / f"{id}-0.png").touch()

    async def go():
        desk = Desk(Settings(models=("digits",), folder=tmp_path, keep=1))
        await desk.start()
        await desk.stop(0)

    asyncio.run(go())
    assert sorted(os.listdir(tmp_path / "images")) == [f"{ids[0]}-0.png", f"{ids[3]}-0.png"]


async def heard(desk, id, after):
    """What is told of a job to who heard it up to there."""
    return [event async for event in desk.events(id, after)]


def indices(told):
    return [event.seen.index for event in told if event.seen]


def test_a_job_that_begins_anew_for_want_of_memory_is_told_as_another_run(tmp_path, monkeypatch):
    """By when it was begun; who comes late, or was cut off in the first run, hears the steps of the second alone."""

    class Short:
        """A worker whose memory suffices for one picture at a time."""

        cards, schedulers, grids, open = (CARD,), {}, (), True

        def __init__(self, settings, heard, lost):
            self.heard, self.loop = heard, asyncio.get_running_loop()

        def start(self):
            self.heard(Known(self.cards, {}, ()))

        def send(self, message):
            for steps in (3, 4):
                self.loop.call_soon(self.heard, Begun(steps, ()))
                for index in range(1, steps + 1):
                    self.loop.call_soon(self.heard, Seen(index, steps, 1.0, 1.0, 0.0, 0.1))
            self.loop.call_soon(self.heard, Ended(message.id, problem=Problem("out_of_memory", "")))

        async def stop(self):
            pass

    monkeypatch.setattr(desks, "Workshop", Short)

    async def go():
        desk = Desk(Settings(models=("digits",), folder=tmp_path))
        await desk.start()
        job = await desk.submit(SEVEN, "")
        told = [await heard(desk, job.id, after) for after in ((0, 0), (0, 0), (1, 9), (1, 2))]
        await desk.stop(0)
        return told

    live, *late = asyncio.run(go())
    assert [indices(told) for told in late] == [[1, 2, 3, 4], [1, 2, 3, 4], [3, 4]]
    assert indices(live) == [1, 2, 3, 1, 2, 3, 4]
    *_, third, anew, first, _, _, _, _ = live
    assert (third.seen.index, first.seen.index) == (3, 1)
    assert (anew.name, anew.job.step, anew.job.steps) == ("running", 0, 4)
    assert third.job.begun < anew.job.begun == first.job.begun


def test_a_model_that_cannot_be_served_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no model 'nonsuch'"):
        asyncio.run(Desk(Settings(models=("digits", "nonsuch"), folder=tmp_path)).start())
    assert not os.listdir(tmp_path)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(bytes(100))
    desk = Desk(Settings(models=("digits", str(damaged)), folder=tmp_path))

    async def go():
        await desk.start()
        with pytest.raises(UnnoiseError, match=r"damaged\.safetensors"):
            await desk.loaded()
        await desk.stop(0)

    asyncio.run(go())


FRONT = """
import asyncio, sys, time
from pathlib import Path
from unnoise.server import Desk, Settings

async def go():
    desk = Desk(Settings(models=("digits",), folder=Path(sys.argv[1])))
    await desk.start()
    print(desk._workshop._keeper.process.pid, "torch" in sys.modules, flush=True)
    time.sleep(100)

if __name__ == "__main__":
    asyncio.run(go())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_worker_ends_with_the_front_which_never_imports_torch(tmp_path):
    script = tmp_path / "front.py"
    script.write_text(FRONT)
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "served"], stdout=subprocess.PIPE, text=True
    ) as front:
        pid, torch = front.stdout.readline().split()
        assert torch == "False"
        assert state_of(pid)
        front.kill()
    deadline = time.monotonic() + 60
    while state_of(pid) not in ("", "Z"):  # in a container nobody may be there to bury it
        assert time.monotonic() < deadline
        time.sleep(0.05)
