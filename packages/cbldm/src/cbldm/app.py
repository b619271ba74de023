"""The page in a browser: drop a curve, watch the search, look at fit and structures, take them along.

A server of this machine for this machine: it needs no network, answers to the name it is bound to alone and takes
nothing from pages of other origins.
"""

import io
import json
import re
import shutil
import tempfile
import threading
import webbrowser
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, urlsplit

from . import findings
from .data.clusters import LibraryName
from .data.gr import PairDistribution
from .data.gr_text import LARGEST_FILE, parse
from .recover import NO_MODEL, SHIPPED, Shape, recover
from .report import write_recovery
from .stages import listening
from .target import FIT_SETTINGS

Browser = Literal["open", "none"]

KEPT = 20
"""Searches whose results are kept; the oldest goes first."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".zip": "application/zip",
}
_NUMBERS = {"candidates": int, "max_atoms": int, "bond": float}
_SETTINGS = ("rmin", "rmax", "qmin", "qmax", "qdamp", "qbroad")
_CHOICES = {"library": get_args(LibraryName), "model": (SHIPPED, NO_MODEL), "shape": get_args(Shape)}
"""Words only: a page names no file of the machine."""


@dataclass
class Job:
    """A search and how far it is.

    Attributes:
        folder: Where its results are written.
        name: What the curve is called.
        state: `"waiting"`, `"running"`, `"done"` or `"failed"`.
        stage, done, total: What it does and how much of that is done.
        message: The outcome in a sentence, or the error.
        files: Names of the results.
    """

    folder: Path
    name: str
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    message: str = ""
    files: list[str] = field(default_factory=list)

    def heard(self, stage: str, done: int, total: int) -> None:
        """Keep what the search tells."""
        self.stage, self.done, self.total = stage, done, total

    def status(self) -> dict[str, Any]:
        """What the page shows."""
        return {key: value for key, value in vars(self).items() if key != "folder"}


class Searches:
    """The searches of a server, one after the other.

    Args:
        folder: Where their results lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._pool = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._count = 0

    def start(self, data: bytes, name: str, options: Mapping[str, str]) -> str:
        """Begin a search.

        Args:
            data: The content of a `.gr` file.
            name: Its name.
            options: Arguments of `recover` and `FitSettings`, as text; empty ones are left out.

        Returns:
            Name of the search.

        Raises:
            ValueError: If the file is no curve, or an option is no number or none of its choices.
        """
        gr = PairDistribution(**parse(data, name), name=name)
        arguments = _arguments(options)
        with self._lock:
            self._count += 1
            key = f"{self._count}"
            job = self._jobs[key] = Job(self._folder / key, name)
            while len(self._jobs) > KEPT:
                oldest = next(iter(self._jobs))
                shutil.rmtree(self._jobs.pop(oldest).folder, ignore_errors=True)
        self._pool.submit(_run, job, gr, arguments)
        return key

    def __getitem__(self, key: str) -> Job:
        return self._jobs[key]

    def close(self) -> None:
        """Forget what waits; what runs ends with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _arguments(options: Mapping[str, str]) -> dict[str, Any]:
    given = {key: value.strip() for key, value in options.items() if value.strip()}
    numbers: dict[str, float] = {}
    for key, kind in [*_NUMBERS.items(), *((key, float) for key in _SETTINGS)]:
        if key in given:
            try:
                numbers[key] = kind(given[key])
            except ValueError as error:
                raise ValueError(f"{key.replace('_', ' ')}: {given[key]!r} is no number; correct it") from error
    settings = replace(FIT_SETTINGS, **{key: numbers.pop(key) for key in _SETTINGS if key in numbers})  # type: ignore[arg-type]
    words = {key: given[key] for key in ("element", *_CHOICES) if key in given}
    for key, choices in _CHOICES.items():
        if key in words and words[key] not in choices:
            raise ValueError(f"{key}: {words[key]!r} is no choice; take one of {', '.join(choices)}")
    return {**words, **numbers, "settings": settings}


def _run(job: Job, gr: PairDistribution, arguments: dict[str, Any]) -> None:
    job.state = "running"
    try:
        with listening(job.heard):
            result = recover(gr, **arguments)
        job.heard("writing", 0, 1)
        job.folder.mkdir()
        write_recovery(job.folder, result)
        job.files = sorted(path.name for path in job.folder.iterdir())
        job.message = findings.verdict(result)
        job.state = "done"
    except Exception as error:  # whatever it was, the page tells it and the server goes on
        job.message = " ".join(str(error).replace("--", "").split()) or type(error).__name__
        job.state = "failed"


class _Handler(BaseHTTPRequestHandler):
    server: "AppServer"

    def do_GET(self) -> None:
        """The page, how far a search is, a file of its results."""
        if not self._is_own():
            return
        parts = [part for part in urlsplit(self.path).path.split("/") if part]
        if not parts:
            page = (files("cbldm") / "app_page.html").read_bytes()
            self._send(HTTPStatus.OK, page, ".html")
            return
        try:
            job = self.server.searches[parts[1]] if parts[0] == "search" else None
        except (KeyError, IndexError):
            job = None
        if job is None or len(parts) > 3:
            self._fail(HTTPStatus.NOT_FOUND, "no such page")
        elif len(parts) == 2:
            self._send(HTTPStatus.OK, json.dumps(job.status()).encode(), ".json")
        elif parts[2] == "all.zip" and job.state == "done":
            self._send(HTTPStatus.OK, _zipped(job), ".zip", download=f"{Path(job.name).stem}.zip")
        elif parts[2] in job.files:
            path = job.folder / parts[2]
            shown = path.suffix in (".html", ".png")
            self._send(HTTPStatus.OK, path.read_bytes(), path.suffix, download=None if shown else path.name)
        else:
            self._fail(HTTPStatus.NOT_FOUND, "no such file")

    def do_POST(self) -> None:
        """A curve to search the structures of."""
        if not self._is_own():
            return
        url = urlsplit(self.path)
        length = self.headers.get("Content-Length", "")
        if url.path != "/search":
            self._fail(HTTPStatus.NOT_FOUND, "no such page")
        elif not length.isdigit():
            self._fail(HTTPStatus.LENGTH_REQUIRED, "the upload does not say how long it is; send the file whole")
        elif int(length) > LARGEST_FILE:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {LARGEST_FILE >> 20} MiB")
        else:
            options = {key: values[-1] for key, values in parse_qs(url.query).items()}
            name = re.sub(r"[^\w. ()+-]", "_", options.pop("name", ""))[-100:].strip() or "curve.gr"
            try:
                key = self.server.searches.start(self.rfile.read(int(length)), name, options)
            except ValueError as error:
                self._fail(HTTPStatus.BAD_REQUEST, " ".join(str(error).replace("--", "").split()))
            else:
                self._send(HTTPStatus.OK, json.dumps({"search": key}).encode(), ".json")

    def _is_own(self) -> bool:
        """Whether the request comes from this page and not from another that a browser has open."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        names = self.server.names
        if (names is None or host in names) and (origin is None or urlsplit(origin).netloc == host):
            return True
        self._fail(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        return False

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True
        self._send(status, json.dumps({"error": message}).encode(), ".json")

    def _send(self, status: HTTPStatus, content: bytes, suffix: str, *, download: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", _TYPES.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if download:
            ascii_name = download.encode("ascii", "replace").decode().replace("?", "_")
            self.send_header("Content-Disposition", f'attachment; filename="{ascii_name}"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing of each request."""


def _zipped(job: Job) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in job.files:
            archive.write(job.folder / name, f"{Path(job.name).stem}/{name}")
    return content.getvalue()


class AppServer(ThreadingHTTPServer):
    """The server of the page.

    Args:
        folder: Where results lie while it runs.
        host: Name or address it is bound to.
        port: Port; 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.searches = Searches(folder)
        names = {f"{name}:{self.server_port}" for name in (host, "localhost", "127.0.0.1")}
        self.names = None if host in ("", "0.0.0.0", "::") else names  # bound to every address: any name will do

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/"


def serve(*, host: str = "127.0.0.1", port: int = 8766, browser: Browser = "open") -> None:
    """Serve the page until it is interrupted.

    Args:
        host: Name or address to bind to.
        port: Port; 0 takes a free one.
        browser: Whether to open the page.

    Raises:
        ValueError: If the port cannot be taken.
    """
    with tempfile.TemporaryDirectory(prefix="cbldm-app-") as folder:
        try:
            server = AppServer(Path(folder), host=host, port=port)
        except (OSError, OverflowError) as error:
            reason = str(getattr(error, "strerror", None) or error).lower()
            raise ValueError(f"port {port} of {host} cannot be taken ({reason}); give another --port") from error
        print(f"{server.url}   (Ctrl-C ends it)", flush=True)
        if browser == "open":
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        finally:
            server.searches.close()
            server.server_close()
