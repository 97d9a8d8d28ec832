"""A report as one HTML page that holds its pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment

from calibrate.report.blocks import Block, Picture, Table, sentence

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
</style></head><body>
<h1>{{ title }}</h1>
<p>Protocol: {{ protocol }}.</p>
{% for block in blocks %}
{% if block is table %}
{% if block.title %}<h2>{{ block.title }}</h2>
{% endif %}
<table><thead><tr>{% for name in block.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in block.cells %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table>
{% if block.caption %}<p>{{ block.caption | sentence }}</p>
{% endif %}
{% elif block is picture %}
<figure><img alt="{{ block.caption }}" src="data:image/png;base64,{{ block | embedded }}"></figure>
{% else %}
<p>{{ block.text }}</p>
{% endif %}
{% endfor %}
</body></html>
"""


def page(title: str, protocol: str, blocks: Sequence[Block], folder: Path) -> str:
    """Return the page, with the pictures that lie in ``folder`` inside it."""
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    environment.filters["sentence"] = sentence
    environment.filters["embedded"] = lambda picture: base64.b64encode((folder / picture.file).read_bytes()).decode()
    return environment.from_string(TEMPLATE).render(title=title, protocol=protocol, blocks=blocks) + "\n"
