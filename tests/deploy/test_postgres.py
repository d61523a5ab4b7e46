"""deploy/ against a real PostgreSQL: TLS, who may connect, what each role may do with a lake,
Dagster's storage.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import duckdb
import pytest

pytestmark = pytest.mark.lake
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PASSWORDS = {
    "dagster": 'dagster\'s "own" 1',
    "earnings_owner": "owner 2",
    "earnings_pipeline": "pipeline 3",
    "earnings_reader": "reader 4",
}
VARIABLES = {"dagster": "DAGSTER_PG_PASSWORD"} | {
    f"earnings_{name}": f"EARNINGS_{name.upper()}_PASSWORD"
    for name in ("owner", "pipeline", "reader")
}
EXTENSIONS = ("ducklake", "postgres_scanner")


@dataclass(frozen=True)
class Server:
    """PostgreSQL as compose.yaml starts it, on the loopback address and a port of its own."""

    programs: Path
    folder: Path
    port: int
    user: str

    def call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            user=self.user if os.getuid() == 0 else None,  # as root PostgreSQL will not run
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
            | {VARIABLES[role]: PASSWORDS[role] for role in PASSWORDS},
            cwd=self.folder,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def dsn(
        self,
        role: str,
        database: str = "earnings",
        host: str = "localhost",
        sslmode: str = "verify-full",
    ) -> str:
        tls = f"sslmode={sslmode} sslrootcert={self.folder}/tls/ca.crt"
        return f"host={host} port={self.port} dbname={database} user={role} {tls} connect_timeout=5"

    def ask(self, dsn: str, sql: str, password: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": password}
        return subprocess.run(
            ["psql", "-X", "-A", "-t", "-d", dsn, "-c", sql],
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = next(
        (
            p
            for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
            if (p / "initdb").exists()
        ),
        None,
    )
    found = shutil.which("initdb")
    programs = programs or (Path(found).parent if found else None)
    if not programs or not shutil.which("psql") or not shutil.which("openssl"):
        say = pytest.fail if os.environ.get("EARNINGS_REQUIRE_LAKE") else pytest.skip
        say("needs PostgreSQL's programs and openssl: apt-get install postgresql openssl")
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = getpass.getuser() if os.getuid() else "postgres" if "postgres" in names else "nobody"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="earnings-deploy-"))
    subprocess.run(
        [str(DEPLOY / "certificates.sh"), str(folder / "tls"), "localhost"],
        check=True,
        capture_output=True,
    )
    # The superuser is called postgres in the rule for local connections; here the user of the
    # machine stands for it.
    rules = (DEPLOY / "pg_hba.conf").read_text().replace("peer", "trust")
    (folder / "pg_hba.conf").write_text(rules)
    shutil.copy(DEPLOY / "roles.sql", folder)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user)
    made = Server(programs, folder, port, user)
    options = (
        f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30 -c"
        f" hba_file={folder}/pg_hba.conf -c ssl=on -c ssl_cert_file={folder}/tls/server.crt -c"
        f" ssl_key_file={folder}/tls/server.key"
    )
    try:
        made.call(
            "initdb",
            "-D",
            f"{folder}/data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        made.call(
            "pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start"
        )
        folder.chmod(0o711)  # the tests read the authority
        for _ in range(2):  # a second time to change a password: nothing is in the way
            made.call(
                "psql",
                "-X",
                "-q",
                "-h",
                str(folder),
                "-p",
                str(port),
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                "roles.sql",
            )
        yield made
    finally:
        if (folder / "data/postmaster.pid").exists():
            made.call("pg_ctl", "-D", f"{folder}/data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("role", PASSWORDS)
def test_a_role_gets_into_its_own_database_and_no_other(server: Server, role: str) -> None:
    own, other = ("dagster", "earnings") if role == "dagster" else ("earnings", "dagster")
    assert (
        server.ask(server.dsn(role, own), "SELECT current_user", PASSWORDS[role]).stdout.strip()
        == role
    )
    for database in (other, "postgres"):
        assert (
            "no pg_hba.conf entry"
            in server.ask(server.dsn(role, database), "SELECT 1", PASSWORDS[role]).stderr
        )


def test_nobody_gets_in_without_the_password_or_without_tls_or_to_another_server(
    server: Server,
) -> None:
    role = "earnings_pipeline"
    assert (
        "password authentication failed"
        in server.ask(server.dsn(role), "SELECT 1", "guessed").stderr
    )
    assert (
        "no encryption"
        in server.ask(server.dsn(role, sslmode="disable"), "SELECT 1", PASSWORDS[role]).stderr
    )
    elsewhere = server.ask(server.dsn(role, host="127.0.0.1"), "SELECT 1", PASSWORDS[role])
    assert 'does not match host name "127.0.0.1"' in elsewhere.stderr


def test_what_each_role_may_do_with_the_lake(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lake(role: str, options: str = "") -> duckdb.DuckDBPyConnection:
        monkeypatch.setenv("PGPASSWORD", PASSWORDS[role])
        con = duckdb.connect(config={"autoinstall_known_extensions": False})
        for name in EXTENSIONS:
            spec = find_spec(f"duckdb_extension_{name}")
            assert spec is not None
            folder = next(iter(spec.submodule_search_locations or ()))
            con.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
        con.execute(
            f"ATTACH 'ducklake:postgres:{server.dsn(role)}' AS lake (DATA_PATH '{tmp_path}/data/'"
            f" {options})"
        )
        return con.execute("USE lake")

    with lake("earnings_owner") as con:
        con.execute(
            "CREATE TABLE paid (day DATE, micros BIGINT); INSERT INTO paid SELECT DATE"
            " '2026-03-01', range FROM range(50)"
        )
    with lake("earnings_pipeline") as con:
        con.execute(
            "BEGIN; DELETE FROM paid WHERE micros < 10; INSERT INTO paid SELECT DATE '2026-03-02',"
            " range FROM range(50); COMMIT"
        )
        con.execute("DELETE FROM paid WHERE day = '2026-03-02' AND micros = 0")
        con.execute("UPDATE paid SET micros = 0 WHERE micros = 49")
    for sql in (
        "DROP TABLE ducklake_snapshot",
        "TRUNCATE ducklake_data_file",
        "ALTER TABLE ducklake_table ADD COLUMN more TEXT",
    ):
        refused = server.ask(
            server.dsn("earnings_pipeline"), sql, PASSWORDS["earnings_pipeline"]
        ).stderr
        assert "must be owner of table" in refused or "permission denied" in refused, sql
    made = server.ask(
        server.dsn("earnings_owner"),
        "SELECT tableowner, count(*) FROM pg_tables GROUP BY 1",
        PASSWORDS["earnings_owner"],
    )
    assert "earnings_pipeline|1\n" in made.stdout  # where DuckLake keeps small deletes
    read = "SELECT day::VARCHAR, count(*), sum(micros)::BIGINT FROM paid GROUP BY day ORDER BY day"
    found = [("2026-03-01", 40, sum(range(10, 49))), ("2026-03-02", 49, sum(range(1, 49)))]
    with lake("earnings_reader", ", READ_ONLY") as con:
        assert con.execute(read).fetchall() == found
        (before,) = con.execute("SELECT count(*) FROM paid AT (VERSION => 2)").fetchall()
        assert before == (50,)
    with lake("earnings_reader") as con, pytest.raises(duckdb.Error, match="permission denied"):
        con.execute("INSERT INTO paid VALUES ('2026-03-03', 1)")
    with lake("earnings_reader", ", READ_ONLY") as con:
        assert con.execute(read).fetchall() == found


def test_dagster_keeps_its_runs_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "DAGSTER_PG_HOST": "localhost",
        "DAGSTER_PG_PORT": str(server.port),
        "DAGSTER_PG_PASSWORD": PASSWORDS["dagster"],
        "DAGSTER_COMPUTE_LOGS": str(tmp_path / "logs"),
        "PGSSLROOTCERT": f"{server.folder}/tls/ca.crt",
    }.items():
        monkeypatch.setenv(name, value)
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)

    @dg.asset
    def something() -> int:
        return 1

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert dg.materialize([something], instance=instance).success
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert type(instance.compute_log_manager).__name__ == "LocalComputeLogManager"
    rows = server.ask(
        server.dsn("dagster", "dagster"), "SELECT status FROM runs", PASSWORDS["dagster"]
    )
    assert rows.stdout.split() == ["SUCCESS"]
