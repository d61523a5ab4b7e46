"""The life of revenue: estimates are paid, become final, are taken out and given back; every cent
recomputed here from the files, in plain Python.
"""

from __future__ import annotations

import csv
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.ledger.closing import close
from pipelines.ledger.revenue import revenue_report
from pipelines.ledger.statement import creator_month, html, text
from pipelines.ledger.verification import verify
from pipelines.remake.days import restate
from pipelines.settings import Home
from pipelines.sources.quarantine import QuarantineError
from pipelines.status import day_statuses
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import balances, make_days, rows

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
SETTINGS = (
    "first_day = 2026-03-01\nlast_day = 2026-03-31\npublish = false\nthreads = 1\n"
    'policy = "hardened"\n'
)
CREATORS = {"v1": "a", "v2": "b", "v3": "b", "v4": "c"}
CATEGORIES = ("music", "sports")


def put(path: Path, rows: Iterable[Mapping[str, Any]], names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names.split(","))
        writer.writeheader()
        writer.writerows(rows)


class Platform:
    """Four videos of three creators on three days, as files that can be written again."""

    def __init__(self, home: Home) -> None:
        self.home = home
        home.root.mkdir(parents=True, exist_ok=True)
        (home.root / "settings.toml").write_text(SETTINGS)
        land = home.landing
        put(land / "viewers" / str(FIRST) / "v.csv", [
            {"viewer_id": f"u{n}", "verified": "true", "trust": 1} for n in range(12)
        ], "viewer_id,verified,trust")  # fmt: skip
        put(land / "creators" / str(FIRST) / "c.csv", [
            {"creator_id": c} for c in sorted(set(CREATORS.values()))
        ], "creator_id")  # fmt: skip
        put(land / "videos" / str(FIRST) / "v.csv", [
            {"video_id": v, "creator_id": c, "length_ms": 10_000,
             "categories": "music;sports" if v == "v3" else "music" if v < "v3" else "sports",
             "compliant": "true", "s_plus": 0.9, "s_tox": 0.1} for v, c in CREATORS.items()
        ], "video_id,creator_id,length_ms,categories,compliant,s_plus,s_tox")  # fmt: skip
        self.ads: dict[str, dict[str, Any]] = {}
        self.gifts: dict[str, dict[str, Any]] = {}
        self.decisions: dict[date, list[dict[str, Any]]] = defaultdict(list)
        for number, day in enumerate(DAYS):
            self._day(day, number)
        self.write()

    def _day(self, day: date, number: int) -> None:
        chance = random.Random(number)
        events = []
        for n, (viewer, video) in enumerate((u, v) for u in range(12) for v in CREATORS):
            if chance.random() < 0.7:
                events.append({
                    "event_id": f"e{day}-{n}", "ts": f"{day}T10:00:00", "viewer_id": f"u{viewer}",
                    "video_id": video, "watch_ms": chance.choice([4_000, 9_000, 14_000]),
                    "liked": chance.random() < 0.5, "commented": chance.random() < 0.3,
                    "shared": chance.random() < 0.2, "followed": False,
                })  # fmt: skip
        put(self.home.landing / "viewer_events" / str(day) / "e.csv", events,
            "event_id,ts,viewer_id,video_id,watch_ms,liked,commented,shared,followed")  # fmt: skip
        for n, category in enumerate(CATEGORIES * 3):
            name = f"ad{day}-{n}"
            self.ads[name] = {
                "ad_id": name, "ts": f"{day}T11:00:00", "category": category,
                "video_id": "v1" if n == 0 else "",
                "amount_micros": chance.randrange(1_000, 9_000_000), "status": "estimated",
            }  # fmt: skip
        for n, video in enumerate(("v1", "v2", "v2")):
            name = f"g{day}-{n}"
            self.gifts[name] = {
                "gift_id": name, "ts": f"{day}T12:00:00", "viewer_id": "u1", "video_id": video,
                "coins": chance.randrange(1, 900), "premium": n == 1,
            }  # fmt: skip

    def write(self) -> None:
        """All files of money and decisions, as they are now."""
        for day in DAYS:
            put(self.home.landing / "ad_revenue" / str(day) / "ads.csv",
                [a for a in self.ads.values() if a["ts"].startswith(str(day))],
                "ad_id,ts,category,video_id,amount_micros,status")  # fmt: skip
            put(self.home.landing / "gifts" / str(day) / "gifts.csv",
                [g for g in self.gifts.values() if g["ts"].startswith(str(day))],
                "gift_id,ts,viewer_id,video_id,coins,premium")  # fmt: skip
            if self.decisions[day]:
                put(self.home.landing / "invalid_traffic" / str(day) / "decisions.csv",
                    self.decisions[day],
                    "what,id,decided_on,outcome,amount,reason")  # fmt: skip

    def decide(self, day: date, what: str, name: str, reason: str, **more: Any) -> None:
        decided = more.pop("decided_on", DAYS[-1] + timedelta(days=len(self.decisions[day])))
        self.decisions[day].append(
            {"what": what, "id": name, "decided_on": decided, "reason": reason, **more}
        )
        self.write()

    def finalise(self, day: date, *, by: float = 1.0) -> None:
        for ad in self.ads.values():
            if ad["ts"].startswith(str(day)):
                ad["status"] = "final"
                ad["amount_micros"] = int(ad["amount_micros"] * by)
        self.write()

    def in_force(self, day: date) -> dict[tuple[str, str], dict[str, Any]]:
        """The decisions that hold, as a reader of docs/data.md would say."""
        last: dict[tuple[str, str], dict[str, Any]] = {}
        for row in sorted(self.decisions[day], key=lambda row: row["decided_on"]):
            last[row["what"], row["id"]] = row
        return {k: row for k, row in last.items() if row.get("outcome") != "restored"}

    def expected(self, day: date) -> tuple[Counter[str], int, int, int]:
        """Net ad money by category, deducted micros, net coins, and sessions that do not count."""
        held, net, taken = self.in_force(day), Counter[str](), 0
        for name, ad in self.ads.items():
            if ad["ts"].startswith(str(day)):
                amount, cut = ad["amount_micros"], 0
                if decision := held.get(("ad", name)):
                    cut = min(decision.get("amount") or amount, amount)
                net[ad["category"]] += amount - cut
                taken += cut
        coins = 0
        for name, gift in self.gifts.items():
            if gift["ts"].startswith(str(day)):
                decision = held.get(("gift", name))
                cut = min(decision.get("amount") or gift["coins"], gift["coins"]) if decision else 0
                coins += gift["coins"] - cut
        path = self.home.landing / "viewer_events" / str(day) / "e.csv"
        with path.open() as stream:
            out = sum(
                ("viewer", e["viewer_id"]) in held or ("video", e["video_id"]) in held
                for e in csv.DictReader(stream)
            )
        return net, taken, coins, out


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Landed, not run."""
    return Platform(Home.at(tmp_path / "home"))


@pytest.fixture(scope="module")
def closed_once(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = Platform(Home.at(tmp_path_factory.mktemp("revenue") / "home"))
    make_days(platform.home, DAYS)
    close(platform.home, DAYS[-1])
    return platform


@pytest.fixture
def closed(closed_once: Platform, tmp_path: Path) -> Platform:
    """Made and closed through the last day."""
    platform = deepcopy(closed_once)
    platform.home = Home.at(shutil.copytree(closed_once.home.root, tmp_path / "closed"))
    return platform


def correct(home: Home, *days: date, reason: str = "decisions") -> None:
    for day in days:
        shown, _ = restate(home, day, day, reason=reason)
        restate(home, day, day, reason=reason, expected=shown.digest)


def creators(home: Home) -> dict[str, int]:
    """What creators own, stated or not."""
    found: Counter[str] = Counter()
    for account, micros in balances(home).items():
        kind, _, who = account.partition(":")
        if kind in ("creator", "statement"):
            found[who] += micros
    return {who: micros for who, micros in found.items() if micros}


def check(platform: Platform, days: Iterable[date] = DAYS) -> None:
    """Every cent from the files, with other code."""
    home = platform.home
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con, every_table=True).findings == ()
        for day in days:
            net, taken, coins, out = platform.expected(day)
            report = revenue_report(con, day, day)
            by_category = {
                c["category"]: c["final_micros"] + c["estimated_micros"] for c in report.categories
            }
            assert +Counter(by_category) == +net
            assert sum(c["deducted_micros"] for c in report.categories) == taken
            assert report.coins["final"] == coins
            assert sum(d["rows"] for d in report.deductions if d["of"] == "sessions") == out
            # revenue in the ledger is what is left, and somebody has it
            [(ads, gifted)] = con.execute(
                """SELECT -sum(amount_micros) FILTER (account = 'revenue:ads'),
                   coalesce(-sum(amount_micros) FILTER (account = 'revenue:coins'), 0)
                   FROM ledger_entries WHERE day = ?""",
                [day],
            ).fetchall()
            assert (int(ads or 0), int(gifted)) == (
                net.total(),
                coins * home.policies.in_force(day).coins.coin_micros,
            )
        for creator in set(CREATORS.values()):
            month = creator_month(con, creator, 2026, 3)
            for correction in month.corrections:
                of_day = [c for c in month.corrections if c.day == correction.day]
                assert sum(v.micros for v in correction.videos) in (
                    0, sum(c.micros for c in of_day)
                )  # fmt: skip


def test_estimates_are_paid_and_said(platform: Platform) -> None:
    home = platform.home
    platform.finalise(DAYS[0])
    make_days(home, DAYS)
    with Warehouse(home).open(read_only=True) as con:
        month = creator_month(con, "b", 2026, 3)
        assert [e.day for e in month.estimates] == DAYS[1:]
        assert 0 < month.estimated_micros < month.earned_micros
        assert "estimated ad revenue" in text(month)
        assert "Estimated" in html(month)
    check(platform)


def test_a_file_without_a_status_is_final_and_counted(platform: Platform) -> None:
    put(platform.home.landing / "ad_revenue" / str(FIRST) / "ads.csv",
        [{"ad_id": "x", "ts": f"{FIRST}T11:00:00", "category": "music", "amount_micros": 5}],
        "ad_id,ts,category,amount_micros")  # fmt: skip
    make_days(platform.home, [FIRST])
    assert rows(platform.home, "SELECT status FROM ad_revenue") == [("final",)]
    figure = "SELECT count, total FROM figures WHERE figure = 'status_by_default'"
    assert rows(platform.home, figure) == [(1, 1)]


def test_deductions_of_a_closed_day_stand_on_statements_and_appeals_give_them_back(
    closed: Platform,
) -> None:
    home, day = closed.home, DAYS[1]
    paid = creators(home)
    things = {
        "bot <7>": ("viewer", "u1"),
        "copied": ("video", "v4"),
        "unpaid": ("ad", f"ad{day}-0"),
        "stolen card": ("gift", f"g{day}-1"),
    }
    for reason, thing in things.items():
        closed.decide(day, *thing, reason)
    [status] = [s for s in day_statuses(home) if s.day == day]
    assert "invalid_traffic" in status.note
    assert "earnings restate" in status.note
    correct(home, day)
    check(closed)
    assert creators(home) != paid
    assert rows(home, "SELECT DISTINCT number, kind, reason, booked_day FROM video_corrections"
                " ORDER BY number") == [
        (n, "deducted", reason, DAYS[-1] + timedelta(days=1)) for n, reason in enumerate(things, 2)
    ]  # fmt: skip
    with Warehouse(home).open(read_only=True) as con:
        for creator in set(CREATORS.values()):
            month = creator_month(con, creator, 2026, 3)
            [correction] = [c for c in month.corrections if c.day == day]
            assert sum(v.micros for v in correction.videos) == correction.micros
            if any(v.reason == "bot <7>" for v in correction.videos):
                assert "bot <7>" in text(month)
                assert "bot &lt;7&gt;" in html(month)
    for reason, thing in things.items():
        closed.decide(day, *thing, f"not {reason}", outcome="restored")
    correct(home, day)
    check(closed)
    assert creators(home) == paid
    with Warehouse(home).open(read_only=True) as con:
        report = revenue_report(con, FIRST, DAYS[-1])
    assert sorted(r["reason"] for r in report.restored) == sorted(f"not {r}" for r in things)
    assert report.deductions == ()
    kinds = Counter[str]()
    for found in report.corrections:
        kinds[found["kind"]] += found["given_micros"] - found["taken_micros"]
    assert kinds["deducted"] == -kinds["restored"] < 0


def test_reasons_of_one_restatement_are_told_apart(closed: Platform) -> None:
    home, day = closed.home, DAYS[0]
    closed.finalise(day, by=0.9)
    closed.decide(day, "ad", f"ad{day}-2", "advertiser did not pay", amount=1_000)
    closed.decide(day, "viewer", "u3", "click farm")
    correct(home, day, reason="March is final")
    check(closed)
    steps = rows(
        home,
        "SELECT DISTINCT number, kind, reason FROM video_corrections WHERE day = ? ORDER BY 1",
        day,
    )
    assert steps == [
        (1, "finalised", "March is final"),
        (2, "deducted", "advertiser did not pay"),
        (3, "deducted", "click farm"),
    ]


def test_decisions_about_nothing_and_too_much_are_said(platform: Platform) -> None:
    platform.decide(FIRST, "ad", "who", "x")
    platform.decide(FIRST, "ad", f"ad{FIRST}-1", "x", amount=10**12)
    make_days(platform.home, [FIRST])
    said = dict(
        rows(
            platform.home,
            "SELECT figure, warning FROM figures WHERE table_name = 'ad_revenue'"
            " AND starts_with(figure, 'decisions')",
        )
    )
    assert "ad who" in said["decisions_about_nothing"]
    assert f"ad{FIRST}-1" in said["decisions_beyond_the_booking"]
    check(platform, [FIRST])


def test_a_refunded_gift_that_comes_again_is_still_known(platform: Platform) -> None:
    """In the book is what was delivered, whatever is left of it."""
    gift = platform.gifts[f"g{FIRST}-1"]
    platform.decide(FIRST, "gift", gift["gift_id"], "refund", amount=1)
    again = {**gift, "ts": f"{DAYS[1]}T01:00:00"}
    put(platform.home.landing / "gifts" / str(DAYS[1]) / "again.csv", [again], ",".join(again))
    make_days(platform.home, DAYS[:2])
    assert rows(
        platform.home, "SELECT day, coins FROM gifts WHERE gift_id = ?", gift["gift_id"]
    ) == [(FIRST, gift["coins"] - 1)]
    check(platform, DAYS[:2])


def test_a_decision_that_cannot_be_read_holds_up_the_closing(platform: Platform) -> None:
    platform.decide(FIRST, "viewer", "u1", "bots")
    platform.decide(FIRST, "advert", "x", "y")
    make_days(platform.home, [FIRST])
    with pytest.raises(QuarantineError, match="not one of viewer, video, ad, gift"):
        close(platform.home, FIRST)


def test_two_decisions_of_one_day_that_differ_are_both_refused(platform: Platform) -> None:
    platform.decide(FIRST, "viewer", "nobody", "bots")
    platform.decide(FIRST, "viewer", "u1", "one", decided_on=DAYS[0])
    platform.decide(FIRST, "viewer", "u1", "other", decided_on=DAYS[0])
    make_days(platform.home, [FIRST])
    assert rows(platform.home, "SELECT count(*), min(reason) FROM quarantine") == [
        (2, "what, id, decided_on: duplicate with different content")
    ]
    assert rows(platform.home, "FROM deductions") == []


def random_month(platform: Platform, chance: random.Random, steps: int) -> None:
    """Finalisations, deductions and appeals in any order, before and after closings."""
    home, closed = platform.home, 0
    make_days(home, DAYS)
    for _ in range(steps):
        touched: set[date] = set()
        for _ in range(chance.randrange(1, 4)):
            day = chance.choice(DAYS)
            match chance.choice(["final", "deduct", "deduct", "restore", "amount"]):
                case "final":
                    platform.finalise(day, by=chance.choice([1.0, 0.7, 1.1]))
                case "restore" if held := sorted(platform.in_force(day)):
                    platform.decide(day, *chance.choice(held), "appeal", outcome="restored")
                case what:
                    kind = chance.choice(["viewer", "video", "ad", "gift"])
                    name = {
                        "viewer": f"u{chance.randrange(12)}",
                        "video": chance.choice(sorted(CREATORS)),
                        "ad": f"ad{day}-{chance.randrange(6)}",
                        "gift": f"g{day}-{chance.randrange(3)}",
                    }[kind]
                    some = what == "amount" and kind in ("ad", "gift")
                    more = {"amount": chance.randrange(1, 5_000)} if some else {}
                    reason = chance.choice(["bots", "fraud", "chargeback"])
                    platform.decide(day, kind, name, reason, **more)
            touched.add(day)
        if chance.random() < 0.4 and closed < len(DAYS):
            closed += 1
            make_days(home, DAYS[closed - 1 :])
            close(home, DAYS[closed - 1])
        late = sorted(d for d in DAYS[:closed])
        stale = {s.day for s in day_statuses(home) if s.state == "stale"}
        correct(home, *(d for d in late if d in touched or d in stale))
        make_days(home, DAYS[closed:])


@pytest.mark.parametrize(
    ("seed", "steps"),
    [(0, 2), *(pytest.param(seed, 6, marks=pytest.mark.slow) for seed in range(1, 4))],
)
def test_months_at_random_end_as_if_the_last_files_had_been_the_first(
    tmp_path: Path, seed: int, steps: int
) -> None:
    platform = Platform(Home.at(tmp_path / "home"))
    random_month(platform, random.Random(seed), steps)
    check(platform)
    fresh = Platform(Home.at(tmp_path / "fresh"))
    fresh.ads, fresh.gifts, fresh.decisions = platform.ads, platform.gifts, platform.decisions
    fresh.write()
    make_days(fresh.home, DAYS)
    check(fresh)
    assert creators(platform.home) == creators(fresh.home)
    for table in ("ad_revenue", "gifts", "viewer_events", "deductions", "invalid_traffic"):
        sql = f"SELECT * FROM {table} ORDER BY ALL"
        assert rows(platform.home, sql) == rows(fresh.home, sql), table
