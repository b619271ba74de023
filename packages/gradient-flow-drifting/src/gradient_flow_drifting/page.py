"""One self-contained HTML page: text, tables, pictures, and what the figures depend on."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from papertrio_shared.checkpoint import atomic_write

IMAGES = {".png": "image/png", ".gif": "image/gif"}


def image(path: Path, caption: str) -> str:
    """A picture with its caption, its bytes within the page.

    Args:
        path: A PNG or GIF file.
        caption: What is to be seen.

    Returns:
        HTML.
    """
    content = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    source = f"data:{IMAGES[path.suffix]};base64,{content}"
    return f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>\n'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; `**words**` are set in bold, as Markdown does.

    Args:
        head: Titles of the columns.
        rows: Cells.

    Returns:
        HTML.

    Example:
        >>> html_table(["a"], [["**1**"]])
        '<table><tr><th>a</th></tr><tr><td><b>1</b></td></tr></table>'
    """

    def cell(text: str, tag: str) -> str:
        bold = text.startswith("**") and text.endswith("**")
        content = html.escape(text.strip("*"))
        return f"<{tag}><b>{content}</b></{tag}>" if bold else f"<{tag}>{content}</{tag}>"

    lines = ["".join(cell(title, "th") for title in head), *("".join(cell(c, "td") for c in row) for row in rows)]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table as Markdown.

    Args:
        head: Titles of the columns.
        rows: Cells.

    Returns:
        Lines, without a break at the end.

    Example:
        >>> print(markdown_table(["a", "b"], [["1", "2"]]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def write_page(path: Path, title: str, body: str, **details: str) -> Path:
    """Write a page that needs no other file.

    Args:
        path: The file.
        title: Its heading.
        body: HTML below the heading.
        details: Texts to unfold at the end, by their titles.

    Returns:
        The file.
    """
    folded = "".join(
        f"<details><summary>{html.escape(name.capitalize())}</summary><pre>{html.escape(text)}</pre></details>\n"
        for name, text in details.items()
    )
    with atomic_write(path) as temporary:
        temporary.write_text(_PAGE.format(title=html.escape(title), body=body, folded=folded), encoding="utf-8")
    return path


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #ddd; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
figure {{ margin: 2rem 0; }} img {{ max-width: 100%; }} figcaption {{ color: #555; font-size: .9rem; }}
pre {{ background: #f5f6f8; padding: 1rem; overflow-x: auto; font-size: .8rem; }}
</style></head><body>
<h1>{title}</h1>
{body}
{folded}</body></html>
"""
