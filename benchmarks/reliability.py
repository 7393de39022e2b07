"""The scoreboard of reliability: thirty-two inputs and faults, ours by the suite's own tests, some beside diffusers.

    python benchmarks/reliability.py [--only 6 8 16] [--table] [--json FILE] [--no-long] [--no-peer]

Of each case the tests that show it are run (by name, in one pytest), then its long form where it has one: fifty kills,
the system calls of a save, five hundred jobs with twenty changes of the model, a hundred requests at once. Where a few
lines suffice diffusers and accelerate are given the same input, and what they do is judged by the same sentence. A case
passes when every test and its long form pass; one that cannot be measured here, for want of a GPU, is not counted as
passed. Printed is JSON with versions, verdicts and what was seen; with --table the table of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from faults.cases import CASES, Case

from faults import long_forms, peer

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "unnoise",
    "torch",
    "diffusers",
    "accelerate",
    "transformers",
    "safetensors",
    "pillow",
    "starlette",
)


def tested(cases: list[Case]) -> dict[str, list[str]]:
    """Outcome of every test that the cases name, by its name without parameters: "passed", or why it did not."""
    asked = sorted({test for case in cases for test in case.tests})
    if not asked:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
            *asked,
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        sys.stderr.write(done.stdout[-3000:])
        found: dict[str, list[str]] = {test: [] for test in asked}
        for test in ElementTree.parse(report).iter("testcase"):
            name = f"{test.get('file')}::{test.get('name')}"
            for each in asked:
                if name == each or name.startswith(f"{each}["):
                    found[each].append(outcome(test))
    return found


def outcome(test: ElementTree.Element) -> str:
    for child in test:
        if child.tag in ("failure", "error", "skipped"):
            return f"{child.tag}: {(child.get('message') or '').splitlines()[:1]}"
    return "passed"


def ran(work: Callable[[], tuple[bool | None, str]]) -> dict[str, Any]:
    """(verdict, what was seen) of a piece of work; whatever it raises is no pass."""
    begun = time.perf_counter()
    try:
        passed, seen = work()
    except Exception as error:
        traceback.print_exc()
        passed, seen = False, f"{type(error).__name__}: {error}"
    return {"passed": passed, "seen": seen, "seconds": round(time.perf_counter() - begun, 1)}


def judged(case: Case, tests: dict[str, list[str]], options: argparse.Namespace) -> dict[str, Any]:
    outcomes = [outcome for test in case.tests for outcome in tests[test] or ["error: there is no such test"]]
    bad = sorted({outcome for outcome in outcomes if outcome != "passed"})
    told: dict[str, Any] = {"case": case.number, "fault": case.fault, "expected": case.expected}
    told["tests"] = {
        "names": list(case.tests),
        "run": len(outcomes),
        "passed": outcomes.count("passed"),
        "else": bad,
    }
    long, rival = long_forms.FORMS.get(case.number), peer.ROWS.get(case.number)
    if long is not None and (case.needs_long or not options.no_long):
        told["long"] = ran(long)
    verdicts = [not bad] if case.tests else []
    verdicts += [told["long"]["passed"]] if "long" in told else []
    told["passed"] = None if None in verdicts else all(verdicts)
    if rival is not None and not options.no_peer:
        told["peer"] = ran(rival)
    return told


def row(told: dict[str, Any]) -> str:
    words = {True: "pass", False: "**fail**", None: "not measured here"}
    ours = words[told["passed"]]
    if told["tests"]["run"]:
        ours += f": {told['tests']['passed']} of {told['tests']['run']} tests"
    ours += f"; {told['long']['seen']}" if "long" in told else ""
    theirs = f"{words[told['peer']['passed']]}: {told['peer']['seen']}" if "peer" in told else "–"
    return f"| {told['case']} | {told['fault']} | {told['expected']} | {ours} | {theirs} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="+", default=[case.number for case in CASES])
    parser.add_argument("--table", action="store_true", help="Markdown after the JSON")
    parser.add_argument("--json", type=Path, help="a file for the JSON as well")
    parser.add_argument("--no-long", action="store_true", help="the suite's tests alone")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    options = parser.parse_args()
    cases = [case for case in CASES if case.number in options.only]
    tests = tested(cases)
    rows = [judged(case, tests, options) for case in cases]
    report = {
        "passed": f"{sum(row['passed'] is True for row in rows)} / {len(rows)}",
        "versions": {name: metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version(), "system": platform.system()},
        "cases": rows,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.table:
        print("\n| # | input or fault | expected | unnoise | diffusers |\n|---|---|---|---|---|")
        print("\n".join(map(row, rows)))


if __name__ == "__main__":
    main()
