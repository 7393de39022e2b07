"""What every test shares."""

from contextlib import contextmanager

import pytest
import torch
from hypothesis import settings

# A busy machine is no fault of the code: no test is timed.
settings.register_profile("unnoise", deadline=None)
settings.load_profile("unnoise")


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
