"""`zpcode`, the authority's command line; also `python -m zpcode`."""

from __future__ import annotations

from zpcode.cli.main import main

if __name__ == "__main__":
    main()
