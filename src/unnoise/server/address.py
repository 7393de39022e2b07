"""Where the server listens, and by which names it may be asked. Nothing here needs an extra."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass

from unnoise.errors import InputError, UnnoiseError
from unnoise.server.limits import Limits
from unnoise.server.settings import Settings

_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Rules:
    """What a request must show.

    names: hosts that we answer to beside our own machine's, in lower case and without a port: which port a tunnel or
    a proxy listens at is not ours to know, and no attack turns on it. addresses: whether any number is an answered
    host too (only names can be rebound). token: of everybody, unless None. body, pictures: bytes of a body, and of
    one with pictures in it.
    """

    names: frozenset[str] = frozenset()
    addresses: bool = False
    token: str | None = None
    body: int = Limits.body
    pictures: int = Limits.body_with_pictures


def numbers(settings: Settings) -> list[str]:
    """The addresses that the host has. Raises InputError for none, and for one that others reach without a token."""
    host = settings.host
    try:
        found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host is '{host[:80]}', and that is no address of this machine; give one, for example 127.0.0.1."
        ) from error
    told = [str(address[0]) for *_, address in found]
    if settings.token or all(map(_loopback, told)):
        return told
    raise InputError(
        f"--host is {host}, and others can reach that; give a --token (or UNNOISE_TOKEN) that requests must carry, or "
        "stay at 127.0.0.1."
    )


def listening(settings: Settings) -> socket.socket:
    """A socket that listens there; port 0 is any that is free. Raises InputError and UnnoiseError."""
    number = numbers(settings)[0]
    found = socket.socket(socket.AF_INET6 if ":" in number else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name != "nt":  # there it would let two servers share a port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((number, settings.port))
        found.listen(2048)
    except OSError as error:
        found.close()
        raise _unbound(settings, error) from error
    return found


def url(listens: socket.socket) -> str:
    """Where a person on this machine opens the page."""
    number, port = listens.getsockname()[:2]
    number = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(number, number)
    return f"http://[{number}]:{port}" if ":" in number else f"http://{number}:{port}"


def rules(settings: Settings, listens: socket.socket) -> Rules:
    """What requests to this socket must show."""
    limits = settings.limits
    return Rules(
        names=frozenset(name.lower() for name in (settings.host, *settings.hosts) if name not in _EVERYWHERE),
        addresses=not _loopback(listens.getsockname()[0]),
        token=settings.token or None,
        body=limits.body,
        pictures=limits.body_with_pictures,
    )


def _loopback(number: str) -> bool:
    return ipaddress.ip_address(number.partition("%")[0]).is_loopback


def _unbound(settings: Settings, error: OSError) -> UnnoiseError:
    host, port = settings.host, settings.port
    match error.errno:
        case errno.EADDRINUSE:
            return UnnoiseError(
                f"port {port} of {host} is in use; give another, for example --port {port % 65_535 + 1}, or --port 0 "
                "for any that is free."
            )
        case errno.EACCES:
            return UnnoiseError(
                f"port {port} may not be opened by you; give one above 1023, for example --port 7860."
            )
        case errno.EADDRNOTAVAIL:
            return InputError(
                f"--host is {host}, and this machine has no such address; give 127.0.0.1 or 0.0.0.0."
            )
    return UnnoiseError(
        f"cannot listen at {host}, port {port}: {error.strerror}; give another --host or --port."
    )
