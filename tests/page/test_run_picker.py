"""The run that a visitor sees first: the starred one, and none that somebody's training has just finished."""

from selviz.config import RunConfig
from selviz.runs.train import train_run
from selviz.store import stars
from tests.helpers.pages import address_of
from tests.helpers.stored import make_run


def test_a_finished_training_does_not_become_what_everybody_sees(visit, store):
    train_run(store, RunConfig("digits", "cnn", alpha=0, seed=1, epochs=1))
    (first,) = store.names()
    assert address_of(visit(store, "start"))["run"] == first
    train_run(store, RunConfig("digits", "cnn", alpha=0, seed=0, epochs=1))
    for view in ("start", "lesson", "network", "alpha"):
        page = visit(store, view)
        assert not page.exception and address_of(page)["run"] == first, view


def test_a_starred_run_is_what_every_visitor_sees_first_until_the_star_is_taken_away(visit, store):
    first, second = make_run(store, alpha=0), make_run(store, alpha=-1, seed=1)
    page = visit(store, "network", run=second)
    assert page.button(key="star").label == "Show this run first"
    page = page.button(key="star").click().run()
    assert page.button(key="star").label == "Starred: shown first"
    assert stars.starred(store.path) == second
    for view in ("start", "network", "alpha"):
        assert address_of(visit(store, view))["run"] == second, view
    assert address_of(visit(store, "network", run=first))["run"] == first, "a link is stronger than the star"
    visit(store, "network").button(key="star").click().run()
    assert stars.starred(store.path) is None
    assert address_of(visit(store, "network"))["run"] == first


def test_where_the_dashboard_is_for_reading_only_nothing_can_be_starred(visit, store, monkeypatch):
    make_run(store, alpha=0)
    monkeypatch.setenv("SELVIZ_READ_ONLY", "1")
    assert visit(store, "network").button(key="star").disabled


def test_a_star_of_a_run_that_is_gone_is_no_error(visit, store):
    first = make_run(store, alpha=0)
    stars.star(store.path, "gone")
    page = visit(store, "network")
    assert not page.exception and address_of(page)["run"] == first
