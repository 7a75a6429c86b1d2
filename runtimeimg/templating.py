"""The only maker of Jinja2 templates: strict, unescaped, one template a file of `templates/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
