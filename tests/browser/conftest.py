"""A browser for each file of browser tests, one dashboard for all of them, and tabs that close themselves."""

import pytest

from selviz.testing.dashboard import CHROMIUM, FLAGS, serving
from tests.helpers.browser import Visitor


@pytest.fixture(scope="module")
def browser():
    from playwright import sync_api

    if CHROMIUM is None:
        pytest.fail("the browser tests need chromium: sudo apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a made-up picture
        yield driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *camera])


@pytest.fixture(scope="session")
def address(tiny_store):
    with serving(tiny_store.path) as where:
        yield where


@pytest.fixture
def visit(browser):
    """Opens tabs, and closes them at the end."""
    visitors = []

    def open_tab(*args, **kwargs):
        visitors.append(Visitor(browser, *args, **kwargs))
        return visitors[-1]

    yield open_tab
    for visitor in visitors:
        visitor.close()
