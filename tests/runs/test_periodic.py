"""Assets of weeks and months: which periods there are, what they need, and that they commit and are
marked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Literal

import dagster as dg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipelines import definitions
from pipelines.cli.main import main
from pipelines.ledger.closing import close
from pipelines.operation.running import dagster_instance, run_days, run_periods
from pipelines.periods import DAY, MONTH, WEEK, Span
from pipelines.runs.daily import Metadata
from pipelines.runs.partitions import span_partitions
from pipelines.runs.periodic import Period, PeriodicAsset, periodic_asset
from pipelines.schema import TABLES, Column, Table
from pipelines.schema.graph import MADE_FROM, Sources, periodic
from pipelines.settings import CalendarError, Home
from pipelines.sources.quarantine import accept
from pipelines.status import PeriodStatus, period_statuses, ready_periods
from pipelines.store.warehouse import ClosedDayError, Warehouse
from tests.cases.three_days import FIRST, LAST, SETTINGS, rows

VIEWS = Table(
    "weekly_views",
    "advice",
    "Events of a week.",
    (Column("day", "DATE", "last day"), Column("n", "BIGINT", "events")),
    ("day",),
    span="week",
)
LONG, SHORT = (
    date(2026, 2, 23),
    date(2026, 3, 2),
)  # weeks of 1 March, and of 2 and 3 March, the days that have landed


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> Iterator[PeriodicAsset]:
    """A weekly asset that counts events, in the place of all others."""

    monkeypatch.setitem(
        TABLES, VIEWS.name, VIEWS
    )  # first, because the asset's page shows its columns

    for name in periodic():
        monkeypatch.delitem(MADE_FROM, name)
    needs = ("viewer_events", "creator_earnings")
    monkeypatch.setitem(MADE_FROM, VIEWS.name, Sources(needs=needs))

    @periodic_asset(period=WEEK, group="advice")
    def weekly_views(run: Period) -> Metadata:
        """Events of a week."""
        with run.write() as writer:
            sql = (
                "SELECT $last::DATE AS day, count(*) AS n FROM viewer_events WHERE day BETWEEN"
                " $first AND $last"
            )
            rows = writer.replace("weekly_views", sql, {"first": run.first, "last": run.day})
        return {"rows": rows, "days": len(run.days)}

    others, definitions.PERIODIC[:] = definitions.PERIODIC[:], [weekly_views]
    yield weekly_views
    definitions.PERIODIC[:] = others


def _from_february(home: Home) -> Home:
    """The same home, whose calendar has the whole week of 1 March."""
    settings = home.root / "settings.toml"
    settings.write_text("first_day = 2026-02-01\n" + settings.read_text())
    return Home.at(home.root)


def weeks(home: Home) -> list[PeriodStatus]:
    """What there is of the weekly asset."""
    return [p for p in period_statuses(home) if p.asset == VIEWS.name]


@given(
    first=st.dates(date(2023, 1, 1), date(2029, 1, 1)),
    length=st.integers(0, 100),
    span=st.sampled_from([WEEK, MONTH]),
)
def test_only_whole_periods_of_the_calendar_are_offered(
    first: date, length: int, span: Span
) -> None:
    last = first + timedelta(days=length)
    days = [first + timedelta(days=n) for n in range(length + 1)]
    begins = [day for day in days if (day.weekday() == 0 if span == WEEK else day.day == 1)]
    ends = {day for day in days if (day.weekday() == 6 if span == WEEK else (day + DAY).day == 1)}
    assert span.within(first, last) == [
        begin for begin in begins if any(end >= begin for end in ends)
    ]
    assert all(
        span.last(begin) in ends and span.first(span.last(begin)) == begin
        for begin in span.within(first, last)
    )


@pytest.mark.parametrize("span", [WEEK, MONTH])
@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 3, 1), date(2026, 3, 14)),
        (date(2026, 3, 2), date(2026, 5, 31)),
        (date(2026, 3, 5), date(2026, 3, 6)),
    ],
)
def test_dagster_offers_the_same_periods(home: Home, span: Span, first: date, last: date) -> None:
    (home.root / "settings.toml").write_text(f"first_day = {first}\nlast_day = {last}\n")
    keys = span_partitions(Home.at(home.root), span).get_partition_keys()
    assert keys == [str(day) for day in span.within(first, last)]


def test_a_live_platform_is_offered_periods_that_are_over(home: Home) -> None:
    (home.root / "settings.toml").write_text('first_day = 2026-03-01\nlast_day = "open"\n')
    opened = Home.at(home.root)
    assert span_partitions(opened, MONTH).get_partition_keys() == [
        str(day) for day in MONTH.within(*opened.calendar())
    ]


@pytest.fixture
def home_with_days(views: PeriodicAsset, finished: Home, copy_of: Callable[[Home], Home]) -> Home:
    """The platform with its three days made, and the table of the weekly asset."""
    home = _from_february(copy_of(finished))
    with Warehouse(home).open() as con:
        assert not con.execute(f"FROM {views.name}").fetchall()
    return home


def test_weeks_follow_the_days_and_are_marked_one_by_one(home_with_days: Home) -> None:
    home = home_with_days
    assert [(p.first, p.state) for p in weeks(home)] == [(LONG, "due"), (SHORT, "due")]
    assert ready_periods(home, WEEK, FIRST, FIRST) == [(LONG, LONG)]
    assert ready_periods(home, WEEK, FIRST, LAST) == [(LONG, SHORT)]
    outcome = run_periods(home, WEEK, LONG, SHORT)
    assert outcome.success, outcome.failures
    week = "CASE WHEN day < '2026-03-02' THEN DATE '2026-03-01' ELSE '2026-03-08' END"
    counted = rows(
        home, f"SELECT {week} AS last, count(*) FROM viewer_events GROUP BY last ORDER BY last"
    )
    assert rows(home, "FROM weekly_views ORDER BY day") == counted
    assert {p.state for p in weeks(home)} == {"made"}
    with dagster_instance(home) as instance:
        marked = instance.get_materialized_partitions(dg.AssetKey("weekly_views"))
    assert marked == {str(LONG), str(SHORT)}
    days = rows(home, "SELECT table_name, day, changed FROM written_days ORDER BY ALL")
    assert run_periods(home, WEEK, LONG, SHORT).success
    assert rows(home, "SELECT table_name, day, changed FROM written_days ORDER BY ALL") == days


def test_a_day_that_changes_makes_its_week_stale(home_with_days: Home) -> None:
    home = home_with_days
    run_periods(home, WEEK, LONG, SHORT)
    with Warehouse(home).open() as con, Warehouse(home).write_day(con, LAST) as writer:
        writer.replace("creator_earnings", f"FROM creator_earnings WHERE day = '{LAST}' AND false")
        writer.con.execute(
            "DELETE FROM ledger_entries WHERE day = ?", [LAST]
        )  # or earnings would disagree with it
    stale = [p for p in weeks(home) if p.state == "stale"]
    assert [(p.first, p.note) for p in stale] == [
        (
            SHORT,
            (
                f"changed: creator_earnings of {LAST}; earnings run --asset weekly_views --from"
                " 2026-03-02 --to 2026-03-08"
            ),
        )
    ]


@pytest.mark.usefixtures("views")
def test_a_week_with_a_day_that_is_not_made_is_refused_by_name_and_earlier_weeks_stay(
    make_home: Callable[..., Home],
) -> None:
    home = _from_february(make_home())
    assert run_days(home, FIRST, date(2026, 3, 2)).success
    assert ready_periods(home, WEEK, FIRST, LAST) == [(LONG, LONG)]
    assert [p.state for p in weeks(home)] == ["due", "waiting"]
    outcome = run_periods(home, WEEK, LONG, SHORT)
    assert not outcome.success
    assert (
        "weekly_views of 2026-03-02 to 2026-03-08 needs every landed day of that week"
        in outcome.failures[0]
    )
    assert (
        "viewer_events of 2026-03-03 is not in the warehouse. Make the days first: earnings run"
        " --from 2026-03-03" in outcome.failures[0]
    )
    assert rows(home, "SELECT day FROM weekly_views") == [(date(2026, 3, 1),)]
    with dagster_instance(home) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("weekly_views")) == {str(LONG)}


def test_periods_that_cannot_be_are_refused(home_with_days: Home) -> None:
    home = home_with_days
    with pytest.raises(
        CalendarError, match=r"no whole week of the calendar of .* begins on 2026-03-03"
    ):
        run_periods(home, WEEK, LAST, LAST)
    outcome = run_periods(home, WEEK, date(2026, 5, 4), date(2026, 5, 4))
    assert "no day of it has landed" in outcome.failures[0]


def test_earnings_run_makes_the_weeks_that_end_in_the_range(home_with_days: Home) -> None:
    home = home_with_days
    runner, at = CliRunner(), ["--home", str(home.root)]
    shown = runner.invoke(
        main, [*at, "run", "--asset", "weekly_views", "--from", str(LONG), "--to", "2026-03-01"]
    )
    assert shown.exit_code == 0, shown.output
    assert rows(home, "SELECT day FROM weekly_views") == [(date(2026, 3, 1),)]
    shown = runner.invoke(main, [*at, "status"])
    assert "Weeks and months" in shown.output
    assert (
        "earnings run --asset weekly_views --from 2026-03-02 --to 2026-03-08"
        in shown.output.replace("\n", " ")
    )
    shown = runner.invoke(main, [*at, "run", "--asset", "creator_earnings"])
    assert rows(home, "SELECT count(*) FROM weekly_views") == [(1,)]
    shown = runner.invoke(
        main, [*at, "run", "--asset", "weekly_views", "--from", str(FIRST), "--to", "2026-03-04"]
    )
    assert shown.exit_code == 0
    shown = runner.invoke(
        main, [*at, "run", "--asset", "weekly_views", "--from", "2026-03-02", "--to", "2026-03-04"]
    )
    assert shown.exit_code == 1
    assert "no whole week of the calendar ends from 2026-03-02 to 2026-03-04" in shown.output


@pytest.mark.parametrize("kind", ["advice", "derived"])
def test_closing_fixes_money_and_not_advice(
    home_with_days: Home,
    monkeypatch: pytest.MonkeyPatch,
    views: PeriodicAsset,
    kind: Literal["advice", "derived"],
) -> None:
    monkeypatch.setitem(TABLES, VIEWS.name, replace(VIEWS, kind=kind))
    home = home_with_days
    (home.root / "settings.toml").write_text(SETTINGS)  # or closing would miss February
    accept(home, [], reason="rotten on purpose", actor="a test")  # or closing would wait for them
    close(Home.at(home.root), LAST)
    with Warehouse(home).open() as con:
        run = Period(
            con, date(2026, 3, 1), Warehouse(home), home.policies.in_force(FIRST), first=LONG
        )
        if kind == "advice":
            assert views.make(run)["rows"] == 1
        else:
            with pytest.raises(ClosedDayError, match="Its weekly_views would change"):
                views.make(run)


def test_the_weekly_job_and_schedule_load(home: Home) -> None:
    found = definitions.build_definitions(home)
    dg.Definitions.validate_loadable(found)
    assert found.resolve_schedule_def("every_week").job_name == "weekly"
    assert found.resolve_schedule_def("every_week").cron_schedule == "0 4 * * 1"
    node = found.resolve_asset_graph().get(dg.AssetKey("donation_market"))
    assert node.backfill_policy == dg.BackfillPolicy.single_run()
    assert tuple(node.pools or ()) == ("warehouse",)
    daily = {
        key.to_user_string()
        for key in found.resolve_job_def("daily").asset_layer.executable_asset_keys
    }
    assert "donation_market" not in daily
    assert "creator_earnings" in daily
