"""Our API over HTTP, as a server started by `unnoise serve -m digits` answers it."""

import asyncio
import base64
import io
import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import unnoise
from served import Served
from unnoise.schedulers import names
from unnoise.server import events


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served") / "out") as server:
        yield server.ready()


@pytest.fixture(scope="module")
def made(served):
    """A job that is done."""
    return served.ended(served.submit(prompt="a seven", steps=6, seed=7, count=2)["id"])


def heard(served, id):
    """(name, data) of every event of a job, until the server closes the stream."""
    status, headers, content = served.ask("GET", f"/api/jobs/{id}/events")
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert headers["cache-control"] == "no-store"
    blocks = [block.split("\n") for block in content.decode().strip().split("\n\n")]
    told = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [(block["event"], json.loads(block["data"])) for block in told if "event" in block]


def test_the_line_that_it_prints_is_where_it_answers(served):
    assert served.line == f"unnoise serves digits at {served.url} (Ctrl-C ends)\n"
    assert served.ask("GET", "/healthz")[::2] == (200, {"alive": True})
    assert served.ask("HEAD", "/healthz")[::2] == (200, b"")
    assert served.ask("GET", "/readyz")[::2] == (200, {"ready": True})


def test_a_job_gives_the_pictures_that_python_gives(served, made):
    assert made["state"] == "done"
    assert made["asked"]["prompt"] == "a seven"
    assert (made["step"], made["steps"], made["error"], made["place"]) == (6, 6, None, None)
    assert made["created"] <= made["begun"] <= made["ended"]
    alike = unnoise.load("digits")("a seven", steps=6, seed=7, count=2).images
    for place, (told, picture) in enumerate(zip(made["images"], alike, strict=True)):
        status, headers, content = served.ask("GET", told["url"])
        assert (status, headers["content-type"]) == (200, "image/png")
        assert told["name"] == f"{made['id']}-{place}.png"
        assert told["name"] in headers["content-disposition"]
        found = Image.open(io.BytesIO(content))
        assert found.size == (told["width"], told["height"]) == picture.size
        # the batch of two may be computed in another order on more threads
        difference = np.asarray(found, dtype=int) - np.asarray(picture, dtype=int)
        assert np.abs(difference).max() <= 1
        assert told["seed"] == told["recipe"]["seed"] == 7 + place
        assert served.ask("HEAD", told["url"])[::2] == (200, b"")


def test_events_tell_every_step_with_its_pictures(served):
    served.submit(prompt="a one", steps=300, show_every=0)  # so that the next one is heard before it begins
    id = served.submit(prompt="a two", steps=5, show=["x0", "sample", "noise"])["id"]
    told = heard(served, id)
    names = [name for name, _ in told]
    assert names[0] in ("queued", "running")
    assert names[-1] == "done"
    steps = [data["seen"] for name, data in told if name == "step"]
    assert [seen["index"] for seen in steps] == [1, 2, 3, 4, 5]
    assert {what for seen in steps for what in seen["previews"]} == {"x0", "sample", "noise"}
    for seen in steps:
        for address in seen["previews"].values():
            head, _, content = address.partition(",")
            assert head == "data:image/png;base64"
            assert Image.open(io.BytesIO(base64.b64decode(content))).size == (8, 8)
    assert all(data["job"]["id"] == id for _, data in told)
    assert told[-1][1]["job"]["images"]
    # one who asks later hears the same
    assert heard(served, id) == [(name, data) for name, data in told if name in ("step", "done")]
    assert served.ask("HEAD", f"/api/jobs/{id}/events")[::2] == (200, b"")


def test_who_was_cut_off_is_told_what_came_after_the_last_event_that_it_had(served):
    id = served.submit(prompt="a two", steps=5)["id"]
    heard(served, id)

    def told(last):
        content = served.ask("GET", f"/api/jobs/{id}/events", headers={"Last-Event-ID": last})[2].decode()
        return re.findall("^id: (.*)", content, re.MULTILINE), re.findall(
            "^event: (.*)", content, re.MULTILINE
        )

    ids, _ = told("")
    assert ids == ["1-1", "1-2", "1-3", "1-4", "1-5"]
    assert told(ids[2]) == (["1-4", "1-5"], ["step", "step", "done"])
    assert told(ids[-1]) == ([], ["done"])
    for last in (
        "0-4",
        "1",
        "nonsense",
        "1-" + "9" * 5000,
        "\xb2-3",
    ):  # of an attempt that crashed, and not ours
        assert told(last)[0] == ids


