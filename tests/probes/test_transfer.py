import pytest
import torch

from probes.processes import Processes
from probes.transfer import Transfer


def test_on_the_host_it_has_arrived_at_once():
    vector = torch.arange(5, dtype=torch.float64)
    transfer = Transfer(vector, Processes())
    assert transfer.has_arrived()
    assert not transfer.is_beside
    assert transfer.wait().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_an_accelerator_it_takes_what_the_training_stream_had_made_by_then():
    """And neither what that stream makes later, nor memory that it was given back."""
    for size in (10, 1_000_000):
        vector = torch.zeros(size, dtype=torch.float64, device="cuda")
        torch.cuda._sleep(100_000_000)
        vector += 1
        transfer = Transfer(vector, Processes())
        assert transfer.is_beside
        assert not transfer.has_arrived()
        del vector
        torch.full((size,), 7.0, dtype=torch.float64, device="cuda")
        assert (transfer.wait() == 1).all()
        assert transfer.has_arrived()
