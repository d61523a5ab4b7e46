"""docs/formulas.py makes the claims that docs/formulas.md states, and the document shows what the
script prints.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "formulas.md").read_text(encoding="utf-8")
Row = dict[str, Any]


sys.path.insert(0, str(DOCS))
formulas = importlib.import_module("formulas")


@cache
def finding(name: str) -> Any:
    """A demonstration, computed once a process."""
    return formulas.DEMONSTRATIONS[name]()


# --------------------------------------------------------------------------------------------------


def test_document_and_script_name_the_same_demonstrations() -> None:
    named = set(re.findall(r"python docs/formulas\.py ([a-z][a-z0-9-]*)", TEXT))
    assert named == set(formulas.DEMONSTRATIONS)


def test_every_link_to_a_section_leads_somewhere() -> None:
    sections = set(re.findall(r"^#+ (\d(?:\.\d)?)", TEXT, re.MULTILINE))
    assert set(re.findall(r"\((\d\.\d)\)", TEXT)) <= sections


def test_list_help_and_unknown_name() -> None:
    run = CliRunner()
    listed = run.invoke(formulas.main, ["--list"])
    assert [line.split()[0] for line in listed.output.splitlines()] == list(formulas.DEMONSTRATIONS)
    assert "lambda-knob" in run.invoke(formulas.main, ["--help"]).output
    unknown = run.invoke(formulas.main, ["lambda-nob"])
    assert unknown.exit_code == 2
    assert "lambda-nob" in unknown.output


def test_prints_a_table_and_json() -> None:
    run = CliRunner()
    assert (
        run.invoke(formulas.main, ["proportional"]).output == finding("proportional").text() + "\n"
    )
    found = json.loads(run.invoke(formulas.main, ["proportional", "edges", "--json"]).output)
    assert list(found) == ["proportional", "edges"]
    assert found["proportional"]["rows"][0]["P s"] == 500.0


def test_refresh_restores_a_changed_table() -> None:
    table = formulas.block("proportional")
    assert formulas.refreshed(table.replace("379.00", "380.00")) == table


# --------------------------------------------------------------------------------------------------

CLAIMS: dict[str, Callable[[list[Row]], None]] = {}


def claim(check: Callable[[list[Row]], None]) -> Callable[[list[Row]], None]:
    """`like_bots` checks the demonstration like-bots."""
    CLAIMS[check.__name__.replace("_", "-")] = check
    return check


def test_every_demonstration_has_a_claim_checked() -> None:
    assert set(CLAIMS) == set(formulas.DEMONSTRATIONS)


SHOWN = dict(re.findall(r"```text\n\$ python docs/formulas\.py (\S+)\n(.*?)\n```", TEXT, re.DOTALL))


# One test, not two: the workers of a parallel run share no cache.
@pytest.mark.parametrize("name", list(formulas.DEMONSTRATIONS))
def test_claim_holds_and_document_shows_its_table(name: str) -> None:
    CLAIMS[name](finding(name).records())
    if name in SHOWN:
        assert SHOWN[name] == finding(name).text(), "run: python docs/formulas.py --refresh"


def only(rows: list[Row], **columns: Any) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in columns.items())]


@claim
def trust_views(rows: list[Row]) -> None:
    for column in ("Q", "M, views = heads (printed)"):
        assert [row[column] for row in rows] == pytest.approx([rows[0][column]] * 3, rel=1e-12)
    verified, unverified, doubted = (row["M, views = trust"] for row in rows)
    assert unverified == pytest.approx(0.8 * verified)
    assert doubted == pytest.approx(0.4 * verified)


@claim
def sessions(rows: list[Row]) -> None:
    assert [row["W"] for row in rows] == pytest.approx([1, 1 / 3, 1 / 2, 16 / 30, 1])
    assert [row["R"] for row in rows] == [0, 0, 0, 1, 1]
    assert all(row["E"] == pytest.approx(0.1) and row["W if summed"] == 1 for row in rows)


@claim
def engagement(rows: list[Row]) -> None:
    nobody, likes, mixed, everything = rows
    assert nobody["D"] == likes["D"] == likes["Q, m = 0 (printed)"] == 0 < likes["Q, m = 20"]
    assert 0 < mixed["D"] < everything["D"] == pytest.approx(1)
    assert everything["E"] == pytest.approx(1)
    assert max(row["E"] for row in rows) <= 1


@claim
def safety(rows: list[Row]) -> None:
    assert [row["S"] for row in rows] == pytest.approx([1, 0.7, 0.3, 0, 0.7, 0.3])
    assert [row["Q"] == 0 for row in rows] == [False, False, False, True, False, False]
    assert [row["safety_source"] for row in rows] == [*["given"] * 4, "neutral", "only s_tox"]


@claim
def prior_mass(rows: list[Row]) -> None:
    assert all(row["Q = 0, m = 20"] == 0 for row in rows)
    (small,) = only(rows, video="middling", viewers=10)
    assert small["Q = 0, m = 0"] > 0.7
    assert small["mean Q, m = 0"] < small["true Q"] / 3
    assert small["mean Q, m = 20"] == pytest.approx(small["true Q"], rel=0.07)
    weak, strong = (only(rows, video=kind, viewers=10)[0] for kind in ("weak", "strong"))
    assert weak["true Q"] < weak["mean Q, m = 20"] < strong["mean Q, m = 20"] < strong["true Q"]


@claim
def like_bots(rows: list[Row]) -> None:
    printed, hardened = (
        sorted(only(rows, policy=name), key=lambda row: -row["alpha_unver"])
        for name in ("printed", "hardened")
    )
    pays = [row["pay, no bots = 1"] for row in printed]
    assert 1 < pays[0] < pays[1] < pays[2]
    assert all(row["views"] == 1100 for row in printed)
    # not a success: the document warns that bots can be set on somebody else's video
    assert all(
        row["pay, no bots = 1"] < 1 and row["Q with bots"] < row["Q before"] for row in hardened
    )


@claim
def mimic_bots(rows: list[Row]) -> None:
    printed, hardened = only(rows, policy="printed"), only(rows, policy="hardened")
    assert all(row["M per bot, real viewer = 1"] > 3 for row in printed)
    assert printed[-1]["M"] > 30
    assert hardened[-1]["mass, no bots = 1"] < 1.6
    assert 4 < hardened[-1]["M"] < 5
    assert hardened[-1]["M per bot, real viewer = 1"] < 0.5


@claim
def five_events(rows: list[Row]) -> None:
    """The example by hand, from the sums to the micros, with the policy's numbers written out."""
    value = {row[""]: (row["video a"], row["video b"]) for row in rows}
    # 20 reference viewers at .3 beside 3.16 viewers' worth who watched 1.78 of it; so few show no
    # spread at all, and the prior is worth the most it may: 100 actions
    assert value["prior of W: rate"][0] == pytest.approx((1.78 + 20 * 0.3) / (3.16 + 20))
    assert value["prior of W: viewers' worth"][0] == pytest.approx(100 * 23.16 / 7.78)
    strength, rate = value["prior of W: viewers' worth"][0], value["prior of W: rate"][0]
    assert value["W"][0] == pytest.approx((1.58 + strength * rate) / (2.08 + strength))
    assert value["W"][1] == pytest.approx((0.2 + strength * rate) / (1.08 + strength))
    for at in (0, 1):
        w, e, r = (value[name][at] for name in ("W", "E", "R"))
        product = w**0.55 * e**0.2 * r**0.1 * 0.8**0.15
        assert value["Q"][at] == pytest.approx(product**2.7)
        weight, others = value["an unverified view counts"][at], 0.8 / 3
        views = (2, 1)[at] * (1 + others * (1 - weight)) + weight * (0.8, 0)[at]
        assert value["views that count"][at] == pytest.approx(views)
        assert value["M = views Q"][at] == pytest.approx(views * value["Q"][at])
    # one account more would bring video b just what it may, at the weight that it has
    assert value["an account may bring"] == pytest.approx((72_000, 72_000))
    assert value["an unverified view counts"][0] == 1 > value["an unverified view counts"][1]
    m, more = value["M = views Q"], value["an unverified view counts"][1] * 0.8 * value["Q"][1]
    roots = [x**0.5 for x in m]
    brings = 225_000 * (more / sum(m) + ((m[1] + more) ** 0.5 - roots[1]) / sum(roots))
    assert brings == pytest.approx(72_000, rel=1e-3)
    share = [m / sum(value["M = views Q"]) for m in value["M = views Q"]]
    roots = [x**0.5 for x in share]
    for at in (0, 1):
        paid = 450_000 * (0.5 * share[at] + 0.5 * roots[at] / sum(roots))
        assert value["micros of 450,000"][at] == pytest.approx(paid)


