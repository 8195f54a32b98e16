"""One thread for torch: on tensors this small more threads cost ten times what they save."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch = pytest.importorskip("torch", reason="a port in torch: install minibert[oracle]")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
