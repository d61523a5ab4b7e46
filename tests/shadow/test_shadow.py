"""A policy in shadow: the integers of a what-if from its first day on, never in the ledger; and the
guard that holds a version which moves too much.
"""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.ledger.guard import GuardError, confirm
from pipelines.operation.plan import steps
from pipelines.schema.invariants import InvariantError
from pipelines.settings import Home
from pipelines.shadow.assets import shadow_earnings
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Warehouse
from pipelines.whatif.scratch import PARTS, scratch
from tests.cases.five_days import make_days
from tests.whatif.test_whatif import policy

FIRST = date(2026, 3, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
SETTINGS = "first_day = 2026-03-02\nlast_day = 2026-03-31\nthreads = 1\npolicy = 'base'\n"
SHADOWS = {
    "pools that carry, coins": "[ads]\nplatform_share = 0.3\nalpha = 1.0\n[coins]\nmax_gap = 0.1\n",
    "evidence": '[quality]\nprior = "evidence"\nhistory_days = 3\n[views]\ncount = "trust"\n',
    "the same": "",
}


def write_policy(home: Home, text: str, *, name: str = "base", since: str = "2020-01-01") -> None:
    (home.root / "policies").mkdir(exist_ok=True)
    (home.root / "policies" / f"{name}-{since}.toml").write_text(
        f'name = "{name}"\neffective_from = {since}\n{text}'
    )


def shadow_days(home: Home, days: list[date]) -> None:
    house = Warehouse(home)
    for day in days:
        with house.open() as con:
            shadow_earnings.make_partition(con, house, home.policies, day)


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three days with ads that no video can be paid from, made. Not to be written to."""
    home = Home.at(tmp_path_factory.mktemp("shadow") / "home")
    sizes = {"events_per_day": 150, "viewers": 70, "creators": 9, "videos": 24}
    simulate(home.landing, first_day=FIRST, days=3, seed=5, rotten_share=0.0, late=home.root / "l",
             late_share=0.0, **sizes)  # fmt: skip
    for n, day in enumerate(DAYS):
        label = "nobody" if n % 2 == 0 else "music"
        (home.landing / "ad_revenue" / str(day) / "more.csv").write_text(
            f"ad_id,ts,category,amount_micros\nmore-{n},{day}T12:00:00Z,{label},{1_000_007 + n}\n"
        )
    (home.root / "settings.toml").write_text(SETTINGS)
    write_policy(home, "")
    make_days(home, DAYS)
    return home


@pytest.fixture
def home(paid: Home, tmp_path: Path) -> Home:
    copy = Home.at(shutil.copytree(paid.root, tmp_path / "home"))
    (copy.root / "settings.toml").write_text(SETTINGS + '[shadow]\npolicy = "other"\n')
    return copy


def rows(home: Home, sql: str) -> list[tuple]:
    with Warehouse(home).open(read_only=True) as con:
        return con.execute(sql).fetchall()


@pytest.mark.parametrize("name", SHADOWS)
def test_days_in_shadow_are_a_what_if_from_the_first_on(home: Home, name: str) -> None:
    write_policy(home, SHADOWS[name], name="other")
    entries = rows(home, "FROM ledger_entries ORDER BY ALL")
    shadow_days(home, DAYS)
    Warehouse(home).publish()
    with scratch(home, DAYS[0], DAYS[-1], history_days=3) as room:
        expected = room.pay(policy(SHADOWS[name]), name).creators.to_pandas()
    sums = ", ".join(f"sum({part}_micros)::BIGINT AS {part}" for part in (*PARTS, "total"))
    with Warehouse(home).open(read_only=True) as con:
        found = con.execute(
            f"SELECT creator_id, {sums} FROM shadow_earnings GROUP BY 1 ORDER BY 1"
        ).to_arrow_table()
        other = con.execute(
            "SELECT count(*) FROM (FROM shadow_earnings WHERE total_micros <> 0) AS s JOIN"
            " creator_earnings AS c USING (day, creator_id) WHERE s.total_micros <> c.total_micros"
        ).fetchall()[0][0]
    pd.testing.assert_frame_equal(found.to_pandas(), expected)
    assert (other > 0) == (name != "the same")
    assert rows(home, "FROM ledger_entries ORDER BY ALL") == entries


def test_a_version_that_moves_too_much_is_refused_until_somebody_confirms_it(home: Home) -> None:
    change = "[ads]\nplatform_share = 0.3\n[coins]\nmax_gap = 0.1\n"
    write_policy(home, change, name="other")
    shadow_days(home, DAYS[:2])
    write_policy(home, change, since=str(DAYS[2]))
    before = rows(home, "FROM ledger_entries ORDER BY ALL")
    with pytest.raises(InvariantError, match=r"over 2 days in shadow.*most_loss|most_moved"):
        make_days(home, [DAYS[2]])
    assert rows(home, "FROM ledger_entries ORDER BY ALL") == before
    with pytest.raises(GuardError, match="reason is empty"):
        confirm(home, DAYS[2], reason=" ", actor="ann")
    assert confirm(home, DAYS[2], reason="agreed with creators", actor="ann").allowed
    make_days(home, [DAYS[2]])
    assert rows(home, "FROM ledger_entries ORDER BY ALL") != before
    (warning,) = rows(home, "SELECT warning FROM figures WHERE figure = 'policy_moves_much'")
    assert "ann: agreed with creators" in warning[0]
    kept = rows(home, "SELECT reason, actor, days, moved_share > 0 FROM policy_confirmations")
    assert kept == [("agreed with creators", "ann", 2, True)]
    with pytest.raises(GuardError, match="pays already"):
        confirm(home, DAYS[2], reason="again", actor="ann")


def test_a_version_within_the_guard_pays_and_one_nobody_saw_is_warned_of(home: Home) -> None:
    write_policy(home, "[ads]\nalpha = 0.501\n", name="other")
    shadow_days(home, DAYS[:2])
    write_policy(home, "[ads]\nalpha = 0.501\n", since=str(DAYS[2]))
    make_days(home, [DAYS[2]])
    assert rows(home, "SELECT warning FROM figures WHERE starts_with(figure, 'policy_')") == []
    write_policy(home, "[ads]\nalpha = 0.9\n", since=str(DAYS[2]))
    make_days(home, [DAYS[2]])
    ((warning,),) = rows(home, "SELECT warning FROM figures WHERE starts_with(figure, 'policy_')")
    assert "no day was paid under it in shadow" in warning


def test_the_guard_may_only_warn(home: Home) -> None:
    (home.root / "settings.toml").write_text(
        SETTINGS
        + '[shadow]\npolicy = "other"\nbeyond = "warn"\nmost_loss = 1.0\nmost_moved = 0.0\n'
    )
    home = Home.at(home.root)
    write_policy(home, "[coins]\nmax_gap = 0.1\n", name="other")
    shadow_days(home, DAYS[:2])
    write_policy(home, "[coins]\nmax_gap = 0.1\n", since=str(DAYS[2]))
    make_days(home, [DAYS[2]])
    ((warning,),) = rows(home, "SELECT warning FROM figures WHERE figure = 'policy_moves_much'")
    assert "most_moved" in warning


def test_a_policy_that_cannot_pay_a_day_says_so_and_stops_nobody(home: Home) -> None:
    ((followers,),) = rows(home, "SELECT median(followers)::BIGINT + 1 FROM creators")
    write_policy(
        home,
        "[ads]\n"
        + "".join(
            f'[[ads.rules]]\nname = "{name}"\n{group} = {followers}\nminimum = 0.6\n'
            for name, group in (("a", "followers_below"), ("b", "followers_from"))
        ),
        name="other",
    )
    shadow_days(home, DAYS[:1])
    ((warning,),) = rows(home, "SELECT warning FROM figures WHERE figure = 'shadow_failed'")
    assert "other" in warning
    assert "rule" in warning
    assert rows(home, "FROM shadow_earnings") == []


def test_what_is_to_begin_is_announced_and_days_before_it_are_made_first(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARNINGS_HOME", str(home.root))  # the command sets it; put back afterwards
    (home.root / "settings.toml").write_text(SETTINGS + '[shadow]\npolicy = "base"\n')
    home = Home.at(home.root)
    write_policy(home, "[coins]\nmax_gap = 0.1\n", since="2026-03-05")
    shadow_days(home, DAYS)
    Warehouse(home).publish()
    runner = CliRunner()
    said = runner.invoke(main, ["--home", str(home.root), "status"])
    assert "a new version begins. From 2026-03-05 on: base" in said.output
    assert "over 3 days in shadow" in said.output
    told = json.loads(
        runner.invoke(main, ["--home", str(home.root), "shadow", "show", "--json"]).output
    )
    (coming,) = told["coming"]
    assert coming["losers"] or coming["winners"]
    assert told["moved_share"] == coming["moved_share"] > 0
    begin = date(2026, 3, 5)
    plan = steps(home, [(FIRST, begin)])
    assert [(step.first, step.last) for step in plan if not step.span] == [
        (FIRST, DAYS[-1]),
        (begin, begin),
    ]
