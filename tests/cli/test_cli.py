"""The command line as a person and as a program uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli.lab import STUDIES, lab
from pipelines.cli.ledger import ledger
from pipelines.cli.main import main
from pipelines.console import Command
from pipelines.money import money
from pipelines.schema import TABLES, as_markdown
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests import processes
from tests.cases.three_days import FIRST, LAST, contents, rows

PROJECT = Path(__file__).parents[2]

ONE_MARKET = """
name = "evidence"
effective_from = 2020-01-01
[market]
locations = 12
opportunity_costs = [0.8]
deviation_costs = [10.0]
"""
"""A policy whose weeks are studied for one pair of costs: where the market is not what is tested.
"""


def earnings(home: Home, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, on a home: what it needs and does not import itself is
    missing there.
    """
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("EARNINGS_", "DAGSTER_"))
    }
    return processes.run(
        processes.COMMAND,
        "--home",
        str(home.root),
        *arguments,
        environment=environment,
        said=said,
    )


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["run"],
        ["status"],
        ["import"],
        ["import", "kuairand"],
        ["simulate"],
        ["policy"],
        ["ui"],
        ["prune"],
        ["schema"],
        ["query"],
        ["close"],
        ["restate"],
        ["explain"],
        ["statement"],
        ["ledger", "verify"],
        ["lab"],
        ["lab", "knobs"],
        ["lab", "market"],
        ["lab", "rewards"],
        ["lab", "competition"],
        ["lab", "arms"],
    ],
)
def test_help_teaches(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_wrong_usage_is_exit_code_2() -> None:
    assert CliRunner().invoke(main, ["run", "--from", "yesterday"]).exit_code == 2
    assert CliRunner().invoke(main, ["no-such-command"]).exit_code == 2


def test_an_option_that_is_given_twice_is_refused_unless_both_count() -> None:
    twice = CliRunner().invoke(
        main, ["restate", "--day", "2026-03-05", "--day", "2026-03-06", "--reason", "late"]
    )
    assert twice.exit_code == 2
    assert "--day is given 2 times" in twice.output
    for command in (
        *main.commands.values(),
        *(lab.get_command(click.Context(lab), name) for name in STUDIES),
        *ledger.commands.values(),
    ):
        assert isinstance(command, Command | click.Group)
    assert (
        CliRunner()
        .invoke(main, ["run", "--asset", "gifts", "--asset", "videos", "--help"])
        .exit_code
        == 0
    )


@pytest.mark.slow
def test_demo_pays_creators_from_nothing(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "demo")
    result = earnings(home, "demo")
    assert result.returncode == 0, result.stderr
    assert "creators + platform + carried equals taken in, to the micro." in result.stdout
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    with duckdb.connect(str(home.published), read_only=True) as con:
        days, creators, paid = con.execute(
            "SELECT count(DISTINCT day), count(DISTINCT creator_id), sum(total_micros) FROM"
            " creator_earnings"
        ).fetchall()[0]
    assert (days, creators > 60, paid > 0) == (14, True, True)
    report = json.loads(earnings(home, "status", "--json").stdout)
    assert {day["state"] for day in report["days"]} == {"complete"}
    assert sum(day["creators_micros"] for day in report["days"]) == paid
    assert all(
        day["gross_micros"] == day["creators_micros"] + day["platform_micros"] + day["carry_micros"]
        for day in report["days"]
    )


def test_run_prints_one_json_document(finished: Home, copy_of: Callable[[Home], Home]) -> None:
    home = copy_of(finished)
    (home.root / "policies").mkdir()
    (home.root / "policies" / "evidence.toml").write_text(ONE_MARKET)
    result = earnings(home, "run", "--from", str(FIRST), "--to", str(FIRST), "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["success"]
    assert len(document["runs"]) == 1  # the calendar begins on a Sunday: no whole week is in it
    assert [day["day"] for day in document["days"]] == [str(FIRST)]


def test_status_shows_landed_stale_and_quarantine(
    finished: Home, copy_of: Callable[[Home], Home], make_home: Callable[..., Home]
) -> None:
    fresh = json.loads(earnings(make_home("fresh"), "status", "--json").stdout)
    assert {day["state"] for day in fresh["days"]} == {"landed"}
    home = copy_of(finished)
    run_gifts = ("run", "--asset", "gifts", "--from", str(LAST), "--to", str(LAST))
    assert earnings(home, *run_gifts).returncode == 0
    days = {
        day["day"]: day for day in json.loads(earnings(home, "status", "--json").stdout)["days"]
    }
    assert days[str(LAST)]["state"] == "complete"  # the same gifts again
    ((video,),) = rows(home, "SELECT min(video_id) FROM videos")
    more = f"gift_id,ts,viewer_id,video_id,coins,premium\nlate,{LAST}T01:00:00Z,u,{video},5,true\n"
    (home.landing / "gifts" / str(LAST) / "late.csv").write_text(more)
    assert earnings(home, *run_gifts).returncode == 0
    days = {
        day["day"]: day for day in json.loads(earnings(home, "status", "--json").stdout)["days"]
    }
    assert days[str(LAST)]["state"] == "stale"
    assert "gifts" in days[str(LAST)]["note"]
    text = earnings(home, "status", "--quarantine").stdout
    assert "watch_ms: negative or longer than a day" in text


def test_a_policy_with_a_typo_names_file_and_key_and_changes_nothing(
    finished: Home, copy_of: Callable[[Home], Home]
) -> None:
    home = copy_of(finished)
    shutil.copytree(PROJECT / "assets_data" / "policies", home.root / "policies")
    path = home.root / "policies" / "evidence.toml"
    path.write_text(path.read_text().replace("platform_share = 0.55", "platfrom_share = 0.55"))
    before = contents(home)
    result = earnings(home, "run", "--from", str(FIRST), "--to", str(FIRST))
    assert result.returncode == 1
    assert f"{path}: ads.platfrom_share: unknown key" in result.stderr
    assert "Traceback" not in result.stderr
    assert contents(home) == before


def test_a_second_run_while_one_writes_fails_with_the_holders_pid(
    finished: Home, copy_of: Callable[[Home], Home]
) -> None:
    home = copy_of(finished)
    before = contents(home)
    with Warehouse(home).open():
        result = earnings(home, "run", "--from", str(FIRST), "--to", str(FIRST))
    assert result.returncode == 1
    assert f"process {os.getpid()}" in result.stderr
    assert "Traceback" not in result.stderr
    assert contents(home) == before


def test_days_outside_the_calendar_say_what_the_calendar_is(finished: Home) -> None:
    result = earnings(finished, "run", "--from", "2020-01-01", "--to", "2020-01-02")
    assert result.returncode == 1
    assert "2026-03-01 to 2026-12-31" in result.stderr


def test_prune_only_says_what_it_would_do(finished: Home) -> None:
    assert "would delete 0 runs" in earnings(finished, "prune").stdout


def test_query_asks_the_published_copy(finished: Home, make_home: Callable[..., Home]) -> None:
    answer = earnings(
        finished,
        "query",
        "SELECT count(*) AS days FROM (SELECT DISTINCT day FROM creator_earnings)",
        "--json",
    )
    assert json.loads(answer.stdout) == [{"days": 3}]
    assert "video_quality" in earnings(finished, "query", "SHOW TABLES").stdout
    for home, sql, reason in (
        (finished, "FROM nothing", "nothing does not exist"),
        (make_home("new"), "SELECT 1", "no published copy yet"),
    ):
        failed = earnings(home, "query", sql)
        assert failed.returncode == 1
        assert reason in failed.stderr
    assert "read-only" in earnings(finished, "query", "DELETE FROM ledger_entries").stderr


def test_days_are_closed_corrected_proven_and_explained(
    finished: Home, three_days: Path, copy_of: Callable[[Home], Home], tmp_path: Path
) -> None:
    home = copy_of(finished)
    refused = earnings(home, "close", "--through", "2026-03-02", "--yes")
    assert refused.returncode == 1
    assert "earnings quarantine accept" in refused.stderr
    waiting = json.loads(earnings(home, "quarantine", "list", "--json").stdout)
    names = [row["name"] for row in waiting]
    accepted = earnings(
        home,
        "quarantine",
        "accept",
        *names,
        "--reason",
        "rotten on purpose",
        "--by",
        "ann",
        "--json",
    )
    assert [row["name"] for row in json.loads(accepted.stdout)] == names
    assert earnings(home, "quarantine", "accept", "--reason", "all").returncode == 2
    closed = earnings(home, "close", "--through", "2026-03-02", "--json", "--yes")
    assert closed.returncode == 0, closed.stderr
    head = json.loads(closed.stdout)["head"]
    assert [d["state"] for d in json.loads(earnings(home, "status", "--json").stdout)["days"]] == [
        "closed",
        "closed",
        "complete",
    ]
    shutil.copytree(three_days / "late", home.landing, dirs_exist_ok=True)
    refused = earnings(home, "run", "--from", str(FIRST), "--to", str(FIRST))
    assert refused.returncode == 1
    assert f"restate --day {FIRST}" in refused.stderr
    asked = earnings(home, "restate", "--day", str(FIRST), "--reason", "late", said="n\n")
    assert asked.returncode == 1
    assert "gain" in asked.stdout
    assert "Aborted" in asked.stderr
    shown = json.loads(
        earnings(home, "restate", "--day", str(FIRST), "--reason", "late", "--json").stdout
    )
    assert not shown["applied"]
    done = json.loads(
        earnings(home, "restate", "--day", str(FIRST), "--reason", "late", "--json", "--yes").stdout
    )
    assert done == {**shown, "applied": True}
    assert done["booked_day"] == "2026-03-03"
    proven = earnings(home, "ledger", "verify", "--head", head, "--all", "--json")
    assert proven.returncode == 0, proven.stdout
    gainer = done["changes"][0]
    explained = json.loads(
        earnings(
            home,
            "explain",
            gainer["creator_id"],
            "--day",
            str(FIRST),
            "--kind",
            "creator",
            "--json",
        ).stdout
    )
    assert explained["total_micros"] == gainer["after"] == sum(explained["sources"].values())
    page = tmp_path / "statement.html"
    assert (
        earnings(
            home, "statement", gainer["creator_id"], "--month", "2026-03", "--html", str(page)
        ).returncode
        == 0
    )
    assert "late" in page.read_text()
    assert earnings(home, "explain", "nobody", "--day", str(FIRST)).returncode == 1
    with Warehouse(home).open() as con:
        con.execute(
            "UPDATE ledger_entries SET amount_micros = amount_micros + 1 WHERE account = 'platform'"
        )
    forged = earnings(home, "ledger", "verify")
    assert forged.returncode == 1
    assert "are not those that were hashed" in forged.stdout
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        marked = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("ledger_entries"), asset_partitions=[str(FIRST)]),
            limit=5,
        )
    assert marked.records[0].asset_materialization.metadata["outcome"].value == "reissued"


