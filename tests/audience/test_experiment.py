"""Table 2: gains of one arm over the other by size of the group, against sums by hand; the share of
intervals that hold; the study.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.audience.assets import group_utility
from pipelines.audience.experiment import Gain, began, gains, table_2
from pipelines.cli.main import main
from pipelines.lab.arms import add_if_any
from pipelines.lab.report import Report
from pipelines.plain import markdown_cell
from pipelines.policy import Epochs
from pipelines.runs.daily import Day
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Connection, Warehouse
from tests.cases.five_days import make_days

FIRST, DAYS = date(2026, 3, 1), [date(2026, 3, n) for n in range(1, 5)]
EPOCHS = Epochs.model_validate(
    {"mechanism": "hmt", "utility": "ltr", "experiment": {"salt": "spring"}}
)
ARMS = """
[epochs]
mechanism = "hmt"
groups = 4
min_group_viewers = 5
min_impressions = 5
relative = false
[epochs.experiment]
salt = "spring"
"""


def warehouse_of(viewers: int, seed: int) -> Connection:
    """Viewers of five groups of unequal size; how much they watch and like differs from one to the
    next, and not by arm.
    """
    rng = np.random.default_rng(seed)
    con = duckdb.connect()
    for name in ("viewer_groups", "viewer_events", "videos"):
        con.execute(TABLES[name].ddl())
    group = rng.choice(5, viewers, p=[0.35, 0.3, 0.15, 0.15, 0.05])
    watched, likes = 1 + rng.negative_binomial(2, 0.2, viewers), rng.beta(1, 6, viewers)
    who = np.repeat(np.arange(viewers), watched)
    liked, what = rng.random(who.size) < likes[who], rng.integers(0, 30, who.size)
    con.execute("""INSERT INTO videos BY NAME SELECT DATE '2026-03-01' AS day, 'v' || i AS video_id,
            'c' AS creator_id, 10000 AS length_ms,
           ['t' || i % 6, 't' || i % 4] AS categories, true AS compliant, '' AS source
           FROM range(30) t(i)""")
    con.execute(
        """INSERT INTO viewer_groups BY NAME SELECT DATE '2026-03-01' AS day,
            'u' || unnest(range(len($1))) AS viewer_id,
           'g' || unnest($1) AS group_id, DATE '2026-03-01' AS version, 'control' AS arm""",
        [group.tolist()],
    )
    con.execute(
        """INSERT INTO viewer_events BY NAME SELECT DATE '2026-03-01' AS day,
            TIMESTAMP '2026-03-01' AS ts, 'e' || n AS event_id,
           'u' || who AS viewer_id, 'v' || what AS video_id, 1000 AS watch_ms, liked,
           false AS commented, false AS shared,
           false AS followed, '' AS source
           FROM (SELECT unnest(range(len($1))) AS n, unnest($1) AS who, unnest($2) AS what,
           unnest($3) AS liked)""",
        [who.tolist(), what.tolist(), liked.tolist()],
    )
    return con


def draw(con: Connection, salt: int) -> None:
    con.execute(
        f"UPDATE viewer_groups SET arm = if(md5_number_lower('{salt}:' || viewer_id) % 2 = 0,"
        " 'treatment', 'control')"
    )


def test_gains_are_those_of_sums_by_hand() -> None:
    con = warehouse_of(200, seed=1)
    draw(con, 3)
    # somebody who was drawn and watched nothing, and sessions of the day before
    con.execute(
        "INSERT INTO viewer_groups VALUES ('2026-03-01', 'idle', 'g0', '2026-03-01', 'treatment')"
    )
    con.execute(
        "INSERT INTO viewer_events BY NAME SELECT * REPLACE (day - 1 AS day, 'x' || event_id AS"
        " event_id) FROM viewer_events"
    )
    found = {(g.part, g.measure): g for g in gains(con, EPOCHS, FIRST, FIRST)}

    topics = {f"v{i}": {f"t{i % 6}", f"t{i % 4}"} for i in range(30)}
    sessions: dict[str, list[tuple[str, bool]]] = {}
    for viewer, video, liked in con.execute(
        "SELECT viewer_id, video_id, liked FROM viewer_events WHERE day = ?", [FIRST]
    ).fetchall():
        sessions.setdefault(viewer, []).append((video, liked))
    members = con.execute("SELECT viewer_id, group_id, arm FROM viewer_groups").fetchall()
    sizes = {
        g: sum(group == g for _, group, _ in members) for g in {group for _, group, _ in members}
    }
    ranked = sorted(sizes, key=lambda g: (-sizes[g], g))
    traffic = [
        sum(len(sessions.get(v, [])) for v, group, _ in members if group == g) for g in ranked
    ]
    middle = np.cumsum(traffic) - np.array(traffic) / 2
    parts = dict(zip(ranked, 1 + (4 * middle / sum(traffic)).astype(int), strict=True))
    assert sorted(set(parts.values())) == [1, 2, 3, 4]

    def ratio(part: int, arm: str, measure: str) -> tuple[float, float]:
        mine = [
            sessions.get(v, []) for v, group, a in members if a == arm and part in (0, parts[group])
        ]
        if measure == "ltr":
            mine = [s for s in mine if s]
        n = np.array([len(s) if measure == "ltr" else 1 for s in mine], dtype=float)
        y = {
            "ltr": lambda s: sum(liked for _, liked in s),
            "impressions": len,
            "topics": lambda s: len(set().union(*(topics[video] for video, _ in s))),
        }[measure]
        y = np.array([y(s) for s in mine], dtype=float)
        value = y.sum() / n.sum()
        return (
            value,
            math.sqrt(len(n) / (len(n) - 1) * ((y - value * n) ** 2).sum()) / n.sum() / value,
        )

    assert {part for part, _ in found} == {0, 1, 2, 3, 4}
    for (part, measure), g in found.items():
        (treatment, error_t), (control, error_c) = (
            ratio(part, arm, measure) for arm in ("treatment", "control")
        )
        assert (g.treatment, g.control) == (pytest.approx(treatment), pytest.approx(control))
        assert (g.log_gain, g.error) == (
            pytest.approx(math.log(treatment / control)),
            pytest.approx(math.hypot(error_t, error_c)),
        )
        inside = [v for v, group, _ in members if part in (0, parts[group])]
        assert (g.treated + g.controls, g.sessions) == (
            len(inside),
            sum(len(sessions.get(v, [])) for v in inside),
        )
        ranks = [n for n, group in enumerate(ranked, 1) if part in (0, parts[group])]
        assert (g.first_rank, g.last_rank) == (ranks[0], ranks[-1])


def test_nineteen_of_twenty_intervals_hold_when_arms_do_not_differ() -> None:
    con = warehouse_of(800, seed=2)
    holds: dict[str, list[bool]] = {}
    for salt in range(40):
        draw(con, salt)
        for g in gains(con, EPOCHS, FIRST, FIRST):
            assert g.interval is not None
            holds.setdefault(g.measure, []).append(g.interval[1] <= 0 <= g.interval[2])
    for measure, seen in holds.items():
        assert 0.91 <= np.mean(seen) <= 0.99, measure


def test_an_arm_without_likes_or_viewers_has_no_gain() -> None:
    con = warehouse_of(60, seed=4)
    draw(con, 1)
    con.execute(
        "UPDATE viewer_events SET liked = false WHERE viewer_id IN (SELECT viewer_id FROM"
        " viewer_groups WHERE arm = 'control')"
    )
    total = {g.measure: g for g in gains(con, EPOCHS, FIRST, FIRST) if g.part == 0}
    assert total["ltr"].interval is None
    assert total["ltr"].text == "unknown"
    assert total["impressions"].interval is not None
    con.execute(
        "UPDATE viewer_events SET liked = viewer_id NOT IN (SELECT viewer_id FROM viewer_groups"
        " WHERE arm = 'treatment')"
    )
    assert (
        next(g for g in gains(con, EPOCHS, FIRST, FIRST) if (g.part, g.measure) == (0, "ltr")).text
        == "unknown"
    )
    con.execute("UPDATE viewer_groups SET arm = 'control'")
    assert gains(con, EPOCHS, FIRST, FIRST) == []
    assert table_2([]) == (["groups"], [])


def test_the_table_has_the_total_last() -> None:
    shared = {
        "treated": 5,
        "controls": 5,
        "sessions": 9,
        "treatment": 1.1,
        "control": 1.0,
        "log_gain": math.log(1.1),
        "error": 0.0,
    }
    found = [
        Gain(part=part, first_rank=first, last_rank=last, measure=measure, **shared)  # type: ignore[arg-type]
        for measure in ("ltr", "topics")
        for part, first, last in ((0, 1, 5), (1, 1, 1), (3, 2, 5))
    ]
    head, rows = table_2(found)
    assert head == ["groups", "1", "2-5", "TOTAL"]
    assert rows == [[m, *["+10.00 % (+10.00 to +10.00)"] * 3] for m in ("ltr", "topics")]


# ---- in the pipeline, and as a study


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four days under an experiment that began on the second. Do not write to it."""
    root = tmp_path_factory.mktemp("experiment")
    (root / "settings.toml").write_text(
        "first_day = 2026-03-01\nlast_day = 2026-03-31\nthreads = 1\npolicy = 'p'\n"
    )
    simulate(
        root / "landing",
        first_day=FIRST,
        days=4,
        seed=5,
        events_per_day=300,
        viewers=120,
        creators=8,
        videos=20,
        late_share=0.0,
    )
    (root / "policies").mkdir()
    (root / "policies" / "a.toml").write_text(
        "name = 'p'\neffective_from = 2026-01-01\n" + ARMS.replace("spring", "winter")
    )
    (root / "policies" / "b.toml").write_text(f"name = 'p'\neffective_from = {DAYS[1]}\n{ARMS}")
    home = Home.at(root)
    make_days(home, DAYS)
    Warehouse(home).publish()
    return home


