"""A wheel, installed in an empty environment outside the checkout, runs the demonstration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PARTS = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "dagster.yaml",
    "workspace.yaml",
    "pipelines",
    "solvers",
    "creator_earnings",
    "assets_data/policies",
    "assets_data/sample",
)


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel and, read from here, what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PARTS:  # a copy, so that no `build/` of an earlier time gets into the wheel
        if (PROJECT / name).is_dir():
            shutil.copytree(
                PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            source.mkdir(exist_ok=True)
            shutil.copy2(PROJECT / name, source / name)
    pip("wheel", "--quiet", "--no-deps", *_build_tools(), "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    # paths only: the .pth files in them, such as an editable install's, are not read
    (packages,) = environment.glob("lib/python*/site-packages")
    there = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(there) + "\n")
    python = environment / "bin" / "python"
    pip("--python", python, "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    shutil.rmtree(source)
    return environment / "bin"


def _build_tools() -> list[str]:
    """Those that are here, where they are new enough; pip loads them otherwise."""
    try:
        new_enough = int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        new_enough = False
    return ["--no-build-isolation"] if new_enough else []


def _run(binary: Path, *words: str, home: Path, cwd: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EARNINGS_")}
    kept.pop("PYTHONPATH", None)
    kept.pop("DAGSTER_HOME", None)
    done = subprocess.run(
        [binary, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=kept | {"HOME": str(home)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demonstration_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    user, elsewhere = tmp_path / "user", tmp_path / "elsewhere"
    user.mkdir()
    elsewhere.mkdir()
    where = "import pipelines.settings as s; print(s.PROJECT); print(s.Home.here().root)"
    project, home = _run(installed / "python", "-c", where, home=user, cwd=elsewhere).splitlines()
    assert Path(project).is_relative_to(installed.parent)
    assert Path(home) == user / "creator-earnings"
    told = _run(installed / "earnings", "demo", home=user, cwd=elsewhere)
    assert "creators + platform + carried equals taken in, to the micro." in told
    assert (user / "creator-earnings" / "warehouse.duckdb").exists()
    assert not list(elsewhere.iterdir())
    verified = _run(installed / "earnings", "ledger", "verify", home=user, cwd=elsewhere)
    assert "nothing contradicts anything" in verified
    # a folder that is a home already is the one that is meant
    (elsewhere / "landing").mkdir()
    assert str(elsewhere) in _run(installed / "python", "-c", where, home=user, cwd=elsewhere)
