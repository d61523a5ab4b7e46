"""The donation market's study, reduced: its tables against the document, its claims, its files."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.lab.market import (
    Detail,
    command,
    day,
    figure_3,
    figure_9,
    market,
    observed_day,
    printed_lower_bound,
    random_round,
    searched,
    study,
    without_moving_as_printed,
)
from pipelines.lab.report import Report

SMALL = Detail(
    rounds=4,
    plane_step=100,
    line_step=50,
    alpha_step=0.02,
    cost_steps=4,
    fit_places=12,
    places=12,
    loops=2,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    made = Report(tmp_path_factory.mktemp("market"), "Donation markets")
    study(made, SMALL, seed=1)
    made.write()
    return made


def rows(report: Report, name: str) -> list[dict[str, str]]:
    with (report.folder / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def numbers(report: Report, name: str, column: str) -> list[float]:
    return [float(row[column]) for row in rows(report, name)]


@pytest.mark.slow
def test_figure_6_at_four_points(report: Report) -> None:
    assert numbers(report, "figure_6_points", "alpha") == pytest.approx(
        [0.32220, 0.28182, 0.26012, 0.39428], abs=1e-5
    )
    assert numbers(report, "figure_6_points", "payoff") == pytest.approx(
        [210.367, 203.865, 186.565, 215.080], abs=1e-3
    )


@pytest.mark.slow
def test_tables_2_and_3_where_nobody_earns(report: Report) -> None:
    last = [row for row in rows(report, "tables_2_and_3") if row["V"] == "4.0"]
    for kind in ("known", "preferences fitted"):
        assert [float(row[kind]) for row in last] == [0.4] * 6
    assert [float(row["known: gain"]) for row in last] == pytest.approx([0.4113] * 6, abs=5e-5)


@pytest.mark.slow
def test_what_came_out(report: Report) -> None:
    out = {claim.claim: claim for claim in report.claims}
    assert len(out) == len(report.claims)

    def found(start: str) -> bool:
        [claim] = [c for says, c in out.items() if says.startswith(start)]
        return claim.holds is not False

    came_out = (
        "figure 3(a)",
        "figure 3(b)",
        "figure 4",
        "figure 5",
        "remark 1",
        "section V-A",
        "figure 6",
        "remark 3: inside",
        "remark 3: a worse match always",
        "proposition 4, figure 7: V°",
        "remark 4, figure 7: from W°",
        "remark 4: the best payoff",
        "proposition 1(1)",
        "lemma 2",
        "remark 2",
        "proposition 2, corrected",
        "proposition 4: where creators never move the best alpha solves (27), K = 1",
        "remark 5",
        "table III: 41 %",
    )
    failed = (
        "lemma 1",
        "proposition 1(2) in N",
        "proposition 2 as printed",
        "proposition 2 with what really serves",
        "proposition 4: where creators never move the best alpha solves (27), K = 2",
        "figure 7: V° = 20 follows",
    )
    assert [says for says in came_out if not found(says)] == []
    assert [says for says in failed if found(says)] == []


@pytest.mark.slow
def test_figure_5_says_how_many_settings_were_tried(report: Report) -> None:
    falls = numbers(report, "figure_5_settings", "largest fall")
    [claim] = [c for c in report.claims if c.claim.startswith("figure 5")]
    assert f"in {sum(x < 1e-4 for x in falls)} of {len(falls)} tried," in claim.shown


@pytest.mark.slow
def test_every_file_is_on_the_page(report: Report) -> None:
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    files = sorted(path.name for path in report.folder.iterdir() if path.name != "report.html")
    assert all(f'href="{name}"' in page for name in files)
    assert {f"figure_{n}.svg" for n in (3, 6, 7, 9)} < set(files)


def test_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = Report(tmp_path / "a", "one"), Report(tmp_path / "b", "one")
    for made in (first, second):
        made.folder.mkdir()
        figure_3(made)
    for name in ("figure_3.svg", "figure_3.csv"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert random_round((1, 0.4, 3)) == random_round((1, 0.4, 3)) != random_round((2, 0.4, 3))


def test_figure_9_shows_the_fit_beside_what_was_seen(tmp_path: Path) -> None:
    """The market's own preferences as the fit: what is left is the noise."""
    made = Report(tmp_path, "one")
    truth = np.broadcast_to(np.array([75.0, 1.8, 250.0]), (4, 6, 3))
    figure_9(made, 12, 0.02, 1, SimpleNamespace(coefficients=truth))  # type: ignore[arg-type]
    [claim] = made.claims
    _, seen = observed_day(12, 0.02, 1)
    _, clean = observed_day(12, 0.0, 1)
    assert claim.sides[0].measured.value == pytest.approx((seen - clean).mean(), rel=1e-3)
    assert claim.sides[0].measured.n == 12
    assert (tmp_path / "figure_9.svg").exists()


def test_a_coarser_day_is_the_same_day() -> None:
    """Table II for V = 1, W = 1000: .28 as printed, at quarter hours and at hours."""
    fine, coarse = (searched(day(places, (75, 1.8, 250), 1.0, 1000.0)) for places in (96, 24))
    assert fine[0] == coarse[0] == 0.28
    assert fine[1] == pytest.approx(coarse[1], abs=0.01)


def test_the_printed_lower_bound_of_a_window_of_one_is_the_corrected_one() -> None:
    m = market([30, 60, 90], [300, 150, 200], V=0.1, W=1.0)
    assert printed_lower_bound(m) == pytest.approx(m.lower_bound(), rel=1e-9)


def test_equation_27_at_a_window_of_one_is_the_market_without_moves() -> None:
    m = market([30, 60, 90], [300, 150, 200], V=0.1, W=1e6)
    assert without_moving_as_printed(m, 30) == pytest.approx(
        [m.optimal_split().alpha, m.optimal_split().platform_payoff], rel=1e-4
    )


def test_help() -> None:
    shown = CliRunner().invoke(command, ["--help"])
    assert shown.exit_code == 0
    for word in ("--full", "--seed", "--out", "--json", "Tang and Huang"):
        assert word in shown.output
