"""`selviz groups`: a group made in a shell is the one that a link of the dashboard opens."""

import json
import shlex

import pytest

from selviz.cli import main
from selviz.store import Store, list_groups, read_group
from tests.helpers.stored import make_run


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder with one made-up run, and gives what it printed, as JSON or text."""
    run = make_run(Store(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def command(text: str):
        status = main(["groups", *shlex.split(text.replace("RUN", run))])
        out, err = capsys.readouterr()
        return json.loads(out) if status == 0 and "--json" in text else out if status == 0 else err

    command.run = run
    return command


def test_a_group_is_added_listed_shown_renamed_and_deleted(said, tmp_path):
    made = said('add RUN --units conv1.relu:2,0 --units conv2.relu:1 --name "like twos" --json')
    units = {"conv1.relu": [0, 2], "conv2.relu": [1]}
    assert made == {"group": made["group"], "name": "like twos", "run": said.run, "units": units}
    assert read_group(tmp_path / "data", made["group"])["units"] == units
    listed = {"group": made["group"], "name": "like twos", "run": said.run, "count": 3}
    assert said("list --json") == said("list digits-cnn --json") == [listed]
    renamed = said(f"rename {made['group']} --name twos --json")
    assert (renamed["name"], renamed["units"]) == ("twos", units)
    assert said(f"show {made['group']} --json")["units"] == units, "a link to the old name still opens the units"
    assert "selviz ablate" in said(f"show {renamed['group']}")
    assert said(f"delete {renamed['group']} --json") == {"deleted": renamed["group"]}
    assert list_groups(tmp_path / "data").empty and "No group has a name yet" in said("list")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("show", "Name a group."),
        ("add RUN --units conv1.relu:0", "The group needs a name"),
        ("add RUN --name x", "needs at least one unit"),
        ("add RUN --units conv1.relu:9 --name x", "Unknown unit '9': layer conv1.relu has the units 0 to 2."),
        ("add RUN --units conv9:0 --name x", "Unknown layer 'conv9'"),
        ("add other --units conv1.relu:0 --name x", "Unknown run 'other'"),
        ("rename 0123456789ab --name x", "Unknown group '0123456789ab'"),
        ("delete ../../etc", "is not the key of a group"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(said, command, told):
    answer = said(command)
    assert told in answer and answer.startswith("selviz: ") and "Traceback" not in answer
