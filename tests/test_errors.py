"""What a user reads after a slip: what is wrong, what was probably meant, what there is."""

from selviz.errors import SelvizError, near, unknown


def test_an_unknown_name_comes_with_the_near_ones_the_known_ones_and_the_fix():
    error = unknown("layer", "conv9", ["conv1", "conv2", "pool"], fix="See: selviz layers RUN")
    assert isinstance(error, SelvizError)
    assert str(error) == (
        "Unknown layer 'conv9'; did you mean 'conv2' or 'conv1'? Known layers: conv1, conv2, pool. "
        "See: selviz layers RUN"
    )


def test_a_name_that_resembles_none_gets_the_list_alone():
    assert str(unknown("class", "zzz", ["cat", "dog"])) == "Unknown class 'zzz'. Known classes: cat, dog."
    assert "Known options of single: class." in str(unknown("option of single", "zzz", ["class"]))
    assert str(unknown("run", "zzz", [])) == "Unknown run 'zzz'."


def test_a_long_list_is_cut_and_says_by_how_much():
    text = str(unknown("unit", "x", [f"unit {number}" for number in range(40)]))
    assert text.endswith("unit 10, unit 11 and 28 more.")


def test_near_names_are_found_whatever_their_case_or_by_their_beginning():
    assert near("RESNET2", ["resnet20", "cnn"]) == ["resnet20"]
    assert near("mnist", ["mnist-5k-cnn-a-5-s0-3fa9c2d1", "digits"]) == ["mnist-5k-cnn-a-5-s0-3fa9c2d1"]
    assert near("", ["cnn"]) == []
    assert near(None, ["cnn"]) == []
