"""A setting of a run is described once: commands, Train page and reference follow from its field."""

from pathlib import Path

import pytest

from selviz.cli import parser, reference
from selviz.config import IMAGE_SETTINGS, SETTINGS, TRAINING_SETTINGS, RunConfig, parse_values
from selviz.errors import SelvizError

ROOT = Path(__file__).parents[2]
TRAIN = ["train", "--dataset", "digits", "--model", "cnn"]


def test_every_setting_is_an_option_of_train_with_the_same_default():
    args = vars(parser().parse_args(TRAIN))
    given = {name: args[name] for name in SETTINGS}
    assert RunConfig(**given) == RunConfig("digits", "cnn")
    assert set(SETTINGS) == {"dataset", "model", *TRAINING_SETTINGS, *IMAGE_SETTINGS}


@pytest.mark.parametrize("name", TRAINING_SETTINGS)
def test_sweep_takes_several_values_of_every_setting_of_training(name):
    value = SETTINGS[name].choices[-1] if SETTINGS[name].choices else str(SETTINGS[name].default)
    args = parser().parse_args(
        ["sweep", "--dataset", "digits", "--model", "cnn", f"{SETTINGS[name].sweep_option}={value}"]
    )
    assert parse_values(name, getattr(args, name)) == [SETTINGS[name].type(value)]


@pytest.mark.parametrize("name", reference.PAGES)
def test_each_reference_page_is_that_of_the_code(name):
    page = (ROOT / "docs" / name).read_text()
    assert page == reference.PAGES[name](), "write them again: python -m selviz.cli.reference docs"


@pytest.mark.parametrize(("text", "values"), [("-1,0.5", [-1.0, 0.5]), (" 2 , 3", [2.0, 3.0]), ("1e-1", [0.1])])
def test_numbers_of_a_sweep_may_be_negative_and_have_spaces(text, values):
    assert parse_values("alpha", text) == values


@pytest.mark.parametrize("text", ["0-x", "1.5", "5-1", "0-100000"])
def test_a_range_of_a_sweep_that_cannot_be_read_names_the_option(text):
    with pytest.raises(SelvizError, match="--seeds=0-4 or 0,2,5"):
        parse_values("seed", text)
