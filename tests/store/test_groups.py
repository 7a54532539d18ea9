"""Named sets of units: written once, found again, harmless when damaged or hostile."""

import pytest

from selviz.errors import SelvizError
from selviz.store import delete_group, list_groups, read_group, rename_group, write_group

UNITS = {"relu1": [3, 1, 3], "relu4": [0]}


def test_a_group_is_read_back_as_it_was_written(tmp_path):
    key = write_group(tmp_path, UNITS, "  cat   units ", "a-run")
    assert read_group(tmp_path, key) == {"name": "cat units", "run": "a-run", "units": {"relu1": [1, 3], "relu4": [0]}}


def test_the_same_group_is_one_file_and_another_name_another_group(tmp_path):
    keys = [write_group(tmp_path, UNITS, name) for name in ("a", "a", "b")]
    assert keys[0] == keys[1] != keys[2]
    assert len(list((tmp_path / "groups").iterdir())) == 2


def test_only_named_groups_are_listed_and_a_damaged_one_hides_no_other(tmp_path):
    write_group(tmp_path, UNITS)
    write_group(tmp_path, UNITS, "mine", "one")
    write_group(tmp_path, UNITS, "theirs", "two")
    (tmp_path / "groups" / "0123456789ab.json").write_text("{")
    (tmp_path / "groups" / "0123456789ac.json").write_text('{"name": "odd", "units": {"relu1": ["x"]}}')
    assert list_groups(tmp_path)["name"].tolist() == ["mine", "theirs"]
    assert list_groups(tmp_path, "one")[["name", "count"]].values.tolist() == [["mine", 3]]


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "0123456789AB", "0123456789abc", "x" * 500])
def test_what_is_no_key_is_refused(tmp_path, key):
    with pytest.raises(SelvizError, match="is not the key of a group"):
        read_group(tmp_path, key)


def test_bad_groups_are_refused_in_words(tmp_path):
    with pytest.raises(SelvizError, match="at least one unit"):
        write_group(tmp_path, {"relu1": []})
    with pytest.raises(SelvizError, match="at most 80 characters"):
        write_group(tmp_path, UNITS, "x" * 81)
    with pytest.raises(SelvizError, match="Unknown group"):
        read_group(tmp_path, "0123456789ab")


def test_a_renamed_group_is_a_new_one_and_the_old_link_opens_the_same_units(tmp_path):
    old = write_group(tmp_path, UNITS, "cats", "a-run")
    new = rename_group(tmp_path, old, "dogs")
    assert list_groups(tmp_path)[["group", "name"]].values.tolist() == [[new, "dogs"]]
    assert read_group(tmp_path, old)["units"] == read_group(tmp_path, new)["units"] == {"relu1": [1, 3], "relu4": [0]}
    assert (read_group(tmp_path, old)["name"], read_group(tmp_path, new)["run"]) == ("cats", "a-run")
    assert rename_group(tmp_path, old, "cats") == old
    assert list_groups(tmp_path)["name"].tolist() == ["cats", "dogs"]


def test_a_group_can_keep_its_name_and_needs_one(tmp_path):
    key = write_group(tmp_path, UNITS, "cats")
    assert rename_group(tmp_path, key, " cats ") == key
    assert list_groups(tmp_path)["group"].tolist() == [key]
    with pytest.raises(SelvizError, match="needs a name"):
        rename_group(tmp_path, key, "  ")
    with pytest.raises(SelvizError, match="Unknown group"):
        rename_group(tmp_path, "0123456789ab", "x")


def test_a_deleted_group_is_gone_and_says_so(tmp_path):
    kept, key = write_group(tmp_path, UNITS, "kept"), write_group(tmp_path, UNITS, "gone")
    delete_group(tmp_path, key)
    assert list_groups(tmp_path)["group"].tolist() == [kept]
    for again in (read_group, delete_group):
        with pytest.raises(SelvizError, match="Unknown group"):
            again(tmp_path, key)


def test_a_link_to_the_old_name_ends_with_the_group_under_that_name(tmp_path):
    old = write_group(tmp_path, UNITS, "cats")
    new = rename_group(tmp_path, old, "dogs")
    delete_group(tmp_path, old)
    with pytest.raises(SelvizError, match="Unknown group"):
        read_group(tmp_path, old)
    assert list_groups(tmp_path)["group"].tolist() == [new]


def test_numbers_of_images_that_are_none_are_one_sentence(tiny_store, tiny_run):
    for images in ("-", [None], [float("nan")], [float("inf")], 5):
        with pytest.raises(SelvizError, match="are no numbers of images"):
            tiny_store.thumbnails(tiny_run, images)
    assert list(tiny_store.thumbnails(tiny_run, [0, -1, 10**30])) == [0]


def test_a_name_with_half_a_character_is_one_sentence_and_no_file(tmp_path):
    with pytest.raises(SelvizError, match="is half a character"):
        write_group(tmp_path, {"relu1": [1]}, "cats \ud800")
    assert list(tmp_path.rglob("*.json")) == []