def test_an_experiment_began_when_its_arms_were_drawn(tried: Home) -> None:
    policies = tried.policies
    assert [began(tried, policies, day) for day in DAYS] == [DAYS[0], DAYS[1], DAYS[1], DAYS[1]]


def test_the_days_gains_are_in_its_metadata(tried: Home, tmp_path: Path) -> None:
    home = Home.at(shutil.copytree(tried.root, tmp_path / "home"))
    warehouse = Warehouse(home)
    with warehouse.open() as con:
        metadata = group_utility.make(Day(con, DAYS[3], warehouse, home.policies.in_force(DAYS[3])))
        found = gains(con, home.policies.in_force(DAYS[3]).epochs, DAYS[3], DAYS[3])
    total = next(g for g in found if (g.part, g.measure) == (0, "ltr"))
    assert (metadata["gain"], metadata["gain_low"], metadata["gain_high"]) == total.interval
    shown = metadata["gains of treatment"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    assert str(shown.value).splitlines()[2] == (
        f"| {' | '.join(markdown_cell(cell) for cell in table_2(found)[1][0])} |"
    )


def test_the_study(tried: Home, tmp_path: Path) -> None:
    words = ["--home", str(tried.root), "lab", "arms", "--out", str(tmp_path / "a"), "--json"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    said = {c["claim"]: c for c in json.loads(result.stdout)["claims"]}
    assert [claim.split(" (")[0] for claim in said] == [
        "arms: ltr of all viewers rise",
        "arms: impressions a viewer rise",
        "arms: topics a viewer rise",
        "arms: small groups gain more than large ones",
        "arms: as many viewers were drawn into treatment as the policy asks for",
    ]
    page = (tmp_path / "a" / "report.html").read_text()
    assert f"Two arms, {DAYS[1]} to {DAYS[3]}" in page
    with Warehouse(tried).open(read_only=True) as con:
        found = gains(con, tried.policies.in_force(DAYS[3]).epochs, DAYS[1], DAYS[3])
    rows = list(csv.DictReader((tmp_path / "a" / "arm_gains.csv").open()))
    assert [float(row["gain"]) for row in rows if row["groups"] == "TOTAL"] == [
        g.interval[0] for g in found if g.part == 0 and g.interval
    ]
    claim = next(c for name, c in said.items() if name.startswith("arms: ltr"))
    assert claim["figures"] == next(g for g in found if (g.part, g.measure) == (0, "ltr")).text
    assert (tmp_path / "a" / "table_2.svg").read_text().startswith("<?xml")

    beside = Report(tmp_path / "b", "another study")
    add_if_any(beside, tried)
    assert [c.claim for c in beside.claims] == list(said)

    earlier = CliRunner().invoke(main, [*words, "--day", str(DAYS[0])], catch_exceptions=False)
    assert earlier.exit_code == 0
    assert f"Two arms, {DAYS[0]} to {DAYS[0]}" in (tmp_path / "a" / "report.html").read_text()


def test_a_home_without_an_experiment_or_with_a_day_missing(
    tried: Home, copy_of: Callable[[Home], Home], tmp_path: Path
) -> None:
    home = copy_of(tried)
    with Warehouse(home).open() as con:
        con.execute(
            "DELETE FROM written_days WHERE table_name = 'group_utility' AND day = ?", [DAYS[2]]
        )
    Warehouse(home).publish()
    words = ["--home", str(home.root), "lab", "arms", "--out", str(tmp_path / "a")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert (
        "2026-03-03 is not made, or not published. Make it first: earnings run --from 2026-03-03"
        " --to 2026-03-04" in result.stderr
    )
    report = Report(tmp_path / "b", "another study")
    add_if_any(report, home)
    assert not report.blocks

    shutil.rmtree(home.root / "policies")
    (home.root / "settings.toml").write_text("")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "no policy in force on any day that was run has two arms" in result.stderr
    home.published.unlink()
    result = CliRunner().invoke(main, words)
    assert "there is no published copy yet" in result.stderr
