"""What the system does not let be listed is never taken for empty: no image or file is left out without a word."""

import pytest

from selviz.datasets.folders import list_files
from selviz.datasets.split_folders import folders_in, folders_with_images
from selviz.errors import TransientError
from selviz.robustness import corrupted_sets
from selviz.runs import background_jobs
from selviz.store.integrity import checksums
from selviz.system.listing import files_in, names_in
from tests.helpers.open_files import files_left


@pytest.fixture
def pictures(tmp_path):
    """Two classes, one with its images in a folder of its own: a/1.png, b/deep/2.png."""
    for path in (tmp_path / "a" / "1.png", tmp_path / "b" / "deep" / "2.png"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: list_files(folder, ["a", "b"]),
        folders_in,
        folders_with_images,
        corrupted_sets.names,
        checksums,
        lambda folder: files_in(folder / "a", ".png"),
    ],
)
def test_a_folder_that_cannot_be_listed_now_is_told(read, pictures):
    with files_left(0), pytest.raises(TransientError, match="as many files open as it may"):
        read(pictures)


def test_the_folder_of_a_class_counts_whole_or_not_at_all(pictures):
    refused = 0
    while True:
        with files_left(refused):
            try:
                files = list_files(pictures, ["a", "b"])
                break
            except TransientError:
                refused += 1
    assert refused >= 1 and len(files.paths) == 2


def test_jobs_that_cannot_be_listed_now_are_told(tmp_path):
    (tmp_path / "jobs").mkdir()
    with files_left(0), pytest.raises(TransientError):
        background_jobs.names(tmp_path)


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert names_in(tmp_path / "nowhere") == ([], [])
    assert files_in(tmp_path / "nowhere", ".png") == []
