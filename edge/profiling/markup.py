"""Elements of XHTML and SVG as text, escaped."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from html import escape


def element(name: str, /, *children: str, **attributes: object) -> str:
    """Return an element; an underscore in an attribute's name stands for a hyphen, and at its end for nothing.

    Args:
        name: such as ``p``.
        children: markup inside; plain text goes through ``text`` first.
        attributes: values are escaped.
    """
    inside = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    return f"<{name}{inside}>{''.join(children)}</{name}>" if children else f"<{name}{inside}/>"


def text(value: object) -> str:
    """Return plain text as markup; characters that XML does not allow become a question mark."""
    return escape("".join(char if char.isprintable() or char == " " else "?" for char in str(value)))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1, bold: Container[int] = ()) -> str:
    """Return a table of plain text; columns from ``numbers_from`` on are set flush right, rows in ``bold`` are bold."""

    def line(kind: str, cells: Sequence[str], **attributes: str) -> str:
        classes = ["number" if index >= numbers_from else "name" for index in range(len(cells))]
        filled = (element(kind, text(cell) or " ", class_=name) for cell, name in zip(cells, classes, strict=True))
        return element("tr", *filled, **attributes)

    body = [line("td", row, class_="bold" if index in bold else "plain") for index, row in enumerate(rows)]
    return element("table", element("thead", line("th", heads)), element("tbody", *body))
