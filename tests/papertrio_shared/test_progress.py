"""The progress bar."""

import io

import pytest
from papertrio_shared import progress as module
from papertrio_shared.progress import progress


def test_it_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(5), "count")) == list(range(5))
    assert capsys.readouterr() == ("", "")


def test_it_shows_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    original = module.tqdm
    monkeypatch.setattr(module, "tqdm", lambda *a, **k: original(*a, file=screen, mininterval=0, **k))
    assert sum(progress(iter(range(4)), "count", total=4)) == 6
    assert "count" in screen.getvalue()
    assert "4/4" in screen.getvalue()
