"""Train the shipped model on for so many minutes, on a GPU or whatever there is, and export what came of it.

    python recipes/emoji/go_on.py build/emoji64 build/further --minutes 9

Makes the data if it is not there, trains a little to see how many pictures a second pass, then plans as many steps as
the rest of the time has room for: a learning rate falls to zero at the end of a plan, and only there is a model good.
Its settings are those of go-on.toml; `--set run.batch=16` and the like change single ones. Started again with the same
folder and settings it goes on. Then `evaluate.py build/further/model SET ...`.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from unnoise.training import settings

HERE = Path(__file__).parent
STYLES = "noto,noto-v1,flat,3d"
UNPLANNED = 1_000_000
"""Steps that are planned while the rate is unknown."""
EXPORT = 40.0
"""Seconds that are kept for exporting."""


def command(options: argparse.Namespace, steps: int, *more: str) -> list[str]:
    """`unnoise train` for so many steps."""
    folders = [str(options.out / "data"), "--out", str(options.out / "run")]
    told = ["--config", str(HERE / "go-on.toml"), "--steps", str(steps)]
    changes = [f"--set={change}" for change in options.changes]
    return [sys.executable, "-m", "unnoise", "train", *folders, *told, *changes, *more]


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
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="KEY=VALUE",
        help="as of `unnoise train`",
    )
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes - EXPORT
    data, run = options.out / "data", options.out / "run"
    if not data.exists():
        made = [str(options.set), str(data), "--wide", "--all", "--styles", STYLES]
        subprocess.run([sys.executable, str(HERE / "make_data.py"), *made], check=True)
    if not (run / "log.jsonl").exists():
        passing, done = rate(options)
        batch = settings.read(run / "config.toml").run.batch
        steps = done + int(passing * max(end - time.monotonic(), 0.0) / batch)
        print(f"{passing:.0f} pictures a second: {steps} steps", flush=True)
        (options.out / "steps").write_text(str(steps), encoding="utf-8")
    steps = int((options.out / "steps").read_text(encoding="utf-8"))
    subprocess.run(command(options, steps, "--resume"), check=True)
    exported = [str(run), str(options.set), str(options.out / "model")]
    subprocess.run([sys.executable, str(HERE / "export.py"), *exported], check=True)


if __name__ == "__main__":
    main()
