"""The dashboard in a frame of another page, as `selviz.launch` shows it in a notebook."""

import contextlib
import functools
import http.server
import threading

import pytest

import selviz

pytestmark = pytest.mark.browser


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def page_with(folder, html):
    """Serve a page of another origin, as a notebook is."""
    (folder / "notebook.html").write_text(f"<!doctype html><title>notebook</title>{html}")
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/notebook.html"
        server.shutdown()


@pytest.mark.parametrize(("embed", "shown"), [(None, True), (["https://hub.example.org"], False)])
def test_a_cell_shows_the_dashboard_and_a_page_that_embed_does_not_name_shows_nothing(
    visit, tiny_store, tmp_path, monkeypatch, embed, shown
):
    monkeypatch.setenv("SELVIZ_NO_DEMO", "1")
    dashboard = selviz.launch(tiny_store) if embed is None else selviz.launch(tiny_store, embed=embed)
    try:
        with page_with(tmp_path, dashboard._repr_html_()) as address:
            visitor = visit()
            visitor.tab.goto(address)
            if shown:
                title = visitor.tab.frame_locator("iframe").get_by_text("What is in here, and does it matter?")
                title.first.wait_for()
            else:
                visitor.tab.wait_for_timeout(1500)
                assert any("frame-ancestors" in words for words in visitor.complaints)
    finally:
        dashboard.stop()
