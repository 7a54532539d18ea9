"""Files of tensors that the system does not let be opened are never called missing or damaged, whoever reads them."""

import pytest

from selviz.errors import ExhaustedError, SelvizError
from selviz.hypotheses.run_identity import _network
from selviz.networks.checkpoints import read_checkpoint
from selviz.runs.weights import read_weights
from selviz.store.files import WEIGHTS
from tests.helpers.open_files import files_left

READERS = {
    "weights of a run": lambda folder: read_weights(folder, folder / WEIGHTS),
    "a checkpoint": lambda folder: read_checkpoint(folder / WEIGHTS),
    "what a claim says of a network": lambda folder: _network(folder / WEIGHTS, "another checksum"),
}


def what_is_raised(read, folder):
    try:
        read(folder)
    except SelvizError as error:
        return error
    return None


@pytest.mark.parametrize("reader", READERS)
def test_a_process_that_may_open_no_more_files_is_told_so(reader, own_store, tiny_run):
    folder = own_store.run_path(tiny_run)
    read, refused = READERS[reader], 0
    assert read(folder)  # with what it imports
    _network.cache_clear()
    for number in range(8):
        with files_left(number):
            error = what_is_raised(read, folder)
        if error is None:
            break
        refused += 1
        assert isinstance(error, ExhaustedError) and "as many files open as it may" in str(error), error
    assert 1 <= refused < 8
    assert read(folder)


def test_a_link_that_leads_nowhere_is_missing(own_store, tiny_run):
    weights = own_store.run_path(tiny_run) / WEIGHTS
    weights.rename(weights.with_name("elsewhere"))
    weights.symlink_to("nowhere")
    with pytest.raises(SelvizError, match="is missing"):
        read_weights(weights.parent, weights)
