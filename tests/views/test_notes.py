"""Notes on pages: written, shown as text, off where a dashboard is for reading only."""

from selviz.store.notes import add_note, notes
from tests.helpers.pages import text


def test_a_note_on_a_unit_is_shown_to_the_next_visitor_as_text(visit, own_store, tiny_run):
    add_note(own_store.path, tiny_run, "relu3:5", "likes **loops** <b>x</b>", "Ada")
    page = visit(own_store, "unit", run=tiny_run, layer="relu3", unit="5")
    assert not page.exception
    assert r"likes \*\*loops\*\* \<b\>x" in text(page) and "Ada" in text(page)
    assert "likes" not in text(visit(own_store, "unit", run=tiny_run, layer="relu3", unit="6"))


def test_a_note_that_is_typed_is_kept(visit, own_store, tiny_run):
    page = visit(own_store, "unit", run=tiny_run, layer="relu3", unit="5")
    page.text_area[0].set_value("seen twice")
    next(button for button in page.button if button.label == "Keep it").click().run()
    assert [(note.about, note.text) for note in notes(own_store.path, tiny_run)] == [("relu3:5", "seen twice")]


def test_where_the_dashboard_is_for_reading_only_notes_are_shown_and_none_is_taken(
    visit, own_store, tiny_run, monkeypatch
):
    add_note(own_store.path, tiny_run, "relu3:5", "kept")
    monkeypatch.setenv("SELVIZ_READ_ONLY", "1")
    page = visit(own_store, "unit", run=tiny_run, layer="relu3", unit="5")
    assert "kept" in text(page)
    assert "Keep it" not in [button.label for button in page.button]
