"""Whose progress it is, and how far: what clients of A1111's API are told of their jobs."""

import asyncio
import json
import threading
from dataclasses import replace
from types import SimpleNamespace

from PIL import Image

from unnoise import images
from unnoise.server.a1111 import answers, tasks
from unnoise.server.a1111.tasks import Task, Tasks
from unnoise.server.a1111.wanted import wanted
from unnoise.server.asked import Asked
from unnoise.server.job import Event, Job, Made, Seen
from unnoise.server.limits import Limits

QUEUED = Job("a" * 20, Asked(), place=2, created=100.0)
RUNNING = replace(QUEUED, state="running", place=None, begun=101.0, step=5, steps=20)


def seen(index, **previews):
    return Seen(index, 20, 1.0, 1.0, 0.0, 0.5 * index, previews)


def test_a_job_that_waits_says_how_many_are_before_it():
    task = Task("mine", "here", QUEUED)
    told = tasks.of_task(task, -1)
    assert (told["active"], told["queued"], told["completed"]) == (False, True, False)
    assert (told["progress"], told["eta"], told["live_preview"]) == (0.0, None, None)
    assert told["textinfo"] == "Queued: 2 before it"
    own = tasks.of_client(task, True)
    assert (own["progress"], own["state"]["job_count"]) == (0.0, 1)


def test_a_job_that_runs_says_how_far_it_is_and_shows_each_picture_once():
    task = Task("mine", "here", QUEUED)
    task.see(Event("step", RUNNING, seen(5, x0=b"one")))
    told = tasks.of_task(task, -1)
    # a quarter, and the hundredth by which something that runs is told from something that does not
    assert told["progress"] == 0.26
    assert told["eta"] == 7.5  # fifteen steps at half a second
    assert told["live_preview"] == "data:image/png;base64,b25l"
    assert tasks.of_task(task, told["id_live_preview"])["live_preview"] is None
    task.see(Event("step", replace(RUNNING, step=6), seen(6)))
    assert tasks.of_task(task, told["id_live_preview"])["live_preview"] is None
    task.see(Event("step", replace(RUNNING, step=7), seen(7, x0=b"two")))
    assert tasks.of_task(task, told["id_live_preview"])["live_preview"] is not None
    assert tasks.of_client(task, False)["current_image"] is None
    assert tasks.of_client(task, True)["current_image"] == "dHdv"
    task.see(Event("done", replace(RUNNING, state="done", step=20)))
    ended = tasks.of_task(task, -1)
    assert (ended["completed"], ended["progress"], ended["live_preview"]) == (True, 1.0, None)


def test_a_client_has_its_own_task_the_running_one_first():
    known = Tasks()
    waits, runs = Task("a", "here", QUEUED), Task("b", "here", replace(RUNNING, id="b" * 20))
    other = Task("c", "there", replace(RUNNING, id="c" * 20))
    for task in (waits, runs, other):
        known.add(task)
    assert known.of("here") is runs
    assert known.of("there") is other
    assert known.of("elsewhere") is None
    known.drop(runs)
    assert known.of("here") is waits
    assert (known.named("c"), known.named("b"), known.named("")) == (other, None, None)


def test_a_task_of_several_jobs_goes_on_from_one_to_the_next():
    task = Task("mine", "here", replace(RUNNING, step=10), parts=2)
    task.see(Event("step", task.job, seen(10)))
    assert (task.progress, task.eta) == ((0.5 + 0.01) / 2, 15.0)  # thirty more steps at half a second
    task.see(Event("done", replace(RUNNING, state="done", step=20)))
    assert (task.over, task.progress) == (False, 0.5)
    task.go_on(replace(QUEUED, id="b" * 20))
    told = tasks.of_client(task, True)
    assert (told["progress"], told["state"]["job_no"], told["state"]["job_count"]) == (0.5, 1, 2)
    task.see(Event("done", replace(task.job, state="done")))
    assert (task.over, task.progress) == (True, 1.0)


def test_pictures_are_read_in_a_thread_of_their_own(tmp_path, monkeypatch):
    """Their text may take long to find, and others wait for the event loop."""
    images.write_png(tmp_path / "a.png", Image.new("L", (8, 8)), {"parameters": "a cat\nSteps: 4"})
    threads, plain = [], images.read_text
    monkeypatch.setattr(
        images, "read_text", lambda *given: threads.append(threading.current_thread()) or plain(*given)
    )
    done = replace(RUNNING, state="done", images=(Made("a.png", {}, 7, 8, 8),))
    told = asyncio.run(
        answers.of_jobs(SimpleNamespace(picture=tmp_path.joinpath), [done], wanted({}, Limits(), ()), {})
    )
    assert json.loads(told["info"])["infotexts"] == ["a cat\nSteps: 4"]
    assert threads
    assert threading.main_thread() not in threads


def test_the_oldest_tasks_are_forgotten():
    known = Tasks()
    for number in range(300):
        known.add(Task(f"task {number}", "here", replace(QUEUED, id=f"{number:020}")))
    assert known.named("task 0") is None
    assert known.named("task 299") is not None
