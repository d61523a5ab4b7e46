"""What if another policy paid: the same integers as a run under it, and nothing written."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.market.assets import donation_market
from pipelines.policy import Policy, PolicyBook
from pipelines.rewards.assets import creator_bonuses, reward_schedule
from pipelines.runs.periodic import Period
from pipelines.schema.graph import MADE_FROM, changes_with
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Warehouse
from pipelines.whatif.comparison import Comparison, reconciled
from pipelines.whatif.frontier import VaryError, frontier, parse_axis, turned
from pipelines.whatif.scratch import PARTS, Paid, WhatIfError, made_days, scratch
from tests.cases.five_days import as_written, deliver_nothing, make_days

FIRST = date(2026, 3, 2)
WEEK_AND_A_DAY = [FIRST + timedelta(days=n) for n in range(8)]
DAYS = WEEK_AND_A_DAY[:4]
SETTINGS = "first_day = 2026-03-02\nlast_day = 2026-03-31\nlock_timeout_seconds = 5\nthreads = 1\n"
BASE = 'name = "base"\neffective_from = 2020-01-01\n'
MARKET = (
    '[coins]\nrevenue_floor = "market"\n[market]\nwindow = 16\nlocations = 12\n'
    "opportunity_cost = 10.0\ndeviation_costs = [10.0]\nfallback_floor = 0.2\n"
)
OTHERS = {
    "views as trust": '[views]\ncount = "trust"\n[quality]\nprior_mass = 20.0\n',
    "three days of score": "[quality]\nwindow_days = 3\n",
    "more Pulse": "[pulse]\ntop_fraction = 0.25\ncreator_share = 0.8\n",
    "larger pools": "[ads]\nplatform_share = 0.3\nalpha = 1.0\n",
    "spread": '[ads]\nempty_pool = "spread"\n',
    "evidence": '[quality]\nprior = "evidence"\nhistory_days = 3\n[views]\ncount = "trust"\n',
    "coins": "[coins]\nmax_gap = 0.1\n",
}


def policy(text: str, name: str = "base") -> PolicyBook:
    content = tomllib.loads(f'name = "{name}"\neffective_from = 2020-01-01\n{text}')
    return PolicyBook((Policy.model_validate(content),))


def run(home: Home, text: str, days: list[date] = DAYS) -> None:
    """Make the days under a policy as a run does; where they hold a week, its market in turn."""
    (home.root / "policies").mkdir(exist_ok=True)
    (home.root / "policies" / "base.toml").write_text(BASE + text)
    house, sunday = Warehouse(home), WEEK_AND_A_DAY[6]
    make_days(home, [day for day in days if day <= sunday])
    if sunday in days:
        with house.open() as con:
            in_force = home.policies.in_force(sunday)
            donation_market.make(Period(con, sunday, house, in_force, first=FIRST))
        make_days(home, [day for day in days if day > sunday])
    house.publish()


def owed(home: Home, days: list[date]) -> pd.DataFrame:
    """What the ledger's earnings say, by creator and part."""
    sums = ", ".join(f"sum({part}_micros)::BIGINT AS {part}" for part in (*PARTS, "total"))
    with Warehouse(home).open(read_only=True) as con:
        table = con.execute(
            f"SELECT creator_id, {sums} FROM creator_earnings WHERE day BETWEEN ? AND ?"
            " GROUP BY creator_id ORDER BY creator_id",
            [days[0], days[-1]],
        ).to_arrow_table()
    return table.to_pandas().set_index("creator_id")


def same(paid: Paid, home: Home, days: list[date]) -> None:
    pd.testing.assert_frame_equal(
        paid.creators.to_pandas().set_index("creator_id"), owed(home, days)
    )


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight days from a Monday on, with ads in a category that no video has."""
    root = tmp_path_factory.mktemp("whatif")
    (root / "settings.toml").write_text(SETTINGS + 'policy = "base"\n')
    sizes = {"events_per_day": 150, "viewers": 70, "creators": 9, "videos": 24}
    simulate(root / "landing", first_day=FIRST, days=8, seed=5, rotten_share=0.0, format="csv.gz",
             late=root / "late", **sizes)  # fmt: skip
    for n, day in enumerate(WEEK_AND_A_DAY):
        (root / "landing" / "ad_revenue" / str(day) / "more.csv").write_text(
            f"ad_id,ts,category,amount_micros\nhomeless-{n},{day}T12:00:00Z,nobody,{10_007 + n}\n"
        )
    return root


@pytest.fixture(scope="module")
def home(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four days, made under the base policy. Not to be written to."""
    made = Home.at(shutil.copytree(landed, tmp_path_factory.mktemp("made") / "home"))
    run(made, "")
    return made


