"""Reports: one view of a summary, rendered for a terminal, a browser and a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.report.html import html
from analysis.report.markdown import markdown
from analysis.report.terminal import terminal
from analysis.report.view import view

__all__ = ["terminal", "write"]


def write(summary: Mapping[str, Any], run_dir: Path) -> Path:
    """Write ``report.html`` and ``report.md`` into ``run_dir``; return the HTML file's path.

    ``summary`` is a ``hopbench.summary/1`` document. Samples and spans are read from the trial
    directories of the run where they exist; what is missing leaves its section saying so.
    """
    of = view(summary)
    (run_dir / "report.md").write_text(markdown(of), encoding="utf-8")
    path = run_dir / "report.html"
    path.write_text(html(of, summary, run_dir), encoding="utf-8")
    return path
