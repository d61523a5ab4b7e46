"""What the workbench answers over HTTP: a sketch that is near, exact figures that are a what-if's,
and nothing written but new policy files.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import tomllib
from datetime import date
from pathlib import Path

import duckdb
import pytest

from pipelines.ledger.closing import close
from pipelines.policy import read_policy
from pipelines.settings import Home
from pipelines.sources.quarantine import QuarantineError, accept
from pipelines.store.warehouse import Warehouse, WarehouseError
from pipelines.studio import data
from pipelines.studio.sketch import DaySketch, explore_about
from pipelines.whatif.frontier import Axis, VaryError, explore, frontier
from pipelines.whatif.scratch import scratch
from tests.studio.conftest import DAYS, Served

DAY = str(DAYS[1])


def test_a_sketch_comes_to_what_was_paid(studio: Served) -> None:
    policy = studio.home.policies.in_force(DAYS[1])
    with Warehouse(studio.home).read() as con:
        sketch = DaySketch.of(con, DAYS[1], policy)
        ads, pulse, coins, total = con.execute(
            "SELECT sum(ads_micros + carry_micros), sum(pulse_micros), sum(coins_micros),"
            " sum(total_micros) FROM creator_earnings WHERE day = ?",
            [DAYS[1]],
        ).fetchall()[0]
        ((platform,),) = con.execute(
            "SELECT sum(amount_micros) FROM ledger_entries WHERE day = ? AND account = 'platform'",
            [DAYS[1]],
        ).fetchall()
    found = sketch.answer(policy)
    for name, paid in (
        ("ads", ads), ("pulse", pulse), ("coins", coins), ("creators", total),
        ("platform", platform),
    ):  # fmt: skip
        assert found[name] == pytest.approx(float(paid), rel=2e-3, abs=20), name
    larger = sketch.answer(policy.with_fields({"ads.platform_share": 0.9}))
    assert larger["creators"] < found["creators"]
    assert larger["platform"] > found["platform"]
    efficient = policy.with_fields({"ads.lambda_eff": 1.0, "ads.lambda_fair": 0.0})
    assert sketch.answer(efficient)["efficiency"] > found["efficiency"]


def test_exact_figures_are_those_of_a_what_if(studio: Served) -> None:
    question = {"first": DAY, "last": DAY, "policy": "base", "changes": {"ads.platform_share": 0.3},
                "who": "a"}  # fmt: skip
    _, asked = studio.ask("/api/exact", question)
    _, again = studio.ask("/api/exact", question | {"who": "b"})
    assert asked == again  # two browsers ask once
    for _ in range(300):
        status, found = studio.ask(f"/api/exact?id={asked['id']}")
        if found["state"] not in ("waiting", "running"):
            break
        time.sleep(0.2)
    assert (status, found["state"]) == (200, "done")
    parts = {row["part"]: row for row in found["parts"]}
    with Warehouse(studio.home).read() as con:
        ((paid,),) = con.execute(
            "SELECT sum(total_micros) FROM creator_earnings WHERE day = ?", [DAYS[1]]
        ).fetchall()
    assert parts["total"]["a"] == paid
    assert parts["ads"]["change"] > 0
    assert parts["coins"]["change"] == parts["pulse"]["change"] == 0
    _, page = studio.ask(f"/api/exact/creators?id={asked['id']}&sort=total_change&order=desc")
    changes = [row["total_change"] for row in page["rows"]]
    assert changes == sorted(changes, reverse=True)
    status, wrong = studio.ask("/api/exact?id=nobody")
    assert (status, "ask again" in wrong["problem"]) == (404, True)


def test_creators_are_searched_sorted_and_paged(studio: Served) -> None:
    query = f"first={DAYS[0]}&last={DAY}"
    _, page = studio.ask(f"/api/creators?{query}&sort=total&order=desc")
    totals = [row["total"] for row in page["rows"]]
    assert totals == sorted(totals, reverse=True)
    assert len(totals) == min(page["found"], page["page"])
    _, rest = studio.ask(f"/api/creators?{query}&sort=total&order=desc&offset={page['page']}")
    assert len(rest["rows"]) == page["found"] - len(totals)
    one = page["rows"][3]["creator_id"]
    _, found = studio.ask(f"/api/creators?{query}&search={one.upper()}")
    assert [row["creator_id"] for row in found["rows"]] == [one]
    status, wrong = studio.ask(f"/api/creators?{query}&sort=creator_id;DROP%20TABLE%20creators")
    assert (status, "sort by one of" in wrong["problem"]) == (400, True)
    _, told = studio.ask(f"/api/creator/explained?id={one}&day={DAY}")
    assert one in told["words"]


def test_a_draft_is_shown_then_written_once_and_never_over_another(studio: Served) -> None:
    folder = studio.home.root / "policies"
    before = {path.name: path.read_text() for path in folder.iterdir()}
    draft = {"policy": "base", "changes": {"ads.alpha": 0.7, "coins.max_gap": 0.2},
             "name": "draft", "since": "2026-04-01"}  # fmt: skip
    _, shown = studio.ask("/api/policy/preview", draft)
    assert "+alpha = 0.7" in shown["diff"]
    assert "-alpha = 0.5" in shown["diff"]
    assert "# a remark" in shown["text"]
    assert {path.name for path in folder.iterdir()} == before.keys()
    status, _ = studio.ask("/api/policy/save", draft)
    assert status == 200
    path = folder / "draft-2026-04-01.toml"
    written = read_policy(path)
    assert (written.ads.alpha, written.coins.max_gap) == (0.7, 0.2)
    assert tomllib.loads(path.read_text())["name"] == "draft"
    status, refused = studio.ask("/api/policy/save", draft)
    assert (status, "is there already" in refused["problem"]) == (409, True)
    for wrong in ({"name": "../x"}, {"changes": {"ads.alpha": 7}}, {"changes": {"ads.nothing": 1}}):
        status, refused = studio.ask("/api/policy/save", draft | {"since": "2026-04-02"} | wrong)
        assert status in (400, 409), refused
    path.unlink()
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_other_sites_may_not_ask(studio: Served) -> None:
    draft = {"policy": "base", "changes": {}, "name": "evil", "since": "2026-04-01"}
    assert studio.ask("/api/policy/save", draft, Origin="http://evil.example")[0] == 403
    assert studio.ask("/api/policy/save", draft, **{"Content-Type": "text/plain"})[0] == 403
    assert studio.ask("/api/home", Host="evil.example")[0] == 400
    assert not (studio.home.root / "policies" / "evil-2026-04-01.toml").exists()


def test_pages_that_are_empty_say_so(studio: Served) -> None:
    assert studio.ask("/api/money") == (200, {"money": None})
    assert studio.ask("/api/gaming") == (200, {"days": []})
    _, found = studio.ask("/api/quarantine")
    assert {"day", "table", "reason", "rows", "first"} == found["rows"][0].keys()


def test_stated_money_is_shown_place_by_place(studio: Served, tmp_path: Path) -> None:
    home = Home.at(shutil.copytree(studio.home.root, tmp_path / "home"))
    for table in ("ad_revenue", "gifts"):
        with contextlib.suppress(QuarantineError):
            accept(home, [], reason="test", actor="ann", table=table)
    close(home, DAYS[0])
    with Warehouse(home).open(read_only=True) as con:
        found = json.loads(json.dumps(data.money(con, home, date(2026, 4, 1))))
        ((earned,),) = con.execute("SELECT sum(total_micros) FROM creator_earnings").fetchall()
    assert found["earned"] == sum(row["micros"] for row in found["places"]) == earned
    stated = {row["place"]: row["micros"] for row in found["places"]}["statement"]
    assert stated > 0
    assert found["astray"] == []


def test_many_points_from_sketches_are_near_those_that_are_paid(studio: Served) -> None:
    home, book = studio.home, studio.home.policies
    axes = [Axis("ads.lambda_eff", (0.0, 1.0)), Axis("pulse.creator_share", (0.5, 7.0))]
    points = frontier(list(explore_about(home, book, DAYS, axes)))
    assert len(points) == 5
    assert points["problem"].ne("").sum() == 2  # 7 is no part of one
    with scratch(home, DAYS[0], DAYS[1]) as room:
        exact = frontier(list(explore(room, book, axes)))
    good = points["problem"] == ""
    assert (good == (exact["problem"] == "")).all()
    for name, tolerance in (
        ("creators_micros", 1e-3),
        ("efficiency", 0.05),
        ("small_creators_share", 0.05),
    ):
        assert points.loc[good, name].to_numpy() == pytest.approx(
            exact.loc[good, name].to_numpy(), rel=tolerance
        ), name
    with pytest.raises(VaryError, match="leave out --about"):
        list(explore_about(home, book, DAYS, [Axis("quality.contrast", (1.0,))]))


def test_a_copy_of_another_version_is_named(studio: Served, tmp_path: Path) -> None:
    home = Home.at(shutil.copytree(studio.home.root, tmp_path / "home"))
    with duckdb.connect(str(home.published)) as con:
        con.execute("DROP TABLE shadow_earnings; DELETE FROM schema_versions")
    with pytest.raises(WarehouseError, match="another version"), scratch(home, DAYS[0], DAYS[1]):
        pass
