"""The guard, asked directly: which requests reach the application, and what every answer carries."""

import asyncio
import json
import logging

import pytest

from unnoise.server import guard
from unnoise.server.address import Rules
from unnoise.server.guard import Guard

TOKEN = "pine-needle-7"
JSON = {"content-type": "application/json"}


class Application:
    """Counts what reaches it, and says how long the body was."""

    def __init__(self, fault=None):
        self.seen, self.fault = [], fault

    async def __call__(self, scope, receive, send):
        message = await receive()
        self.seen.append((scope["method"], scope["path"], message["body"]))
        if self.fault:
            raise self.fault
        body = str(len(message["body"])).encode()
        headers = [(b"content-type", b"text/plain"), (b"referrer-policy", b"unsafe-url")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def encoded(headers):
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name.encode(), value.encode("latin-1")) for name, value in pairs]


def sender(sent):
    async def send(message):
        sent.append(message)

    return send


def ask(rules, method="GET", path="/api/jobs", headers=(), parts=(b"",), application=None):
    """(status, headers, body, what the application saw) of one request. headers: a mapping, or pairs."""
    application = application or Application()
    scope = {"type": "http", "method": method, "path": path, "headers": encoded(headers)}
    waiting, sent = list(parts), []

    async def receive():
        if not waiting:
            await asyncio.Event().wait()  # the client waits for its answer
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    asyncio.run(Guard(application, rules)(scope, receive, sender(sent)))
    told = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(part["body"] for part in sent[1:]), application.seen


