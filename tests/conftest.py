"""What every test shares."""

import gc
from contextlib import contextmanager

import pytest
import torch
from hypothesis import settings

# A busy machine is no fault of the code: no test is timed.
settings.register_profile("unnoise", deadline=None)
settings.load_profile("unnoise")

gc.disable()  # until all is imported, which is no garbage

UNTRACED = {"end_to_end", "oracle", "parity", "pipelines"}
"""Rooms of long computations: their lines are run by other rooms' tests too, and coverage makes them a fifth longer."""


def pytest_collection_modifyitems(items):
    """Files with slow tests first: whoever began one last would let the other cores wait at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        if item.path.parent.name in UNTRACED:
            item.add_marker("no_cover")


def pytest_collection_finish():
    """What is imported by now stays: no search for garbage, of which some tests ask for many, looks at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """How a process of pytest-xdist died: where a signal ended it, nothing else says which."""
    if error:
        status = node.gateway._io.popen.wait(10)
        node.config.get_terminal_writer().line(f"\n[{node.gateway.id}] ended with status {status}")


@pytest.fixture
def far_defaults():
    """A block in which new tensors go elsewhere and are of another type, as a user's own settings may have it."""

    @contextmanager
    def block(dtype=torch.float64):
        with torch.device("meta"):
            torch.set_default_dtype(dtype)
            try:
                yield
            finally:
                torch.set_default_dtype(torch.float32)

    return block
