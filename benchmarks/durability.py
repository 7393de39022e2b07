"""Fifty kills and a full disk: what a run resumes from afterwards, ours beside accelerate's `save_state`.

A process does nothing but save, and is killed (SIGKILL) at a random moment of it, again and again; then its disk is
full (no file may grow past 3 MB: the weights fit, the moments do not). After each the run is resumed. "whole" is: the
newest state that was told to be saved, or a newer one, with weights and optimizer of one step. Each kill begins from
a state that was saved whole.

    python benchmarks/durability.py [--kills 50] [--seed 0]

accelerate is used in its two customary ways: into one folder, and as diffusers' training scripts do, into a folder a
step, the oldest removed before the new one is written, and resumed from the one of the highest number.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import accelerate
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unnoise.training import checkpoints

SIDE = 700  # 2 MB of weights and 4 MB of moments
KEPT = 2


class Ours:
    """Checkpoints of `unnoise.training`."""

    name = "unnoise"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int) -> None:
        """Save the state of a step: every number is the step's."""
        value = torch.full((SIDE, SIDE), float(step))
        with checkpoints.building(self.folder, step) as into:
            save_file({"w": value}, into / "weights.safetensors")
            save_file({"a": value, "b": value.clone()}, into / "optimizer.safetensors")
        checkpoints.kept(self.folder, step, KEPT)

    def resume(self) -> list[Tensor]:
        """The tensors of weights and optimizer that a run would go on with."""
        found, _ = checkpoints.swept(self.folder)
        tensors = [load_file(found.folder / f"{name}.safetensors") for name in ("weights", "optimizer")]
        return [tensor for file in tensors for tensor in file.values()]


class Accelerate:
    """One folder, written again at each save."""

    name = f"accelerate {accelerate.__version__}, one folder"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.accelerator = accelerate.Accelerator(cpu=True)
        model = nn.Linear(SIDE, SIDE, bias=False)
        self.model, self.optimizer = self.accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
        self.model(torch.zeros(1, SIDE)).sum().backward()
        self.optimizer.step()

    def tensors(self) -> list[Tensor]:
        """Weights and moments, live."""
        moments = [
            t for state in self.optimizer.state.values() for name, t in state.items() if name != "step"
        ]
        return [self.model.weight.data, *moments]

    def place(self, step: int) -> Path:
        """Where the state of a step goes."""
        return self.folder / "state"

    def save(self, step: int) -> None:
        """As `Ours.save`."""
        for tensor in self.tensors():
            tensor.fill_(step)
        self.accelerator.save_state(str(self.place(step)))

    def newest(self) -> Path:
        """What a run resumes from."""
        return self.folder / "state"

    def resume(self) -> list[Tensor]:
        """As `Ours.resume`."""
        self.accelerator.load_state(str(self.newest()))
        return self.tensors()


class AccelerateByStep(Accelerate):
    """A folder a step, as diffusers' scripts keep them with --checkpoints_total_limit."""

    name = f"accelerate {accelerate.__version__}, a folder a step"

    def place(self, step: int) -> Path:
        """A folder of its own."""
        return self.folder / f"checkpoint-{step}"

    def save(self, step: int) -> None:
        """Remove what is too old, then save."""
        old = self.folders()
        for folder in old[: max(0, len(old) - KEPT + 1)]:
            shutil.rmtree(folder)
        super().save(step)

    def folders(self) -> list[Path]:
        """Folders by step, oldest first."""
        return sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))

    def newest(self) -> Path:
        """The folder of the highest step."""
        return self.folders()[-1]


def child(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork; returns the process and what it writes."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    os.close(reader)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            work(writer)
        except BaseException:
            os.write(writer, ("!" + traceback.format_exc().splitlines()[-1]).encode())
    os._exit(0)


def saving(side: Ours | Accelerate) -> Callable[[int], None]:
    def work(writer: int) -> None:
        step = 0
        while True:
            step += 1
            side.save(step)
            os.write(writer, f"{step} ".encode())

    return work


def heard(reader: int) -> str:
    parts = []
    while part := os.read(reader, 4096):
        parts.append(part)
    os.close(reader)
    return b"".join(parts).decode()


def resumed(side: Ours | Accelerate, told: int) -> str:
    """What a new process makes of the folder: "whole", or what went wrong."""

    def work(writer: int) -> None:
        values = {float(value) for tensor in side.resume() for value in tensor.unique()}
        if len(values) > 1:
            os.write(writer, b"!states of two steps mixed")
        else:
            os.write(writer, str(int(values.pop())).encode())

    process, reader = child(work)
    answer = heard(reader)
    os.waitpid(process, 0)
    if answer.startswith("!"):
        return "mixed" if "two steps" in answer else "refused"
    return "whole" if int(answer) >= told else "older"


def killed(side: Ours | Accelerate, draw: random.Random) -> str:
    shutil.rmtree(side.folder, ignore_errors=True)
    side.folder.mkdir(parents=True)
    process, reader = child(saving(side))
    told = b""
    begun = time.perf_counter()
    while told.count(b" ") < 2:  # then the next ones take about as long
        told += os.read(reader, 64)
    time.sleep(draw.uniform(0.0, 1.5 * (time.perf_counter() - begun)))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    told += heard(reader).encode()
    return resumed(side, int(told.split()[-1]))


def full(side: Ours | Accelerate) -> str:
    shutil.rmtree(side.folder, ignore_errors=True)
    side.folder.mkdir(parents=True)

    def work(writer: int) -> None:
        side.save(1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
        side.save(2)

    process, reader = child(work)
    error = heard(reader)
    os.waitpid(process, 0)
    return f"{'told' if error else 'not told'}, then {resumed(side, 1)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| saved by | kills | resumed whole | refused to load | mixed | an older one | disk full |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in (Ours, Accelerate, AccelerateByStep):
            draw = random.Random(options.seed)
            side = kind(Path(folder) / "run")
            found = collections.Counter(killed(side, draw) for _ in range(options.kills))
            counts = " | ".join(str(found[name]) for name in ("whole", "refused", "mixed", "older"))
            print(f"| {side.name} | {options.kills} | {counts} | {full(side)} |", flush=True)


if __name__ == "__main__":
    main()
