"""Cells: one work, all sides of it in one go, each in a process of its own, turn by turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from full_size.models import place, ready
from full_size.sides import side

BF16 = ("unnoise", "diffusers bf16", "diffusers bf16 channels-last")
FP32 = ("unnoise fp32", "diffusers fp32", "diffusers fp32 channels-last")
BEST = ("unnoise", "diffusers bf16 channels-last")


@dataclass(frozen=True)
class Cell:
    """One work. sides: ours first. once: a process a call (what can be measured only once in it). rounds: calls."""

    name: str
    says: str
    work: str
    family: str
    sides: tuple[str, ...]
    rounds: int
    once: bool = False


CELLS = (
    Cell(
        "load",
        "loading a float16 file as bfloat16",
        "load",
        "sd1",
        ("unnoise", "read and cast", "diffusers from_single_file", "diffusers folder"),
        3,
        once=True,
    ),
    Cell("unet", "UNet step with guidance", "unet", "sd1", BF16, 7),
    Cell("vae", "VAE decode", "vae", "sd1", BF16, 5),
    Cell("picture", "whole picture, {steps} steps", "picture", "sd1", BEST, 1),
    Cell("ready", "imports, load, first step", "first_step", "sd1", BEST, 2, once=True),
    Cell(
        "text",
        "text encoder, two prompts",
        "text",
        "sd1",
        ("unnoise", "diffusers fp32", "diffusers bf16"),
        15,
    ),
    Cell("sdxl-unet", "SDXL UNet step with guidance", "unet", "sdxl", BEST, 3),
    Cell("unet-fp32", "UNet step with guidance, float32", "unet", "sd1", FP32, 3),
    Cell("vae-fp32", "VAE decode, float32", "vae", "sd1", FP32, 3),
)


@dataclass
class Row:
    """What was seen of one side. seconds: of each call. others: cores that other processes took meanwhile.

    peak: bytes at the most, of the whole process; imports: of that, what was there before the work began.
    """

    side: str
    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak: int = 0
    imports: int = 0


@dataclass(frozen=True)
class How:
    """root: of the models. steps: of a whole picture. threads: 0 for torch's own number. until: time.monotonic."""

    script: Path
    root: Path
    size: str
    steps: int
    threads: int
    until: float
    quick: bool


def measure(cell: Cell, how: How) -> list[Row]:
    """All sides of one cell. Stops early, after a round, when the time is up."""
    rows = [Row(who) for who in cell.sides]
    with ExitStack() as ends:
        # loaded one after the other, then kept: what a later call finds ready, the first one has made
        workers = [] if cell.once else [ends.enter_context(Worker(cell, row.side, how)) for row in rows]
        for worker in workers if cell.work != "picture" else ():
            worker.turn(Row(""))
        for _ in range(1 if how.quick else cell.rounds):
            for place, row in enumerate(rows):
                _turn(workers[place] if workers else Worker(cell, row.side, how), row, close=cell.once)
            if time.monotonic() > how.until:
                break
    return rows


def _turn(worker: Worker, row: Row, close: bool) -> None:
    try:
        worker.turn(row)
    finally:
        if close:
            worker.close()


class Worker:
    """A process with one side of one work; a line sent to it asks for a call."""

    def __init__(self, cell: Cell, who: str, how: How) -> None:
        asked = {"work": cell.work, "family": cell.family, "side": who, "once": cell.once}
        asked |= {"root": str(how.root), "size": how.size, "steps": how.steps, "threads": how.threads}
        command = [sys.executable, str(how.script), "worker", json.dumps(asked | {"since": time.monotonic()})]
        self.who = who
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def turn(self, row: Row) -> None:
        """One call, into the row."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            print("go", file=self.process.stdin, flush=True)
        found = self._answer()
        row.seconds.append(found["seconds"])
        if found["others"] is not None:
            row.others.append(found["others"])
        row.peak, row.imports = max(row.peak, found["peak"]), found["imports"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of '{self.who}' ended with {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def work(asked: dict[str, Any]) -> None:
    """In the process of a worker: a call for each line read, what it took as a line of JSON."""
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not stand between the lines
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    who = side(asked["side"], place(Path(asked["root"]), asked["size"], asked["family"]))
    imported = _import(asked["side"])
    steps = {"steps": asked["steps"]} if asked["work"] == "picture" else {}
    call = getattr(who, asked["work"])
    if not asked["once"]:
        call = call(**steps)
    os.write(out, b"{}\n")
    since = asked["since"] if asked["work"] == "first_step" else None
    for _ in sys.stdin:
        with torch.inference_mode() if asked["work"] in ("unet", "vae", "text") else nullcontext():
            begin, before = since or time.monotonic(), _busy()
            own = time.process_time()
            call()
            seconds, own = time.monotonic() - begin, time.process_time() - own
        after = _busy()
        others = None if before is None or after is None else max(0.0, (after - before - own) / seconds)
        found = {"seconds": seconds, "others": others, "peak": peak(), "imports": imported}
        os.write(out, (json.dumps(found) + "\n").encode())


def _import(who: str) -> int:
    """Bytes at the peak once what every side needs is imported."""
    if who.startswith("diffusers"):
        from diffusers import StableDiffusionPipeline  # noqa: F401 - its import is what is wanted
        from diffusers.utils import logging

        logging.disable_progress_bar()
    elif who.startswith("unnoise"):
        import unnoise.pipelines  # noqa: F401
    else:
        import safetensors.torch  # noqa: F401
    return peak()


def peak() -> int:
    """Bytes; of this process alone, where getrusage would begin with its parent's."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _busy() -> float | None:
    """Seconds that all processors have worked since the machine began."""
    try:
        user, nice, system, _, _, irq, soft, *_ = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    return sum(map(int, (user, nice, system, irq, soft))) / os.sysconf("SC_CLK_TCK")


def all_cells(names: Sequence[str], how: How, store: Path) -> None:
    """Measures the cells that the store lacks, and writes it after each."""
    known = read(store)
    for cell in CELLS:
        if cell.name not in names or cell.name in known["cells"]:
            continue
        if time.monotonic() > how.until:
            print(f"the time is up before '{cell.name}'; run again to go on", file=sys.stderr)
            return
        print(f"{cell.name} ...", file=sys.stderr, flush=True)
        ready(place(how.root, how.size, cell.family), one_file=cell.work == "load")
        begin = time.monotonic()
        try:
            rows = measure(cell, how)
        except RuntimeError as error:  # one cell that fails, of memory for example, must not cost the others
            print(f"{cell.name}: {error}", file=sys.stderr)
            continue
        known["cells"][cell.name] = [asdict(row) for row in rows]
        write(store, known)
        told = ", ".join(f"{row.side} {statistics.median(row.seconds):.2f} s" for row in rows)
        print(f"{cell.name}: {told} ({time.monotonic() - begin:.0f} s)", file=sys.stderr, flush=True)


def read(store: Path) -> dict[str, Any]:
    """What was measured before."""
    return json.loads(store.read_text()) if store.is_file() else {"cells": {}}


def write(store: Path, known: dict[str, Any]) -> None:
    part = store.with_name(store.name + ".part")
    part.write_text(json.dumps(known, indent=1))
    part.replace(store)
