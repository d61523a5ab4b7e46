"""The lake says what the file says, to the last row; its readers see one state, also an earlier
one; what is old is forgotten.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.ledger.closing import close
from pipelines.remake.days import restate
from pipelines.remake.weights import RecommitError, recommit
from pipelines.schema import TABLES
from pipelines.schema.invariants import InvariantError
from pipelines.settings import Home
from pipelines.sources.quarantine import accept
from pipelines.status import day_statuses
from pipelines.store.file_store import WORKERS, Past, WarehouseError
from pipelines.store.lake import META, LakeStore
from pipelines.store.lake_files import whole_files
from pipelines.store.migrations import MIGRATIONS, Migration
from pipelines.store.warehouse import Warehouse
from tests.lake.conftest import DAYS, PASSWORD, Lakes, Server, deliver_late, head, make

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("lake")]

FIRST = DAYS[0]


def story(home: Home) -> None:
    """Two days made, the first closed, late files for it, restated."""
    make(home, DAYS)
    accept(home, [], reason="rotten on purpose", actor="a test")
    close(home, FIRST)
    deliver_late(home, [FIRST])
    shown, _ = restate(home, FIRST, FIRST, reason="late")
    restate(home, FIRST, FIRST, reason="late", expected=shown.digest)


def contents(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, but for clock times."""
    with Warehouse(home).open(read_only=True) as con:
        found = {
            name: con.execute(f"FROM {name} ORDER BY ALL").fetchall()
            for name in TABLES
            if name not in ("written_days", "quarantine_acceptances", "landing_files")
        }
        found["landing_files"] = con.execute(
            "SELECT * EXCLUDE (stamp) FROM landing_files ORDER BY ALL"
        ).fetchall()
        found["quarantine_acceptances"] = con.execute(
            "SELECT * EXCLUDE (accepted_at) FROM quarantine_acceptances ORDER BY ALL"
        ).fetchall()
        found["written_days"] = con.execute(
            "SELECT * EXCLUDE (made_at) FROM written_days ORDER BY ALL"
        ).fetchall()
    return found


@pytest.fixture(scope="module")
def told(lakes: Lakes, landed: Path) -> Home:
    """A lake after the story. Do not write to it."""
    home = lakes.new(landed)
    story(home)
    return home


