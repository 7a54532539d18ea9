"""Our networks beside the authors' curve: changes against alpha 0 of the same seed, and the authors' points as read."""

import pandas as pd
import pytest

from reproduction import authors


def rows():
    """Two seeds at alpha 0 and -1; a third at -1 has no pair."""
    return pd.DataFrame(
        {
            "alpha": [0.0, -1.0, 0.0, -1.0, -1.0],
            "seed": [0, 0, 1, 1, 2],
            "test_accuracy": [0.70, 0.72, 0.80, 0.79, 0.99],
            "mean_si_live": [0.2, 0.1, 0.4, 0.1, 0.9],
        }
    )


def test_each_network_is_held_against_alpha_0_of_its_own_seed():
    table = authors.ours(rows())
    found = table[table["alpha"] == -1].sort_values("seed")
    assert found["accuracy"].tolist() == pytest.approx([2.0, -1.0])
    assert found["times"].tolist() == pytest.approx([0.5, 0.25])


def test_the_page_has_a_line_per_alpha_of_theirs_and_ours(tmp_path):
    text = authors.section({"cifar10-16": rows(), "cifar10-16-stable": rows().iloc[:0]}, tmp_path)
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
             for line in text.splitlines() if line.startswith("|")}  # fmt: skip
    assert lines["1"][:2] == ["−2.3", "2.24"] and lines["1"][2:] == ["–"] * 6
    assert lines["−1"][:2] == ["+2.0", "0.64"] and lines["−1"][2] == "+0.5" and lines["−1"][4] == "2"
    assert len(lines) == 2 + 15
    assert (tmp_path / authors.NAME).read_text().startswith("<?xml")