def test_a_silent_stream_is_kept_open_by_comments():
    async def slow():
        yield "a"
        await asyncio.sleep(0.05)
        yield "b"

    async def collect():
        return [event async for event in events.heard(slow(), 0.01)]

    found = asyncio.run(collect())
    assert [event for event in found if event] == ["a", "b"]
    assert None in found[1:-1]


def test_a_stream_that_is_left_lets_its_source_go():
    left = []

    async def endless():
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            left.append(True)

    async def leave():
        stream = events.heard(endless(), 5)
        assert await anext(stream) == "a"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave())
    assert left


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ("", None, "not JSON"),
        ("prompt=a", None, "not JSON"),
        ("[1]", None, "no object"),
        (b"\xff\xfe", None, "not JSON"),
        ('{"guidance": NaN}', None, "NaN is no number"),
        ('{"guidance": 1e999}', "guidance", "number from"),
        ('{"steps": ' + "9" * 5000 + "}", None, "5,000 digits, and 4,000 are read"),
        ('{"prompt": "é"}'.encode("latin-1"), None, "some of its bytes are not UTF-8"),
        (DEEP, None, "not JSON"),
        ('{"prompt": ' + "[" * 300 + "]" * 300 + "}", "prompt", "a text"),
        ('{"steps": 0}', "steps", "1 to 1,000"),
        ('{"steps": 1.5}', "steps", "whole number"),
        ('{"count": 0}', "count", "1 to 16"),
        ('{"width": 4096}', "width", "to 2,048"),
        ('{"stesp": 5}', "stesp", "did you mean 'steps'"),
        ('{"model": "../digits"}', "model", "this server has digits"),
        ('{"init": "https://evil.example/a.png"}', "init", "base64"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_field(served, body, field, said):
    status, _, told = served.ask("POST", "/api/jobs", headers={"Content-Type": "application/json"}, body=body)
    assert status == 400
    assert told["error"]["code"] == "bad_input"
    assert told["error"]["field"] == field
    assert said in told["error"]["message"]


def test_half_a_letter_in_a_prompt_is_no_fault(served):
    job = served.submit(prompt="a \ud800 seven\0\u202e", steps=1)
    assert served.ended(job["id"])["asked"]["prompt"] == "a \ud800 seven\0\u202e"


@pytest.mark.parametrize("size", [1_000_001, 12_000_001])
def test_a_body_too_long_is_told_to_clients_that_send_first_and_listen_then(served, size):
    body = b'{"prompt": "' + b"a" * (size - 14) + b'"}'
    assert len(body) == size
    headers = {"Content-Type": "application/json"}
    status, _, told = served.ask("POST", "/api/jobs", headers=headers, body=body)
    assert (status, told["error"]["code"]) == (413, "too_large")
    parts = (body[place : place + 100_000] for place in range(0, size, 100_000))
    status, _, told = served.ask("POST", "/api/jobs", headers=headers, body=parts)  # without a Content-Length
    assert (status, told["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/api/jobs/", 404),
        ("GET", "/api/jobs/nobody", 404),
        ("DELETE", "/api/jobs/nobody", 404),
        ("GET", "/api/jobs/nobody/events", 404),
        ("GET", "/api/jobs?before=nobody", 404),
        ("GET", "/api/jobs?limit=0", 400),
        ("GET", "/api/jobs?limit=-1", 400),
        ("GET", "/api/jobs?limit=%C2%B2", 400),
        ("DELETE", "/api/jobs", 405),
        ("GET", "/api/read", 405),
        ("PUT", "/api/jobs", 405),
        ("TRACE", "/api/jobs", 405),
    ],
)
def test_addresses_of_nothing(served, method, path, status):
    found, headers, told = served.ask(method, path)
    assert found == status
    assert told["error"]["message"]
    assert headers["x-content-type-options"] == "nosniff"
    assert ("allow" in headers) == (status == 405)


def test_one_key_gives_one_job(served):
    key = {"Idempotency-Key": "once"}
    first, second = (
        served.ask("POST", "/api/jobs", {"prompt": "a one", "steps": 1}, key)[2] for _ in range(2)
    )
    assert first["id"] == second["id"]
    for wrong in ("", "a" * 201, "\xe4"):
        assert served.ask("POST", "/api/jobs", {"prompt": "a one"}, {"Idempotency-Key": wrong})[0] == 400


def test_jobs_are_listed_newest_first_and_page_by_page(served):
    ids = [served.submit(prompt="a one", steps=1)["id"] for _ in range(3)][::-1]
    assert [job["id"] for job in served.ask("GET", "/api/jobs?limit=3")[2]["jobs"]] == ids
    assert [job["id"] for job in served.ask("GET", f"/api/jobs?limit=1&before={ids[1]}")[2]["jobs"]] == ids[
        2:
    ]


