"""The docstrings that stand under the fields of classes, read from the source when somebody asks what they mean."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache


def field_docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings under the fields of a class, its bases' included, by field; each is a line of Markdown."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.split(".")[0] in ("edge", "calibrate", "export"):
            found |= _own_docstrings(each)
    return found


@cache
def _own_docstrings(kind: type) -> dict[str, str]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(str(text.value.value).replace("``", "`").split())
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
