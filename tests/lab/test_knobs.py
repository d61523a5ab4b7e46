"""Knob authority: a trial pays what the pipeline paid, turning a knob pays what the pipeline would,
and nothing is written.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.lab.knobs import KNOBS, MEASURES, Knob, study, turns
from pipelines.lab.report import Report
from pipelines.lab.trial import TrialError, trial
from pipelines.operation.running import run_days
from pipelines.policy import Policy, Quality
from pipelines.settings import Home
from pipelines.store.warehouse import WarehouseError
from tests.cases.three_days import FIRST, LAST, rows

DAY = date(2026, 3, 2)


def earned(home: Home) -> list[int]:
    return sorted(
        row[0]
        for row in rows(
            home,
            "SELECT total_micros FROM creator_earnings WHERE day = ? AND total_micros > 0",
            DAY,
        )
    )


def knob(name: str):
    return next(k for k in KNOBS if k.name == name)


def test_a_trial_pays_what_the_pipeline_paid(finished: Home) -> None:
    with trial(finished, DAY) as room:
        outcome = room.keep(finished.policies.in_force(DAY))
    assert sorted(x for x in outcome.earned.tolist() if x > 0) == earned(finished)
    owed = "SELECT sum(amount_micros) FROM ledger_entries WHERE day = ? AND account = 'platform'"
    assert rows(finished, owed, DAY) == [(outcome.platform,)]
    assert outcome.gross == outcome.platform + outcome.carried + outcome.earned.sum()


def test_a_turned_knob_pays_what_the_pipeline_pays_under_that_policy(
    finished: Home, copy_of: Callable[[Home], Home]
) -> None:
    home = copy_of(finished)
    policy = home.policies.in_force(DAY)
    turned = knob("ads.alpha").turned(policy, 0.25)
    with trial(home, DAY) as room:
        room.keep(policy)
        tried = room.pay(turned, changed="ads")
        again = room.pay(policy, changed="ads")
    (home.root / "policies").mkdir()
    shipped = (Path(__file__).parents[2] / "assets_data" / "policies" / "evidence.toml").read_text()
    (home.root / "policies" / "p.toml").write_text(
        shipped.replace("alpha = 0.5\nlambda_fair = 0.5", "alpha = 0.25\nlambda_fair = 0.5")
    )
    assert home.policies.in_force(DAY).hash == turned.hash
    before = earned(home)
    assert run_days(home, DAY, DAY).success
    assert sorted(x for x in tried.earned.tolist() if x > 0) == earned(home)
    assert sorted(x for x in again.earned.tolist() if x > 0) == before != earned(home)


def test_the_study_lists_every_value_also_the_impossible_ones(
    finished: Home, tmp_path: Path
) -> None:
    policy = finished.policies.in_force(LAST)
    some = [
        knob(name)
        for name in ("ads.lambda_eff", "ads.floor_micros", "coins.min_gap", "coins.revenue_floor")
    ]
    some.append(Knob("coins.max_gap", (0.01, 0.3)))  # the first is below the least gap
    report = Report(tmp_path / "study", "knobs")
    study(report, finished, LAST, policy, some)
    report.write()
    found = list(csv.DictReader((tmp_path / "study" / "turns.csv").open()))
    assert len(found) == 1 + sum(len(k.values) for k in some)
    assert {row["knob"] for row in found if row["problem"]} == {"coins.max_gap"}
    assert "gap" in next(row["problem"] for row in found if row["problem"])
    gini = [float(row["gini"]) for row in found if row["knob"] == "ads.lambda_eff"]
    assert gini == sorted(gini)  # the more efficiency counts, the less equal
    kept = [float(row["platform_share"]) for row in found if row["knob"] == "coins.revenue_floor"]
    assert kept == sorted(kept)
    authority = list(csv.DictReader((tmp_path / "study" / "authority.csv").open()))
    spread = next(row for row in authority if row["knob"] == "ads.lambda_eff")
    assert float(spread["gini"]) == pytest.approx(max(gini) - min(gini))
    assert float(spread["platform_share"]) == 0
    assert (tmp_path / "study" / "authority.svg").read_text().startswith("<?xml")
    assert set(MEASURES) <= set(found[0])


def test_every_knob_names_a_field_of_the_policy_and_can_be_turned() -> None:
    policy = Policy(name="p", effective_from=DAY, quality=Quality(prior="evidence"))
    for each in KNOBS:
        section, field = each.name.split(".")
        assert field in type(getattr(policy, section)).model_fields
        assert (
            len({each.turned(policy, value).hash for value in each.values if value != float("inf")})
            >= 2
        )


def test_a_day_that_was_not_run_says_so(finished: Home, make_home: Callable[..., Home]) -> None:
    policy = finished.policies.in_force(FIRST)
    with pytest.raises(TrialError, match="2026-04-01 is not made"):
        next(turns(finished, date(2026, 4, 1), policy))
    with pytest.raises(WarehouseError, match="no published copy yet"):
        next(turns(make_home("new"), FIRST, policy))


def test_the_command_prints_where_it_wrote(
    finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.lab.knobs.KNOBS", (knob("ads.alpha"),))
    monkeypatch.setattr("pipelines.lab.knobs.study.__defaults__", ((knob("ads.alpha"),),))
    words = [
        "--home",
        str(finished.root),
        "lab",
        "knobs",
        "--day",
        str(DAY),
        "--out",
        str(tmp_path / "k"),
        "--json",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["folder"] == str(tmp_path / "k")
    assert "ads.alpha" in (tmp_path / "k" / "report.html").read_text()
