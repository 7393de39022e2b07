"""Faults that a server meets: `unnoise serve` in a process of its own, hostile names, full queues, signals, kills.

The numbers are those of the table of faults that the design keeps.
"""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from served import Served

LONG = {"prompt": "a seven", "steps": 1000, "count": 16}
"""A job that no test waits for."""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(
        tmp_path_factory.mktemp("served") / "out", "--queue", "4", "--allow-host", "paint.example"
    ) as server:
        yield server.ready()


def pictures(served, job):
    return [served.ask("GET", made["url"])[2] for made in job["images"]]


def tree(folder):
    return {
        path.relative_to(folder): path.lstat().st_size
        for path in folder.rglob("*")
        if "sqlite" not in path.name
    }


NAMES = [
    "../../secret.png",
    "..",
    "/etc/passwd",
    "....//secret.png",
    "..\\secret.png",
    "C:\\secret.png",
    "//server/share/secret.png",
    "CON",
    "NUL.png",
    "secret.png\0.png",
    "a\0",
    "link.png",
    "jobs.sqlite",
    ".",
    "~root",
    "%2e%2e%2fsecret.png",
    "a" * 300,
    "\u202egnp.a",
    "-rf",
    "$(id)",
]


@pytest.mark.parametrize("name", NAMES)
def test_12_no_name_leads_out_of_the_folder(served, name):
    outside = served.folder.parent / "secret.png"
    outside.write_bytes(b"\x89PNG\r\n\x1a\n a secret")
    (served.folder / "images").mkdir(exist_ok=True)
    link = served.folder / "images" / "link.png"
    if not link.is_symlink():
        link.symlink_to(outside)
    before = tree(served.folder.parent)
    for place in ("/api/images/", "/api/jobs/", "/page/"):
        for written in (quote(name, safe=""), quote(name)):
            for method in ("GET", "DELETE"):
                status, _, content = served.ask(method, place + written)
                assert status in (400, 404, 405), (method, place + written)
                assert "a secret" not in str(content)
    for field in ("model", "scheduler", "compat", "init", "mask", "prompt_style"):
        status, _, told = served.ask("POST", "/api/jobs", {"prompt": "a one", field: name})
        assert status == 400
        assert told["error"]["field"] == field
    prompt = {"prompt": f"a one <lora:{name}:1>"}
    assert served.ask("POST", "/api/jobs", prompt)[0] in (400, 202)  # a name may make it no tag, but words
    assert tree(served.folder.parent).keys() >= before.keys()
    added = tree(served.folder.parent).keys() - before.keys()
    assert all(path.parent.name == "images" and path.suffix == ".png" for path in added)


