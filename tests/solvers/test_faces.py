"""Faces of the solvers: what they hand on, and what they do not load."""

import subprocess
import sys

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
