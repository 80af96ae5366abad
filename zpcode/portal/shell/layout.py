"""From a template and values to a whole answer: escaped, in one language, with the headers every page has.

No cookies, nothing from elsewhere, no inline script or style; a page is nobody's to keep, because it may hold what
somebody has just written, or stand at an address that opens a complaint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from zpcode.language.messages import Messages
from zpcode.language.negotiation import choose_language
from zpcode.portal.shell.texts import load
from zpcode.wire import security_headers

_HERE: Final = Path(__file__).parent
HEADERS: Final = {**security_headers.PORTAL_PAGE, "Cache-Control": "no-store", "Vary": "Accept-Language"}
_STATIC: Final = {
    "form.css": "text/css; charset=utf-8",
    "form.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class PortalPages:
    """Renders every page of the portal in every language. `folders` hold the templates of the wings that stand on the shell."""

    def __init__(self, *folders: Path) -> None:
        self.languages = load()
        self._environment = Environment(
            loader=FileSystemLoader([_HERE / "templates", *folders]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["unsealed"] = unsealed
        self._static = {name: (_HERE / "static" / name).read_bytes() for name in _STATIC}

    def choose(self, asked: str, accept_language: str) -> Messages:
        """The words for a reader: the language asked for by its tag, else by `zpcode.language.negotiation`'s rule."""
        return self.languages[choose_language(tuple(self.languages), accept_language, asked)]

    def html(self, template: str, texts: Messages, **values: Any) -> str:
        """A page's text. Raises KeyError on words, and jinja2.UndefinedError on values, that are not there."""
        own = {"t": texts, "languages": tuple(self.languages), "errors": (), "query": {}} | values
        return self._environment.get_template(template).render(own)

    def answer(
        self, template: str, texts: Messages, status: int = 200, headers: dict[str, str] | None = None, **values: Any
    ) -> Response:
        """A page as an answer."""
        body = self.html(template, texts, **values)
        more = HEADERS | {"Content-Language": texts.language} | (headers or {})
        # A lone surrogate that somebody sent is no text anywhere.
        return Response(body.encode("utf-8", "replace"), status, more, "text/html; charset=utf-8")

    def static(self, name: str) -> Response | None:
        """The style sheet or the script, or None."""
        if name not in self._static:
            return None
        headers = {**security_headers.PORTAL_FILE, "Cache-Control": "public, max-age=3600"}
        return Response(self._static[name], headers=headers, media_type=_STATIC[name])


def unsealed(code: str) -> str:
    """A code as a person may compare it with the label: from `/01/` on, where it has that."""
    return code[code.find("/01/") :] if "/01/" in code else code


def see_other(address: str) -> Response:
    """Sent on to another page of ours with GET (303)."""
    return Response(status_code=303, headers=HEADERS | {"Location": address})
