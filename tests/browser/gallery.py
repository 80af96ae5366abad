"""`make gallery`: every page in both languages, on a phone and a desktop, light and dark, into build/gallery/index.html.

It starts its own servers. `--pictures` also makes the small pictures of docs/pictures that the README shows.
"""

from __future__ import annotations

import argparse
import html
import itertools
import logging
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page
from redis import Redis

from tests.browser import stage as theatre
from tests.browser.chromium import DESK, PHONE, chromium, window
from tests.browser.opened_page import PROBES
from tests.browser.stage import LANGUAGES, SCENES, Scene, Stage
from zpcode.embedded.servers import Servers
from zpcode.store.database.session import connect, migrate_embedded

ROOT: Final = Path(__file__).resolve().parents[2]
SIZES: Final = {"phone": PHONE, "desk": DESK}
THEMES: Final = ("light", "dark")
MOST_PIXELS: Final = 8000
"""The largest height of a screenshot in pixels."""
README: Final = {
    "verified": ("verified-first", "zh-CN", "phone", "light"),
    "recalled": ("recalled", "en", "phone", "light"),
    "night": ("verified-again", "zh-CN", "phone", "dark"),
}
README_BYTES: Final = 120 * 1024
SENTENCES: Final = {
    "verified-first": ("单品码，第一次扫描", "An item, scanned for the first time"),
    "verified-again": ("单品码，多次扫描", "An item, scanned before"),
    "verified-lot": ("批次码", "A lot code"),
    "verified-product": ("品类码", "A product code"),
    "verified-online": ("短码，仅联网验证", "A short code, confirmed online only"),
    "verified-old-stock": ("认定结束前的产品，仍有效", "Made before the recognition ended, still good"),
    "flagged": ("正在核查", "Under review"),
    "suspended": ("暂停销售使用", "Suspended"),
    "revoked": ("已撤销", "Revoked"),
    "recalled": ("正在召回", "Recalled"),
    "expired": ("已过期", "Past its date"),
    "recognition-ended": ("品牌认定已结束", "Recognition has ended"),
    "not-activated": ("尚未启用", "Not in use yet"),
    "key-revoked": ("此码已失效", "No longer valid"),
    "seal-missing": ("没有签章", "No seal"),
    "typed": ("手工输入的号码", "A number typed by hand"),
    "unconfirmed": ("暂时无法确认，产品已知", "Cannot be confirmed now, product known"),
    "unconfirmed-unknown": ("暂时无法确认，产品未知", "Cannot be confirmed now, product unknown"),
    "not-verified": ("未能验证（伪造或未知）", "Not verified: forged or unknown"),
    "unreadable": ("未能验证（无法识别）", "Not verified: unreadable"),
    "landing": ("首页", "Front page"),
    "nowhere": ("页面不存在", "No such page"),
    "too-many": ("请求过于频繁", "Too many requests"),
    "defect": ("服务出错", "Our own fault"),
}
"""What a scene shows, in Chinese and English: the headings of the gallery."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One screenshot. Its file name consists of all its fields."""

    scene: str
    language: str
    size: str
    theme: str

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.scene}.{self.language}.{self.size}.{self.theme}.jpg"


def shots(scenes: tuple[Scene, ...] = SCENES) -> list[Shot]:
    """All screenshots, scene by scene, so that a person can compare variants of one page."""
    return [Shot(scene.name, *rest) for scene in scenes for rest in itertools.product(LANGUAGES, SIZES, THEMES)]


