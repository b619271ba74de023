"""The page in a browser, and the server behind it."""

import io
import json
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from ase import Atoms
from cbldm import SimulationSettings, simulate, write_gr
from cbldm.__main__ import main
from cbldm.app import AppServer, Searches
from cbldm.data.clusters import build_geometry
from chromium import CHROMIUM, Page

ATOMS = Atoms("Pt13", positions=2.81 * build_geometry("Ico", (2,)).positions)
QUICK = {"element": "Pt", "candidates": "2", "max_atoms": "14"}


@pytest.fixture
def curve(tmp_path: Path) -> Path:
    path = tmp_path / "measured.gr"
    write_gr(path, simulate(ATOMS, SimulationSettings(rstep=0.03, qmin=0.9, qmax=22.0, noise=0.01)))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AppServer]:
    (tmp_path / "jobs").mkdir()
    server = AppServer(tmp_path / "jobs")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.searches.close()
    server.server_close()


def ask(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def search(server: AppServer, data: bytes, **options: str) -> dict[str, str]:
    return json.loads(ask(f"{server.url}search?{urlencode(options)}", data)[1])


def finished(server: AppServer, key: str) -> dict:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = json.loads(ask(f"{server.url}search/{key}")[1])
        if status["state"] in ("done", "failed"):
            return status
        time.sleep(0.05)
    raise AssertionError(status)


def test_a_search_from_upload_to_download(server: AppServer, curve: Path) -> None:
    key = search(server, curve.read_bytes(), name="pt α.gr", **QUICK)["search"]
    status = finished(server, key)
    assert status["state"] == "done"
    assert status["message"].startswith("Best of ")
    code, page, headers = ask(f"{server.url}search/{key}/report.html")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "pt α.gr" in page.decode()
    with zipfile.ZipFile(io.BytesIO(ask(f"{server.url}search/{key}/all.zip")[1])) as archive:
        assert sorted(archive.namelist()) == sorted(f"pt α/{name}" for name in status["files"])
        assert {"pt α/candidates.csv", "pt α/rank_01.xyz", "pt α/rank_01.cif", "pt α/rank_01.stru"} <= {
            *archive.namelist()
        }
    assert "attachment" in ask(f"{server.url}search/{key}/candidates.csv")[2]["Content-Disposition"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "bad.gr: the file is empty"),
        (b"hello\n", {}, "bad.gr: no rows of numbers in it"),
        (b"\x00\x01" * 99, {}, "bad.gr: a binary file, no G(r)"),
        (b"#L Q F\n" + b"".join(b"%d %d\n" % (k, (-1) ** k) for k in range(1, 99)), {}, "it holds F(Q), not G(r)"),
        (None, {"qmax": "much"}, "qmax: 'much' is no number; correct it"),
        (None, {"candidates": "2.5"}, "candidates: '2.5' is no number; correct it"),
        (None, {"library": "/etc"}, "library: '/etc' is no choice; take one of deepstruc, extended"),
        (None, {"model": "/etc/passwd"}, "model: '/etc/passwd' is no choice; take one of robust, none"),
        (None, {"shape": "round"}, "shape: 'round' is no choice; take one of search, held"),
    ],
)
def test_what_is_refused_at_once(server: AppServer, curve: Path, content: bytes | None, options, message: str) -> None:
    data = curve.read_bytes() if content is None else content
    answer = search(server, data, name="bad.gr", **{**QUICK, **options})
    assert message in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"element": "Xq"}, "unknown element 'Xq'"),
        ({"max_atoms": "9999"}, "max_atoms 9999"),
        ({"rmin": "19"}, "too short to decide"),
        ({"qmax": "0.5"}, "give qmin below qmax"),
    ],
)
def test_what_the_search_refuses(server: AppServer, curve: Path, options: dict[str, str], message: str) -> None:
    key = search(server, curve.read_bytes(), name="a.gr", **{**QUICK, **options})["search"]
    status = finished(server, key)
    assert status["state"] == "failed"
    assert message in status["message"]
    assert "--" not in status["message"]  # options of a command line are none of a page
    assert ask(f"{server.url}search/{key}/report.html")[0] == 404


def test_strangers_are_refused(server: AppServer, curve: Path) -> None:
    where = f"{server.url}search?{urlencode(QUICK)}"
    assert ask(where, curve.read_bytes(), Origin="http://elsewhere.example")[0] == 403
    assert ask(server.url, Host="elsewhere.example")[0] == 403
    assert ask(f"{server.url}search/1/../../../etc/passwd")[0] == 404
    for path in ("search/7", "search", "search/x/report.html", "other"):
        assert ask(server.url + path)[0] == 404
    assert ask(f"{server.url}other", b"x")[0] == 404
    assert ask(server.url)[0] == 200