def test_simulate_makes_the_bundled_sample_again(tmp_path: Path) -> None:
    readme = (PROJECT / "assets_data" / "sample" / "README.md").read_text()
    call = re.search(r"    earnings (simulate (?:.*\\\n)*.*)\n", readme)
    assert call
    words = (
        call[1].replace("\\\n", " ").replace("assets_data/sample", str(tmp_path / "sample")).split()
    )
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert re.search(r"^viewer_events +[1-9]", result.output, re.MULTILINE)
    for path in sorted((PROJECT / "assets_data" / "sample").rglob("*.csv.gz")):
        assert (
            path.read_bytes()
            == (
                tmp_path / "sample" / path.relative_to(PROJECT / "assets_data" / "sample")
            ).read_bytes()
        ), path


def test_docs_data_holds_what_schema_prints() -> None:
    printed = "\n".join(as_markdown(t) for t in TABLES.values())
    assert (PROJECT / "docs" / "data.md").read_text().rstrip("\n").endswith(printed.rstrip("\n"))


def test_money_keeps_every_micro() -> None:
    assert [money(0), money(1), money(-1), money(10**15)] == [
        "0.000000",
        "0.000001",
        "-0.000001",
        "1,000,000,000.000000",
    ]


def test_tab_completes_ids_and_policies(finished: Home) -> None:
    """As a shell asks: the words of the line, and which of them Tab was pressed on."""
    home = str(finished.root)
    creators = rows(finished, "SELECT creator_id FROM creators ORDER BY 1")[0]

    def offered(*words: str) -> set[str]:
        line = " ".join(["earnings", "--home", home, *words])
        environment = {"_EARNINGS_COMPLETE": "bash_complete", "COMP_WORDS": line}
        environment["COMP_CWORD"] = str(len(line.split(" ")) - 1)
        found = CliRunner().invoke(main, [], prog_name="earnings", env=environment)
        return {word.split(",")[1] for word in found.stdout.split()}

    assert offered("statement", creators[0][:-1]) >= {creators[0]}
    assert offered("whatif", "--policy", "ev") == {"evidence"}
    assert offered("statement", "nobody") == set()
