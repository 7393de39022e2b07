"""The scoreboard of benchmarks/reliability.py names tests that exist, and the page shows its cases."""

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cases():
    path = ROOT / "benchmarks" / "faults" / "cases.py"
    spec = importlib.util.spec_from_file_location("scoreboard_cases", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scoreboard_cases"] = module  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    return module.CASES


def test_every_case_names_tests_that_there_are():
    found = cases()
    assert [case.number for case in found] == list(range(1, 33))
    assert [case.number for case in found if not case.tests] == [20]  # for want of a second device
    for case in found:
        for name in case.tests:
            file, _, test = name.partition("::")
            written = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test.partition('[')[0]}\(", written, re.MULTILINE), name


def test_the_page_shows_the_cases_as_they_are():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    for case in cases():
        assert f"| {case.number} | {case.fault} | {case.expected} | " in page, case.number
