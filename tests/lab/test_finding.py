"""Claims judged by their intervals: right as often as they say, and never sure of too little."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipelines.lab.competition import study
from pipelines.lab.competition_runs import Experiment
from pipelines.lab.finding import (
    Side,
    Verdict,
    judged,
    mean,
    never,
    normal,
    share,
    spread_ratio,
)
from pipelines.lab.report import Report
from solvers.competition import synthetic, toy


def gain(values: list[float]) -> Side:
    return Side("gain", mean(values, unit="%"), least=0)


def test_an_interval_that_contains_the_claim_cannot_tell() -> None:
    """+.06 +- .76 %, -11 % (-28.5 to +10.7), 4 of 10 runs: once yes, no and no."""
    for side in (
        Side("gain", normal(0.06, 0.76 / 1.96, 10, "seeds"), least=0),
        Side("rise", normal(-11.0, 19.6 / 1.96, 900, "viewers"), least=0),
        Side("served", share(4, 10), least=0.5),
    ):
        found = judged("it is so", side)
        assert found.verdict is Verdict.CANNOT_TELL
        assert found.holds is None
        assert found.decided_by.startswith(side.name)


@pytest.mark.parametrize("size", [2, 5, 20])
def test_a_claim_at_its_edge_is_decided_wrongly_in_one_of_twenty(size: int) -> None:
    rng = np.random.default_rng(size)
    verdicts = [judged("x", gain(rng.standard_normal(size).tolist())).verdict for _ in range(1500)]
    wrong = sum(v is not Verdict.CANNOT_TELL for v in verdicts)
    assert stats.binomtest(wrong, 1500, 0.05).pvalue > 1e-4


def test_many_sides_refute_no_more_often_than_one() -> None:
    """Ten groups at the edge: without Bonferroni one of four would be a no."""
    rng = np.random.default_rng(0)
    verdicts = [
        judged("x", *(gain(rng.standard_normal(6).tolist()) for _ in range(10))).verdict
        for _ in range(400)
    ]
    assert sum(v is Verdict.NO for v in verdicts) <= 0.05 * 400


def test_more_of_it_decides_as_it_said() -> None:
    rng = np.random.default_rng(3)
    found = judged("x", Side("gain", mean(0.3 + rng.standard_normal(10)), least=0))
    assert found.verdict is Verdict.CANNOT_TELL
    needed = int(found.decided_by.split("about ")[1].split()[0])
    value = found.sides[0].measured.value
    half = stats.t.ppf(0.975, needed - 1) / math.sqrt(needed)
    assert half < 1.4 * value


def test_intervals_are_the_textbooks() -> None:
    x, y = np.array([1.0, 2.5, 3.0, 7.0]), np.array([2.0, 2.2, 2.9, 3.1])
    low, high = stats.t.interval(0.95, 3, x.mean(), stats.sem(x))
    assert mean(x).interval == pytest.approx((low, high))
    exact = stats.binomtest(4, 10).proportion_ci(0.95, method="exact")
    assert share(4, 10).interval == pytest.approx((exact.low, exact.high))
    ratio = x.var(ddof=1) / y.var(ddof=1)
    ends = [math.log(ratio / stats.f.ppf(q, 3, 3)) / 2 for q in (0.975, 0.025)]
    assert spread_ratio(x, y).interval == pytest.approx(tuple(ends))


@pytest.mark.parametrize(
    "side",
    [
        Side("one seed", mean([3.0]), least=0),
        Side("no seed", mean([]), least=0),
        Side("nobody", share(0, 0), most=0.5),
        Side("unknown", normal(None, None, 0, "viewers"), least=0),
        Side("no error", normal(1.0, None, 1, "viewers"), least=0),
        Side("one each", spread_ratio([1.0], [2.0]), least=0),
        Side("no spread", spread_ratio([1.0, 1.0], [2.0, 3.0]), least=0),
    ],
)
def test_too_little_cannot_tell(side: Side) -> None:
    found = judged("x", side)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.decided_by
    assert found.shown


def test_never_in_few_is_not_never() -> None:
    assert [never("x", 0, n, "markets").verdict for n in (0, 1, 71, 72)] == [
        Verdict.CANNOT_TELL
    ] * 3 + [Verdict.YES]
    assert never("x", 1, 1000, "markets").verdict is Verdict.NO


def test_a_competition_of_one_seed_decides_nothing(tmp_path: Path) -> None:
    def small(seed: int):  # type: ignore[no-untyped-def]
        return synthetic(seed, sizes=(30, 20, 10), creators=10, candidates=5, groups=6)

    report = Report(tmp_path, "One seed", mark="Short run: 1 seed.")
    study(report, [Experiment("small", "", small, 1, 10), Experiment("toy", "", toy, 1, 10, 0.1)])
    page = report.write().read_text()
    open_claims = [c for c in report.claims if not c.settled]
    assert len(open_claims) == 14
    assert {c.verdict for c in open_claims} == {Verdict.CANNOT_TELL}
    assert "Short run: 1 seed." in page
    assert page.count("Would decide it:") == 14
    # groups as the document has them, beside those that the platform sees
    with (tmp_path / "small_clusters.csv").open(newline="") as stream:
        sizes = [float(row["size"]) for row in csv.DictReader(stream) if row["mechanism"] == "UIR"]
    assert sizes == [30, 20, 10]
    # every claim links to where it is made, every figure is on the page itself
    for n, block in enumerate(report.blocks):
        if block.claim:
            assert f'href="#b{n}"' in page
            assert f'id="b{n}"' in page
    assert page.count("<img src=") == len(list(tmp_path.glob("*.svg")))
