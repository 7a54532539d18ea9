"""Which origins may show the dashboard in a frame."""

import pytest

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.system.embedding import NOTEBOOKS, checked, origins


def test_origins_are_scheme_host_and_port(monkeypatch):
    assert checked(["https://hub.example.org/", *NOTEBOOKS]) == ("https://hub.example.org", *NOTEBOOKS)
    monkeypatch.setenv("SELVIZ_EMBED", "https://a.org http://b.org:8888")
    assert origins() == ("https://a.org", "http://b.org:8888")
    monkeypatch.delenv("SELVIZ_EMBED")
    assert origins() == ()


@pytest.mark.parametrize("origin", ["*", "hub.example.org", "https://a.org/path", "https://a.org; script-src *", ""])
def test_anything_else_could_rewrite_the_rule_and_is_refused(origin, capsys):
    with pytest.raises(SelvizError, match="no origin of a page"):
        checked([origin])
    assert main(["serve", "--embed", origin]) == 2
    assert "--embed https://hub.example.org" in capsys.readouterr().err