@claim
def one_account(rows: list[Row]) -> None:
    assert all(
        row["worth in viewers, printed"] in (None,) or row["worth in viewers, printed"] > 50
        for row in rows
    )
    assert all(row["hardened"] > 10 for row in rows)
    assert all(row["evidence"] < 3 for row in rows)


@claim
def unverified_cap(rows: list[Row]) -> None:
    assert all(row["honest mass kept"] > 0.985 for row in rows)
    assert all(row["kept by U <= 0.25 V"] < 0.7 for row in rows)
    assert all(row["kept by U <= 0.25 V"] < 0.31 for row in only(rows, verified=0.2))
    assert all(
        row["of the audience"] < 2 / 3 for row in only(rows, verified=0.2) if row["viewers"] >= 100
    )
    assert only(rows, verified=0.05, viewers=100)[0]["of the audience"] > 1


@claim
def cap_drift(rows: list[Row]) -> None:
    for column in ("rho", "k", "1000 bots add to a video of 100"):
        values = [row[column] for row in rows]
        assert values == sorted(values)
        assert values[-1] > 2 * values[0]


@claim
def watch_minimum(rows: list[Row]) -> None:
    assert all(row["least watch, printed (s)"] == 0 for row in rows)
    assert [row["least watch, hardened (s)"] for row in rows] == pytest.approx([1.5, 2, 2, 3, 12])


