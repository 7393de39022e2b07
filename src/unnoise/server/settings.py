"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unnoise.server.limits import Limits


@dataclass(frozen=True)
class Settings:
    """All that `unnoise serve` takes.

    models: names, folders, files or addresses of the hub, as `unnoise.load` takes them; the first is the default.
    folder: jobs and pictures are kept there. loras: where tags in prompts are looked for by name; without it they are
    refused. threads: processor cores to compute on; None chooses by the size of the model. engine: as
    `TextToImage.with_engine`. host, port: to listen on. token: that requests must carry, "" for none. hosts: further
    names that we answer to. drain: seconds that a running job has to end when the server does. keep: how many jobs
    stay, with their pictures, once they have ended; the oldest go first. log_prompts: whether the log may hold them.
    """

    models: tuple[str, ...] = ("emoji",)
    folder: Path = Path("outputs/served")
    loras: Path | None = None
    threads: int | None = None
    engine: str = "torch"
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    port: int = 7860
    token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()
    drain: float = 30.0
    keep: int = 10_000
    log_prompts: bool = False
