"""Self-contained HTML pages: everything escaped, nothing fetched, no script but our own.

A page carries a content security policy that names its own style and script by their hashes and allows
pictures from ``data:`` addresses alone: a browser runs nothing that a name in a dataset contains.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fused_clip.support.files import replacing

_HERE = Path(__file__).parent


def render(template: str, path: Path, *, styles: tuple[str, ...], script: str = "", **values: Any) -> None:
    """Write a page piece by piece, so that one with many pictures is never whole in memory.

    Parameters
    ----------
    template : file of ``templates``, which extends ``base.html``.
    path : of the page.
    styles, script : files of this package that the page carries.
    values : variables of the template; plain strings are escaped.
    """
    from markupsafe import Markup

    style = "".join(_asset(name) for name in styles)
    code = _asset(script) if script else ""
    runs = f"'{_digest(code)}'" if code else "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src {runs}; "
        "base-uri 'none'; form-action 'none'"
    )
    own = {"policy": policy, "style": Markup(style), "script": Markup(code)}  # noqa: S704  # our own files
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.writelines(_environment().get_template(template).generate(**own, **values))


def fragment(template: str, style: str, **values: Any) -> str:
    """Render a part of a page, with its style.

    Parameters
    ----------
    template : file of ``templates``.
    style : file of this package.
    values : variables of the template; plain strings are escaped.
    """
    from markupsafe import Markup

    own = Markup(_asset(style))  # noqa: S704  # our own file
    return str(_environment().get_template(template).render(style=own, **values))


def data_uri(image: bytes, kind: str = "png") -> str:
    """Return an address that contains a picture itself.

    Parameters
    ----------
    image : bytes of the picture's file.
    kind : its type.
    """
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(_HERE / "templates")
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["data_uri"] = data_uri
    return made


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