def test_an_upload_of_no_length_is_refused(server: AppServer) -> None:
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.putrequest("POST", "/search")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()  # and no more: the answer comes without the rest
    answer = connection.getresponse()
    assert answer.status == 411
    assert "does not say how long it is" in json.loads(answer.read())["error"]
    connection.close()


def test_the_oldest_results_are_forgotten(tmp_path: Path, curve: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbldm.app.KEPT", 2)
    monkeypatch.setattr("cbldm.app._run", lambda *_: None)
    searches = Searches(tmp_path)
    keys = [searches.start(curve.read_bytes(), "a.gr", QUICK) for _ in range(3)]
    assert [searches[key].name for key in keys[1:]] == ["a.gr", "a.gr"]
    with pytest.raises(KeyError):
        searches[keys[0]]
    searches.close()


def test_a_port_that_is_taken_is_one_line(server: AppServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "--browser", "none", "--port", str(server.server_port)]) == 2
    assert capsys.readouterr().err.startswith(f"error: port {server.server_port} of 127.0.0.1 cannot be taken (")
    assert main(["app", "--browser", "none", "--port", "99999"]) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it from the system's packages")
def test_in_a_browser(server: AppServer, curve: Path, tmp_path: Path) -> None:
    """Upload, progress, fit, structure, download, and the message of a bad file, as a user does it."""
    page = Page(server.url, tmp_path)
    try:
        assert page.value("document.getElementById('go').disabled")
        bad = tmp_path / "bad.gr"
        bad.write_text("this is no curve\n")
        page.choose_file("#file", bad)
        page.value("document.getElementById('go').click()")
        page.wait("!document.getElementById('failure').hidden")
        assert page.value("document.getElementById('error').textContent").startswith("bad.gr: no rows of numbers")

        bare = tmp_path / "bare.gr"
        bare.write_text(curve.read_text().replace("qmax", "was"))
        page.choose_file("#file", bare)
        page.value("document.getElementById('go').click()")
        page.wait("document.activeElement.name === 'qmax'")
        assert "names no qmax; give it with qmax" in page.value("document.getElementById('error').textContent")
        assert page.value("document.activeElement.closest('details').open")
        page.value("document.activeElement.value = '22'")
        for name, value in {**QUICK, "model": "none", "shape": "held"}.items():
            page.value(f"document.querySelector('[name={name}]').value = '{value}'")
        page.value("window.seen = new Set()")
        page.value(
            "new MutationObserver(() => seen.add(document.getElementById('stage').textContent.split(',')[0]))"
            ".observe(document.getElementById('stage'), {childList: true, characterData: true, subtree: true})"
        )
        page.value("document.getElementById('go').click()")
        page.wait("!document.getElementById('result').hidden")
        assert page.value("document.getElementById('failure').hidden")
        assert "Reading" in page.value("[...seen]")
        assert len(page.value("[...seen]")) >= 2
        assert "Ico 2 with 13 atoms" in page.value("document.getElementById('verdict').textContent")

        inside = "document.getElementById('report').contentDocument"
        page.wait(f"!!({inside} && {inside}.querySelector('#plot svg path'))")
        assert page.value(f"{inside}.querySelectorAll('#table tbody tr').length") == 2
        view = (
            f"(() => {{ const c = {inside}.getElementById('view'); const d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data; let s = 0; for (let k = 0; k < d.length; k += 4) "
            "s = (s * 31 + d[k] + 7 * d[k + 1]) % 1000003; return s; })()"
        )
        before = page.value(view)
        assert before
        page.wait(f"{view} !== {before}")  # it turns
        page.value(f"{inside}.querySelectorAll('#states button')[1].click()")
        assert "atoms moved" in page.value(f"{inside}.getElementById('plot-title').textContent")

        page.value("[...document.querySelectorAll('#links a')].find(a => a.textContent.includes('.zip')).click()")
        saved = tmp_path / "bare.zip"
        deadline = time.monotonic() + 60
        while not saved.exists() and time.monotonic() < deadline:
            page.value("0")
            time.sleep(0.05)
        assert zipfile.ZipFile(saved).testzip() is None
        assert page.errors == []
        assert {url for url in page.requested if not url.startswith((server.url, "data:", "blob:"))} == set()
        page.screenshot(tmp_path / "page.png")
    finally:
        page.close()
