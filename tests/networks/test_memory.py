"""How much memory is left, on stand-ins for the system's tables."""

import pytest

from unnoise.networks.memory import free_memory, listed

GIB = 2**30


def system(root, groups, files, available=16 * GIB):
    """A folder in the shape of a machine's tables. groups: lines of /proc/self/cgroup. files: below /sys/fs/cgroup."""
    told = {
        "proc/meminfo": f"MemTotal:  99 kB\nMemAvailable:  {available >> 10} kB\n",
        "proc/self/cgroup": groups,
    }
    told |= {f"sys/fs/cgroup/{name}": f"{text}\n" for name, text in files.items()}
    for name, text in told.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return free_memory("cpu", root)


def test_a_container_has_what_its_limit_leaves_and_files_that_can_be_dropped(tmp_path):
    files = {
        "memory.max": 4 * GIB,
        "memory.current": 3 * GIB,
        "memory.stat": f"anon 5\ninactive_file {GIB // 2}",
    }
    assert system(tmp_path, "0::/\n", files) == 3 * GIB // 2


def test_without_a_limit_it_is_what_the_system_has(tmp_path):
    assert system(tmp_path, "0::/\n", {"memory.max": "max", "memory.current": 3 * GIB}) == 16 * GIB


def test_a_limit_above_what_the_system_has_is_none(tmp_path):
    assert system(tmp_path, "0::/\n", {"memory.max": 64 * GIB, "memory.current": GIB}, available=GIB) == GIB


def test_the_narrowest_group_counts_and_one_that_is_full_leaves_nothing(tmp_path):
    files = {"job/memory.max": 8 * GIB, "job/memory.current": 2 * GIB}
    files |= {"job/step/memory.max": "max", "job/step/memory.current": GIB}
    assert system(tmp_path, "0::/job/step\n", files) == 6 * GIB
    assert system(tmp_path, "0::/job/step\n", {"job/step/memory.max": GIB // 2}) == 0


@pytest.mark.parametrize("place", ["/", "/docker/0123", "/../outside"])
def test_version_1_is_read_too_whatever_its_group_is_called_outside(tmp_path, place):
    files = {"memory/memory.limit_in_bytes": 2 * GIB, "memory/memory.usage_in_bytes": GIB}
    files["memory/memory.stat"] = f"inactive_file 7\ntotal_inactive_file {GIB // 4}"
    assert system(tmp_path, f"12:cpu,cpuacct:{place}\n4:memory:{place}\n0::/\n", files) == 5 * GIB // 4


def test_a_table_of_the_system_is_read_by_whole_names(tmp_path):
    (tmp_path / "table").write_text("VmRSSes: 1 kB\nVmRSS:\t 20 kB\n")
    assert listed(tmp_path / "table", "VmRSS") == 20 * 1024
    assert listed(tmp_path / "table", "Vm") is None
    assert listed(tmp_path / "none", "VmRSS") is None


def test_this_machine_tells_something():
    assert free_memory() is None or free_memory() > 0
