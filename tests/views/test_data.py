"""The data page: questions in SQL, what the tables mean, and what a link to a question holds."""

import json
import shlex
import shutil

import pytest

from app.views.data import examples, sql_console
from selviz.cli import main, parser
from selviz.store import TABLES, schema
from selviz.testing.dashboard import switch_page
from tests.helpers.pages import address_of, text


def ask(page, query: str):
    return page.text_area[0].set_value(query).run()


def test_the_page_opens_with_the_first_example_answered(visit, tiny_store):
    page = visit(tiny_store, "data")
    expected = tiny_store.sql("select run, layer, unit, si from units where not dead order by si desc limit 20")
    shown = page.dataframe[0].value
    assert shown["si"].tolist() == expected["si"].tolist()
    assert "**20 rows**" in text(page)
    assert "order by si desc" in address_of(page)["query"]


def test_one_click_puts_an_example_into_the_box_and_answers_it(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "data")
    for title, query in examples.examples(tiny_run, "relu4").items():
        next(button for button in page.button if button.label == title).click().run()
        assert page.text_area[0].value == address_of(page)["query"] == query
        assert not page.exception and not page.error, title
        rows = len(tiny_store.sql(query))
        assert f"**{rows} row" in text(page)
        assert rows or "No row fits this question." in text(page)


def test_a_question_of_ones_own_is_answered_and_lives_in_the_address(visit, tiny_store):
    page = ask(visit(tiny_store, "data"), "select layer, count(*) as n from units group by layer order by layer")
    assert page.dataframe[0].value["n"].tolist() == [16, 32, 32, 64]
    again = visit(tiny_store, "data", query=address_of(page)["query"])
    assert again.dataframe[0].value.equals(page.dataframe[0].value)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("drop table units", "Only reading is allowed here, not DROP"),
        ("attach '/etc/passwd' as x", "Only reading is allowed here, not ATTACH"),
        ("select * from read_csv('/etc/passwd')", "Queries read the stored runs and nothing else"),
        ("copy units to 'x.csv'", "Only reading is allowed here, not COPY"),
        ("select 1; select 2", "2 statements"),
        ("select sii from units", '"sii" not found'),
        ("select * from unit", "Table with name unit does not exist"),
        ("", "0 statements"),
        ("select repeat('x', 30_000_000)", "larger than 20 MB"),
    ],
)
def test_what_has_no_answer_is_one_sentence_and_the_query_stays(visit, tiny_store, query, told):
    page = ask(visit(tiny_store, "data"), query)
    assert not page.exception
    assert page.error[0].value == "This question has no answer; your query is as you left it."
    (sentence,) = [block.value for block in page.code if told in block.value]
    assert "\n" not in sentence
    assert page.text_area[0].value == query


def test_a_question_that_takes_too_long_is_stopped_and_can_be_asked_again(visit, tiny_store, monkeypatch):
    monkeypatch.setattr(sql_console, "SECONDS", 0.3)
    page = ask(visit(tiny_store, "data"), "select count(*) from range(100_000_000) where random() > 2")
    assert "took longer than 0.3 seconds" in text(page)
    monkeypatch.setattr(sql_console, "SECONDS", 60.0)
    next(button for button in page.button if button.label == "Ask").click().run()
    assert not page.error
    assert page.dataframe[0].value.iloc[0, 0] == 0


def test_rows_are_cut_at_the_number_that_is_chosen_and_the_page_says_so(visit, tiny_store):
    query = "select image, value from activations where layer = 'relu4'"
    page = visit(tiny_store, "data", query=query)
    assert "**1,000 rows**, cut off at 1,000 rows: there are more" in text(page)
    assert len(page.dataframe[0].value) == 1000
    page = visit(tiny_store, "data", query=query, rows="100000")
    assert f"**{64 * len(tiny_store.images(tiny_store.names()[0])):,} rows** ·" in text(page)


def test_rows_that_are_too_much_for_a_browser_are_cut_and_the_page_says_so(visit, tiny_store):
    page = visit(tiny_store, "data", query="select repeat('x', 1_000_000) from range(100)")
    assert "**19 rows**, cut off at 19 rows: there are more" in text(page)


