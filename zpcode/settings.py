"""The settings of the authority, the worker and the command line. Only composition roots read them.

Each is an environment variable with the prefix `ZPCODE_`. docs/settings.md lists all of them; a test compares the two.
The settings of the scan service and of the signer are in `scanweb/settings.py` and `keys/settings.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from zpcode.errors import setting_faults


class AuthoritySettings(BaseSettings):
    """The settings of one process. Without `database_url` or `redis_url`, the embedded servers under `home` are used."""

    model_config = SettingsConfigDict(env_prefix="ZPCODE_", extra="ignore", hide_input_in_errors=True)

    home: Path = Field(Path(".zpcode"), description="Directory of all local files.")
    database_url: str = Field(
        "", description="PostgreSQL ≥ 15 as `postgresql://…`. Empty: the database of the demo in HOME."
    )
    migration_url: str = Field(
        "",
        description="PostgreSQL with the role that owns the tables (`postgresql://…`), for `zpcode migrate` only. Empty: "
        "the database of the demo in HOME.",
    )
    application_role: str = Field(
        "zpcode",
        description="Database role of the authority, which owns no table; `zpcode migrate` grants it what it needs.",
    )
    backup_database_url: str = Field(
        "",
        description="PostgreSQL with the backup role (`postgresql://…`), for `zpcode backup`. Empty: the database of "
        "the demo in HOME.",
    )
    redis_url: str = Field(
        "",
        description="Redis ≥ 7 or Valkey ≥ 8 as `redis://`, `rediss://`, `unix://…`, or a cluster as "
        "`redis+cluster://HOST:PORT,HOST:PORT`. Empty: the Valkey of the demo in HOME.",
    )
    scan_role: str = Field(
        "zpcode_scan",
        description="Database role that may read the scan view; `zpcode migrate` grants this. Empty: no role.",
    )
    public_base: str = Field(
        "http://127.0.0.1:8701",
        pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$",
        description="The address printed before every code: scheme and host in lower case, no path. The seal does not "
        "cover it.",
    )
    keyring: Path = Field(Path(), description="The public keyring (JSON); default `HOME/keyring.json`.")
    root_public: Path = Field(
        Path(), description="The pinned public root key (PEM, docs/keys.md); default `HOME/root.pub.pem`."
    )
    signer_socket: Path = Field(Path(), description="Unix socket of the signer; default `HOME/run/signer.sock`.")
    pictures: str = Field(
        "",
        pattern=r"^$|^(file:///|s3://|gs://|az://)\S+$",
        description="Storage of product pictures: `file:///…`, `s3://BUCKET/PREFIX`, `gs://…` or `az://…`. Empty: the "
        "folder `HOME/pictures`.",
    )
    export_dir: Path = Field(Path(), description="Folder of finished code files, encrypted; default `HOME/exports`.")
    file_key: Path = Field(
        Path(),
        description="File of mode 0600 or 0400 with the keys of the code files (docs/issuing.md); default "
        "`HOME/secrets/files.key`.",
    )
    code_file_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="Days after which a code file is removed, counted from its writing; it is written again on request "
        "(docs/issuing.md). 0: never.",
    )
    audit_heads: Path = Field(
        Path(),
        description="File of the countersigned heads of the audit log, which the worker appends to; default "
        "`HOME/audit-heads.jsonl`.",
    )
    comparison_seconds: int = Field(
        300,
        ge=10,
        le=86_400,
        description="Time in which the worker compares all cards in Redis with the database; at most 2000 cards a "
        "second.",
    )
    metrics_address: str = Field(
        "",
        pattern=r"^$|^([^:\s]+:|\[[0-9A-Fa-f:]+\]:)?[0-9]{1,5}$",
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
    api_requests_per_minute: int = Field(
        1200, ge=0, description="Requests with one API key, each process; 0: no limit."
    )
    api_failures_per_minute: int = Field(
        30, ge=0, description="Requests without a valid key from one address (an IPv6 /64), each process; 0: no limit."
    )
    api_writes_per_day: int = Field(
        50_000, ge=0, description="Requests of one enterprise that may write, each process; 0: no limit."
    )
    complaints_per_hour: int = Field(
        10,
        ge=0,
        description="Complaints an hour from one address (an IPv6 /64), each process; eight times as many from its "
        "network; 0: no limit.",
    )
    complaints_per_code: int = Field(
        30,
        ge=0,
        description="Complaints an hour about one item code, each process; 20 times as many about a product or lot "
        "code. Blocks of addresses share it. Beyond it, texts are taken without photos and marked (docs/complaints.md); 0: no limit.",
    )
    log_level: str = Field("INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")

    @model_validator(mode="after")
    def _defaults(self) -> Self:
        for name, path in (
            ("keyring", "keyring.json"),
            ("root_public", "root.pub.pem"),
            ("signer_socket", "run/signer.sock"),
            ("audit_heads", "audit-heads.jsonl"),
            ("export_dir", "exports"),
            ("file_key", "secrets/files.key"),
        ):
            if getattr(self, name) == Path():
                setattr(self, name, self.home / path)
        return self

    @property
    def pictures_url(self) -> str:
        """The URL of the folder or bucket with the product pictures."""
        return self.pictures or (self.home / "pictures").absolute().as_uri()


def load() -> AuthoritySettings:
    """The settings of this process, from its environment. Raises ValueError, which names each variable that is wrong."""
    try:
        return AuthoritySettings()
    except ValidationError as error:
        raise setting_faults(error.errors()) from None
