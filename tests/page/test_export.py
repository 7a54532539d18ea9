"""Tables and figures leave the dashboard as files that other programs read and that say where they come from."""

import io
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pyarrow.parquet
import pytest

from app.page import export

ABOUT = {"selviz": "0.1.0", "address": "http://localhost/unit?layer=<b>&unit=3", "citation": export.citation()}


def odd_table() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "number": [1.5, np.nan],
            "text": ["a,\"b\"\nc", None],
            "list": [np.array([1, 2]), None],
            "struct": [{"a": 1}, {"a": 2}],
            "blob": [bytearray(b"\x80"), None],
            "mixed": [1, "x"],
            "class": pd.Categorical(["zero", None]),
        }
    )  # fmt: skip
    return pd.concat([table, pd.DataFrame({"number": [7, 8]})], axis=1)


def test_csv_holds_any_table_and_a_head_of_different_names():
    found = pd.read_csv(io.BytesIO(export.csv(odd_table())), dtype={"blob": str})
    assert found.columns.tolist() == ["number", "text", "list", "struct", "blob", "mixed", "class", "number_2"]
    assert found["text"][0] == 'a,"b"\nc'
    assert json.loads(found["list"][0]) == [1, 2] and json.loads(found["struct"][1]) == {"a": 2}
    assert (found["blob"][0], found["number"].isna().tolist()) == ("80", [False, True])


def test_parquet_holds_any_table_and_where_it_comes_from():
    table = pyarrow.parquet.read_table(io.BytesIO(export.parquet(odd_table(), ABOUT)))
    assert table.schema.metadata[b"selviz.address"].decode() == ABOUT["address"]
    assert "arxiv.org/abs/2003.01262" in table.schema.metadata[b"selviz.citation"].decode()
    assert table["number"].to_pylist() == [1.5, None] and table["number_2"].to_pylist() == [7, 8]
    assert table["list"].to_pylist() == [[1, 2], None]
    assert table["mixed"].to_pylist() == ["1", "x"]


def test_the_page_of_a_figure_needs_no_network_and_shows_text_as_text():
    figure = go.Figure(go.Scatter(x=[1], y=[2], text=["</script><script>alert(1)</script>"]))
    made = export.page(figure, "SI & <b>depth</b>", "read </script> this", ABOUT, dark=True).decode()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", made)
    assert len(made) == pytest.approx(export.PAGE_MEGABYTES * 1e6, rel=0.02)
    assert "<h1>SI &amp; &lt;b&gt;depth&lt;/b&gt;</h1>" in made
    assert "<dd>http://localhost/unit?layer=&lt;b&gt;&amp;unit=3</dd>" in made
    assert "<script>alert(1)" not in made
    (facts,) = re.findall(r"const facts = (.*);\n", made)
    assert json.loads(facts)["desc"].startswith("read </script> this\nselviz: 0.1.0\naddress: http://")


def test_the_figure_on_the_page_stays_as_it_is():
    figure = go.Figure(go.Scatter(x=[1], y=[2])).update_xaxes(fixedrange=True)
    before = figure.to_dict()
    export.page(figure, "title", "how", ABOUT)
    assert figure.to_dict() == before


def test_a_files_name_has_only_letters_that_every_system_takes():
    assert export.name("units", "../../x y", "layer4.1.relu_1", suffix=".csv") == "selviz-units-x-y-layer4.1.relu_1.csv"
    assert len(export.name("a" * 999, suffix=".csv")) < 160


def test_the_citation_is_that_of_the_repository():
    text = export.CITATION.read_text()
    told = export.citation()
    for field in ("title", "version", "url", "year"):
        for value in re.findall(rf'^[ -]*{field}: "?(.*?)"?$', text, re.M):
            assert value in told
    for name in re.findall(r"family-names: (.*)", text):
        assert name in told


def test_no_cell_and_no_head_of_a_csv_file_is_a_formula_to_a_spreadsheet():
    table = pd.DataFrame(
        {"=1+1": ["@a", "b"], "kind": pd.Categorical(["-x", "y"]), "list": [["=1"], None], "n": [-1, 2]}
    )
    rows = export.csv(table).decode().splitlines()
    assert rows == ["'=1+1,kind,list,n", '\'@a,\'-x,"[""=1""]",-1', "b,y,,2"]
