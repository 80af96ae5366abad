"""What the service is made of at run time: a CycloneDX 1.6 document, and the list of licences (`make sbom`).

Both come from the metadata of the installed packages (PEP 566, 639, 643): everything that the project requires, with the
extras `otel` and `local`. They have neither a time nor a random number, so the same packages give the same bytes;
SOURCE_DATE_EPOCH (reproducible-builds.org) adds a time. PostgreSQL, Valkey and the interpreter of a production host are
not packages and are not in it.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from boolean import ParseError
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from license_expression import ExpressionError, get_spdx_licensing
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT: Final = "zpcode"
OPTIONAL: Final = frozenset({"otel", "local"})
SBOM, LICENCES = Path("build/sbom.json"), Path("build/licences.txt")
ACCEPTED: Final = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LGPL-2.1-or-later", "LGPL-3.0-only", "MIT",
     "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib"}
)  # fmt: skip
"""Licences that a package may have at run time. LGPL and MPL packages are used as they are published, unchanged."""
_SPDX: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License": "ISC",
    "LGPL": "LGPL-2.1-or-later",
    "MIT License": "MIT",
    "PSFL": "PSF-2.0",
}
"""SPDX identifiers of what packages without a licence expression (PEP 639) write."""
_LICENSING: Final = get_spdx_licensing()


@dataclass(frozen=True, slots=True)
class RuntimePackage:
    """One installed package. `licence` is an SPDX expression, or what the package says if that is none.

    `requires` are the names of the packages that it needs itself; `optional` packages come with an extra only.
    """

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]
    optional: bool


def packages() -> list[RuntimePackage]:
    """Everything that the project needs at run time, by name. Raises PackageNotFoundError for a missing package."""
    required, all_of_them = _closure(frozenset()), _closure(OPTIONAL)
    return [
        RuntimePackage(name, metadata.version(name), _licence(metadata.metadata(name)), needs, name not in required)
        for name, needs in sorted(all_of_them.items())
    ]


def _closure(extras: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The names of all packages below the project, each with the names of those it requires."""
    needs: dict[str, set[str]] = {}
    open_ends, done = [(PROJECT, extras)], set[tuple[str, frozenset[str]]]()
    while open_ends:
        one = open_ends.pop()
        if one in done:
            continue
        done.add(one)
        for name, more in _requirements(*one):
            needs.setdefault(one[0], set()).add(name)
            open_ends.append((name, more))
    names = {name for name, _ in done} - {PROJECT}
    return {name: tuple(sorted(needs.get(name, ()))) for name in names}


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What a package with these extras requires on this platform: names and their extras."""
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _licence(about: Any) -> str:
    """The SPDX expression of a package, or what it says instead."""
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License")
    ]
    for stated in (about.get("License-Expression"), about.get("License"), *classifiers):
        text = (stated or "").strip()
        text = _SPDX.get(text, text)
        if _parsed(text) is not None:
            return text
    return str(about.get("License") or "; ".join(classifiers) or "unknown").strip().splitlines()[0]


def is_accepted(licence: str) -> bool:
    """Whether a licence is on the list: of `A AND B` both, of `A OR B` one. False for what is no SPDX expression."""
    expression = _parsed(licence)
    return expression is not None and _accepted(expression)


def _parsed(text: str) -> Any:
    """The parsed SPDX expression; None if the text is none."""
    try:
        return _LICENSING.parse(text, validate=True, simple=True)
    except (ExpressionError, ParseError):
        return None


def _accepted(expression: Any) -> bool:
    parts = [_accepted(part) for part in getattr(expression, "args", ())]
    if not parts:
        return str(expression) in ACCEPTED
    return any(parts) if isinstance(expression, _LICENSING.OR) else all(parts)


def document(content: list[RuntimePackage], environment: Mapping[str, str]) -> str:
    """The CycloneDX document, as JSON."""
    components = {one.name: _component(one) for one in content}
    project = Component(
        type=ComponentType.APPLICATION, name=PROJECT, version=metadata.version(PROJECT), bom_ref=PROJECT
    )
    bom = Bom(components=components.values(), metadata=BomMetaData(component=project))
    direct = {name for name, _ in _requirements(PROJECT, OPTIONAL)}
    bom.register_dependency(project, [components[name] for name in sorted(direct)])
    for one in content:
        bom.register_dependency(components[one.name], [components[name] for name in one.requires])
    body: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del body["serialNumber"], body["metadata"]["timestamp"]  # random, and the time of the run
    if epoch := environment.get("SOURCE_DATE_EPOCH"):
        body["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    name = json.dumps(body, sort_keys=True)
    return (
        json.dumps(body | {"serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, name).urn}, indent=1, sort_keys=True) + "\n"
    )


def _component(one: RuntimePackage) -> Component:
    url = PackageURL("pypi", name=one.name, version=one.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=one.name,
        version=one.version,
        bom_ref=url.to_string(),
        purl=url,
        scope=ComponentScope.OPTIONAL if one.optional else ComponentScope.REQUIRED,
        licenses=[LicenseExpression(one.licence)],
    )


def licence_list(content: list[RuntimePackage]) -> str:
    """One line for each package: name, version, licence."""
    return "".join(f"{one.name} {one.version}\t{one.licence}\n" for one in content)


def main() -> int:
    """Write both files. Exit status 1 names each package whose licence is not on the list."""
    content = packages()
    refused = [one for one in content if not is_accepted(one.licence)]
    for one in refused:
        print(
            f"{one.name} {one.version}: 许可证不在允许之列 / the licence is not accepted: {one.licence}",
            file=sys.stderr,
        )
    if refused:
        return 1
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(document(content, os.environ), "utf-8")
    LICENCES.write_text(licence_list(content), "utf-8")
    print(f"{SBOM}, {LICENCES}: {len(content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
