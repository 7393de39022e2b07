"""What is freed is used again; in a process of its own, for the setting is that of the whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from unnoise.networks import heap

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        bytearray(2**26)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

new = faults()
kept = heap.keep_freed()
faults()
again = faults()
heap.hand_back()
print(kept, new, again, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing changes")
def test_kept_memory_is_not_fetched_again_until_it_is_handed_back():
    said = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    kept, new, again, after = said.split()
    if kept == "False":
        pytest.skip("not glibc")
    assert int(new) > 1000  # 64 MiB in pages of 4 KiB, or less in larger ones
    assert int(again) < int(new) / 10
    assert int(after) > int(again)
