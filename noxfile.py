"""The tests under every Python that is supported: `pipx run nox`, or one with `-s tests-3.12`.

The lock is resolved for 3.11; under another Python its versions must be there too.
"""

import nox

nox.options.default_venv_backend = "venv"


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """What `make test` runs, without the linters."""
    session.install("-r", "requirements.lock")
    session.install("--no-deps", "--editable", ".")
    session.run(
        "pytest", "-n", "2", "--dist", "loadfile", "-m", "not slow",
        *session.posargs, env={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
