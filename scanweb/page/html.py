"""The page: verdict first, then the four blocks that every scan must show, then how the code was verified.

Pages of codes with the same cards differ only in history, path and time. So the whole page is rendered once for each set
of cards and each language, with slots for these values, and a scan only joins bytes.
"""

from __future__ import annotations

from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from scanweb.page import assets, picture_urls, wording
from scanweb.page.chart import chart
from scanweb.page.identity import SiteIdentity
from scanweb.page.plain import plain
from scanweb.page.slots import SLOTS, RenderedPieces, SlottedPage
from scanweb.scan.resolver import OK, Resolution
from zpcode.language.messages import Messages
from zpcode.wire.card import NoticesCard, ProductCard
from zpcode.wire.verdict import Proof, Verdict
from zpcode.wire.vocabulary import Bilingual

HISTORY, PATH, PRINTED, TIME = map(Markup, SLOTS)
"""The slots of a page, for what differs from code to code, in the order in which `ScanPages.scan` returns the values."""
LARGE: Final = "&size=large"
MAX_WHOLE_PAGES: Final = 128
"""Whole pages kept for items and ranges with their own decisions, which share a page with no other code."""


def _printable(value: Any) -> Any:
    """Strips control characters from every value that a template prints. Markup has been stripped before."""
    return plain(value) if type(value) is str else value