@settings(max_examples=40)
@given(st.text(alphabet="./\\:%~\0\u202eCONa*?\n $", min_size=1, max_size=300))
def test_12_no_made_up_name_does(served, name):
    outside = served.folder.parent / "secret.png"
    outside.write_bytes(b"\x89PNG\r\n\x1a\n a secret")
    before = tree(served.folder.parent)
    for place in ("/api/images/", "/api/jobs/", "/page/"):
        status, _, content = served.ask("GET", place + quote(name, safe=""))
        assert status in (400, 404)
        assert "a secret" not in str(content)
    status, _, told = served.ask("POST", "/api/jobs", {"prompt": "a one", "model": name})
    assert (status, told["error"]["field"]) == (400, "model")
    assert {path for path in tree(served.folder.parent) if path.parent.name != "images"} == {
        path for path in before if path.parent.name != "images"
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 looks there")
def test_the_worker_imports_nothing_of_the_folder_that_one_stands_in(tmp_path):
    """As the command `unnoise` does not either, begun by a script that stands elsewhere."""
    (tmp_path / "bin").mkdir()
    start = tmp_path / "bin" / "unnoise"
    start.write_text(
        "import sys\nfrom unnoise.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    for name in ("random", "types", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    with Served(tmp_path / "out", where=tmp_path, start=[start]) as server:
        server.ready()
        assert server.end() == 0
        assert "imported" not in server.log.read_text()


def test_14_a_name_that_others_know_is_noted(served):
    assert served.ask("GET", "/healthz", headers={"Host": "paint.example"})[0] == 200
    assert "whoever reaches paint.example can use this; a --token keeps others out" in served.log.read_text()


def test_14_what_others_can_reach_needs_a_token(tmp_path):
    words = [sys.executable, "-m", "unnoise", "serve", "-m", "digits", "--host", "0.0.0.0", "--port", "0"]
    clean = {name: value for name, value in os.environ.items() if name != "UNNOISE_TOKEN"}
    done = subprocess.run(
        words, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert not done.stdout
    assert not list(tmp_path.iterdir())
    opened = tmp_path / "opened.txt"
    browser = f'{sys.executable} -c \'import sys; open("{opened}", "w").write(sys.argv[1])\' %s'
    told = {"UNNOISE_TOKEN": "pine-needle", "BROWSER": browser}
    with Served(tmp_path / "out", "--host", "0.0.0.0", "--open", environment=told) as server:
        assert server.ask("GET", "/healthz")[0] == 200
        assert server.ask("GET", "/api/jobs")[0] == 401
        assert server.ask("GET", "/api/jobs", headers={"Authorization": "Bearer fir-cone"})[0] == 401
        assert server.ask("GET", "/api/jobs", headers={"Authorization": "Bearer pine-needle"})[0] == 200
        assert server.ask("GET", "/api/jobs", headers={"Host": "evil.example"})[0] == 403
        assert server.until(lambda: opened.exists() and opened.read_text()) == server.url
        assert server.end() == 0  # also before the model is loaded
        log = server.log.read_text()
        assert "refused 401" in log
        assert "refused 403 from 127.0.0.1: the header Host is 'evil.example'" in log
        assert not {"pine-needle", "fir-cone"} & set(re.findall(r"[a-z-]+", log))


EVIL = "https://evil.example"
FOREIGN = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost.evil.example"},
    {"Cookie": "session=1", "Sec-Fetch-Site": "cross-site"},
    {"Cookie": "session=1", "Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example"},
    {"Host": "2130706433"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_13_a_page_of_another_site_changes_nothing(served, headers):
    """Of a running server; the table of header sets is tests/server/test_guard.py's."""
    kept = served.submit(prompt="a seven", steps=1)["id"]
    served.ended(kept)
    known = served.ask("GET", "/api/jobs?limit=200")[2]
    asked = {"prompt": "a seven"}
    for method, path, fields in (
        ("POST", "/api/jobs", asked),
        ("POST", "/v1/images/generations", asked),
        ("POST", "/sdapi/v1/interrupt", None),
        ("DELETE", f"/api/jobs/{kept}", None),
        ("GET", "/api/jobs", None),
        ("OPTIONS", "/api/jobs", None),
    ):
        status, told, _ = served.ask(method, path, fields, headers)
        assert status == 403, (method, path)
        assert not any(name.startswith("access-control") for name in told)
    assert served.ask("GET", "/api/jobs?limit=200")[2] == known


@pytest.mark.parametrize("text", ["(", "((a)", "[a:", "<lora:", "a AND ", "\\("])
def test_15_a_prompt_that_is_an_attack_is_answered(served, text):
    """Of a megabyte, and of all the characters that are taken; that reading is linear, tests/text holds."""
    for length, refused in ((2**20, (413, None)), (600_000, (400, "prompt"))):
        status, _, told = served.ask("POST", "/api/jobs", {"prompt": text * (length // len(text))})
        assert (status, told["error"]["field"]) == refused
    status, _, told = served.ask("POST", "/api/jobs", {"prompt": (text * 10_000)[:10_000], "steps": 1})
    assert status in (202, 400)
    if status == 202:
        assert served.ended(told["id"])["state"] in ("done", "failed")
    assert served.ask("GET", "/readyz")[0] == 200


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/images/generations", '{"prompt": "a seven", "n": 16, "num_inference_steps": 1000}'),
        ("/sdapi/v1/txt2img", '{"prompt": "a seven", "batch_size": 16, "steps": 1000}'),
    ],
)
def test_21_a_client_that_goes_away_frees_its_place(served, path, fields):
    known = {job["id"] for job in served.ask("GET", "/api/jobs?limit=200")[2]["jobs"]}
    place = urlsplit(served.url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: {len(fields)}\r\n\r\n{fields}".encode())

        def new():
            jobs = served.ask("GET", "/api/jobs?limit=200")[2]["jobs"]
            return [job["id"] for job in jobs if job["id"] not in known]

        (id,) = served.until(new)
        served.running(id, step=3)
    job = served.ended(id)
    assert job["state"] == "cancelled"
    assert job["step"] < 1000
    assert job["images"] == []
    assert served.ended(served.submit(prompt="a two", steps=1)["id"])["state"] == "done"


def test_22_a_cancelled_job_changes_nothing_for_the_next(served):
    alone = served.ended(served.submit(prompt="a five", steps=4, seed=3)["id"])
    runs, waits, last = (
        served.submit(**LONG),
        served.submit(**LONG),
        served.submit(prompt="a five", steps=4, seed=3),
    )
    assert served.ask("DELETE", f"/api/jobs/{waits['id']}")[2]["state"] == "cancelled"
    assert served.job(waits["id"])["begun"] is None
    served.running(runs["id"])
    assert served.ask("DELETE", f"/api/jobs/{runs['id']}")[0] == 200
    cancelled = served.ended(runs["id"])
    assert (cancelled["state"], cancelled["images"]) == ("cancelled", [])
    assert not list(served.folder.rglob(f"{runs['id']}*.png"))
    after = served.ended(last["id"])
    assert after["state"] == "done"
    assert pictures(served, after) == pictures(served, alone)


def test_23_a_full_queue_says_so_and_what_it_took_is_made(served):
    runs = served.submit(**LONG)
    served.running(runs["id"])
    with ThreadPoolExecutor(24) as many:
        ask = lambda seed: served.ask("POST", "/api/jobs", {"prompt": "a one", "steps": 1, "seed": seed})
        answers = list(many.map(ask, range(24)))
    taken = [content["id"] for status, _, content in answers if status == 202]
    refused = [(status, headers, content) for status, headers, content in answers if status != 202]
    assert len(taken) == 4
    for status, headers, content in refused:
        assert status == 429
        assert int(headers["retry-after"]) >= 1
        assert content["error"]["code"] == "full"
    assert served.ask("GET", "/healthz")[::2] == (200, {"alive": True})
    assert served.ask("GET", "/readyz")[0] == 503
    assert served.job(runs["id"])["state"] == "running"  # health answered while it computed
    assert sorted(served.job(id)["place"] for id in taken) == [0, 1, 2, 3]
    served.ask("DELETE", f"/api/jobs/{runs['id']}")
    assert {served.ended(id)["state"] for id in taken} == {"done"}
    assert len({content for id in taken for content in pictures(served, served.job(id))}) == 4
    assert served.ready()


def test_2_a_full_disk_is_told_and_passes(served):
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system has no way to bound the files of another process")
    soft, hard = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        status, _, told = served.ask("POST", "/api/jobs", {"prompt": "a one", "steps": 1})
        assert (status, told["error"]["code"]) == (500, "failed")
        assert str(served.folder) not in told["error"]["message"]
        assert served.ask("GET", "/healthz")[0] == 200
    finally:
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert served.ended(served.submit(prompt="a one", steps=1)["id"])["state"] == "done"


def test_24_25_what_was_taken_outlives_the_process(tmp_path):
    folder = tmp_path / "out"
    with Served(folder) as first:
        first.ready()
        runs = first.submit(prompt="a seven", steps=150, seed=1)["id"]
        waiting = [first.submit(prompt="a two", steps=2, seed=seed)["id"] for seed in range(5)]
        listens = first.connect()
        listens.request("GET", f"/api/jobs/{waiting[0]}/events")
        events = listens.getresponse()
        first.running(runs)
        first.process.send_signal(signal.SIGTERM)
        status, headers, told = first.until(
            lambda: (
                (found := first.ask("POST", "/api/jobs", {"prompt": "a nine", "steps": 1}))[0] != 202
                and found
            )
        )
        assert (status, told["error"]["code"]) == (503, "closing")
        assert int(headers["retry-after"]) >= 1
        assert first.ask("GET", "/healthz")[0] == 200
        assert first.process.wait(120) == 0
        assert b"event: queued" in events.read()  # to its end: a stream that is cut raises here
        listens.close()
    assert states(folder)[runs] == "done"
    assert [states(folder)[id] for id in waiting] == ["queued"] * 5

    with Served(folder, "--log-prompts") as second:
        second.ready()
        assert all(second.ended(id)["state"] == "done" for id in waiting)
        runs = second.submit(prompt="a seven", steps=100, seed=1, count=2)["id"]
        waiting += [second.submit(prompt="a two", steps=2, seed=seed)["id"] for seed in range(5)]
        second.running(runs, step=2)
        second.kill()
    assert states(folder)[runs] == "running"
    assert "a two" in second.log.read_text()  # as it was asked to

    with Served(folder, "--drain", "3600") as third:
        third.ready()
        jobs = [third.ended(id) for id in (runs, *waiting)]
        assert {job["state"] for job in jobs} == {"done"}
        assert jobs[0]["attempt"] == 2
        named = {
            made["name"]
            for job in third.ask("GET", "/api/jobs?limit=200")[2]["jobs"]
            for made in job["images"]
        }
        assert {path.name for path in (folder / "images").iterdir()} == named
        runs = third.submit(**LONG)["id"]
        third.running(runs)
        os.killpg(third.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: the worker hears it too
        third.until(lambda: third.ask("POST", "/api/jobs", {"prompt": "a one"})[0] == 503)
        job = third.job(runs)
        assert third.running(runs, step=job["step"] + 2)["attempt"] == 1
        third.process.send_signal(signal.SIGTERM)  # the second one does not wait an hour
        assert third.process.wait(120) == 128 + signal.SIGTERM
    assert states(folder)[runs] == "running"


def states(folder):
    """State by job, as the next process will find it."""
    with closing(sqlite3.connect(folder / "jobs.sqlite")) as store:
        return dict(store.execute("SELECT id, state FROM jobs"))


SECRET = "xylographic"


def test_32_a_prompt_is_in_no_log(served):
    done = served.ended(served.submit(prompt=f"a {SECRET} seven", steps=1, negative=SECRET)["id"])
    assert done["state"] == "done"
    for wrong in (
        {"prompt": f"a {SECRET} (seven:5000)"},
        {"prompt": f"a seven <lora:{SECRET}:1>"},
        {"prompt": "a seven", "scheduler": SECRET},
        {"prompt": "a seven", SECRET: 1},
        {"prompt": [SECRET]},
        {"prompt": SECRET * 2000},
    ):
        assert served.ask("POST", "/api/jobs", wrong)[0] == 400
    headers = {"Content-Type": "application/json"}
    assert served.ask("POST", f"/api/{SECRET}", {"prompt": SECRET})[0] == 404
    assert served.ask("POST", "/api/jobs", headers=headers, body=f'{{"{SECRET}')[0] == 400
    assert served.ask("GET", f"/api/jobs?before={SECRET}")[0] == 404
    running = served.submit(**{**LONG, "prompt": SECRET})
    served.running(running["id"])
    served.ask("DELETE", f"/api/jobs/{running['id']}")
    served.ended(running["id"])
    log = served.log.read_text()
    assert done["id"] in log
    assert SECRET not in log
    holding = [
        path for path in served.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert {path.suffix for path in holding} <= {".png", ".sqlite", ".sqlite-wal", ".sqlite-shm"}
    if os.name == "posix":
        assert all(path.stat().st_mode & 0o077 == 0 for path in holding if "sqlite" in path.name)
