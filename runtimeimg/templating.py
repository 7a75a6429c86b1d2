"""The only maker of Jinja2 templates: strict, unescaped, one template a file of `templates/`; pages of HTML of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from jinja2 import Template


def folder() -> Path:
    """Return where the templates are: within the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def load(name: str, filters: Mapping[str, Callable[..., Any]]) -> Template:
    """Return the template of the file `name` with these filters beside Jinja2's own.

    An unknown variable or attribute is an error, never an empty text. Newlines after blocks are dropped, the one at
    the end of the file is kept.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder()),
        autoescape=False,  # noqa: S701 - the results are no HTML; each context has a quoting filter of its own
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )
    environment.filters.update(filters)
    return environment.get_template(name)


def page(name: str, title: str, data: Any, **more: str) -> str:
    """Return one page of HTML that needs nothing else: `name.html.j2` with its style, script and data.

    The page's policy lets that style and that script work and nothing leave it; `data` stands in it as JSON in which
    nothing ends a script element or begins a comment. What is in `more` is markup, made by us.
    """
    from xml.sax.saxutils import escape

    script = (folder() / f"{name}.js").read_text("utf-8")
    style = (folder() / f"{name}.css").read_text("utf-8")
    return load(f"{name}.html.j2", {"html": escape}).render(
        title=title,
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=_embedded(data),
        **more,
    )


def _hash(text: str) -> str:
    import base64
    import hashlib

    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(data: Any) -> str:
    text = json_escaped(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
