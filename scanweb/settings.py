"""Settings of the scan service, read from the environment (`ZPCODE_…`). Only `scanweb.app` uses them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from zpcode.errors import setting_faults
from zpcode.wire.link import is_base

Network = IPv4Network | IPv6Network
ADDRESS = r"^$|^([^:\s]+:|\[[0-9A-Fa-f:]+\]:)?[0-9]{1,5}$"
"""The pattern of `ZPCODE_METRICS_ADDRESS`."""


class ScanSettings(BaseSettings):
    """Every setting of one scan process."""

    model_config = SettingsConfigDict(env_prefix="ZPCODE_", extra="ignore", frozen=True, hide_input_in_errors=True)

    home: Path = Field(Path(".zpcode"), description="Directory of all local files.")
    scan_database_url: str = Field(
        "",
        description="PostgreSQL with the scan role (`postgresql://…`); this role may read one view. Empty: no "
        "database.",
    )
    scan_redis_url: str = Field(
        "",
        description="Redis for the scan service: `redis://`, `rediss://`, `unix://`, or `redis+cluster://`. Empty: "
        "the value of `ZPCODE_REDIS_URL`.",
    )
    redis_url: str = Field(
        "",
        description="Redis ≥ 7 or Valkey ≥ 8 as `redis://`, `rediss://`, `unix://…`, or a cluster as "
        "`redis+cluster://HOST:PORT,HOST:PORT`. Empty: the Valkey of the demo in HOME.",
    )
    keyring: Path | None = Field(None, description="The public keyring (JSON); default `HOME/keyring.json`.")
    root_public: Path | None = Field(
        None, description="The pinned public root key (PEM, docs/keys.md); default `HOME/root.pub.pem`."
    )
    public_base: str = Field(
        "http://127.0.0.1:8701",
        description="The address printed before every code: scheme and host in lower case, no path. The seal does not "
        "cover it.",
    )
    authority_url: str = Field(
        "",
        pattern=r"^$|^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
        description="Address of the authority's public pages, for complaints (docs/complaints.md). Empty: the page "
        "names 12315 only.",
    )
    security_contact: str = Field(
        "",
        pattern=r"^$|^(mailto:|https://|tel:)\S+$",
        description="Contact for security reports (`mailto:…`, `https://…`), served at `/.well-known/security.txt`. "
        "Empty: no such file.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Networks (CIDR, comma-separated) of proxies whose `X-Forwarded-For` is trusted. Empty: none."
    )
    geoip_database: Path | None = Field(
        None,
        description="City database in MaxMind DB format. Without it the page shows only the time of the first scan.",
    )
    pictures: str = Field(
        "",
        pattern=r"^$|^(file:///|s3://|gs://|az://)\S+$",
        description="Storage of product pictures: `file:///…`, `s3://BUCKET/PREFIX`, `gs://…` or `az://…`. Empty: the "
        "folder `HOME/pictures`.",
    )
    refusal_floor_ms: int = Field(
        50,
        ge=0,
        le=1000,
        description='A "not verified" answer is sent at the earliest this many ms after the request arrived (ADR 5).',
    )
    scans_per_minute: int = Field(
        6000,
        ge=0,
        description="Requests from one address (an IPv6 /64), each process; 0: no limit.",
    )
    scans_recorded_per_day: int = Field(
        200_000,
        ge=0,
        description="Scans of one /24 (IPv6: /48) that each process records and counts in a day; 0: no limit.",
    )
    guesses_per_minute: int = Field(
        60,
        ge=0,
        description="Answers without a proof (unsealed, typed, not verified) for one address, each process; 0: no "
        "limit.",
    )
    scan_buffer: int = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="Scans kept in memory while Redis does not answer; more scans are dropped and counted.",
    )
    scan_stream_length: int = Field(
        100_000,
        ge=1000,
        le=1_000_000,
        description="Entries of scans that may wait in Redis while the worker is stopped; then scans wait in the process. "
        "One entry holds the scans of one round trip: 1 to 250, about 100 bytes each.",
    )
    scan_cards: int = Field(
        8192,
        ge=64,
        le=1_000_000,
        description="Cards of each kind (product, batch, lot) kept in memory; eight times as many standings.",
    )
    scan_redis_ms: int = Field(
        200,
        ge=10,
        le=200,
        description="A scan waits at most so many ms for Redis; then the database is asked. At most 200.",
    )
    scan_database_ms: int = Field(
        220,
        ge=10,
        le=10_000,
        description='A scan waits at most so many ms for the database; then the answer is "cannot be confirmed now".',
    )
    scan_pipelines: int = Field(2, ge=1, le=16, description="Redis round trips at the same time, each process.")
    scan_queries: int = Field(4, ge=1, le=32, description="Database queries at the same time, each process.")
    metrics_address: str = Field(
        "",
        pattern=ADDRESS,
        description="Where this process serves its metrics: `PORT` (on loopback) or `HOST:PORT`. Each process needs "
        "its own (docs/observing.md). Empty: no metrics.",
    )
    traces: str = Field(
        "",
        pattern=r"^$|^https?://\S+$",
        description="OpenTelemetry collector (OTLP over HTTP, `http://127.0.0.1:4318/v1/traces`); needs the extra "
        "`zpcode[otel]`. Empty: no traces.",
    )
    trace_ratio: float = Field(
        0.01, ge=0, le=1, description="Share of requests and worker steps that is traced, 0 to 1."
    )
    log_level: str = Field("INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("public_base")
    @classmethod
    def _base(cls, value: str) -> str:
        if not is_base(value):
            raise ValueError("scheme and host in lower case, without a path: https://example.cn")
        return value

    @property
    def redis(self) -> str:
        """The Redis address of the scan service."""
        return self.scan_redis_url or self.redis_url

    @property
    def keyring_path(self) -> Path:
        """The path of the public keyring."""
        return self.keyring or self.home / "keyring.json"

    @property
    def root_path(self) -> Path:
        """The path of the root public key."""
        return self.root_public or self.home / "root.pub.pem"

    @property
    def pictures_url(self) -> str:
        """The URL of the picture store."""
        return self.pictures or (self.home / "pictures").absolute().as_uri()


def load() -> ScanSettings:
    """The settings of this process, from its environment. Raises ValueError, which names each variable that is wrong."""
    try:
        return ScanSettings()
    except ValidationError as error:
        raise setting_faults(error.errors()) from None
