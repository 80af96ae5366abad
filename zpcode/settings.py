"""Every setting of the authority, worker and command line. Only composition roots read it.

Each is an environment variable with the prefix `ZPCODE_`; docs/settings.md lists them all, and a test
fails where it does not. The scan service and the signer have their own, in `scanweb/` and `keys/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class AuthoritySettings(BaseSettings):
    """Where things are. Without `database_url` or `redis_url` the embedded servers under `home` are meant."""

    model_config = SettingsConfigDict(env_prefix="ZPCODE_", extra="ignore")

    home: Path = Field(Path(".zpcode"), description="Directory that holds all local state.")
    database_url: str = Field(
        "", description="PostgreSQL ≥ 15 as `postgresql://…`; empty: the one of the demo that runs on HOME."
    )
    redis_url: str = Field(
        "",
        description="Redis ≥ 7 or Valkey ≥ 8 as `redis://`, `rediss://`, `unix://…`, or a cluster as `redis+cluster://HOST:PORT,HOST:PORT`; empty: the one of the demo that runs on HOME.",
    )
    scan_role: str = Field(
        "zpcode_scan", description="Database role that `zpcode migrate` lets read the scan view; empty: none."
    )
    public_base: str = Field(
        "http://127.0.0.1:8701",
        pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$",
        description="What is printed before every code: scheme and host in lower case, no path. The seal does not cover it.",
    )
    keyring: Path = Field(Path(), description="The public keyring (JSON); default `HOME/keyring.json`.")
    root_public: Path = Field(
        Path(), description="The pinned public half of the offline root key (PEM); default `HOME/root.pub.pem`."
    )
    signer_socket: Path = Field(Path(), description="Unix socket of the signer; default `HOME/run/signer.sock`.")
    pictures: str = Field(
        "",
        pattern=r"^$|^(file:///|s3://|gs://|az://)\S+$",
        description="Where pictures of products lie: `file:///…` or `s3://BUCKET/PREFIX`. Empty: the folder `HOME/pictures`.",
    )
    export_dir: Path = Field(Path(), description="Where finished code files are kept; default `HOME/exports`.")
    comparison_seconds: int = Field(
        300,
        ge=10,
        le=86_400,
        description="How long the worker's round through Redis takes, card by card; 2000 a second at most.",
    )
    metrics_address: str = Field(
        "",
        pattern=r"^$|^([^:\s]+:|\[[0-9A-Fa-f:]+\]:)?[0-9]{1,5}$",
        description="`PORT` (of loopback) or `HOST:PORT` of this process's metrics; one for each process. Empty: none.",
    )
    traces: str = Field(
        "",
        pattern=r"^$|^https?://\S+$",
        description="OpenTelemetry collector (OTLP over HTTP, `http://127.0.0.1:4318/v1/traces`). Empty: nothing is traced.",
    )
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of requests and turns that is traced.")
    api_requests_per_minute: int = Field(
        1200, ge=0, description="Requests one API key may make, of each process; 0: as many as it likes."
    )
    api_failures_per_minute: int = Field(
        30, ge=0, description="Requests without a key that counts one address may make, of each process; 0: no limit."
    )
    complaints_per_hour: int = Field(
        10, ge=0, description="Complaints one address (an IPv6 /64) may make, of each process; 0: no limit."
    )
    complaints_per_code: int = Field(
        30,
        ge=0,
        description="Complaints an hour about one item code, twentyfold about a product or lot code, of each process; 0: no limit.",
    )
    log_level: str = Field("INFO", description="Least severity that is logged: DEBUG, INFO, WARNING or ERROR.")

    @model_validator(mode="after")
    def _defaults(self) -> Self:
        for name, place in (
            ("keyring", "keyring.json"),
            ("root_public", "root.pub.pem"),
            ("signer_socket", "run/signer.sock"),
            ("export_dir", "exports"),
        ):
            if getattr(self, name) == Path():
                setattr(self, name, self.home / place)
        return self

    @property
    def pictures_url(self) -> str:
        """Where pictures lie."""
        return self.pictures or (self.home / "pictures").absolute().as_uri()


def load() -> AuthoritySettings:
    """The settings of this process, from its environment."""
    return AuthoritySettings()