def test_a_job_that_has_ended_is_forgotten_with_its_pictures(served):
    job = served.ended(served.submit(prompt="a three", steps=1)["id"])
    url = job["images"][0]["url"]
    status, _, told = served.ask("DELETE", f"/api/jobs/{job['id']}")
    assert (status, told["forgotten"], told["id"]) == (200, True, job["id"])
    assert served.ask("GET", f"/api/jobs/{job['id']}")[0] == 404
    assert served.ask("GET", url)[0] == 404
    assert not list(served.folder.rglob(f"{job['id']}*"))


def test_a_picture_that_somebody_removed_is_told(served):
    job = served.ended(served.submit(prompt="a three", steps=1)["id"])
    for file in served.folder.rglob(f"{job['id']}*"):
        file.unlink()
    assert served.ask("GET", job["images"][0]["url"])[0] == 404


def test_what_a_picture_says_of_itself_makes_it_again(served, made):
    content = served.ask("GET", made["images"][1]["url"])[2]
    status, _, told = served.ask("POST", "/api/read", {"image": base64.b64encode(content).decode()})
    assert status == 200
    assert (told["asked"]["prompt"], told["asked"]["seed"], told["asked"]["steps"]) == ("a seven", 8, 6)
    again = served.ended(served.submit(**told["asked"])["id"])
    found = served.ask("GET", again["images"][0]["url"])[2]
    pixels = [np.asarray(Image.open(io.BytesIO(file)), dtype=int) for file in (content, found)]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1  # made in a batch of two there, and alone here
    for wrong in ({}, {"image": 5}, {"image": "!"}, {"image": "aGVsbG8="}):
        assert served.ask("POST", "/api/read", wrong)[0] == 400


def test_models_and_schedulers_are_told(served):
    told = served.ask("GET", "/api/models")[2]
    assert [(card["name"], card["width"]) for card in told["models"]] == [("digits", 8)]
    assert told["limits"]["steps"] == 1000
    told = served.ask("GET", "/api/schedulers")[2]
    assert [row["name"] for row in told["schedulers"]] == [row.name for row in names.table()]
    assert {row["calls"] for row in told["schedulers"]} >= {1, 2}
    assert told["grids"] == list(names.grid_names())
    assert told["compat"] == list(names.PROGRAMS)


def test_the_page_is_served_from_a_fixed_list(served):
    status, headers, content = served.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>" in content
    assert headers["cache-control"] == "no-cache"
    folder = Path(unnoise.__file__).parent / "server" / "page"
    for file in folder.iterdir():
        if file.name != "index.html":
            status, headers, content = served.ask("GET", f"/page/{file.name}")
            assert (status, content) == (200, file.read_bytes()), file.name
    for path in (
        "/page/",
        "/page/index.html",
        "/page/../guard.py",
        "/page/%2e%2e/guard.py",
        "/page/%2e%2e%2fguard.py",
    ):
        assert served.ask("GET", path)[0] == 404


def test_no_other_site_is_let_in(served):
    before = len(served.ask("GET", "/api/jobs")[2]["jobs"])
    for headers in ({"Origin": "null"}, {"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        assert served.ask("POST", "/api/jobs", {"prompt": "a one"}, headers)[0] == 403
    assert served.ask("POST", "/api/jobs", {"prompt": "a one"}, {"Content-Type": "text/plain"})[0] == 415
    assert served.ask("OPTIONS", "/api/jobs", headers={"Origin": served.url})[0] == 403
    assert len(served.ask("GET", "/api/jobs")[2]["jobs"]) == before
    assert served.ask("POST", "/api/jobs", {"prompt": "a one", "steps": 1}, {"Origin": served.url})[0] == 202


def raw(served, text):
    """The first line of what is answered to these bytes."""
    place = urlsplit(served.url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as line:
        line.sendall(text)
        return line.recv(65_536).split(b"\r\n")[0]


def test_requests_that_no_client_writes(served):
    assert b" 400 " in raw(served, b"nonsense\r\n\r\n")
    assert b" 400 " in raw(served, b"GET /healthz HTTP/1.1\r\n\r\n")  # no Host
    assert b" 400 " in raw(served, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b" 403 " in raw(served, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 400 " in raw(served, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000)
    assert b" 404 " in raw(served, b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert b" 200 " in raw(served, upgrade)  # there is none: answered as if it had not asked


def test_the_front_computes_nothing(served, made):
    maps = Path(f"/proc/{served.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not tell what a process has loaded")
    assert "_sqlite3" in maps.read_text()
    assert "libtorch" not in maps.read_text()