@contextmanager
def running() -> Iterator[Stage]:
    """A stage on its own servers, removed afterwards."""
    logging.getLogger("scanweb").setLevel(logging.CRITICAL)  # one scene is an internal error, which is logged
    with tempfile.TemporaryDirectory(prefix="zp-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o711)
        (home / "lines").mkdir()
        with Servers(home, durable=False) as servers:
            engine = connect(servers.addresses.database, pool_size=5)
            migrate_embedded(servers.addresses)
            redis = Redis.from_url(servers.addresses.admin_redis)
            with closing(redis), theatre.stage(servers.addresses, engine, redis, home / "lines") as stage:
                yield stage
            engine.dispose()


def shoot(browser: Browser, stage: Stage, into: Path, wanted: list[Shot]) -> None:
    """Take all screenshots. A page is opened once for each language and size, and shown in both themes."""
    for (language, size), group in _by(wanted, "language", "size"):
        with window(browser, SIZES[size], language=language) as context:
            for (scene,), shots_of_one in _by(group, "scene"):
                page = context.new_page()
                page.goto(stage.url(scene, language), wait_until="load")
                _stretch(page, SIZES[size])
                for shot in shots_of_one:
                    page.emulate_media(color_scheme="dark" if shot.theme == "dark" else "light")
                    page.screenshot(path=into / shot.file, type="jpeg", quality=80)
                page.close()


def _by(wanted: list[Shot], *names: str) -> Iterator[tuple[tuple[str, ...], list[Shot]]]:
    """Screenshots grouped by these fields."""
    key = attrgetter(*names) if len(names) > 1 else lambda shot: (getattr(shot, names[0]),)
    for values, group in itertools.groupby(sorted(wanted, key=key), key):
        yield values, list(group)


def _stretch(page: Page, size: tuple[int, int]) -> None:
    """Make the window as high as the page, so that everything that is loaded lazily is loaded."""
    page.evaluate(PROBES)
    page.evaluate("probe.scrolled()")
    height = min(page.evaluate("document.documentElement.scrollHeight"), MOST_PIXELS)
    page.set_viewport_size({"width": size[0], "height": max(height, size[1])})


def index(wanted: list[Shot]) -> str:
    """The HTML of the gallery: groups by scene, filters without a script, no foreign resource."""
    groups = [
        _group(scene, [shot for shot in wanted if shot.scene == scene])
        for scene in dict.fromkeys(shot.scene for shot in wanted)
    ]
    choices = {"language": LANGUAGES, "size": tuple(SIZES), "theme": THEMES}
    boxes = "".join(
        f"<fieldset><legend>{name}</legend>{''.join(_box(name, value) for value in values)}</fieldset>"
        for name, values in choices.items()
    )
    names = '<a href="#">全部 all</a> ' + "".join(
        f'<a href="#{scene}">{html.escape(SENTENCES[scene][0])}</a> '
        for scene in dict.fromkeys(s.scene for s in wanted)
    )
    hide = "".join(
        f"body:has(#{name}-{value}:not(:checked)) figure.{name}-{value}{{display:none}}"
        for name, values in choices.items()
        for value in values
    )
    return _INDEX.format(style=_STYLE + hide, boxes=boxes, names=names, groups="".join(groups), count=len(wanted))


def _box(name: str, value: str) -> str:
    return f'<label><input type="checkbox" id="{name}-{value}" checked> {value}</label>'


def _group(scene: str, pictures: list[Shot]) -> str:
    zh, en = SENTENCES[scene]
    figures = "".join(
        f'<figure class="language-{shot.language} size-{shot.size} theme-{shot.theme}"><a href="{shot.file}">'
        f'<img src="{shot.file}" alt="{html.escape(en)}, {shot.language}, {shot.size}, {shot.theme}" loading="lazy"></a>'
        f"<figcaption>{shot.language} · {shot.size} · {shot.theme}</figcaption></figure>"
        for shot in pictures
    )
    return f'<section id="{scene}"><h2>{html.escape(zh)} <small>{html.escape(en)}</small></h2><div>{figures}</div></section>'


_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;margin:1rem;background:#e9ecea;color:#17201c}"
    "header{position:sticky;top:0;background:#e9ecea;padding:.5rem 0;z-index:1;border-bottom:1px solid #9aa8a1}"
    "fieldset{display:inline-block;border:0;padding:0 1rem 0 0}legend{float:left;margin-right:.5rem;font-weight:700}"
    "section>div{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}"
    "figure{margin:0;max-height:46rem;overflow:hidden;background:#fff;border:1px solid #9aa8a1}"
    "figcaption{position:relative;font-size:.8rem;padding:.2rem .5rem;background:#fff}"
    "figure{display:flex;flex-direction:column;overflow-y:auto}figcaption{order:-1}section{scroll-margin-top:9rem}"
    ".size-phone img{width:18rem}.size-desk img{width:40rem}nav a{margin-right:.6rem}main:has(section:target) section:not(:target){display:none}small{font-weight:400;color:#52605a}"
)
_INDEX: Final = (
    '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    "<title>浙品码 gallery</title><style>{style}</style><header><b>{count} 张截图 screenshots</b> {boxes}<nav>{names}</nav></header>"
    "<main>{groups}</main></html>"
)


def readme_pictures(browser: Browser, stage: Stage, into: Path) -> None:
    """The pictures of the README: the first screen of a phone, in 64 colours. Raises ValueError beyond 120 KB."""
    into.mkdir(parents=True, exist_ok=True)
    for name, (scene, language, size, theme) in README.items():
        with window(browser, SIZES[size], language=language, theme=theme, device_scale_factor=2) as context:
            page = context.new_page()
            page.goto(stage.url(scene, language), wait_until="load")
            path = into / f"{name}.png"
            page.screenshot(path=path)
        Image.open(path).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size > README_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size} bytes")


def main() -> None:
    """Make the gallery, and with `--pictures` the README's pictures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--into", type=Path, default=ROOT / "build" / "gallery")
    asked.add_argument("--pictures", action="store_true", help="also make docs/pictures/*.png")
    options = asked.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    wanted = shots()
    with running() as stage, chromium() as browser:
        shoot(browser, stage, options.into, wanted)
        if options.pictures:
            readme_pictures(browser, stage, ROOT / "docs" / "pictures")
    (options.into / "index.html").write_text(index(wanted), "utf-8")
    print(f"{options.into / 'index.html'}: {len(wanted)}")  # noqa: T201 - a command says what it has made


if __name__ == "__main__":
    main()