OURS = {"host": "127.0.0.1:7860"}
POST = {**OURS, **JSON}
HERE, NAMED, OPEN = (
    Rules(),
    Rules(names=frozenset({"paint.example"})),
    Rules(names=frozenset({"paint.example"}), addresses=True, token=TOKEN),
)
BEARER = {"authorization": f"Bearer {TOKEN}"}
NAVIGATES = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("rules", "method", "path", "headers", "status"),
    [
        # this machine by its names for itself, at any port: behind a tunnel it is another one
        (HERE, "GET", "/api/jobs", {"host": "127.0.0.1:7860"}, 200),
        (HERE, "GET", "/api/jobs", {"host": "localhost:7860"}, 200),
        (HERE, "GET", "/api/jobs", {"host": "LocalHost"}, 200),
        (HERE, "GET", "/api/jobs", {"host": "[::1]:7860"}, 200),
        (HERE, "GET", "/api/jobs", {"host": "localhost:8080"}, 200),
        (HERE, "POST", "/api/jobs", {**POST, "origin": "http://127.0.0.1:7860"}, 200),
        (HERE, "POST", "/api/jobs", {**POST, "sec-fetch-site": "same-origin"}, 200),
        (HERE, "POST", "/api/jobs", POST, 200),  # a program: no Origin, no cookie
        # a name that its owner points at this machine
        (HERE, "GET", "/api/jobs", {"host": "evil.example:7860"}, 403),
        (HERE, "POST", "/api/jobs", {**JSON, "host": "evil.example", "origin": "http://evil.example"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "127.0.0.1.evil.example"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "localhost.evil.example"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "evil.example@localhost"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "localhost:7860.evil.example"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "192.168.1.5:7860"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "0.0.0.0:7860"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "[fe80::1]:7860"}, 403),
        (HERE, "GET", "/api/jobs", {"host": "2130706433"}, 403),
        (HERE, "GET", "/api/jobs", {"host": ""}, 403),
        (HERE, "GET", "/api/jobs", {}, 403),
        (HERE, "GET", "/api/jobs", [("host", "localhost"), ("host", "evil.example")], 403),
        (HERE, "GET", "/", {"host": "evil.example"}, 403),
        (HERE, "GET", "/healthz", {"host": "evil.example"}, 403),
        (NAMED, "GET", "/api/jobs", {"host": "paint.example"}, 200),
        (NAMED, "GET", "/api/jobs", {"host": "Paint.Example:443"}, 200),
        (NAMED, "GET", "/api/jobs", {"host": "sub.paint.example"}, 403),
        (OPEN, "GET", "/api/jobs", {**BEARER, "host": "192.168.1.5:7860"}, 200),
        (OPEN, "GET", "/api/jobs", {**BEARER, "host": "evil.example"}, 403),
        # pages of other sites
        (HERE, "POST", "/api/jobs", {**POST, "origin": "https://evil.example"}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "origin": "null"}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "origin": ""}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "origin": "http://127.0.0.1:3000"}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "origin": "http://localhost:7860"}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "origin": "http://127.0.0.1:7860.evil.example"}, 403),
        (
            HERE,
            "POST",
            "/api/jobs",
            [*POST.items(), ("origin", "http://127.0.0.1:7860"), ("origin", "x")],
            403,
        ),
        (HERE, "GET", "/api/jobs", {**OURS, "origin": "https://evil.example"}, 403),
        (HERE, "DELETE", "/api/jobs/a", {**OURS, "origin": "https://evil.example"}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "cookie": "a=b", "sec-fetch-site": "cross-site"}, 403),
        (HERE, "POST", "/api/jobs", {**POST, "cookie": "a=b", "sec-fetch-site": "same-site"}, 403),
        (HERE, "GET", "/api/images/a-0.png", {**OURS, "sec-fetch-site": "cross-site"}, 403),
        (HERE, "GET", "/api/jobs", {**OURS, **NAVIGATES}, 403),
        (HERE, "GET", "/", {**OURS, "sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, 403),
        (HERE, "POST", "/", {**POST, **NAVIGATES}, 403),
        (HERE, "GET", "/", {**OURS, **NAVIGATES}, 200),  # a link to the page, followed
        (HERE, "OPTIONS", "/api/jobs", {**OURS, "origin": "https://evil.example"}, 403),
        (HERE, "OPTIONS", "/api/jobs", {**OURS, "origin": "http://127.0.0.1:7860"}, 403),
        (HERE, "OPTIONS", "*", OURS, 403),
        # behind a proxy that ends TLS and passes Host on
        (
            NAMED,
            "POST",
            "/api/jobs",
            {**JSON, "host": "paint.example", "origin": "https://paint.example"},
            200,
        ),
        (NAMED, "POST", "/api/jobs", {**POST, "origin": "https://paint.example"}, 403),
        # the token
        (OPEN, "GET", "/api/jobs", OURS, 401),
        (OPEN, "GET", "/api/jobs", {**OURS, "authorization": "Bearer wrong"}, 401),
        (OPEN, "GET", "/api/jobs", {**OURS, "authorization": TOKEN}, 401),
        (OPEN, "GET", "/api/jobs", {**OURS, "authorization": f"Basic {TOKEN}"}, 401),
        (OPEN, "GET", "/api/jobs", {**OURS, "authorization": "Bearer ü"}, 401),
        (OPEN, "GET", "/api/jobs", {**OURS, "cookie": f"token={TOKEN}"}, 401),
        (OPEN, "GET", "/api/jobs", [*OURS.items(), *BEARER.items(), ("authorization", "x")], 401),
        (OPEN, "GET", "/api/jobs", {**OURS, "authorization": f"bearer {TOKEN}"}, 200),
        (OPEN, "POST", "/v1/images/generations", {**POST, **BEARER}, 200),
        (OPEN, "GET", "/", OURS, 200),
        (OPEN, "GET", "/page/page.js", OURS, 200),
        (OPEN, "HEAD", "/healthz", OURS, 200),
        (OPEN, "GET", "/readyz", OURS, 401),
        (OPEN, "POST", "/", POST, 401),
        (OPEN, "GET", "//", OURS, 401),
        (OPEN, "GET", "/page", OURS, 401),
        # the form of the body
        (HERE, "POST", "/api/jobs", {**OURS, "content-type": "Application/JSON; charset=utf-8"}, 200),
        (HERE, "POST", "/api/jobs", {**OURS, "content-type": "text/plain"}, 415),
        (HERE, "POST", "/api/jobs", {**OURS, "content-type": "application/x-www-form-urlencoded"}, 415),
        (HERE, "POST", "/api/jobs", {**OURS, "content-type": "multipart/form-data; boundary=a"}, 415),
        (HERE, "POST", "/api/jobs", {**OURS, "content-length": "3"}, 415),
        (HERE, "POST", "/api/jobs", {**OURS, "transfer-encoding": "chunked"}, 415),
        (HERE, "POST", "/api/jobs", [*POST.items(), ("content-type", "text/plain")], 415),
        (HERE, "POST", "/sdapi/v1/interrupt", {**OURS, "content-length": "0"}, 200),
        (HERE, "POST", "/v1/images/edits", {**OURS, "content-type": "multipart/form-data; boundary=a"}, 200),
    ],
)
def test_a_request_is_answered_or_refused_by_its_headers(rules, method, path, headers, status):
    found, told, body, seen = ask(rules, method, path, headers)
    assert found == status
    assert len(seen) == (status == 200)
    assert not any(name.startswith("access-control") for name in told)
    if status != 200:
        assert json.loads(body)["error"]["message"].endswith(".")
        assert told["connection"] == "close"
        assert TOKEN not in body.decode()


