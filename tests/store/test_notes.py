"""Notes on a run and its units: kept as typed, in the run's folder, taken along in a zip; bounds; many at once."""

import threading

import pytest

from selviz.errors import SelvizError
from selviz.store import Store
from selviz.store.notes import MAX_TEXT, NOTES, add_note, notes, remove_note
from selviz.store.run_archive import pack, unpack


def test_a_note_is_kept_with_its_author_and_what_it_is_about(own_store, tiny_run):
    add_note(own_store.path, tiny_run, "relu4:3", "fires on loops", "Ada  L.")
    add_note(own_store.path, tiny_run, "run", "our first")
    assert [(note.about, note.text, note.author) for note in notes(own_store.path, tiny_run)] == [
        ("relu4:3", "fires on loops", "Ada L."),
        ("run", "our first", ""),
    ]
    (one,) = notes(own_store.path, tiny_run, "relu4:3")
    remove_note(own_store.path, tiny_run, one)
    assert [note.about for note in notes(own_store.path, tiny_run)] == ["run"]


def test_notes_travel_with_the_run_and_make_it_no_other_one(own_store, tiny_run, tmp_path):
    add_note(own_store.path, tiny_run, "run", "taken along", "Ada")
    pack(own_store.path, tiny_run, own_store.run(tiny_run)["fingerprint"], tmp_path / "run.zip")
    there = Store(tmp_path / "there")
    assert unpack(there.path, tmp_path / "run.zip") == tiny_run
    assert [note.text for note in notes(there.path, tiny_run)] == ["taken along"]
    add_note(there.path, tiny_run, "run", "another")
    assert unpack(there.path, tmp_path / "run.zip") == tiny_run


@pytest.mark.parametrize(("text", "told"), [("  ", "needs a text"), ("x" * (MAX_TEXT + 1), "at most 2,000")])
def test_an_empty_and_a_too_long_note_are_refused_in_words(own_store, tiny_run, text, told):
    with pytest.raises(SelvizError, match=told):
        add_note(own_store.path, tiny_run, "run", text)


def test_two_who_write_at_once_both_find_their_note(own_store, tiny_run):
    def write(name):
        add_note(own_store.path, tiny_run, "run", f"by {name}", name)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(20)
    assert sorted(note.author for note in notes(own_store.path, tiny_run)) == list("abcd")


def test_what_somebody_else_wrote_into_the_file_is_left_out_where_it_is_no_note(own_store, tiny_run):
    (own_store.run_path(tiny_run) / NOTES).write_text('[1, {"about": "run"}, null]')
    assert notes(own_store.path, tiny_run) == []
