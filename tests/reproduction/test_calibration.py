"""The calibration: what it says of rows that keep what is asked, of those that do not, and where it writes them."""

import json

import pytest

from reproduction import calibration

ROW = {
    "name": "necessary", "rejection_rate": 0.05, "rejection_low": 0.04, "rejection_high": 0.06,
    "supported_at_smallest": 0.01, "refuted_at_smallest": 0.03, "power_planned": 0.8, "power_observed": 0.82,
    "coverage": 0.95,
}  # fmt: skip
DOCUMENT = {"tests": 1000, "pilots": 200, "seed": 0, "seeds_tests": 4000, "templates": [ROW], "over_seeds": []}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "All 1 kinds keep it."),
        ({"rejection_rate": 0.08}, "Not kept: necessary rejects a true null in 8.0 %."),
        ({"supported_at_smallest": 0.06}, "Not kept: necessary supports exactly the smallest effect in 6.0 %."),
        ({"power_planned": 0.9}, "Not kept: necessary plans 8 points too much power."),
        ({"power_planned": 0.7}, "Not kept: necessary plans 12 points too little power."),
        ({"coverage": 0.92}, "Not kept: necessary has intervals that hold the effect in 92.0 %."),
    ],
)
def test_what_a_kind_of_test_does_not_keep_stands_under_the_table(change, told):
    assert told in calibration.markdown({**DOCUMENT, "templates": [ROW | change]})


def test_the_tables_take_the_place_between_the_marks_and_leave_the_rest(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{calibration.BEGIN}\na table of before\n{calibration.END}\nafter\n")
    calibration.write_docs(page, DOCUMENT)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "a table of before" not in text
    assert "| necessary | 5.0 % (4.0 to 6.0) | 1.0 % | 3.0 % | 0.80 | 0.82 | 95.0 % |" in text


def test_a_calibration_goes_on_where_it_was_left(tmp_path, monkeypatch, capsys):
    output = tmp_path / "rows.json"
    command = ["x", "--tests", "20", "--pilots", "2", "--output", str(output)]
    monkeypatch.setattr("sys.argv", [*command, "--template", "alpha: cost"])
    calibration.main()
    first = json.loads(output.read_text())
    monkeypatch.setattr("sys.argv", [*command, "--template", "alpha: cost", "--template", "necessary"])
    calibration.main()
    both = json.loads(output.read_text())
    assert [row["name"] for row in both["templates"]] == ["necessary", "alpha: cost"]
    assert both["templates"][1] == first["templates"][0]  # it was not made again
    assert capsys.readouterr().err.count("alpha: cost") == 1
