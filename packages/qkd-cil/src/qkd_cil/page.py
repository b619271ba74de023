"""Pages that need no other file: their style, tables and pictures."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from papertrio_shared.checkpoint import atomic_write

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.sub { color: #666; margin-top: .2rem; }
table { border-collapse: collapse; } td, th { padding: .3rem .9rem .3rem 0; text-align: left; }
tr + tr td { border-top: 1px solid #e3e3e3; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; display: table; } img { max-width: 100%; }
figcaption { color: #555; font-size: .9rem; display: table-caption; caption-side: bottom; }
pre { background: #f5f5f5; padding: 1rem; overflow: auto; font-size: .8rem; }
"""


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """A table; numbers stand to the right.

    Args:
        rows: Cells.
        head: Names of the columns.

    >>> table([["a", "1.0"]])
    '<table><tr></tr><tr><td>a</td><td class=n>1.0</td></tr></table>'
    """

    def cell(text: str) -> str:
        number = re.fullmatch(r"[-–]?[\d.,]*( [%\w]+| ± [\d.]+)?", text)
        return f"<td{' class=n' if number else ''}>{html.escape(text)}</td>"

    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows) + "</table>"


def embedded(picture: Path, caption: str) -> str:
    """A PNG file within the page, its caption below."""
    data = base64.b64encode(picture.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def write_page(path: Path, title: str, body: Sequence[str]) -> None:
    """Write a page; `body` is HTML, piece by piece."""
    page = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        *body,
        "</body></html>",
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(page) + "\n", encoding="utf-8")
