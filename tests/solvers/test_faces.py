"""Faces of the solvers: what they hand on, and what they do not load."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import solvers

PACKAGES = (
    "ad_pool",
    "apportion",
    "coin_split",
    "competition",
    "donation_market",
    "reward_schedule",
    "reweighting",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_loads_none_of_the_heavy_libraries(package):
    heavy = "{'numba', 'scipy', 'cvxpy', 'pandas'}"
    code = f"import sys, solvers.{package}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_a_face_is_there(package):
    face = __import__(f"solvers.{package}", fromlist=["*"])
    assert face.__all__ == sorted(face.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert all(hasattr(face, name) for name in face.__all__)


def test_the_main_functions_can_be_had_from_the_top():
    for name in solvers.__all__:
        assert getattr(solvers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = solvers.nothing


def test_only_the_engine_of_the_competition_needs_numba():
    """numba and llvmlite are 208 MB: an extra that one study asks for."""
    root = Path(solvers.__path__[0]).parent
    users = [
        path.relative_to(root).as_posix()
        for package in ("solvers", "pipelines", "creator_earnings")
        for path in sorted((root / package).rglob("*.py"))
        if re.search(r"^\s*(import|from) numba\b", path.read_text(), re.MULTILINE)
    ]
    assert users == ["solvers/competition/engine.py"]


def test_without_numba_a_competition_is_played_from_scratch_and_says_what_the_engine_needs():
    code = """
import sys
sys.modules["numba"] = None  # as where it is not installed
from solvers.competition import simulate, toy
start = toy(0)
print(simulate(start.game, steps=5, groups=start.groups, engine="reference").welfare.size)
try:
    simulate(start.game, steps=5, groups=start.groups)
except ModuleNotFoundError as missing:
    print(missing)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, message = run.stdout.splitlines()
    assert int(size) > 0
    assert "needs numba" in message
    assert "pip install 'creator-earnings[lab]'" in message