@claim
def pulse(rows: list[Row]) -> None:
    assert [row["slots"] for row in rows] == [0, 1, 3, 29]
    assert rows[-1]["slots by float"] == 28
    assert all(row["Pulse videos"] == max(0, row["slots"] - 1) for row in rows)
    assert rows[-1]["creator's part of 101 micros"] == 50


@claim
def platform_share(rows: list[Row]) -> None:
    assert rows[0]["pool by float"] == 44
    assert rows[0]["pool"] == 45
    assert all(row["lost"] == 0 for row in rows)


@claim
def lambda_knob(rows: list[Row]) -> None:
    for n in ("2,500 videos", "250,000"):
        linear = [row[f"linear, {n}"] for row in rows]
        assert linear[2] < 1.01 * linear[0] + 0.001
        assert linear[-1] == pytest.approx(1)
    blend = [row["blend, 250,000"] for row in rows]
    assert blend[1] == pytest.approx((blend[0] + blend[-1]) / 2, rel=1e-3)
    assert blend[2] == pytest.approx(0.1 * blend[0] + 0.9 * blend[-1], rel=1e-3)


@claim
def proportional(rows: list[Row]) -> None:
    assert [row["le = 1, linear"] for row in rows] == [1000, 0, 0, 0]
    for row in rows:
        assert row["le = 1, blend"] == pytest.approx(row["P s"])
        assert row["lf = 1, blend"] == pytest.approx(row["P w / sum w"])


@claim
def multiplier(rows: list[Row]) -> None:
    assert (
        {row["pool off, built"] for row in rows}
        == {row["KKT residual, built"] for row in rows}
        == {"< 1e-12"}
    )
    assert rows[-1]["pool off, nu bisected to the last bit"] > 0.01


@claim
def negative_clip(rows: list[Row]) -> None:
    *videos, total = rows
    assert total["literal clip"] == pytest.approx(0.3)
    assert total["built"] == pytest.approx(1)
    for row in videos:
        assert (row["built"] == 0.35) == (row["nu - le s"] < 0)


@claim
def edges(rows: list[Row]) -> None:
    paid = {row["case"]: row["pays"] for row in rows}
    assert sum(text.startswith("refused") for text in paid.values()) == 3
    assert "120" in paid["floors above the pool"]
    assert "100" in paid["floors above the pool"]
    assert paid["all s = 0"] == "25.00, 25.00, 25.00, 25.00"


@claim
def carry(rows: list[Row]) -> None:
    for row in rows:
        assert (
            row["revenue"] + row["carry in"] + row["spread"]
            == row["platform"] + row["pool"] + row["carry out"]
        )
    spread = only(rows, empty_pool="spread")
    assert sum(row["spread"] for row in spread) == 0
    assert (
        only(spread, category="gaming")[0]["carry out"]
        == 0
        < only(rows, empty_pool="carry", category="gaming")[0]["carry out"]
    )


@claim
def splitting(rows: list[Row]) -> None:
    for row in rows:
        k = row["parts"]
        assert row["linear, video (printed)"] == pytest.approx(k**0.5, rel=0.005)
        assert row["blend, creator (built)"] == pytest.approx(1, abs=1e-6)
        assert row["blend, creator, k accounts"] == row["blend, video"] >= 1


@claim
def categories(rows: list[Row]) -> None:
    assert all(row["one label = 1"] == pytest.approx(row["labels"], rel=0.01) for row in rows)


@claim
def coin_chain(rows: list[Row]) -> None:
    assert all(row["closed form beaten"] == 0 for row in rows)
    behind = [row["grid behind by at most"] for row in rows]
    assert behind == sorted(behind, reverse=True)
    assert behind[-1] < 0.01


@claim
def coin_quality(rows: list[Row]) -> None:
    assert len({row["pay, printed U_max (grid)"] for row in rows}) == 1
    for column in ("pay, f(1)", "of 2000 mixed videos' coins"):
        values = [row[column] for row in rows]
        assert all(before < after for before, after in pairwise(values))


