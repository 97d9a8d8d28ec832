"""Elements of XHTML and SVG as text, escaped."""

from __future__ import annotations

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