@pytest.mark.parametrize("name", OTHERS)
def test_a_what_if_is_what_a_run_posts(home, tmp_path, name):
    """Of the whole range, carried money, weekly floor and all; then of its single days."""
    with scratch(home, DAYS[0], DAYS[-1], history_days=3) as room:
        before = room.pay(home.policies, "base")
        paid = room.pay(policy(OTHERS[name]), name)
    really = Home.at(shutil.copytree(home.root, tmp_path / "really"))
    run(really, OTHERS[name])
    same(paid, really, DAYS)
    assert paid.creators.num_rows > 5
    assert not paid.creators.equals(before.creators)
    with Warehouse(really).open(read_only=True) as con:
        for row in paid.days.to_pylist():
            gross, platform = con.execute(
                "SELECT -sum(amount_micros) FILTER (starts_with(account, 'revenue:')),"
                " sum(amount_micros) FILTER (account = 'platform') FROM ledger_entries"
                " WHERE day = ?",
                [row["day"]],
            ).fetchall()[0]
            assert (row["gross_micros"], row["platform_micros"]) == (gross, platform)


@pytest.mark.slow
def test_a_floor_that_the_week_before_decides_is_in_it(home, tmp_path):
    """Paid under a fixed floor and a market that nobody was paid by; the other policy takes it."""
    market = Home.at(shutil.copytree(home.root, tmp_path / "market"))
    run(market, "", WEEK_AND_A_DAY)
    with scratch(market, WEEK_AND_A_DAY[0], WEEK_AND_A_DAY[-1]) as room:
        paid = room.pay(policy(MARKET), "market")
    run(market, MARKET, WEEK_AND_A_DAY)
    same(paid, market, WEEK_AND_A_DAY)
    assert paid.made["donation_market"] == 1


def test_only_what_a_policy_changes_is_made_anew_and_all_of_it_comes_to_the_same(home):
    with scratch(home, DAYS[0], DAYS[-1], history_days=3) as room:
        as_it_is = room.pay(home.policies, "base")
        assert as_it_is.made == {}
        same(as_it_is, home, DAYS)
        everything = room.pay(home.policies, "base", everything=True)
        assert everything.made["video_quality"] == len(DAYS)
        assert everything.creators.equals(as_it_is.creators)
        for section, text in (
            ("coins", "[coins]\nmax_gap = 0.1\n"),
            ("pulse", OTHERS["more Pulse"]),
        ):
            some = room.pay(policy(text), section)
            assert set(some.made) == set(changes_with(section))
            again = room.pay(policy(text), section, everything=True)
            assert some.creators.equals(again.creators)
            assert some.days.equals(again.days) or some.days.drop(["efficiency"]).equals(
                again.days.drop(["efficiency"])
            )


def test_one_knob_moves_only_what_depends_on_it(home):
    with scratch(home, DAYS[0], DAYS[-1]) as room:
        a, b = room.pay(home.policies, "a"), room.pay(policy("[coins]\nmax_gap = 0.1\n"), "b")
        found = Comparison(a, b, room.creators())
    reconciled([found])
    assert found.parts.loc["coins", "change"] != 0
    assert all(found.parts.loc[part, "change"] == 0 for part in PARTS if part != "coins")
    assert (found.creators["total_change"] == found.creators["coins_change"]).all()


def test_nothing_of_the_home_is_written(home):
    def prints() -> dict[str, str]:
        return {
            str(p): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(home.root.rglob("*"))
            if p.is_file()
        }

    before = prints()
    with scratch(home, DAYS[0], DAYS[2]) as room:
        room.pay(policy(OTHERS["views as trust"]), "b", everything=True)
    assert prints() == before