@claim
def coin_size(rows: list[Row]) -> None:
    kept = [row["kept on one video"] for row in rows]
    assert kept == sorted(kept, reverse=True)
    assert all(row["gain"] > 1 for row in rows)


@claim
def coin_log_sign(rows: list[Row]) -> None:
    assert rows[0]["U_max"] < 0
    assert rows[0]["kept, printed (grid)"] < 0.01
    assert rows[0]["kept, built"] > 0.4
    for row in rows:
        assert not 0 <= row["U_norm at pay 0"] <= 1
        assert row["kept, log1p (grid)"] == pytest.approx(row["kept, built"], abs=0.005)


@claim
def coin_corners(rows: list[Row]) -> None:
    assert all(
        row["at a corner"] + row["on an edge"] + row["inside"] == pytest.approx(1) for row in rows
    )
    assert all(row["at a corner"] > 0.5 and row["inside"] == 0 for row in rows)
    (random,) = only(rows, **{"drawn from": "random policies", "utility": "log"})
    assert random["at a corner"] == pytest.approx(2 / 3, abs=0.02)


@claim
def coin_edges(rows: list[Row]) -> None:
    assert [row["pay"] == "infeasible" for row in rows] == [False] * 6 + [True] * 2


@claim
def coin_floor(rows: list[Row]) -> None:
    *videos, banned = rows
    assert any(row["kept, nearest"] < row["R_min"] for row in videos)
    assert all(row["platform keeps"] >= row["R_min"] for row in videos)
    assert banned["creator"] == 0


@claim
def rounding(rows: list[Row]) -> None:
    nearest, remainder, built = rows
    assert nearest["sum is off"] > 100 < nearest["a bound is broken"]
    assert remainder["sum is off"] == 0
    assert remainder["a bound is broken"] > 180
    assert built["sum is off"] == built["a bound is broken"] == 0


@claim
def ties(rows: list[Row]) -> None:
    assert len({row["get 15 of 14.43"] for row in rows}) == 1
    assert len({row["first rows would get"] for row in rows}) == 3
    assert all(row["sum"] == 101 for row in rows)


@claim
def ledger(rows: list[Row]) -> None:
    payout, reversal, again, balance = rows
    assert all(row["sum"] == 0 for row in rows)
    assert reversal["creator c0"] == -payout["creator c0"]
    assert again["revision"] == 2
    for column in ("creator c0", "platform", "gross"):
        assert balance[column] == again[column]
    assert again["creator c0"] - payout["creator c0"] == 500
    assert "posted, unchanged, reissued" in finding("ledger").claim


@claim
def starved_group(rows: list[Row]) -> None:
    level, change = ([row[f"its weight, {how}"] for row in rows] for how in ("level", "relative"))
    assert level[0] < level[1] < level[2]
    assert level[3:] == pytest.approx([level[2]] * 4)
    assert change[:3] == pytest.approx([1.0] * 3)
    assert change[3] < 0.7


@claim
def theorem_2(rows: list[Row]) -> None:
    soft = [row for row in rows if row["creators by user"] == "together"]
    sharp = [row for row in rows if row["creators by user"] != "together"]
    assert all(
        row["β"] == row["max w / |w|"] and row["dW/dη"] == pytest.approx(row["formula"], abs=1e-8)
        for row in soft
    )
    assert all(row["β"] < row["max w / |w|"] and row["dW/dη"] < 0 for row in sharp)
    assert sum(row["dW/dη"] > 0.001 for row in soft) == 4


@claim
def market_floor(rows: list[Row]) -> None:
    binding = [row for row in rows if row["R_min / coins"] >= 0.5]
    assert all(row["kept, platform"] == pytest.approx(row["left"], abs=1e-3) for row in binding)
    assert all(row["kept, video"] < row["left"] - 0.05 for row in rows)


@claim
def bonus_overrun(rows: list[Row]) -> None:
    assert rows[0]["promised / budget"] == pytest.approx(1.0)
    assert rows[0]["types of 10 that would aim lower"] == 0
    assert rows[1]["promised / budget"] < 0.8
    assert rows[1]["months over"] < 0.05
    for row in rows[3:]:
        assert row["months over"] > 0.95
        assert row["part paid"] * row["promised / budget"] == pytest.approx(1.0)
        assert row["types of 10 that would aim lower"] > 0


@claim
def bonus_on_top(rows: list[Row]) -> None:
    assert [row["budget / pay"] for row in rows] == [0.1, 0.5, 1.0, 4.0]
    for row in rows:
        assert (
            row["bought, built"]
            > max(row["bought, printed"], row["higher price"], row["shared pot"])
            > 0
        )
        assert row["printed spends of its budget"] > 1.1