@pytest.mark.parametrize("headers", [{}, [("host", "localhost"), ("host", "localhost")]])
def test_who_sends_no_host_or_two_is_told_to_send_one(headers):
    status, _, body, _ = ask(HERE, "GET", "/api/jobs", headers)
    assert status == 403
    assert json.loads(body)["error"]["message"] == "send one header Host, as HTTP/1.1 has it."


LIMITED = Rules(body=1000, pictures=5000)


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/v1/images/generations", 1000, 200),
        ("/v1/images/generations", 1001, 413),
        ("/api/jobs", 5000, 200),
        ("/api/jobs", 5001, 413),
        ("/sdapi/v1/img2img", 5001, 413),
    ],
)
@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("cut", [1, 7])
def test_a_body_is_measured_announced_or_not_whole_or_in_parts(path, length, status, announced, cut):
    body = bytes(length)
    size = -(-length // cut)
    parts = [body[place : place + size] for place in range(0, length, size)]
    headers = (
        {**POST, "content-length": str(length)} if announced else {**POST, "transfer-encoding": "chunked"}
    )
    found, _, told, seen = ask(LIMITED, "POST", path, headers, parts)
    assert found == status
    if status == 200:
        assert told == str(length).encode()
        assert seen[0][2] == body
    else:
        assert not seen
        assert (
            f"{5000 if path != '/v1/images/generations' else 1000:,} bytes"
            in json.loads(told)["error"]["message"]
        )


@pytest.mark.parametrize("headers", [{"transfer-encoding": "chunked"}, {"origin": "null"}])
def test_a_body_without_an_end_is_given_up(monkeypatch, headers):
    monkeypatch.setattr(guard, "_DRAINED", 10_000)
    taken, sent = [], []

    async def receive():
        taken.append(1000)
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    listed = encoded({**POST, **headers})
    scope = {"type": "http", "method": "POST", "path": "/sdapi/v1/txt2img", "headers": listed}
    asyncio.run(Guard(Application(), LIMITED)(scope, receive, sender(sent)))
    assert sent[0]["status"] in (403, 413)
    assert sum(taken) <= 12_000


def test_a_body_that_stops_coming_is_given_up(monkeypatch):
    monkeypatch.setattr(guard, "_PATIENCE", 0.01)
    monkeypatch.setattr(guard, "_DRAINING", 0.01)
    sent, first = [], [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive():
        if not first:
            await asyncio.Event().wait()
        return first.pop()

    for headers, status in ((POST, 408), ({**POST, "host": "evil.example"}, 403)):
        sent.clear()
        scope = {"type": "http", "method": "POST", "path": "/api/jobs", "headers": encoded(headers)}
        asyncio.run(Guard(Application(), Rules())(scope, receive, sender(sent)))
        assert sent[0]["status"] == status


def test_a_client_that_asks_before_it_sends_is_answered_at_once():
    async def receive():
        raise AssertionError("this would ask for the body")

    sent = []
    headers = encoded({**POST, "content-length": "99999999999", "expect": "100-continue"})
    scope = {"type": "http", "method": "POST", "path": "/api/jobs", "headers": headers}
    asyncio.run(Guard(Application(), Rules())(scope, receive, sender(sent)))
    assert sent[0]["status"] == 413


def test_a_closed_one_lets_nothing_through():
    sent, application = [], Application()

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    for headers, status in ((OURS, 503), ({"host": "evil.example"}, 403)):
        sent.clear()
        closed = Guard(application, Rules())
        closed.closed = True
        scope = {"type": "http", "method": "GET", "path": "/api/jobs", "headers": encoded(headers)}
        asyncio.run(closed(scope, receive, sender(sent)))
        assert sent[0]["status"] == status
        assert ((b"retry-after", b"10") in sent[0]["headers"]) == (status == 503)
    assert not application.seen


@pytest.mark.parametrize("status", [200, 403, 500])
def test_every_answer_carries_the_headers(status):
    headers = {"host": "evil.example"} if status == 403 else OURS
    application = Application(ValueError("a secret prompt") if status == 500 else None)
    found, told, body, _ = ask(Rules(), headers=headers, application=application)
    assert found == status
    assert told["x-content-type-options"] == "nosniff"
    assert told["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in told["content-security-policy"]
    assert "unsafe" not in str(told)  # also where the application says otherwise
    assert told["cross-origin-resource-policy"] == "same-origin"
    assert told["cache-control"] == "no-store"
    assert b"secret" not in body


def test_a_fault_is_told_by_its_place_and_not_by_its_words(caplog):
    with caplog.at_level(logging.DEBUG):
        status, *_ = ask(Rules(), headers=OURS, application=Application(ValueError("a secret prompt")))
    assert status == 500
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text