@cache
def _environment() -> Environment:
    """The templates. Each is compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["dialled"] = _dialled
    return environment


class ScanPages:
    """Renders pages of scans and the landing page.

    `official` is the official address and root key, `authority` the address for complaints. Every page exists in each
    language and in two sizes; `large` is for elderly readers (适老).
    """

    def __init__(self, texts: dict[str, Messages], official: SiteIdentity, authority: str = "") -> None:
        self.texts, self._official, self._authority = texts, official, authority
        self._not_verified_pages: dict[tuple[str, bool], SlottedPage] = {}
        self._pieces, self._whole_pages = RenderedPieces(), RenderedPieces(MAX_WHOLE_PAGES)

    def landing(self, language: str, notices: NoticesCard | None, *, large: bool = False) -> SlottedPage:
        """The page with the form to type a code and the public notices; None: notices are unknown now."""

        def make() -> SlottedPage:
            body = self._render("landing.html", language, large=large, notices=notices)
            return self._framed(language, body, large=large, front=True)

        page: SlottedPage = self._pieces.get((notices,), ("landing", language, large), make)
        return page

    def error(self, language: str, *, large: bool = False) -> SlottedPage:
        """The page for an error of this service: it says nothing about the code."""
        t = self.texts[language]
        return self.notice(language, t("error.title"), t("error.text"), large=large)

    def notice(self, language: str, title: str, text: str, *, large: bool = False) -> SlottedPage:
        """A page with a title and one sentence."""
        return self._framed(language, self._render("notice.html", language, title=title, text=text), large=large)

    def scan(
        self, resolution: Resolution, language: str, typed: str = "", *, large: bool = False
    ) -> tuple[SlottedPage, tuple[bytes, ...]]:
        """The page of a scan and the values of its slots. `typed` is the text typed at /q, for the links to other languages.

        Codes that are not verified have one page for each language and size, whatever the cause: it never shows what was
        typed.
        """
        if resolution.outcome.verdict.http_status != OK:
            return self._not_verified(resolution, language, large=large), ()
        pages = None if typed else resolution.pages
        key = (language, large)
        page: SlottedPage | None = None if pages is None else pages.get(key)
        if page is None:
            page = self._page(resolution, language, typed, large=large)
            if pages is not None:
                pages[key] = page
        t = self.texts[language]
        return page, (
            _escaped(wording.scanned(resolution, t)),
            resolution.path.encode(),
            resolution.printed.encode(),
            t.moment(resolution.at).encode(),
        )

    def _not_verified(self, resolution: Resolution, language: str, *, large: bool) -> SlottedPage:
        page = self._not_verified_pages.get((language, large))
        if page is None:
            body = self._verdict(resolution, language, history="") + self._complain(language, "")
            page = self._not_verified_pages[language, large] = self._framed(language, body, large=large)
        return page

    def _page(self, resolution: Resolution, language: str, typed: str, *, large: bool) -> SlottedPage:
        """A whole page with slots for the history, the path (with and without seal) and the time."""
        product = resolution.evidence.product
        pieces = (
            self._verdict(resolution, language, history=HISTORY),
            self._tools(resolution, language),
            "" if product is None or product.lost else self._product(resolution, product, language),
            self._code(resolution, language),
            self._complain(language, PRINTED),
        )
        query = f"code={quote(typed, safe='')}&" if typed else ""

        def make() -> SlottedPage:
            return self._framed(language, "".join(pieces), query, large=large, as_json=True)

        page: SlottedPage = make() if query else self._whole_pages.get(pieces, ("page", language, large), make)
        return page

    # Pieces -----------------------------------------------------------------------------------------

    def _framed(
        self,
        language: str,
        body: str,
        query: str = "",
        *,
        large: bool = False,
        as_json: bool = False,
        front: bool = False,
    ) -> SlottedPage:
        """The page around a body. Links on it begin with `query`; only the `front` page may be indexed."""

        def make() -> str:
            return self._render(
                "page.html",
                language,
                body=_BODY,
                languages=tuple(self.texts),
                style=Markup(assets.STYLE),  # noqa: S704 - page.css of this package
                script=assets.SCRIPT,
                size=LARGE if large else "",
                query=query,
                large=large,
                as_json=as_json,
                front=front,
            )

        frame: str = make() if query else self._pieces.get((), ("frame", language, large, as_json, front), make)
        return SlottedPage(frame.replace(_BODY, body))

    def _render(self, template: str, language: str, *, large: bool = False, **values: object) -> str:
        t = self.texts[language]
        page = _environment().get_template(template)
        return page.render(
            t=t,
            say=partial(_say, t),
            plain=t.pick,
            mark=_mark,
            link=_link,
            official=self._official,
            large=large,
            **values,
        )

    def _verdict(self, resolution: Resolution, language: str, history: str) -> str:
        outcome, evidence, t = resolution.outcome, resolution.evidence, self.texts[language]
        expiry = wording.expiry(resolution) if outcome.verdict is Verdict.EXPIRED else ""
        disclosed = outcome.verdict.public != "not_verified"
        level = evidence.level.value if disclosed else ""
        # The standing is part of the key by its value: an item's own one is a new object with every scan.
        parts = (outcome.verdict, outcome.standing, outcome.scope, outcome.old_stock, evidence.proof, expiry, level)
        key = ("verdict", language, *parts)

        def make() -> str:
            return self._render(
                "verdict.html",
                language,
                tone=outcome.verdict.tone if disclosed else "bad",
                level=level,
                title=wording.title(resolution, t),
                meaning=wording.meaning(resolution, t),
                advice=wording.advice(resolution, t),
                history=history,
                standing=outcome.standing,
                scope=outcome.scope,
                reason="" if outcome.standing is None else wording.reason(outcome.standing, t),
            )

        text: str = self._pieces.get((), key, make)
        return text

    def _tools(self, resolution: Resolution, language: str) -> str:
        item = resolution.evidence.level.is_item
        text: str = self._pieces.get(
            (), ("tools", language, item), lambda: self._render("tools.html", language, item=item)
        )
        return text

    def _product(self, resolution: Resolution, product: ProductCard, language: str) -> str:
        holder, t = resolution.evidence.batch or resolution.evidence.lot, self.texts[language]

        def make() -> str:
            return self._render(
                "product.html",
                language,
                product=product,
                holder=holder,
                chart=partial(chart.chart, t=t),
                legend=partial(chart.legend, t),
                srcset=picture_urls.srcset,
                source=picture_urls.source,
            )

        text: str = self._pieces.get((product, holder), ("product", language), make)
        return text

    def _code(self, resolution: Resolution, language: str) -> str:
        proof, level = resolution.evidence.proof, resolution.evidence.level
        checked = proof is Proof.SEALED or (proof is Proof.ONLINE and resolution.evidence.index is not None)
        shown = proof if checked else Proof.MISSING  # a compact code's check that could not be verified proves nothing
        seal = None if resolution.code is None else resolution.code.seal
        key_id = "" if seal is None else seal.key_id
        revoked = (
            resolution.outcome.verdict is Verdict.KEY_REVOKED
        )  # by a decision, which may be newer than the keyring

        def make() -> str:
            return self._render(
                "code.html",
                language,
                proof=shown.value,
                level=level.value,
                key_id=key_id,
                revoked=revoked,
                verifier=assets.VERIFIER,
                item=level.is_item,
                path=PATH,
                printed=PRINTED,
                time=TIME,
            )

        text: str = self._pieces.get((), ("code", language, shown, level, key_id, revoked), make)
        return text

    def _complain(self, language: str, printed: str) -> str:
        def make() -> str:
            return self._render("complain.html", language, authority=self._authority, printed=printed)

        text: str = self._pieces.get((), ("complain", language, printed), make)
        return text


_BODY: Final = Markup("<!--body-->")


@lru_cache(maxsize=8192)
def _escaped(text: str) -> bytes:
    return escape(text).encode()


def _say(t: Messages, text: Bilingual) -> Markup | str:
    """A registry text, marked with its language where that is not the page's."""
    shown, tag = plain(t.pick(text)), t.tag_of(text)
    if not shown:
        return ""
    return (
        Markup("<bdi>{}</bdi>").format(shown)
        if tag == t.language
        else Markup('<bdi lang="{}">{}</bdi>').format(tag, shown)
    )


def _mark(text: str) -> Markup | str:
    """A number or a name that belongs to no language, isolated from the direction of the text around it (bdi)."""
    return Markup("<bdi>{}</bdi>").format(plain(text)) if text else ""


def _dialled(number: str) -> str:
    """A telephone number for a `tel` URI (RFC 3966): without blanks."""
    return "".join(sign for sign in number if sign in "+-0123456789")


def _link(url: str, text: str = "", kind: str = "") -> Markup | str:
    """A link to a web address; nothing for an address that is not http(s)."""
    if not url.startswith(("https://", "http://")):
        return ""
    shown = Markup('<a href="{}" rel="noopener nofollow"{}><bdi>{}</bdi></a>')
    return shown.format(plain(url), Markup(' class="{}"').format(kind) if kind else "", plain(text or url))
