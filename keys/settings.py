"""The settings of the signer and of the ceremonies. Only `keys.__main__` reads them.

Each is an environment variable with the prefix `ZPCODE_`; for most there is an option of `zpkeys` too. docs/settings.md lists
all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from keys.log.ceiling import permitted
from zpcode.errors import setting_faults


class KeySettings(BaseSettings):
    """The paths of keys, keyring, socket and log. An empty path means its default below `home`."""

    model_config = SettingsConfigDict(env_prefix="ZPCODE_", extra="ignore", hide_input_in_errors=True)

    home: Path = Field(Path(".zpcode"), description="Directory of all local files.")
    keys_dir: Path = Field(Path(), description="Folder of the encrypted private keys, mode 0700; default `HOME/keys`.")
    keyring: Path = Field(Path(), description="The public keyring (JSON); default `HOME/keyring.json`.")
    root_key: Path = Field(
        Path(), description="The encrypted root key (PEM), for ceremonies only; default `HOME/root.key.pem`."
    )
    root_public: Path = Field(
        Path(), description="The pinned public root key (PEM, docs/keys.md); default `HOME/root.pub.pem`."
    )
    key_passphrase_file: Path | None = Field(
        None, description="File of mode 0600 with the passphrase of the signing keys. Empty: the terminal asks."
    )
    root_passphrase_file: Path | None = Field(
        None, description="File of mode 0600 with the passphrase of the root key. Empty: the terminal asks."
    )
    signer_socket: Path = Field(Path(), description="Unix socket of the signer; default `HOME/run/signer.sock`.")
    signer_log: Path = Field(
        Path(), description="The log of the signer (JSON lines, mode 0600); default `HOME/log/signer.jsonl`."
    )
    signer_processes: int = Field(0, ge=0, le=256, description="Signing processes; 0: one for each core.")
    signer_allowed_uids: list[int] = Field(
        [], description="User ids that may use the signer besides its own user, as JSON: `[1001,1002]`."
    )
    signer_highest_batch: str = Field(
        "0",
        description="Highest batch number that the authority has reached, if it is above the ceiling (docs/keys.md): `600100@2026-11-30`.",
    )
    signer_highest_audit_entry: str = Field("0", description="The same for the newest entry of the audit log.")
    log_level: str = Field("INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")

    @field_validator("signer_highest_batch", "signer_highest_audit_entry")
    @classmethod
    def _reached(cls, value: str) -> str:
        permitted(value)
        return value

    @model_validator(mode="after")
    def _defaults(self) -> Self:
        for name, place in (
            ("keys_dir", "keys"),
            ("keyring", "keyring.json"),
            ("root_key", "root.key.pem"),
            ("root_public", "root.pub.pem"),
            ("signer_socket", "run/signer.sock"),
            ("signer_log", "log/signer.jsonl"),
        ):
            if getattr(self, name) == Path():
                setattr(self, name, self.home / place)
        for name in ("key_passphrase_file", "root_passphrase_file"):
            if getattr(self, name) == Path():  # the variable is set to an empty text
                setattr(self, name, None)
        return self


def load() -> KeySettings:
    """The settings of this process, from its environment. Raises ValueError, which names each variable that is wrong."""
    try:
        return KeySettings()
    except ValidationError as error:
        raise setting_faults(error.errors()) from None
