"""Who may ask: every request is looked at here before anything else sees it.

A page of another site that runs in the same browser, and a name that its owner points at this machine (DNS rebinding),
are told by the headers Host, Origin and Sec-Fetch-Site, which no script can set; everybody else by the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from unnoise.server.address import Rules
from unnoise.server.answers import refusal
from unnoise.server.refusals import Closing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("unnoise.server")

_LOOPBACK = frozenset({"localhost"})
"""Names of this machine for itself; its addresses are known as such."""

FREE = ("/", "/healthz")
"""Answered without the token, as /page/ is: the page's own files, which ask for it, and whether we live."""

PICTURES = ("/api/jobs", "/api/read", "/v1/images/edits", "/sdapi/v1/img2img", "/sdapi/v1/png-info")
"""Where a body may hold pictures."""

FORMS = ("/v1/images/edits",)
"""Where it is a form with files; everywhere else it is JSON."""

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")
_PATIENCE = 60.0
"""Seconds that a body may take: a client that sends a letter a minute holds nothing for long."""

_DRAINED = 64_000_000
_DRAINING = 5.0
"""Bytes, and seconds, of a refused body that are read and thrown away: most clients listen only when all is sent."""


@dataclass(eq=False)
class _Refused(Exception):  # noqa: N818 - the answer to a request, not a fault
    """read: whether its body was read already, as far as it is worth it."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    read: bool = False


class Guard:
    """ASGI: the application behind these rules. It sees bodies whole, and its answers carry `HEADERS`.

    closed: set where there is no application any more, for the moment until the last connection has ended.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules, self.closed = app, rules, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; one that is refused never reaches the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            check(scope, self._rules)
            if self.closed:
                ends = Closing()
                raise _Refused(ends.status, ends.code, str(ends), ends.headers)
            body = await _whole(receive, _limit(scope, self._rules))
            await self._app(scope, _again(body, receive), answer)
        except _Refused as refused:
            await _drain(scope, receive, refused)
            if refused.status in (401, 403):
                client = (scope.get("client") or ("?",))[0]
                _log.info("refused %d from %s: %s", refused.status, client, ascii(refused.message)[1:-1])
            close = {"connection": "close"}  # what was not read must not be taken for the next request
            told = refusal(
                refused.status, refused.code, refused.message, headers={**refused.headers, **close}
            )
            await told(scope, receive, answer)
        except Exception as error:  # told without its words, in which a prompt may stand
            places = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            _log.error("fault: %s in %s", type(error).__name__, " > ".join(places))
            if not answer.begun:
                await refusal(500, "failed", "a fault of ours; the server's log says where.")(
                    scope, receive, answer
                )


def check(scope: Scope, rules: Rules) -> None:
    """Raises what is answered to a request that we do not take, by its headers alone."""
    headers = Headers(scope=scope)
    path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
    host = _host(headers.getlist("host"), rules)
    if scope["method"] == "OPTIONS":
        raise _forbidden("no other site may ask here, so there is nothing to ask leave for.")
    _check_site(headers, host, opens=reads and path == "/")
    if rules.token is not None and not (reads and (path in FREE or path.startswith("/page/"))):
        _check_token(headers.getlist("authorization"), rules.token)
    if not reads:
        _check_type(path, headers)


def _host(given: list[str], rules: Rules) -> str:
    host = given[0].lower() if len(given) == 1 else ""
    match = _HOST.fullmatch(host)
    name = (match[1] or match[2]) if match else ""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        known = name in _LOOPBACK | rules.names
    else:
        known = rules.addresses or address.is_loopback or name in rules.names
    if not known:
        shown = host[:100]
        if not shown:
            raise _forbidden("send one header Host, as HTTP/1.1 has it.")
        raise _forbidden(f"the header Host is '{shown}'; to answer to that, start with --allow-host {shown}.")
    return host


def _check_site(headers: Headers, host: str, opens: bool) -> None:
    """opens: whether this is the page itself, to which links of others may lead."""
    for origin in headers.getlist("origin"):
        if origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise _forbidden(
                f"this comes from a page of '{origin[:100]}' and was sent to '{host[:100]}'; open the page there, or "
                "let the proxy between pass its Host on."
            )
    for site in headers.getlist("sec-fetch-site"):
        if site not in ("same-origin", "none") and not (opens and _followed(headers)):
            raise _forbidden("this comes from a page of another site.")


def _followed(headers: Headers) -> bool:
    """Whether a person followed a link, as opposed to a page that loads ours into itself."""
    told = [headers.getlist(f"sec-fetch-{what}") for what in ("mode", "dest")]
    return told == [["navigate"], ["document"]]


def _check_token(given: list[str], token: str) -> None:
    scheme, _, shown = (given[0] if len(given) == 1 else "").partition(" ")
    equal = hmac.compare_digest(shown.strip().encode("latin-1"), token.encode())
    if scheme.lower() != "bearer" or not equal:
        raise _Refused(
            401,
            "unauthorized",
            "the token is missing or wrong; send the header 'Authorization: Bearer TOKEN'.",
            {"www-authenticate": "Bearer"},
        )


def _check_type(path: str, headers: Headers) -> None:
    given = headers.getlist("content-type")
    if not given and headers.getlist("content-length") in ([], ["0"]) and "transfer-encoding" not in headers:
        return
    kind = given[0].partition(";")[0].strip().lower() if len(given) == 1 else ""
    wanted = ("application/json", "multipart/form-data")[: 2 if path in FORMS else 1]
    if kind not in wanted:
        raise _Refused(
            415,
            "unsupported_type",
            f"the body is '{kind[:60]}'; send {' or '.join(wanted)} and say so in Content-Type.",
        )


def _limit(scope: Scope, rules: Rules) -> int:
    """Bytes that this body may have. Raises where it says beforehand that it has more."""
    limit = rules.pictures if scope["path"] in PICTURES else rules.body
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit, read=False)
    return limit


def _too_large(limit: int, read: bool) -> _Refused:
    words = f"the body is longer than {limit:,} bytes, the most that is taken here."
    return _Refused(413, "too_large", words, read=read)


def _forbidden(message: str) -> _Refused:
    return _Refused(403, "forbidden", message)


async def _whole(receive: Receive, limit: int) -> bytes:
    try:
        body = await asyncio.wait_for(_collected(receive, limit), _PATIENCE)
    except asyncio.TimeoutError:
        words = f"the body did not come within {_PATIENCE:g} s; send it again."
        raise _Refused(408, "timeout", words, read=True) from None
    if body is None:
        raise _too_large(limit, read=True)
    return body


async def _collected(receive: Receive, limit: int) -> bytes | None:
    """The body; None where it is longer, and then nothing of it is kept."""
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= limit + _DRAINED:
        message = await receive()
        part, more = message.get("body", b""), message.get("more_body", False)  # nothing: the client is gone
        size += len(part)
        if size > limit:
            parts.clear()
        else:
            parts.append(part)
    return b"".join(parts) if size <= limit else None


async def _drain(scope: Scope, receive: Receive, refused: _Refused) -> None:
    if refused.read or any(name == b"expect" for name, _ in scope["headers"]):
        return  # a client that asks before it sends is answered before it does
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_collected(receive, 0), _DRAINING)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body in one message, then what follows: that the client went away."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return first.pop() if first else await receive()

    return next_message


class _Answer:
    """What the application sends, with our headers; begun: whether any of it has gone out."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            ours = {name for name, _ in HEADERS}
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in ours]
            if not any(name.lower() == b"cache-control" for name, _ in kept):
                kept.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*kept, *HEADERS]}
        await self._send(message)
