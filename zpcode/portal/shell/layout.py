"""The pages of a section: a template and values become a response, escaped, in the reader's language.

A section of the portal (such as complaints) is a folder:

    templates/*.html    its pages. A page extends `layout.html` and fills its blocks: title, navigation, main, footer
    i18n/TAG.json       its words, one file for each language of the shell

A template or a word of the section goes before the shell's of the same name; a template can extend the one that it replaces
as `shell/NAME`. A page loads nothing from another origin, sets no cookie and is stored by no cache: it may show personal
data, or have an address with a secret in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from zpcode.language import messages
from zpcode.language.messages import Messages
from zpcode.language.negotiation import choose_language, one_line
from zpcode.wire import security_headers
from zpcode.wire.calendar import SHANGHAI

_SHELL: Final = Path(__file__).parent
_HEADERS: Final = {**security_headers.PORTAL_PAGE, "Cache-Control": "no-store", "Vary": "Accept-Language"}
_STATIC: Final = {
    "form.css": "text/css; charset=utf-8",
    "form.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class PortalPages:
    """Renders the pages of one section. `prefix` is the path that the section is served at, `folder` has `templates` and `i18n`."""

    def __init__(self, prefix: str, folder: Path) -> None:
        self.prefix = prefix
        self.languages = messages.load(SHANGHAI, _SHELL / "i18n", folder / "i18n")
        shell = FileSystemLoader(_SHELL / "templates")
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(folder / "templates"), shell, PrefixLoader({"shell": shell})]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._static = {name: (_SHELL / "static" / name).read_bytes() for name in _STATIC}

    def texts(self, request: Request, tag: str = "") -> Messages:
        """The words for a reader: in the language `tag`, else in that of `?lang=`, else by Accept-Language."""
        asked = tag or request.query_params.get("lang", "")
        accept_language = one_line(request.headers.getlist("accept-language"))
        return self.languages[choose_language(tuple(self.languages), accept_language, asked)]

    def page(
        self,
        template: str,
        texts: Messages,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        errors: Sequence[tuple[str, str]] = (),
        query: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """A page as a response.

        `errors` are pairs of a field's name (empty: of no field) and what is wrong with it. `query` goes with the reader
        to the page in another language. Raises KeyError for a word, and jinja2.UndefinedError for a value, that is missing.
        """
        shared = {
            "t": texts,
            "languages": tuple(self.languages),
            "prefix": self.prefix,
            "errors": errors,
            "field_errors": dict(reversed(errors)),  # the first of each field
            "query": query or {},
        }
        body = self._environment.get_template(template).render(shared | values)
        fixed = _HEADERS | {"Content-Language": texts.language}
        # A lone surrogate in what a reader sent cannot be encoded: "?" takes its place.
        return Response(
            body.encode("utf-8", "replace"), status, fixed | dict(headers or {}), "text/html; charset=utf-8"
        )

    def error(self, texts: Messages, status: int, headers: Mapping[str, str] | None = None) -> Response:
        """The page of an error. A status that has no words is shown as 400."""
        shown = status if f"error.{status}.title" in texts.words else 400
        return self.page("error.html", texts, shown, headers, number=shown)

    def static(self, name: str) -> Response | None:
        """A file that the layout loads; None for any other name."""
        if name not in self._static:
            return None
        headers = {**security_headers.PORTAL_FILE, "Cache-Control": "public, max-age=3600"}
        return Response(self._static[name], headers=headers, media_type=_STATIC[name])


def redirect(address: str, status: int = 303) -> Response:
    """Send the reader to another page of the portal: 303 asks for it with GET."""
    return Response(status_code=status, headers=_HEADERS | {"Location": address})
