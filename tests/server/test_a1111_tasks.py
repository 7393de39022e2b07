"""Whose progress it is, and how far: what clients of A1111's API are told of their jobs."""

import asyncio
import base64
import io
import json
import threading
from dataclasses import replace

from PIL import Image

from unnoise import images
from unnoise.server import Card, Settings, Unknown
from unnoise.server.a1111 import answers, routes, tasks, unheeded
from unnoise.server.a1111.tasks import Task, Tasks
from unnoise.server.a1111.wanted import wanted
from unnoise.server.asked import Asked
from unnoise.server.job import Event, Job, Made, Seen
from unnoise.server.limits import Limits
from unnoise.server.pictures import base64_of

QUEUED = Job("a" * 20, Asked(), place=2, created=100.0)
RUNNING = replace(QUEUED, state="running", place=None, begun=101.0, step=5, steps=20)


def opened(shown):
    return Image.open(io.BytesIO(base64.b64decode(shown)))


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
    content = (tmp_path / "a.png").read_bytes()
    told = asyncio.run(answers.of_jobs([done], [content], wanted({}, Limits(), ()), {}))
    assert json.loads(told["info"])["infotexts"] == ["a cat\nSteps: 4"]
    assert threads
    assert threading.main_thread() not in threads


def test_the_oldest_tasks_are_forgotten():
    known = Tasks()
    for number in range(300):
        known.add(Task(f"task {number}", "here", replace(QUEUED, id=f"{number:020}")))
    assert known.named("task 0") is None
    assert known.named("task 299") is not None


CARD = Card("digits", "unnoise", "", "text", 1, 8, 8, 20, 1.5, "DDIM", True)


class BusyDesk:
    """Makes each job at once, keeps the pictures of the last alone, and does something while it takes the second."""

    settings = Settings(models=("digits",), limits=Limits())
    cards = (CARD,)

    def __init__(self, folder, meanwhile):
        self.folder, self.meanwhile, self.jobs = folder, meanwhile, []

    async def shaped(self, asked, how):
        return asked

    async def submit(self, asked, client, key=None):
        place = len(self.jobs)
        if place == 1:
            await self.meanwhile()
        made = Made(f"{place}.png", {}, asked.seed, 8, 8)
        images.write_png(self.folder / made.name, Image.new("L", (8, 8), place), {"parameters": str(place)})
        self.jobs.append(Job(f"{place}", asked, "queued", images=(made,)))
        return replace(self.jobs[-1], images=())

    def cancel(self, id):
        self.jobs[int(id)] = replace(self.jobs[int(id)], state="cancelled", images=())

    async def events(self, id):
        job = self.jobs[int(id)]
        if job.state == "queued":
            job = self.jobs[int(id)] = replace(job, state="done")
        yield Event(job.state, job)

    def picture(self, name):
        if name not in [made.name for made in self.jobs[-1].images]:
            raise Unknown(name)
        return self.folder / name


async def ask(desk_routes, path, **fields):
    """What is answered."""
    coming, sent = [{"type": "http.request", "body": json.dumps(fields).encode()}], []

    async def receive():
        return coming.pop() if coming else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    (route,) = [one for one in desk_routes if (one.path, one.methods) == (f"/sdapi/v1/{path}", {"POST"})]
    scope = {"type": "http", "method": "POST", "path": route.path, "query_string": b"", "headers": []}
    await route.app(scope | {"client": ("127.0.0.1", 1)}, receive, send)
    return json.loads(sent[1]["body"])


THREE = [base64_of(images.png_bytes(Image.new("L", (8, 8), shade))) for shade in (0, 90, 180)]


def three_pictures(folder, meanwhile):
    """The answer to a request for three pictures. meanwhile: path that is asked for while the second is submitted."""

    async def go():
        desk = BusyDesk(folder, lambda: ask(served, meanwhile))
        served = routes(desk)
        return await ask(served, "img2img", init_images=THREE, batch_size=3, prompt="a two")

    return asyncio.run(go())


def test_the_pictures_of_each_job_are_in_the_answer_though_later_ones_take_their_place(tmp_path):
    told = three_pictures(tmp_path, "refresh-checkpoints")
    assert [opened(shown).getpixel((0, 0)) for shown in told["images"]] == [0, 1, 2]
    assert json.loads(told["info"])["infotexts"] == ["0", "1", "2"]


def test_an_interrupt_between_two_jobs_is_heard(tmp_path):
    told = three_pictures(tmp_path, "interrupt")
    assert [opened(shown).getpixel((0, 0)) for shown in told["images"]] == [0]
    assert json.loads(told["info"])["interrupted"]


def test_what_is_asked_is_read_in_a_thread_of_its_own(tmp_path, monkeypatch):
    """An infotext may take long to read, and others wait for the event loop."""
    threads = []
    monkeypatch.setattr(unheeded, "check", lambda told: threads.append(threading.current_thread()))
    three_pictures(tmp_path, "skip")
    assert threads
    assert threading.main_thread() not in threads
