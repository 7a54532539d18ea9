"""Data sets that come along are the very images that older runs were made with."""

import pytest

from selviz.datasets import load


@pytest.mark.parametrize(
    ("name", "fingerprint", "training", "evaluation"),
    [("mnist-5k", "e6559ca0e934f8f0", 4000, 1000), ("digits", "4306a6fb54a92460", 1258, 539)],
)
def test_a_bundled_data_set_has_the_fingerprint_that_it_always_had(name, fingerprint, training, evaluation):
    dataset = load(name)
    assert dataset.fingerprint == fingerprint
    assert (len(dataset.train_labels), len(dataset.eval_labels)) == (training, evaluation)