def test_bonuses_of_a_month_are_in_it(tmp_path):
    """The schedule of April was published under the base policy; a score that weighs otherwise
    pays other bonuses by it.
    """
    march, april = date(2026, 3, 1), date(2026, 4, 1)
    history = [date(2026, 3, 30), date(2026, 3, 31)]
    days = [april + timedelta(days=n) for n in range(30)]  # nothing happens before the last two
    bonus = "[bonus]\nbudget_micros = 50_000_000\nlevels = 5\n"
    home = Home.at(tmp_path / "home")
    home.root.mkdir()
    (home.root / "settings.toml").write_text(
        SETTINGS.replace("2026-03-31", "2026-04-30").replace("03-02", "03-30") + 'policy = "base"\n'
    )
    (home.root / "policies").mkdir()
    (home.root / "policies" / "base.toml").write_text(BASE + bonus)
    sizes = {"events_per_day": 120, "viewers": 50, "creators": 10, "videos": 25}
    for first in (history[0], days[-2]):
        simulate(home.landing, first_day=first, days=2, seed=3, late=home.root / "late",
                 rotten_share=0.0, format="csv.gz", **sizes)  # fmt: skip
    deliver_nothing(home, days[:-2])
    house = Warehouse(home)

    def month(asset: Any, first: date, last: date) -> None:
        with house.open() as con:
            asset.make(Period(con, last, house, home.policies.in_force(last), first=first))

    make_days(home, history)
    month(reward_schedule, march, history[1])
    with house.open() as con:  # what two days can reach
        con.execute(
            "UPDATE reward_schedule SET threshold_milliviews ="
            " greatest(threshold_milliviews // 40, level)"
        )
        as_written(con, "reward_schedule")
    make_days(home, days)
    month(creator_bonuses, april, days[-1])
    house.publish()
    other = bonus + OTHERS["views as trust"]
    with scratch(home, days[0], days[-1]) as room:
        before, paid = room.pay(home.policies, "a"), room.pay(policy(other), "b")
    same(before, home, days)
    assert paid.made["creator_bonuses"] == 1
    (home.root / "policies" / "base.toml").write_text(BASE + other)
    make_days(home, days)
    month(creator_bonuses, april, days[-1])
    same(paid, home, days)
    assert paid.creators["bonus"].to_pylist() != before.creators["bonus"].to_pylist()
    assert sum(paid.creators["bonus"].to_pylist()) > 0


def test_every_money_table_is_one_that_a_policy_can_be_asked_about():
    """A table that is made from a score or from money follows a section of the policy: a new one
    must say which, or what-if would not make it anew.
    """
    reached = {name for section in ("quality", "epochs") for name in changes_with(section)}
    made_daily = {n for n, made in MADE_FROM.items() if made.policy}
    assert {"video_quality", "ad_payouts", "donation_splits", "creator_earnings"} <= reached
    assert "ad_revenue" not in made_daily


# --------------------------------------------------------------------------------------------------
# What cannot be asked


def test_days_that_are_not_made_are_named_with_the_command(landed, home, tmp_path):
    new = Home.at(shutil.copytree(landed, tmp_path / "new"))
    (new.root / "policies").mkdir()
    (new.root / "policies" / "base.toml").write_text(BASE)
    make_days(new, DAYS[:2])
    Warehouse(new).publish()
    assert made_days(new) == DAYS[:2]
    with (
        pytest.raises(WhatIfError, match=r"2026-03-04 is not made.*earnings run --from 2026-03-04"),
        scratch(new, DAYS[0], DAYS[3]),
    ):
        pass
    with (
        pytest.raises(WhatIfError, match="no day from"),
        scratch(home, date(2025, 1, 1), date(2025, 1, 2)),
    ):
        pass


def test_different_days_are_not_compared(home):
    with scratch(home, DAYS[0], DAYS[1]) as room:
        two, known = room.pay(home.policies, "two"), room.creators()
    with scratch(home, DAYS[0], DAYS[0]) as room:
        one = room.pay(home.policies, "one")
    with pytest.raises(ValueError, match="the same days"):
        Comparison(two, one, known)


# --------------------------------------------------------------------------------------------------
# Tables, frontier, command


@pytest.fixture(scope="module")
def comparison(home: Home) -> Iterator[Comparison]:
    with scratch(home, DAYS[0], DAYS[1]) as room:
        a, b = room.pay(home.policies, "base"), room.pay(policy(OTHERS["larger pools"]), "b")
        yield Comparison(a, b, room.creators())


def test_groups_add_up_to_the_micro(comparison):
    reconciled([comparison])
    for table in (comparison.by_followers, comparison.by_size):
        assert table["a"].sum() == comparison.totals.loc["creators", "a"]
        assert table["b"].sum() == comparison.totals.loc["creators", "b"]
        assert table["creators"].sum() == len(comparison.creators)
        assert (table["gain"] + table["lose"] <= table["creators"]).all()
    assert comparison.by_category["change"].sum() == comparison.parts.loc["ads", "change"]
    assert comparison.totals.loc["creators", "change"] > 0
    curve = comparison.lorenz()
    assert curve.iloc[0].tolist() == [0, 0]
    assert curve.iloc[-1].tolist() == pytest.approx([1, 1])
    gini = 1 - 2 * sum((curve["a"].iloc[:-1] + curve["a"].iloc[1:].to_numpy()) / 2) / 100
    assert gini == pytest.approx(comparison.measures.loc["gini", "a"], abs=0.02)