@pytest.mark.parametrize(
    "query",
    [
        "select 1 as a, 2 as a",
        "select [1, 2] as l, {'a': 1} as s, map {'k': [1]} as m, uuid() as u, 'x'::blob as b, time '12:00' as t",
        "select 'nan'::double as a, 'inf'::double as b, null as c",
        "select '<img src=x onerror=alert(1)>' as \"<b>**x**</b>\"",
        "explain select * from units",
        "describe units",
        "select * from units where false",
    ],
)
def test_any_kind_of_answer_can_be_shown(visit, tiny_store, query):
    page = visit(tiny_store, "data", query=query)
    assert not page.exception and not page.error


def test_only_the_runs_of_the_address_are_asked(visit, own_store, tiny_run):
    shutil.copytree(own_store.run_path(tiny_run), own_store.run_path("digits-cnn-copy"))
    query = "select distinct run from units order by run"
    page = visit(own_store, "data", query=query)
    assert page.dataframe[0].value["run"].tolist() == [tiny_run, "digits-cnn-copy"]
    page.multiselect[0].select("digits-cnn-copy").run()
    assert address_of(page)["runs"] == "digits-cnn-copy"
    assert page.dataframe[0].value["run"].tolist() == ["digits-cnn-copy"]


def test_a_run_that_is_not_there_is_told_and_the_others_are_asked(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "data", runs=f"nothing,<b>,{tiny_run}", query="select distinct run from units")
    assert "`nothing`, which is not here" in page.warning[0].value
    assert "`<b>`, which is not here" in page.warning[1].value
    assert page.dataframe[0].value["run"].tolist() == [tiny_run]


def test_a_run_that_cannot_be_read_is_left_out_and_named(visit, own_store, tiny_run):
    broken = own_store.run_path("digits-cnn-broken")
    shutil.copytree(own_store.run_path(tiny_run), broken)
    (broken / "metrics.duckdb").write_bytes(b"")
    page = visit(own_store, "data", query="select distinct run from units")
    assert page.dataframe[0].value["run"].tolist() == [tiny_run]
    assert "1 run left out: `digits-cnn-broken`" in text(page)


def test_a_query_too_long_for_a_link_stays_with_its_writer_and_the_page_says_so(visit, tiny_store):
    query = "select 5 as five -- " + "é" * 500
    page = ask(visit(tiny_store, "data"), query)
    assert page.dataframe[0].value["five"].tolist() == [5]
    assert len(address_of(page)["query"]) < 30
    assert "the link does not hold it" in text(page)
    assert page.text_area[0].value == query
    other = visit(tiny_store, "data", query=address_of(page)["query"])
    assert "too long for a link" in other.warning[0].value
    assert "**20 rows**" in text(other)


def test_the_query_is_still_there_after_another_page(visit, tiny_store):
    page = ask(visit(tiny_store, "data"), "select 6 as six")
    switch_page(page, "units").run()
    switch_page(page, "data").run()
    assert page.text_area[0].value == "select 6 as six"
    assert page.dataframe[0].value["six"].tolist() == [6]


@pytest.mark.parametrize("query", ["select 'it''s' as a\n-- \"x\"", "-- first\nselect 1 as a", "select '\\n' as a"])
def test_the_copied_python_and_command_give_the_same_answer(tiny_store, tiny_run, query, capsys):
    expected = tiny_store.sql(query).to_dict("list")
    assert eval(sql_console.python(query, [tiny_run], 7), {"store": tiny_store}).to_dict("list") == expected
    words = shlex.split(sql_console.shell(query, [tiny_run], 7))
    words[words.index("--data") + 1] = str(tiny_store.path)
    assert main([*words[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"a": expected["a"][0]}]


@pytest.mark.parametrize("table", ["runs", *TABLES])
def test_every_table_and_every_column_has_its_meaning(tiny_store, table):
    assert schema.table_meaning(table)
    columns = tiny_store.sql(f"describe {table}")["column_name"].tolist()
    assert [column for column in columns if not schema.column_meaning(table, column)] == []


@pytest.mark.parametrize("table", ["units", "atlas"])
def test_the_schema_shows_the_columns_of_a_table_with_their_meaning(visit, tiny_store, table):
    page = visit(tiny_store, "data", side="tables", table=table)
    shown = page.table[0].value
    assert shown["column"].tolist() == [f"`{name}`" for name in tiny_store.sql(f"describe {table}")["column_name"]]


def test_the_commands_of_the_page_can_be_given(visit, tiny_store):
    page = visit(tiny_store, "data")
    commands = [block.value for block in page.code if block.value.startswith("selviz ")]
    assert len(commands) >= 2
    for command in commands:
        parser().parse_args(shlex.split(command)[1:])
