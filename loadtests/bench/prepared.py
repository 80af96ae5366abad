"""A running system with the code of one tree, for `loadtests.bench.against`: run as a script with that tree on PYTHONPATH.

The tree prepares everything with its own code (schema, users of Redis, projection, signer), so that two trees need not
understand each other's data. Only the servers' programs and the dependencies are the same. When the scan process is ready,
one line of JSON says where it is. The system is stopped when standard input ends.

The tree needs `loadtests.bench.system` as it has been since revision 6ba1f2e: `running`, `BenchSystem.serve`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from loadtests.bench.system import SCAN, UVICORN, running


def main(tree: str, codes: int) -> None:
    """Start the system with one batch of `codes` item codes and one scan process, say where, and wait."""
    with running(codes=codes, scan_processes=0) as system:
        server = (*UVICORN, "--factory", "--app-dir", tree)
        port = system.serve("measured", SCAN, server=server, PYTHONPATH=tree, PYTHONSAFEPATH="1")
        paths = Path(system.home / "paths.json")
        paths.write_text(json.dumps(system.paths), "ascii")
        ready = {"port": port, "pid": system.processes.pid("measured"), "paths": os.fspath(paths)}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
