"""Find Debian's Chromium and start it under Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, sync_playwright

HERE: Final = Path(__file__).parent
AXE: Final = HERE / "node_modules" / "axe-core" / "axe.min.js"
ACORN: Final = HERE / "node_modules" / "acorn" / "dist" / "acorn.js"
PHONE: Final = (360, 640)
DESK: Final = (1280, 800)
_ANDROID: Final = "Mozilla/5.0 (Linux; Android 14; V2309A) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Mobile Safari/537.36 MicroMessenger/8.0.50 Language/zh_CN"
_WINDOWS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Safari/537.36"
)
CONSUMER: Final = "198.51.100.7"
"""The visitor's address in X-Forwarded-For. It can be refused; loopback cannot."""
_OPTIONS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars",
                   "--font-render-hinting=none")  # fmt: skip


def needed(path: str | Path | None, what: str) -> str:
    """The path, if it exists. Raises FileNotFoundError that names the command which installs it."""
    if path is None or not Path(path).exists():
        raise FileNotFoundError(f"{what} is missing: make browser")
    return str(path)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, closed afterwards. `--no-sandbox` because CI and containers run it as root."""
    program = needed(shutil.which("chromium"), "Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS), env=_letters())
        try:
            yield browser
        finally:
            browser.close()


def _letters() -> dict[str, str | float | bool]:
    """The environment, with the fonts of fonts.conf."""
    return {**os.environ, "FONTCONFIG_FILE": str(HERE / "fonts.conf")}


@contextmanager
def window(
    browser: Browser, size: tuple[int, int] = PHONE, *, theme: str = "light", language: str = "zh-CN", **more: Any
) -> Iterator[BrowserContext]:
    """A new profile with this size in CSS pixels, with WeChat's User-Agent on a phone; `theme` is light or dark."""
    width, height = size
    agent = (_ANDROID if width < 800 else _WINDOWS).format(browser.version)
    headers = {"X-Forwarded-For": CONSUMER, "Accept-Language": language}
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light", locale=language, timezone_id="Asia/Shanghai",
        extra_http_headers=headers, **({"user_agent": agent} | more),
    )  # fmt: skip
    context.set_default_timeout(20_000)
    try:
        yield context
    finally:
        context.close()