def test_who_crosses_a_threshold(comparison):
    table = comparison.creators
    at = int(table["total_b"].iloc[0])
    crossing = comparison.crossing(at)
    expected = table.index[(table["total_a"] >= at) != (table["total_b"] >= at)]
    assert sorted(crossing.index) == sorted(expected)
    assert crossing.loc[table.index[0], "crosses"] == "up"


def test_a_point_is_dominated_by_one_that_is_better_in_everything():
    shared = {"top_1_percent_share": 0.0, "moved_share": 0.0, "problem": ""}
    rows = [
        {"x": None, "small_creators_share": 0.4, "efficiency": 0.1, "gini": 0.5, **shared},
        {"x": 1, "small_creators_share": 0.5, "efficiency": 0.2, "gini": 0.4, **shared},
        {"x": 2, "small_creators_share": 0.6, "efficiency": 0.1, "gini": 0.4, **shared},
        {"x": 3, "problem": "no"},
    ]
    assert frontier(rows)["dominated"].tolist() == [True, False, False, False]


def test_fields_to_vary_are_checked():
    assert parse_axis("ads.lambda_eff", "0:1:0.25").values == (0, 0.25, 0.5, 0.75, 1)
    for field, values, words in (
        ("ads.lambda", "0", "ads.alpha"),
        ("ad.alpha", "0", "quality"),
        ("ads.alpha", "0:1", "from:to:step"),
        ("ads.alpha", "1:0:0.1", "from:to:step"),
    ):
        with pytest.raises(VaryError, match=words):
            parse_axis(field, values)
    book = policy("")
    changed = turned(book.versions[0], {"ads.lambda_eff": 0.25})
    assert (changed.ads.lambda_eff, changed.ads.lambda_fair) == (0.25, 0.75)


def invoke(home: Home, *arguments: str) -> Any:
    return CliRunner().invoke(main, ["--home", str(home.root), "whatif", *arguments])


def test_the_command_prints_writes_and_gives_json(home, tmp_path):
    (tmp_path / "draft.toml").write_text(
        'name = "draft"\neffective_from = 2030-01-01\n[ads]\nalpha = 1.0\n'
    )
    span = ("--from", str(DAYS[0]), "--to", str(DAYS[0]))
    draft = str(tmp_path / "draft.toml")
    done = invoke(
        home, "--policy", draft, *span, "--threshold", "0.01", "--out", str(tmp_path / "out")
    )
    assert done.exit_code == 0, done.output
    assert "draft instead of base" in done.output
    assert "reach 0.010000 under draft" in done.output
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<svg") == 2
    assert "By followers" in page
    written = pd.read_csv(tmp_path / "out" / "creators.csv", index_col="creator_id")
    assert written["total_a"].dtype == "int64"
    found = json.loads(invoke(home, "--policy", draft, *span, "--json").stdout)
    [one] = found["comparisons"]
    assert {c["creator_id"]: c["total_b"] for c in one["creators"]} == written["total_b"].to_dict()
    points = json.loads(invoke(home, *span, "--vary", "ads.alpha", "0.5,1", "--json").stdout)
    assert [p["ads.alpha"] for p in points["frontier"]] == [None, 0.5, 1]
    assert points["frontier"][0]["gini"] == points["frontier"][1]["gini"]
    by_file = one["measures"]["b"]["gini"]
    assert points["frontier"][2]["gini"] == pytest.approx(by_file, abs=1e-12)


def test_the_command_refuses_what_makes_no_sense(home):
    for arguments, words, code in (
        ((), "name a policy", 2),
        (("--policy", "nobody"), "no policy is called 'nobody'", 1),
        (("--policy", "base", "--from", "2026-03-05", "--to", "2026-03-02"), "is after", 2),
        (("--policy", "base", "--threshold", "ten"), "no amount", 2),
        (("--policy", "base", "--threshold", "0.0000001"), "six digits", 2),
        (("--vary", "ads.alpha", "0:1:0.0001"), "too many", 1),
    ):
        done = invoke(home, *arguments)
        assert done.exit_code == code, done.output
        assert words in done.output
