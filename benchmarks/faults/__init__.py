"""Parts of `benchmarks/reliability.py`: the cases and their tests, the long forms, what diffusers does."""

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "faults"), str(_TESTS / "text")]  # the suite's own inputs
