import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """As the worker computes networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
