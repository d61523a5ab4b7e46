"""The reward study: its tables against the document's numbers, the algorithms as printed, and the
types it is given.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.errors import ExpectedError
from pipelines.lab.report import Report
from pipelines.lab.reward_claims import (
    COSTS,
    FAULTS,
    alpha,
    best_averages,
    breakpoints,
    contest,
    printed_algorithm,
)
from pipelines.lab.rewards import command, study, types
from pipelines.rewards.month import make_plan, read_history
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from solvers.reward_schedule import PowerCost, optimal_schedule
from tests.cases.five_days import DAYS, make_days

ARGUMENTS = [
    "--levels",
    "6",
    "--creators",
    "30",
    "--budget",
    "50",
    "--instances",
    "20",
    "--seed",
    "3",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    result = CliRunner().invoke(
        command, [*ARGUMENTS, "--out", str(folder), "--json"], catch_exceptions=False
    )
    return folder, json.loads(result.stdout)


def rows_of(folder, name):
    with (folder / f"{name}.csv").open(newline="") as stream:
        return [
            {k: float(v) if v.replace(".", "").lstrip("-").isdigit() else v for k, v in row.items()}
            for row in csv.DictReader(stream)
        ]


# --------------------------------------------------------------------------------------------------


def test_what_comes_out_and_what_does_not(made):
    failed = [
        c["claim"].removeprefix("Chen et al., ").split(":")[0]
        for c in made[1]["claims"]
        if c["verdict"] == "no"
    ]
    assert failed == [
        "before lemma 5",
        "lemma 5",
        "lemma 7",
        "algorithm 2 solves P2",
        "theorem 4",
        "section 6",
        "ours, earlier",
    ]
    said = " ".join(c["claim"] for c in made[1]["claims"])
    assert all(f"theorem {n}: " in said for n in (1, 2, 3, 4, 6, 7, 8, 9))


def test_the_schemes_on_one_distribution(made):
    rows = {row["scheme"]: row for row in rows_of(made[0], "schemes")}
    mass, difficulty = types("geometric", 6, 10.0, 30)
    best = optimal_schedule(mass, difficulty, 50.0, PowerCost(2))
    assert rows["optimal"]["gross product"] == pytest.approx(best.gross_product)
    assert (
        rows["theorem 9"]["gross product"]
        == rows["proportional"]["gross product"]
        < rows["optimal"]["gross product"]
    )
    assert (
        rows["theorem 9"]["budget spent"]
        < rows["proportional"]["budget spent"]
        == pytest.approx(50)
    )
    assert 0.5 <= rows["linear"]["part of optimal"] <= 1
    assert 50 - 0.01 * 30 <= rows["optimal, whole cents"]["budget spent"] <= 50
    who = rows_of(made[0], "who")
    assert [row["creators"] for row in who] == mass.tolist()
    assert [row["quality, optimal"] for row in who] == pytest.approx(best.quality.tolist())
    assert sum(row["creators"] * row["reward, linear"] for row in who) == pytest.approx(50)


def test_gross_product_rises_with_the_budget_as_its_root(made):
    power = [row for row in rows_of(made[0], "budgets") if row["cost"] == "x^2"]
    assert [
        power[-1][name] / power[0][name] for name in ("budget", "optimal", "linear", "proportional")
    ] == pytest.approx([1e4, 100, 100, 100])


def test_the_examples_of_the_document(made):
    tight = {row["epsilon"]: row["linear / optimal"] for row in rows_of(made[0], "linear_tight")}
    assert tight == pytest.approx({0.5: 0.75, 0.1: 0.55, 0.01: 0.505, 0.0001: 0.50005})
    bad = {row["H"]: float(row["cost x^1"]) for row in rows_of(made[0], "proportional_bad")}
    assert [bad[h] for h in (1, 10, 100, 10_000)] == pytest.approx(
        [0.5, 0.091, 0.0099, 0.0001], rel=2e-3
    )
    printed = {
        row["algorithm 2"]: row["gross product"] for row in rows_of(made[0], "algorithm_2_example")
    }
    assert printed["only the bracket repaired"] == pytest.approx(1.2247, abs=5e-5)
    assert printed["as printed"] == pytest.approx(0.75)
    assert printed["all three repaired"] == pytest.approx(1.3904, abs=5e-5)


def test_whole_money(made):
    rows = rows_of(made[0], "whole_money")
    tempted: dict[str, list[float]] = {}
    for row in rows:
        tempted.setdefault(row["rewards rounded"], []).append(
            row["types that prefer another level"]
        )
    assert min(tempted["to the nearest cent"]) > 100
    assert min(tempted["to the nearest, a cent more per level"]) > 100
    assert tempted["down, thresholds moved"] == [0, 0, 0]


def test_same_seed_same_bytes(made, tmp_path):
    report = Report(tmp_path, made[1]["title"], mark=made[1]["short_run"])
    study(report, *types("geometric", 6, 10.0, 30), budget=50.0, instances=20, seed=3)
    report.write()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in made[0].iterdir())
    assert len([name for name in names if name.endswith(".svg")]) == 4
    assert [
        name for name in names if (tmp_path / name).read_bytes() != (made[0] / name).read_bytes()
    ] == []


def test_help_names_every_option():
    text = CliRunner().invoke(command, ["--help"]).output
    assert all(
        name in text
        for name in (
            "--types",
            "--budget",
            "--exponent",
            "--instances",
            "--seed",
            "--out",
            "--json",
        )
    )


# --------------------------------------------------------------------------------------------------


def random_types(seed, most=9):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, most))
    return rng.random(m) + 0.01, np.sort(rng.uniform(0.2, 5, m))[::-1], float(rng.uniform(0.1, 5))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cost", ["x^2", "x^3", "x + x^2"])
def test_the_repaired_algorithm_is_the_solver(seed, cost):
    f, h, budget = random_types(seed)
    best = optimal_schedule(f, h, budget, COSTS[cost])
    x, lam, _ = printed_algorithm(f, h, budget, COSTS[cost], repaired=FAULTS, epsilon=1e-13)
    np.testing.assert_allclose(x, best.quality, rtol=1e-9, atol=1e-12)
    assert lam == pytest.approx(best.multiplier, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_algorithm_1_follows_gamma(seed):
    f, h, _ = random_types(seed, 30)
    _, gamma = best_averages(f, alpha(f, h))
    s_b, steps = breakpoints(f, alpha(f, h))
    assert [gamma[k] for k in s_b[1:]] == s_b[:-1]
    assert steps <= 2 * f.size


def test_a_contest_of_two_creators_and_two_types():
    p, (h1, h2), prize = 0.4, (3.0, 1.0), 2.0
    first, last = prize * p / h1, prize * p / h1 + prize * (1 - p) / h2
    expected = 2 / 3 * math.sqrt(prize / h1) * p**1.5 + 2 / 3 * h2 / prize * (
        last**1.5 - first**1.5
    )
    assert contest(
        np.array([2.0, 3.0]), np.array([h1, h2]), np.array([prize, 0.0]), PowerCost(2)
    ) == pytest.approx(2 * expected, rel=1e-5)


def test_nobody_gains_in_the_contest_by_the_choice_of_another():
    # three creators, the better two win 1 each: chances of a rank by brute force over what the
    # others are
    mass, h, prizes = np.array([0.5, 0.5]), np.array([2.0, 1.0]), np.array([1.0, 1.0, 0.0])
    u = (np.arange(400) + 0.5) / 400
    won = 1 - (1 - u) ** 2  # not both of the others are better
    spent = np.where(u < 0.5, won / h[0], (won - 0.75) / h[1] + 0.75 / h[0])
    utility = won - h[:, None] * spent
    assert utility[0, u < 0.5] == pytest.approx(utility[0].max())
    assert utility[1, u > 0.5] == pytest.approx(utility[1].max())
    assert contest(mass, h, prizes, PowerCost(1)) == pytest.approx(3 * spent.mean(), rel=1e-4)


# --------------------------------------------------------------------------------------------------


def test_uniform_and_geometric_types():
    mass, difficulty = types("uniform", 5, 9.0, None)
    assert (mass.tolist(), difficulty.tolist()) == ([24] * 5, [9, 7, 5, 3, 1])
    mass, _ = types("geometric", 3, 2.0, 219)
    assert mass.tolist() == [100, 70, 49]


def test_types_from_a_file(tmp_path):
    path = tmp_path / "types.csv"
    path.write_text("difficulty,mass,name\n1,2,able\n4,6,hard\n")
    assert [column.tolist() for column in types(str(path), 12, 10.0, None)] == [[6, 2], [4, 1]]
    assert types(str(path), 12, 10.0, 100)[0].tolist() == [75, 25]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mass,hardness\n1,2\n", "columns mass and difficulty; it has mass, hardness"),
        ("", "it has none"),
        ("mass,difficulty\n1,2\n1,x\n", "line 3: .* not '1', 'x'"),
        ("mass,difficulty\n1\n", "line 2: .* not '1', None"),
        ("mass,difficulty\n-1,2\n", "line 2: mass must be a number from 0"),
        ("mass,difficulty\n1,0\n", "line 2: .* difficulty one above 0"),
        ("mass,difficulty\n0,2\n", "no type with mass"),
        ("mass,difficulty\n0.5,2\n", "--creators says how many"),
    ],
)
def test_a_file_that_holds_no_types(tmp_path, text, words):
    path = tmp_path / "types.csv"
    path.write_text(text)
    with pytest.raises(ExpectedError, match=words):
        types(str(path), 12, 10.0, None)


def test_types_that_are_neither_a_name_nor_a_file():
    with pytest.raises(ExpectedError, match="uniform, geometric or a CSV file"):
        types("normal", 12, 10.0, None)


def test_budgets_for_a_home_s_own_creators_are_the_schedules_a_run_would_publish(
    small: Path, tmp_path: Path
) -> None:
    home = Home.at(shutil.copytree(small, tmp_path / "home"))
    runner, base = CliRunner(), ["--home", str(home.root), "lab", "rewards", "--out"]
    nothing = runner.invoke(main, [*base, str(tmp_path / "none"), "--own", "5"])
    assert nothing.exit_code == 1
    make_days(home, DAYS[:2])
    home.published.unlink(missing_ok=True)
    shutil.copy(home.warehouse, home.published)
    out = tmp_path / "out"
    asked = [*base, str(out), "--own", "0.5", "--own", "1"]
    found = runner.invoke(main, asked)
    assert found.exit_code == 0, found.output
    with (out / "own_creators.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["scheme"] == "published"]
    bought = [float(row["bought"]) for row in rows]
    assert 0 < bought[0] < bought[1]
    assert [float(row["spent"]) <= limit for row, limit in zip(rows, (0.5, 1), strict=True)] == [
        True,
        True,
    ]
    with Warehouse(home).open(read_only=True) as con:
        history = read_history(con, DAYS[:2])
    bonus = home.policies.in_force(DAYS[1]).bonus.model_copy(update={"budget_micros": 1_000_000})
    plan = make_plan(history, date(2026, 4, 1), bonus)
    assert plan is not None
    assert float(rows[1]["effective views"]) == pytest.approx(plan.published.gross_product)
    wrong = runner.invoke(main, [*base, str(out), "--own", "many"])
    assert wrong.exit_code == 2
