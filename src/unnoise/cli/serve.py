"""`unnoise serve`: a page and an HTTP API, on this machine unless told otherwise."""

from __future__ import annotations

import argparse
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.cli import approximate, outputs, parser
from unnoise.cli.answering import note
from unnoise.cli.values import MODEL, folder, maybe, number, path, whole, word
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.server import Settings

TOKEN = "UNNOISE_TOKEN"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_OPTIONS = {
    "-m, --model MODEL ...": f"{MODEL}; may be repeated, and only these can be asked for (default emoji)",
    "--host ADDRESS = 127.0.0.1": "to listen at",
    "--port N = 7860": "to listen at; 0 for any that is free",
    "--token WORD": f"that requests must carry; needed when others can reach the host; or as {TOKEN}, which no list of "
    "processes shows",
    "--allow-host NAME ...": "another name by which it may be asked, such as a proxy's; may be repeated",
    "-o, --out FOLDER = outputs/served": "jobs and pictures",
    "--lora-dir FOLDER": "where LoRAs are looked for by name, for <lora:ink:0.8> in a prompt",
    "--queue N = 64": "jobs that may wait, a job being what one request asks for",
    "--per-client N": "of them of one address (default 8; all where only this machine can ask)",
    "--drain SECONDS = 30": "that the running job has to end once the server is stopped",
    "--keep N = 10000": "jobs that are kept, with their pictures, once they have ended; the oldest go first",
    "-t, --threads N": "processor cores to use",
    "--log-prompts": "write prompts to the log",
    "--open": "open the page in the browser",
}
_MORE_SPELLINGS = {
    "host": ("--listen-ip",),
    "port": ("--listen-port",),
    "out": ("--outdir",),
    "lora_dir": ("--loras", "--lora-model-dir"),
}
EXAMPLES = ("serve --open", "serve -m digits -m run/ --lora-dir loras/ --port 8000")
PARTS = (_OPTIONS, approximate.ENGINE, partial(parser.spellings, table=_MORE_SPELLINGS))


def settings(arguments: argparse.Namespace) -> Settings:
    """What the server is started with. Raises InputError and FileError; needs neither torch nor an extra."""
    from unnoise.server import Limits, Settings, address

    token = _token(arguments.token)
    queue = whole("--queue", arguments.queue, 1, 10_000, 64)
    read = Settings(
        models=_models(arguments.model or ["emoji"]),
        folder=_folder(arguments.out),
        loras=maybe(folder, "--lora-dir", arguments.lora_dir),
        threads=maybe(whole, "--threads", arguments.threads, 1, 1024, 2),
        engine=approximate.engine(arguments),
        limits=Limits(queue=queue, each_client=_each(arguments, queue, bool(token or arguments.allow_host))),
        host=word("--host", arguments.host).strip("[]"),
        port=whole("--port", arguments.port, 0, 65_535, 7860),
        token=token,
        hosts=tuple(map(_host, arguments.allow_host)),
        drain=number("--drain", arguments.drain, 0, 86_400, 30),
        keep=whole("--keep", arguments.keep, 1, 10**9, 10_000),
        log_prompts=arguments.log_prompts,
    )
    address.numbers(read)  # refused before anything is imported
    return read


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    asked = settings(arguments)
    try:
        from unnoise.server.card import called
        from unnoise.server.running import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise InputError(
            "serve needs packages that are not installed; pip install 'unnoise[serve]'."
        ) from None
    if asked.hosts and not asked.token:
        note([f"whoever reaches {', '.join(asked.hosts)} can use this; a --token keeps others out."])
    names = ", ".join(map(called, asked.models))

    def told(url: str) -> None:
        sys.stdout.write(f"unnoise serves {names} at {url} (Ctrl-C ends)\n")
        sys.stdout.flush()
        if arguments.open:
            _open(url)

    return serve(asked, told)


def _models(names: list[str]) -> tuple[str, ...]:
    """Refuses what is not there; what is in it, the worker finds out."""
    from unnoise import checkpoints

    for name in names:
        if not checkpoints.is_foreign(word("--model", name)):
            checkpoints.find(name)
    return tuple(dict.fromkeys(names))


def _folder(text: str) -> Path:
    folder = path("--out", text)
    outputs.check_output("--out", folder, ())
    return folder


def _each(arguments: argparse.Namespace, queue: int, others: bool) -> int:
    """others: whether others can ask; who is alone has all of the queue."""
    given = maybe(whole, "--per-client", arguments.per_client, 1, 10_000, 8)
    return given or (min(8, queue) if others else queue)


def _token(typed: str | None) -> str:
    token = os.environ.get(TOKEN, "") if typed is None else typed
    fits = token.isascii() and token.isprintable() and " " not in token
    if (typed is not None and not token) or not fits:
        raise InputError(
            "the token must be a word of plain characters; make one, for example with: python -c 'import secrets; "
            "print(secrets.token_urlsafe())'."
        )
    return token


def _host(name: str) -> str:
    bare = name.strip("[]")
    if not _NAME.fullmatch(bare) and not re.fullmatch(r"[0-9a-fA-F:.]+", bare):
        raise InputError(
            f"--allow-host is '{name[:80]}'; give a name alone, without http:// and port, for example paint.example."
        )
    return bare


def _open(url: str) -> None:
    import threading
    import webbrowser

    # beside the loop: some browsers return when they are closed
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
