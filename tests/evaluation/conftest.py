import pytest
import torch

from tiny_model import tiny_model
from unnoise.pipelines import TextToImage


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small compute faster than threads can wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pipe():
    return TextToImage(tiny_model())
