"""Settings of the scan service, read from the environment (`ZPCODE_…`). Only `scanweb.app` looks at them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from zpcode.wire.link import is_base

Network = IPv4Network | IPv6Network
ADDRESS = r"^$|^([^:\s]+:|\[[0-9A-Fa-f:]+\]:)?[0-9]{1,5}$"
"""What `ZPCODE_METRICS_ADDRESS` may look like."""


class ScanSettings(BaseSettings):
    """Every setting of one scan process."""

    model_config = SettingsConfigDict(env_prefix="ZPCODE_", extra="ignore", frozen=True)

    home: Path = Field(Path(".zpcode"), description="Directory below which the defaults of all file settings lie.")
    scan_database_url: str = Field(
        "", description="PostgreSQL as the scan role (`postgresql://…`), which may read one view. Empty: no database."
    )
    scan_redis_url: str = Field(
        "",
        description="Redis for the scan service: `redis://`, `rediss://`, `unix://`, or `redis+cluster://`. "
        "Empty: the value of ZPCODE_REDIS_URL.",
    )
    redis_url: str = Field(
        "", description="Redis for the authority; the scan service's too where it has none of its own."
    )
    keyring: Path | None = Field(None, description="Public keyring. Default: `keyring.json` in the home directory.")
    root_public: Path | None = Field(
        None, description="Pinned root public key (PEM). Default: `root.pub.pem` in the home directory."
    )
    public_base: str = Field(
        "http://127.0.0.1:8701", description="Address printed on codes, shown to consumers as the only right one."
    )
    authority_url: str = Field(
        "",
        pattern=r"^$|^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
        description="Address of the authority's public pages, where complaints go. Empty: the page names 12315 alone.",
    )
    security_contact: str = Field(
        "",
        pattern=r"^$|^(mailto:|https://|tel:)\S+$",
        description="Where weaknesses of the service are reported (`mailto:…`, `https://…`): /.well-known/security.txt. "
        "Empty: there is none.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Networks (CIDR, comma-separated) whose `X-Forwarded-For` is believed. Empty: nobody's."
    )
    geoip_database: Path | None = Field(
        None,
        description="City database in MaxMind DB format. Without it the page gives the time of the first scan only.",
    )
    pictures: str = Field(
        "",
        pattern=r"^$|^(file:///|s3://|gs://|az://)\S+$",
        description="Where pictures of products lie: `file:///…` or `s3://BUCKET/PREFIX`. Empty: the folder `HOME/pictures`.",
    )
    refusal_floor_ms: int = Field(
        50,
        ge=0,
        le=1000,
        description="A not-verified answer leaves no earlier than this many ms after the request came.",
    )
    scans_per_minute: int = Field(
        6000,
        ge=0,
        description="Requests one address (an IPv6 /64) may make, of each process; 0: as many as it likes.",
    )
    guesses_per_minute: int = Field(
        60,
        ge=0,
        description="Answers without a proof (unsealed, typed, not verified) one address may have; 0: no limit.",
    )
    scan_buffer: int = Field(
        10_000, ge=0, le=1_000_000, description="Scans kept in memory while Redis is away; more are counted as dropped."
    )
    scan_stream_length: int = Field(
        100_000,
        ge=1000,
        description="Entries kept in the Redis stream while the worker is away: one holds the scans of a round trip, 1 to 250, "
        "of about 100 bytes each.",
    )
    scan_cards: int = Field(
        8192,
        ge=64,
        le=1_000_000,
        description="Cards of each kind (product, batch, lot) kept in memory; standings eightfold.",
    )
    scan_redis_ms: int = Field(
        200,
        ge=10,
        le=200,
        description="A scan waits so many ms for Redis, then the database is asked. At most 200.",
    )
    scan_database_ms: int = Field(
        220, ge=10, le=10_000, description="A scan waits so many ms for the database, then nothing can be confirmed."
    )
    scan_pipelines: int = Field(2, ge=1, le=16, description="Redis round trips one process has under way at a time.")
    scan_queries: int = Field(4, ge=1, le=32, description="Database queries one process has under way at a time.")
    metrics_address: str = Field(
        "",
        pattern=ADDRESS,
        description="`PORT` (of loopback) or `HOST:PORT` of this process's metrics; one for each process. Empty: none.",
    )
    traces: str = Field(
        "",
        pattern=r"^$|^https?://\S+$",
        description="OpenTelemetry collector (OTLP over HTTP, `http://127.0.0.1:4318/v1/traces`). Empty: nothing is traced.",
    )
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of requests and turns that is traced.")
    log_level: str = Field("INFO", description="Least level that is logged: DEBUG, INFO, WARNING or ERROR.")

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
        """The Redis address in force."""
        return self.scan_redis_url or self.redis_url

    @property
    def keyring_path(self) -> Path:
        """Where the keyring is."""
        return self.keyring or self.home / "keyring.json"

    @property
    def root_path(self) -> Path:
        """Where the root public key is."""
        return self.root_public or self.home / "root.pub.pem"

    @property
    def pictures_url(self) -> str:
        """Where pictures lie."""
        return self.pictures or (self.home / "pictures").absolute().as_uri()
