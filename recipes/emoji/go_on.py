"""Train the shipped model on for so many minutes, on a GPU or whatever there is, and export what came of it.

    python recipes/emoji/go_on.py build/emoji64 build/further --minutes 9

Makes the data if it is not there, trains a little to see how many pictures a second pass, then plans as many steps as
the rest of the time has room for: a learning rate falls to zero at the end of a plan, and only there is a model good.
Started again with the same folder it goes on. Then `evaluate.py build/further/model SET ...`.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
STYLES = "noto,noto-v1,flat,3d"
UNPLANNED = 1_000_000
"""Steps that are planned while the rate is unknown."""
EXPORT = 40.0
"""Seconds that are kept for exporting."""


def command(options: argparse.Namespace, steps: int, *more: str) -> list[str]:
    """`unnoise train` for so many steps; `--finetune` takes the words from the model."""
    settings = {
        "finetune.text_encoder": "true",
        "loss.times": "log_normal",
        "loss.mean": "-0.1",
        "loss.std": "1.5",
        "loss.caption_dropout": "0.1",
        "optimizer.ema": "0.999",
        "optimizer.warmup": "100",
        "data.repeats": "true",
        "run.precision": "bfloat16",
        "run.log_every": str(options.look),
        "run.checkpoint_every": "500",
        "run.keep": "2",
        "run.sample_every": "0",
        "run.validate_every": "0",
        "run.workers": str(options.workers),
    }
    told = [f"--set={key}={value}" for key, value in settings.items()]
    told += ["--steps", str(steps), "--batch", str(options.batch), "--lr", str(options.lr), "--seed", "15"]
    run = [
        sys.executable,
        "-m",
        "unnoise",
        "train",
        str(options.out / "data"),
        "--out",
        str(options.out / "run"),
    ]
    return [*run, "--finetune", options.model, *told, *more]


def seen(out: Path) -> list[dict[str, float]]:
    """The steps that the run's log tells of."""
    log = out / "run" / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [row for row in map(json.loads, lines) if "images_per_second" in row]


def rate(options: argparse.Namespace) -> tuple[float, int]:
    """Pictures a second, and the step that was reached while they were counted."""
    trial = subprocess.Popen(command(options, UNPLANNED))
    while len(seen(options.out)) < 4:
        time.sleep(0.5)
        if trial.poll() is not None:
            raise SystemExit(f"training stopped with status {trial.returncode}; its words are above.")
    trial.send_signal(signal.SIGINT)  # it saves, and ends
    trial.wait()
    rows = seen(options.out)
    return max(row["images_per_second"] for row in rows), int(rows[-1]["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=9.0, help="in all, data and export included")
    parser.add_argument("--model", default="emoji", help="where to go on from")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--look", type=int, default=25, help="steps between lines of the log")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes - EXPORT
    data, run = options.out / "data", options.out / "run"
    if not data.exists():
        made = [str(options.set), str(data), "--wide", "--all", "--styles", STYLES]
        subprocess.run([sys.executable, str(HERE / "make_data.py"), *made], check=True)
    if not (run / "log.jsonl").exists():
        passing, done = rate(options)
        steps = done + int(passing * max(end - time.monotonic(), 0.0) / options.batch)
        print(f"{passing:.0f} pictures a second: {steps} steps", flush=True)
        (options.out / "steps").write_text(str(steps), encoding="utf-8")
    steps = int((options.out / "steps").read_text(encoding="utf-8"))
    subprocess.run(command(options, steps, "--resume"), check=True)
    exported = [str(run), str(options.set), str(options.out / "model")]
    subprocess.run([sys.executable, str(HERE / "export.py"), *exported], check=True)


if __name__ == "__main__":
    main()
