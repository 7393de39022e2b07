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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from full_size.engines import side
from full_size.models import place, ready

BF16 = ("unnoise", "diffusers bf16", "diffusers bf16 channels-last")
FP32 = ("unnoise fp32", "diffusers fp32", "diffusers fp32 channels-last")
BEST = ("unnoise", "diffusers bf16 channels-last")
OPENVINO = ("diffusers openvino", "diffusers bf16 channels-last")
EXACT = "diffusers fp32"
"""Whose answer the others are compared with."""


@dataclass(frozen=True)
class Cell:
    """One work. sides: ours first. once: a process a call (what can be measured only once in it). rounds: calls.

    compared: whether each answer's distance to that in float32 is told.
    """

    name: str
    says: str
    work: str
    family: str
    sides: tuple[str, ...]
    rounds: int
    once: bool = False
    compared: bool = False


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
    Cell(
        "unet-openvino",
        "UNet step with guidance, OpenVINO",
        "unet",
        "sd1",
        ("unnoise openvino", "unnoise openvino-int8", "unnoise", *OPENVINO),
        7,
        compared=True,
    ),
    Cell(
        "vae-openvino", "VAE decode beside OpenVINO", "vae", "sd1", ("unnoise", *OPENVINO), 5, compared=True
    ),
)


@dataclass
class Row:
    """What was seen of one side. seconds: of each call. others: cores that other processes took meanwhile.

    peak: bytes at the most, of the whole process; imports: of that, what was there before the work began. ready:
    seconds from the start of the process to the end of the first call. error: of the first answer, relative to that
    in float32. export: what writing a graph took, once (seconds, peak, products), if this side has one.
    """

    side: str
    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak: int = 0
    imports: int = 0
    ready: float | None = None
    error: float | None = None
    export: dict[str, float] | None = None


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

    def kept(self, cell: Cell) -> Path:
        """Where exported graphs and answers of a cell lie."""
        return self.root / "kept" / f"{cell.name}-{self.size}"


def measure(cell: Cell, how: How) -> list[Row]:
    """All sides of one cell. Stops early, after a round, when the time is up."""
    rows = [Row(who) for who in cell.sides]
    for row in rows:
        row.export = _export(cell, row.side, how) if "openvino" in row.side else None
    if cell.compared and not (how.kept(cell) / "exact.pt").is_file():
        _turn(Worker(cell, EXACT, how), Row(EXACT), close=True)  # alone: it needs the most memory
    with ExitStack() as ends:
        # loaded one after the other, then kept: what a later call finds ready, the first one has made
        workers = []
        for row in () if cell.once else rows:
            begin, first = time.monotonic(), Row("")
            workers.append(ends.enter_context(Worker(cell, row.side, how)))
            if cell.work != "picture":
                workers[-1].turn(first)
                row.ready, row.error = time.monotonic() - begin, first.error
        for _ in range(1 if how.quick else cell.rounds):
            for place, row in enumerate(rows):
                _turn(workers[place] if workers else Worker(cell, row.side, how), row, close=cell.once)
            if time.monotonic() > how.until:
                break
    return rows


def _export(cell: Cell, who: str, how: How) -> dict[str, float]:
    """What it took to write the side's graph, which is done if it was not."""
    told = how.kept(cell) / f"{who}.json"
    if not told.is_file():
        row = Row(who)
        worker = Worker(replace(cell, work=f"export_{cell.work}", once=True), who, how)
        products = _turn(worker, row, close=True)["products"]
        told.write_text(json.dumps({"seconds": row.seconds[0], "peak": row.peak, "products": products}))
    return json.loads(told.read_text())


def _turn(worker: Worker, row: Row, close: bool) -> dict[str, Any]:
    try:
        return worker.turn(row)
    finally:
        if close:
            worker.close()


class Worker:
    """A process with one side of one work; a line sent to it asks for a call."""

    def __init__(self, cell: Cell, who: str, how: How) -> None:
        asked = {"work": cell.work, "family": cell.family, "side": who, "once": cell.once}
        asked |= {"root": str(how.root), "size": how.size, "steps": how.steps, "threads": how.threads}
        asked |= {"kept": str(how.kept(cell)), "compared": cell.compared and not cell.once}
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

    def turn(self, row: Row) -> dict[str, Any]:
        """One call, into the row; all that was said of it."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            print("go", file=self.process.stdin, flush=True)
        found = self._answer()
        row.seconds.append(found["seconds"])
        if found["others"] is not None:
            row.others.append(found["others"])
        row.peak, row.imports = max(row.peak, found["peak"]), found["imports"]
        row.error = found["error"]
        return found

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
    kept = Path(asked["kept"])
    kept.mkdir(parents=True, exist_ok=True)
    os.environ["UNNOISE_CACHE"] = str(kept)
    who = side(asked["side"], place(Path(asked["root"]), asked["size"], asked["family"]), kept)
    imported = _import(asked["side"])
    steps = {"steps": asked["steps"]} if asked["work"] == "picture" else {}
    call = getattr(who, asked["work"])
    if not asked["once"]:
        call = call(**steps)
    os.write(out, b"{}\n")
    since, error = asked["since"] if asked["work"] == "first_step" else None, None
    for _ in sys.stdin:
        with torch.inference_mode() if asked["work"] in ("unet", "vae", "text") else nullcontext():
            begin, before = since or time.monotonic(), _busy()
            own = time.process_time()
            answer = call()
            seconds, own = time.monotonic() - begin, time.process_time() - own
        after = _busy()
        others = None if before is None or after is None else max(0.0, (after - before - own) / seconds)
        found = {"seconds": seconds, "others": others, "peak": peak(), "imports": imported}
        if asked["compared"] and error is None:
            error = _error(answer, asked["side"], kept / "exact.pt")
        found |= {"error": error, "products": answer if isinstance(answer, float) else None}
        os.write(out, (json.dumps(found) + "\n").encode())


def _error(answer: torch.Tensor, who: str, exact: Path) -> float:
    """Of an answer, relative to that in float32, which is written first."""
    answer = answer.detach().float()
    if who == EXACT:
        torch.save(answer, exact)
    wanted = torch.load(exact, weights_only=True)
    return float((answer - wanted).norm() / wanted.norm())


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
