"""``python -m hopbench``: the same as the command ``hopbench``."""

from __future__ import annotations

from hopbench.cli import main

if __name__ == "__main__":
    main()
