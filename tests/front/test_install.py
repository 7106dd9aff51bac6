"""The package as a user installs it: not editable, from any directory, not on PATH."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("hopbench", "services", "loadgen", "analysis", "scenarios")
FILES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, in an environment that has the libraries of this one and our wheel."""
    home = tmp_path_factory.mktemp("install")
    source = home / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", home / "wheels", source],
        check=True,
    )
    (wheel,) = (home / "wheels").glob("hopbench-*.whl")
    environment = home / "venv"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(packages)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    command = environment / "bin" / "hopbench"
    python = environment / "bin" / "python"
    command.write_text(f"#!{python}\nfrom hopbench.cli import main\n\nmain()\n")
    command.chmod(0o755)
    return command


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A project of somebody's, with modules named like ours and like the standard library's."""
    for name in ("services", "hopbench", "analysis", "loadgen"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    (tmp_path / "types.py").write_text("raise SystemExit('not ours')")
    return tmp_path


def run(command: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [command, *arguments],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory)},
        capture_output=True,
        check=False,
        timeout=90,
    )


@pytest.mark.slow
def test_every_bundled_scenario_and_schema_is_installed(installed: Path, elsewhere: Path) -> None:
    listed = orjson.loads(run(installed, elsewhere, "list", "--json", "-").stdout)
    bundled = {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}
    assert {scenario["name"] for scenario in listed["scenarios"]} == bundled
    names = run(installed, elsewhere, "schema").stdout.decode().split()
    assert {path.stem for path in (ROOT / "hopbench/front/schemas").glob("*.json")} <= {
        *names,
        "common",
    }
    assert run(installed, elsewhere, "init", "mine.yaml").returncode == 0
    assert run(installed, elsewhere, "validate", "mine.yaml").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("instrumentation", ["lean", "official"])
def test_it_runs_from_any_directory(installed: Path, elsewhere: Path, instrumentation: str) -> None:
    ended = run(
        installed, elsewhere, "run", "chatty", "--duration", "2s", "--warmup", "500ms",
        "--instrumentation", instrumentation, "--json", "-",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()
    summary = orjson.loads(ended.stdout)
    assert [len(variant["findings"]) for variant in summary["variants"]] == [1, 0]
    report = Path(elsewhere, summary["run_dir"], "report.html").read_text()
    assert '<svg class="quantiles"' in report
    assert ".quantiles" in report.partition("</style>")[0]
