"""Fixtures of the tests over HTTP: an authority that listens, and two tenants."""

from __future__ import annotations

from tests.support.authority import app, base_url, furnished, here, http, world

__all__ = ["app", "base_url", "furnished", "here", "http", "world"]