def ask(home: Home, *words: str) -> Any:
    result = CliRunner().invoke(main, ["--home", str(home.root), *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_row_is_that_of_the_file(told: Home, file_home: Callable[..., Home]) -> None:
    in_file = file_home("story")
    story(in_file)
    of_lake, of_file = contents(told), contents(in_file)
    assert {name for name in of_file if of_file[name] != of_lake[name]} == set()
    assert head(told) == head(in_file)
    empty = {name for name, rows in of_lake.items() if not rows}
    full = {
        "viewer_events",
        "quarantine",
        "video_quality",
        "ad_payouts",
        "donation_splits",
        "statements",
        "ledger_entries",
    }
    assert full & empty == set()
    assert [d.as_dict() for d in day_statuses(told)] == [d.as_dict() for d in day_statuses(in_file)]


def test_what_a_day_said_when_its_statement_was_issued(told: Home) -> None:
    totals = (
        "SELECT sum(total_micros)::BIGINT AS micros FROM creator_earnings WHERE day = '2026-03-01'"
    )
    now, then = (
        ask(told, "query", totals)[0]["micros"],
        ask(told, "query", totals, "--as-issued", "2026-03-01")[0]["micros"],
    )
    ledger = (
        "SELECT sum(amount_micros)::BIGINT AS micros FROM ledger_entries JOIN ledger_transactions"
        " USING (txn_id)"
    )
    first = ask(
        told,
        "query",
        f"{ledger} WHERE txn_id = '2026-03-01/payout/1' AND starts_with(account, 'creator:')",
    )[0]["micros"]
    assert then == first != now
    changed = """SELECT account[9:] AS creator FROM ledger_entries
                 WHERE txn_id IN ('2026-03-01/payout/1', '2026-03-01/payout/2')
                 AND starts_with(account, 'creator:')
                 GROUP BY account HAVING sum(if(txn_id = '2026-03-01/payout/2', 1,
                 -1) * amount_micros) <> 0 ORDER BY 1"""
    creator = ask(told, "query", changed)[0]["creator"]
    issued = ask(told, "statement", creator, "--month", "2026-03", "--as-issued", "2026-03-01")
    assert issued["corrections"] == []
    assert ask(told, "statement", creator, "--month", "2026-03")["corrections"] != []
    explained = ask(told, "explain", creator, "--day", "2026-03-01", "--as-issued", "2026-03-01")
    assert explained["total_micros"] == issued["days"]["2026-03-01"]
    result = CliRunner().invoke(
        main, ["--home", str(told.root), "query", totals, "--as-issued", "2026-03-02"]
    )
    assert (result.exit_code, "no statement was issued for 2026-03-02 yet" in result.output) == (
        1,
        True,
    )


def test_an_earlier_state_by_time(lakes: Lakes) -> None:
    home = lakes.new()
    house = Warehouse(home)
    numbers = "SELECT number FROM times ORDER BY 1"
    with house.open() as con:
        con.execute("CREATE TABLE times (number BIGINT)")
        con.execute("INSERT INTO times VALUES (1)")
        (between,) = con.execute("SELECT max(snapshot_time) FROM warehouse.snapshots()").fetchall()[
            0
        ]
        con.execute("INSERT INTO times VALUES (2)")
    with house.read(Past(at=between.astimezone(UTC).replace(tzinfo=None))) as con:
        assert con.execute(numbers).fetchall() == [(1,)]
    with house.read() as con:
        assert con.execute(numbers).fetchall() == [(1,), (2,)]
        # whoever may ask cannot read or write other files of the machine
        for sql in (
            "FROM read_text('/etc/hostname')",
            "COPY (SELECT 1) TO 'out.csv'",
            "ATTACH 'other.duckdb'",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
            f"ATTACH 'postgres:dbname={home.root.name}' AS catalogue (TYPE postgres)",
        ):
            with pytest.raises(duckdb.Error):
                con.execute(sql)
    with (
        pytest.raises(WarehouseError, match="cannot be opened"),
        house.read(Past(at=datetime(2001, 1, 1))),
    ):
        pass


def test_a_file_has_no_past(file_home: Callable[..., Home]) -> None:
    with (
        pytest.raises(WarehouseError, match="keeps no earlier states"),
        Warehouse(file_home("past")).read(Past(issued=FIRST)),
    ):
        pass


def test_a_reader_sees_one_state_and_stops_nobody(lakes: Lakes) -> None:
    home = lakes.new()
    house = Warehouse(home)
    with house.open():
        pass
    with house.open(read_only=True) as reader:
        before = reader.execute("SELECT count(*) FROM policies").fetchall()
        with house.open() as con:
            con.execute("INSERT INTO policies VALUES ('h', 'n', '2026-01-01', '{}')")
        assert reader.execute("SELECT count(*) FROM policies").fetchall() == before
        with pytest.raises(Exception, match="read-only"):
            reader.execute("DELETE FROM policies")


def test_a_process_that_keeps_a_lake_open_attaches_it_once(
    lakes: Lakes, told: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached: list[tuple[Any, ...]] = []
    original = LakeStore._attached
    monkeypatch.setattr(
        LakeStore, "_attached", lambda store, *how: attached.append(how) or original(store, *how)
    )
    home = lakes.new(like=told)
    house, other = Warehouse(home), Warehouse(Home.at(home.root))
    policies = "SELECT count(*) FROM policies"
    with house.kept_open(), other.kept_open():
        with house.open() as con:
            before = con.execute(policies).fetchall()[0][0]
        with other.open(read_only=True) as reader:
            assert reader.execute(policies).fetchall() == [(before,)]
            with house.open() as con:
                con.execute("INSERT INTO policies VALUES ('h', 'n', '2026-01-01', '{}')")
            assert reader.execute(policies).fetchall() == [(before,)]  # one state, to the end
            with pytest.raises(duckdb.Error, match="read-only"):
                reader.execute("DELETE FROM policies")
        with other.open(read_only=True) as reader:
            assert reader.execute(policies).fetchall() == [(before + 1,)]
        lakes.server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
            f" '{home.root.name}'"
        )
        with house.open() as con:
            assert con.execute(policies).fetchall() == [(before + 1,)]
        with house.open(read_only=True, past=Past(issued=FIRST)) as con:
            assert con.execute(policies).fetchall() == [(before,)]
    assert attached.count((False, None)) in (
        1,
        2,
    )  # the second, where DuckDB noticed the lost session too late
    lakes.new(
        like=home
    )  # nothing is connected any more, or the server would refuse to copy the catalogue


def test_two_connections_never_spill_into_the_same_folder(
    told: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's files have the same names in every process: two that met in a folder ended both
    processes.
    """
    temporary = "SELECT current_setting('temp_directory')"
    house = Warehouse(told)
    with house.open(read_only=True) as one, house.open(read_only=True) as other:
        folders = {con.execute(temporary).fetchall()[0][0] for con in (one, other)}
        assert len(folders) == 2
        one.execute(
            "SET memory_limit = '50MB'; CREATE TEMP TABLE large AS SELECT md5(n::VARCHAR) AS t FROM"
            " range(2_000_000) AS r (n)"
        )
        assert [folder for folder in folders if Path(folder).exists()]
    assert not [folder for folder in folders if Path(folder).exists()]


def test_what_killed_processes_spilled_is_deleted(lakes: Lakes, told: Home) -> None:
    home = lakes.new(like=told)
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = gethostname()
    theirs, ours, elsewhere = (
        home.root / f"spilled-{name}-0"
        for name in (f"{here}-{ended.pid}", f"{here}-{os.getpid()}", "pod-7-1")
    )
    for folder in (theirs, ours, elsewhere):
        folder.mkdir()
    Warehouse(home).prune(dry_run=False)
    assert [folder.exists() for folder in (theirs, ours, elsewhere)] == [False, True, True]


def test_workers_share_the_machine(told: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken() -> Any:
        with Warehouse(told).open(read_only=True) as con:
            megabytes = (
                "SELECT parse_formatted_bytes(current_setting('memory_limit')) / 1e6,"
                " current_setting('threads')"
            )
            return con.execute(megabytes).fetchall()[0]

    alone, _ = taken()
    monkeypatch.setenv(WORKERS, "4")
    assert taken() == (pytest.approx(alone / 4, rel=0.05), 1)


def test_pruning_keeps_what_was_said_when_a_statement_was_issued(
    lakes: Lakes, told: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lakes.new(like=told)
    totals = (
        "SELECT creator_id, total_micros FROM creator_earnings WHERE day = '2026-03-01' ORDER BY 1"
    )
    then, before = ask(home, "query", totals, "--as-issued", "2026-03-01"), contents(home)
    states = "SELECT count(*) AS n FROM warehouse.snapshots()"
    many = ask(home, "query", states)[0]["n"]
    lakes.server.ask(
        "UPDATE ducklake_snapshot SET snapshot_time = snapshot_time - INTERVAL '100 days'",
        home.root.name,
    )
    shown = CliRunner().invoke(main, ["--home", str(home.root), "prune"])
    assert "would forget" in shown.output, shown.output
    assert ask(home, "query", states)[0]["n"] == many
    data = home.root / "lake"
    monkeypatch.setattr("pipelines.store.lake._SMALL_FILE", 1)
    apart = CliRunner().invoke(main, ["--home", str(home.root), "prune", "--yes"])
    assert "made 0 of 0 small files" in apart.output, apart.output
    of_a_day = len(list(data.rglob("*.parquet")))
    monkeypatch.undo()
    done = CliRunner().invoke(main, ["--home", str(home.root), "prune", "--yes"])
    assert "forgot" in done.output, done.output
    assert len(list(data.rglob("*.parquet"))) < of_a_day
    with Warehouse(home).open(read_only=True) as con:
        merged, elsewhere = whole_files(
            con, "viewer_events", ["day", "event_id", "video_id"], f"day = '{DAYS[1]}'"
        )
    assert (len(merged), elsewhere) == (1, 0)  # for engines that read them where they lie
    assert (
        ask(home, "query", states)[0]["n"] <= 4
    )  # the closing, the last one, and what pruning itself commits
    assert ask(home, "query", totals, "--as-issued", "2026-03-01") == then
    assert contents(home) == before
    assert head(home) == head(told)


def test_what_a_database_with_constraints_would_refuse_is_refused(lakes: Lakes, told: Home) -> None:
    home = lakes.new(like=told)
    house = Warehouse(home)
    again = (
        "SELECT * REPLACE ('2026-03-02/payout/9' AS txn_id) FROM ledger_transactions WHERE seq = 2"
    )
    for spoil, words in (
        (f"INSERT INTO ledger_transactions {again}", "seq"),
        (
            (
                "INSERT INTO ledger_entries VALUES ('2026-03-02/payout/1', '2026-03-02',"
                " 'platform', 'coins', 0)"
            ),
            "amount_micros <> 0",
        ),
        ("INSERT INTO policies FROM policies", "policy_hash"),
    ):
        with (  # noqa: PT012
            house.open() as con,
            pytest.raises(InvariantError, match=words),
            house.write_day(con, DAYS[1]) as writer,
        ):
            con.execute(spoil)
            writer.mark("ledger_entries", rows=1, changed=True)
    assert head(home) == head(told)


def test_weights_that_were_never_committed_are_not_recommitted(told: Home) -> None:
    with pytest.raises(RecommitError, match="no weights were committed"):
        recommit(told, DAYS[1], reason="why not")


def test_tables_of_an_earlier_version_are_migrated(
    lakes: Lakes, told: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lakes.new(like=told)
    before = contents(home)
    newer = (*MIGRATIONS, Migration("the book anew", {"ledger_transactions": {}}))
    for function in ("migrate", "is_current"):
        original = getattr(__import__("pipelines.store.warehouse", fromlist=[function]), function)
        monkeypatch.setattr(
            f"pipelines.store.warehouse.{function}",
            lambda *a, original=original, **k: original(*a, migrations=newer, **k),
        )
    with Warehouse(home).open() as con:
        assert con.execute("SELECT max(version) FROM schema_versions").fetchall() == [(len(newer),)]
    after = contents(home)
    assert {name for name in before if before[name] != after[name]} == {"schema_versions"}


def test_an_analyst_reads_and_cannot_write(
    lakes: Lakes, server: Server, told: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = told.root.name
    server.ask(f"CREATE ROLE analyst LOGIN PASSWORD '{PASSWORD}'")
    server.ask(
        "GRANT USAGE ON SCHEMA public TO analyst; GRANT SELECT ON ALL TABLES IN SCHEMA public TO"
        " analyst",
        database,
    )
    monkeypatch.setenv(
        "EARNINGS_WAREHOUSE",
        f"ducklake:postgres:{server.dsn(database, 'analyst')}"
        " password=${LAKE_PASSWORD}?data=lake",
    )
    assert ask(told, "query", "SELECT count(*) AS n FROM creator_earnings")[0]["n"] > 0
    with pytest.raises(WarehouseError, match="permission denied"), Warehouse(told).open() as con:
        con.execute("INSERT INTO policies VALUES ('h', 'n', '2026-01-01', '{}')")


def test_a_wrong_password_is_refused_and_none_is_shown(
    lakes: Lakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lakes.new()
    monkeypatch.setenv("LAKE_PASSWORD", "not the right one")
    with (
        pytest.raises(WarehouseError, match="password authentication failed") as error,
        Warehouse(home).open(),
    ):
        pass
    told = [str(error.value), *(str(e) for e in (error.value.__cause__, error.value.__context__))]
    assert not any(secret in text for text in told for secret in ("not the right one", PASSWORD))


def test_the_password_is_in_no_query_and_no_log(told: Home, server: Server) -> None:
    found = ask(told, "query", "SELECT string_agg(path, ' ') AS paths FROM duckdb_databases()")[0][
        "paths"
    ]
    assert "dbname" in found
    assert PASSWORD not in found + (server.folder / "log").read_text()


def test_nothing_there_is_said(lakes: Lakes) -> None:
    home = lakes.new()
    assert not Warehouse(home).exists()
    with (
        pytest.raises(WarehouseError, match="no warehouse yet"),
        Warehouse(home).open(read_only=True),
    ):
        pass
    assert day_statuses(home) == []


def test_a_lake_without_its_packages_says_which(
    lakes: Lakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lakes.new()
    monkeypatch.setattr("pipelines.store.lake.find_spec", lambda name: None)
    with (
        pytest.raises(WarehouseError, match=r"pip install 'creator-earnings\[lake\]'"),
        Warehouse(home).open(),
    ):
        pass


def test_everything_is_claimed_by_who_opens_it(lakes: Lakes) -> None:
    house = Warehouse(lakes.new())
    with house.open() as con:
        held = "SELECT mode FROM pg_locks WHERE locktype = ''advisory''"
        assert ("ExclusiveLock",) in con.execute(
            f"FROM postgres_query('{META}', '{held}')"
        ).fetchall()
