"""Paying for quality under a budget: what three schemes buy from the same creators, where each is
tight, and what rounding breaks.

What belongs here: the types to study, the tables and plots. Not here: solving for a scheme
(`solvers.reward_schedule`), and the check of the document's theorems (`reward_claims`).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
import numpy as np

from pipelines.console import Command, as_json_option, option
from pipelines.errors import ExpectedError
from pipelines.lab.report import Report, finish, into_folder, progress
from pipelines.lab.reward_claims import claims
from pipelines.money import money
from pipelines.settings import Home
from solvers.apportion import apportion
from solvers.arrays import Floats
from solvers.reward_schedule import (
    Cost,
    PiecewiseLinearCost,
    PowerCost,
    StepReward,
    incentive_violations,
    linear_scheme,
    optimal_schedule,
    proportional_equilibrium,
    whole_rewards,
)

# --------------------------------------------------------------------------------------------------

INSTANCES = 100
"""Random instances of a whole run."""


def types(name: str, levels: int, hardest: float, creators: int | None) -> tuple[Floats, Floats]:
    """Mass and difficulty of the types, the most able last: "uniform", "geometric", or a CSV file
    with columns mass and difficulty.

    The first two spread difficulty evenly from `hardest` to 1 over `levels`; uniform has as many
    creators at each, geometric .7 times as many as at the level before. Where `creators` is given,
    a file's masses are only proportions.

    Raises
    ------
    ExpectedError
        no such file, or one that does not hold types (names the line)
    """
    if name in {"uniform", "geometric"}:
        mass, difficulty = (
            np.power(1.0 if name == "uniform" else 0.7, np.arange(levels)),
            np.linspace(hardest, 1.0, levels),
        )
        creators = creators or 120
    else:
        mass, difficulty = _read_types(Path(name))
    if creators:
        mass = apportion(mass * (creators / mass.sum()), creators).astype(np.float64)
    elif (mass != np.floor(mass)).any():
        raise ExpectedError(
            f"{name} has masses that are no whole numbers of creators; --creators says how many"
            " creators they stand for"
        )
    return mass, difficulty


def _read_types(path: Path) -> tuple[Floats, Floats]:
    if not path.is_file():
        raise ExpectedError(
            f"types are uniform, geometric or a CSV file, and there is no file {path}"
        )
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if not {"mass", "difficulty"} <= set(reader.fieldnames or ()):
            raise ExpectedError(
                f"{path} must have columns mass and difficulty; it has"
                f" {', '.join(reader.fieldnames or ()) or 'none'}"
            )
        for row in reader:
            try:
                mass, difficulty = float(row["mass"]), float(row["difficulty"])
            except (TypeError, ValueError):
                mass, difficulty = math.nan, math.nan
            if not (0 <= mass < math.inf and 0 < difficulty < math.inf):
                said = f"{row['mass']!r}, {row['difficulty']!r}"
                raise ExpectedError(
                    f"{path}, line {reader.line_num}: mass must be a number from 0, difficulty one"
                    f" above 0, not {said}"
                )
            rows.append((mass, difficulty))
    if not any(mass for mass, _ in rows):
        raise ExpectedError(f"{path} has no type with mass")
    table = np.array(sorted(rows, key=lambda row: -row[1]))
    return table[:, 0], table[:, 1]


# --------------------------------------------------------------------------------------------------


def study(
    report: Report,
    mass: Floats,
    difficulty: Floats,
    *,
    budget: float = 1000.0,
    exponent: float = 2.0,
    instances: int = 100,
    seed: int = 1,
) -> None:
    """Fill the report: the schemes on these types, the document's theorems on `instances` random
    instances each, its examples, and rewards in whole cents.
    """
    rng = np.random.default_rng(seed)
    progress("three schemes on one type distribution")
    _schemes(report, mass, difficulty, budget, PowerCost(exponent))
    _budgets(report, mass, difficulty, budget, PowerCost(exponent))
    progress("the document's lemmas, theorems and algorithms")
    claims(report, rng, instances)
    progress("the document's examples, and whole money")
    _linear_is_tight(report)
    _pot_is_bad(report)
    _whole_money(report, rng)


def _schemes(report: Report, f: Floats, h: Floats, budget: float, cost: PowerCost) -> None:
    best, linear, pot = (
        optimal_schedule(f, h, budget, cost),
        linear_scheme(f, h, budget, cost),
        proportional_equilibrium(f, h, budget, cost),
    )
    # in cents the budget is 100 times as large, and so is what a quality costs
    cents = whole_rewards(
        optimal_schedule(f, 100 * h, 100 * budget, cost), f, 100 * h, 100 * budget, cost
    )
    report.say(
        f"{f.sum():g} creators of {f.size} types, difficulty {h[0]:g} to {h[-1]:g}; quality x costs"
        f" a creator h x^{cost.k:g}; budget {budget:g}. *Optimal*: a step function of quality."
        " *Linear*: a price for a unit of quality. *Proportional*: a pot shared by quality, in the"
        " equilibrium of creators who know each other. *Theorem 9*: the step function that gets"
        " the pot's qualities."
    )
    schemes = {
        "optimal": (best.quality, best.reward),
        "linear": (linear.quality, linear.reward),
        "proportional": (pot.quality, pot.reward),
        "theorem 9": (pot.quality, pot.schedule_reward),
        "optimal, whole cents": (cents.quality, cents.reward / 100),
    }
    report.table(
        "schemes",
        (
            "scheme",
            "gross product",
            "part of optimal",
            "budget spent",
            "creators keep (reward - cost)",
            "creators who produce",
        ),
        [
            (
                name,
                f @ x,
                f @ x / best.gross_product,
                f @ r,
                f @ (r - h * cost.value(x)),
                f[x > 0].sum(),
            )
            for name, (x, r) in schemes.items()
        ],
        "What the budget buys",
    )
    three = ("optimal", "linear", "proportional")
    block = np.searchsorted(best.blocks, np.arange(f.size), side="right")
    qualities, rewards = (
        [schemes[name][0] for name in three],
        [schemes[name][1] for name in (*three, "theorem 9")],
    )
    report.table(
        "who",
        (
            *(
                "type",
                "creators",
                "difficulty",
                "ironed block",
                *(f"quality, {name}" for name in three),
            ),
            *(f"reward, {name}" for name in (*three, "theorem 9")),
        ),
        list(zip(range(1, f.size + 1), f, h, block, *qualities, *rewards, strict=True)),
        "Who produces what, and gets what",
    )
    with report.plot("who", "Who produces what and gets what, by difficulty", columns=2) as axes:
        for name, marker in zip((*three, "theorem 9"), "os^.", strict=True):
            for axis, column in zip(axes, schemes[name], strict=True):
                axis.plot(
                    h,
                    column,
                    marker=marker,
                    markersize=4,
                    linestyle=":" if name == "theorem 9" else "-",
                    label=name,
                )
        for axis, what in zip(axes, ("quality", "reward"), strict=True):
            axis.set(xlabel="difficulty (the most able left)", ylabel=what)
        axes[1].legend()
    most = 1.1 * max(float(x[-1]) for x in qualities)
    with report.plot(
        "curves",
        "Reward curves; dots are where creators are. The pot's is what a unit earns once all have"
        " chosen",
    ) as axis:
        first = np.flatnonzero(np.diff(pot.quality, prepend=0.0) > 0)
        steps = {
            "optimal": best.steps,
            "theorem 9": StepReward(pot.quality[first], pot.schedule_reward[first]),
        }
        prices = {"linear": linear.price, "proportional": budget / pot.gross_product}
        for colour, name in enumerate((*three, "theorem 9")):
            if name in steps:
                x = np.concatenate([[0.0], steps[name].threshold, [most]])
                axis.step(x, steps[name](x), f"C{colour}", where="post", label=name)
            else:
                axis.plot([0, most], [0, prices[name] * most], f"C{colour}--", label=name)
            axis.plot(*schemes[name], f"C{colour}o", markersize=3)
        axis.set(xlabel="quality", ylabel="reward")
        axis.legend()


def _budgets(report: Report, f: Floats, h: Floats, budget: float, cost: PowerCost) -> None:
    typical = optimal_schedule(f, h, budget, cost).gross_product / float(f.sum())
    slope = typical ** (cost.k - 1)
    kinked = PiecewiseLinearCost([0, typical, 2 * typical], [0.2 * slope, slope, 5 * slope])
    tables = {}
    for name, c in ((f"x^{cost.k:g}", cost), ("kinked", kinked)):
        rows = []
        for b in (budget * 10.0 ** np.arange(-2, 2.1, 0.25)).tolist():
            best, linear, pot = (
                solve(f, h, b, c).gross_product
                for solve in (optimal_schedule, linear_scheme, proportional_equilibrium)
            )
            rows.append((b, best, linear, pot, linear / best, pot / best))
        tables[name] = np.array(rows)
    report.table(
        "budgets",
        (
            "cost",
            "budget",
            "optimal",
            "linear",
            "proportional",
            "linear / optimal",
            "proportional / optimal",
        ),
        [(name, *row) for name, table in tables.items() for row in table],
        f"Gross product against budget; the kinks are at qualities {typical:.3g} and"
        f" {2 * typical:.3g}",
    )
    with report.plot(
        "budgets",
        "Gross product against budget, and what part of the optimum it is",
        rows=2,
        columns=2,
    ) as axes:
        for (name, table), (above, below) in zip(tables.items(), axes.T, strict=True):
            for place, scheme in enumerate(("optimal", "linear", "proportional"), 1):
                above.loglog(table[:, 0], table[:, place], label=scheme)
            for place in (4, 5):
                below.semilogx(table[:, 0], table[:, place], f"C{place - 3}")
            above.set(title=f"cost {name}", ylabel="gross product")
            below.set(xlabel="budget", ylabel="part of the optimum", ylim=(0, 1.02))
        axes[0, 0].legend()
    (power, moves), (_, kinks) = (
        (name, np.ptp(table[:, 4:], axis=0)) for name, table in tables.items()
    )
    report.settled(
        f"ours: with a power cost (here {power}) what the schemes buy of the optimum does not"
        " depend on the budget",
        bool((moves < 1e-6).all()),
        f"over budgets 1 to 10,000 linear moves by {moves[0]:.0e}, proportional by {moves[1]:.0e};"
        f" with kinks by {kinks[0]:.3f} and {kinks[1]:.3f}",
    )


def _ratios(f: Sequence[float], h: Sequence[float], cost: Cost) -> tuple[float, float]:
    best = optimal_schedule(f, h, 1.0, cost).gross_product
    return (
        linear_scheme(f, h, 1.0, cost).gross_product / best,
        proportional_equilibrium(f, h, 1.0, cost).gross_product / best,
    )


def _linear_is_tight(report: Report) -> None:
    rows = []
    for eps in (0.5, 0.1, 0.01, 0.0001):
        cost = PiecewiseLinearCost([0, 1], [eps, 1 + eps])
        best, linear = optimal_schedule([1], [1], 1.0, cost), linear_scheme([1], [1], 1.0, cost)
        ratio = linear.gross_product / best.gross_product
        rows.append(
            (
                eps,
                best.gross_product,
                linear.price,
                linear.gross_product,
                ratio,
                (1 + eps) / 2,
                (1 + eps) / (2 + eps),
            )
        )
    report.table(
        "linear_tight",
        (
            "epsilon",
            "optimal",
            "price",
            "linear",
            "linear / optimal",
            "(1 + eps) / 2",
            "as printed (1 + eps) / (2 + eps)",
        ),
        rows,
        "Half is tight for the linear scheme: one creator, slope epsilon up to quality 1, then 1 +"
        " epsilon",
    )
    report.settled(
        "Chen et al., theorem 6: the ratio 1/2 is tight",
        all(abs(row[4] - row[5]) < 1e-9 for row in rows),
        ", ".join(f"{row[4]:.6g} at epsilon {row[0]:g}" for row in rows),
    )
    report.settled(
        "Chen et al., section 6: the ratio of its example is 1/((2 + eps)/(1 + eps))",
        all(abs(row[4] - row[6]) < 1e-9 for row in rows),
        f"the example's own quality 2/(1 + eps) gives (1 + eps)/2: at epsilon .5 {rows[0][4]:.3f},"
        f" not {rows[0][6]:.3f}; one limit",
    )
    report.table(
        "exponents",
        ("exponent k", "linear / optimal", "proportional / optimal", "k^(-1/k)"),
        [
            (k, *_ratios([1, 1], [1, 1], PowerCost(k)), k ** (-1 / k))
            for k in (1.0, 1.2, 1.5, 2.0, math.e, 4.0, 10.0)
        ],
        "Two equal creators with cost x^k: linear is never near half, the worst exponent is e",
    )


def _pot_is_bad(report: Report) -> None:
    exponents = (1.0, 1.5, 2.0)
    rows = [
        (hard, *(_ratios([1, 1], [hard, 1], PowerCost(k))[1] for k in exponents))
        for hard in (1, 10, 100, 10_000, 1_000_000)
    ]
    report.table(
        "proportional_bad",
        ("H", *(f"cost x^{k:g}" for k in exponents)),
        rows,
        "Two creators of difficulty H and 1: the pot's part of the optimum falls without bound",
    )
    report.settled(
        "Chen et al., theorem 8: the proportional scheme can be arbitrarily bad",
        all(abs(row[1] * (1 + row[0]) - 1) < 1e-9 for row in rows),
        f"linear cost, difficulties (H, 1): 1/(1 + H), {', '.join(f'{row[1]:.2g}' for row in rows)}"
        f" at H = 1, 10, 100, 10^4, 10^6; with cost x^2 {rows[-1][3]:.3f} at 10^6",
    )
    with report.plot(
        "proportional_bad", "The pot with a creator of difficulty 1 and one of difficulty H"
    ) as axis:
        for place, k in enumerate(exponents, 1):
            axis.loglog(
                [row[0] for row in rows],
                [row[place] for row in rows],
                marker="o",
                label=f"cost x^{k:g}",
            )
        axis.set(xlabel="H", ylabel="part of the optimum")
        axis.legend()


def _whole_money(report: Report, rng: np.random.Generator) -> None:
    m, cost, budget = 3000, PowerCost(2), 1e7
    cases = {
        "every type its own level": (np.ones(m), 1 + (np.arange(m, 0, -1) / m) ** 2),
        "uneven numbers": (rng.integers(1, 50, m).astype(np.float64), np.linspace(5, 0.5, m)),
        "uneven numbers and gaps": (rng.random(m) + 0.01, np.sort(rng.uniform(0.5, 10, m))[::-1]),
    }
    rows = []
    for name, (f, h) in cases.items():
        exact = optimal_schedule(f, h, budget, cost)
        nearest, level = np.round(exact.reward), np.cumsum(np.diff(exact.quality, prepend=0.0) > 0)
        whole = whole_rewards(exact, f, h, budget, cost)
        for rounding, x, reward in (
            ("to the nearest cent", exact.quality, nearest),
            ("down", exact.quality, np.floor(exact.reward)),
            ("to the nearest, a cent more per level", exact.quality, nearest + level),
            ("down, thresholds moved", whole.quality, whole.reward),
        ):
            tempted = incentive_violations(x, reward, h, cost).size
            rows.append(
                (
                    name,
                    exact.steps.reward.size,
                    rounding,
                    tempted,
                    f @ reward - budget,
                    f @ x / exact.gross_product,
                )
            )
    report.table(
        "whole_money",
        (
            "types",
            "levels",
            "rewards rounded",
            "types that prefer another level",
            "cents over the budget",
            "part of optimal if nobody moves",
        ),
        rows,
        f"{m} types, cost x^2, budget {budget:,.0f} cents",
    )
    near, _, added, kept = (rows[start::4] for start in range(4))
    report.settled(
        "ours: rounding rewards to cents makes hundreds of 3000 types prefer another level (a note"
        " once had 675, of an instance not given)",
        min(row[3] for row in near) >= 100,
        f"{', '.join(f'{row[3]} with {row[1]} levels' for row in near)}",
    )
    report.settled(
        "ours, earlier: a cent more per level, cumulatively, leaves 10 of them",
        max(row[3] for row in added) <= 10,
        f"it leaves {', '.join(str(row[3]) for row in added)}, and overspends by"
        f" {', '.join(f'{row[4] / budget:.1%}' for row in added)}",
    )
    report.settled(
        "ours: rewards rounded down, with thresholds moved to where nobody prefers another, tempt"
        " nobody and stay in the budget",
        all(row[3] == 0 and row[4] <= 0 for row in kept),
        f"{sum(row[3] for row in kept)} types tempted; gross product at least"
        f" {min(row[5] for row in kept):.4f} of the optimum",
    )


# --------------------------------------------------------------------------------------------------


def own_creators(report: Report, home: Home, budgets: Sequence[int]) -> None:
    """Fill the report with what monthly budgets (micros) would buy from the home's own creators:
    the schedule that the next month would get under each, as `earnings run` would publish it.

    Raises
    ------
    ExpectedError
        No day is made, or nothing was produced or paid on them.
    """
    from pipelines.periods import DAY, MONTH
    from pipelines.rewards.month import history_days, make_plan, read_history
    from pipelines.store.warehouse import Warehouse

    with Warehouse(home).read_current() as con:
        made = [
            row[0]
            for row in con.execute(
                "SELECT day FROM written_days WHERE table_name = 'creator_earnings' ORDER BY day"
            ).fetchall()
        ]
        if not made:
            raise ExpectedError("no day is made, so nobody can be judged. Make some: earnings run")
        bonus = home.policies.in_force(made[-1]).bonus
        history = read_history(con, history_days(made, made[-1], bonus))
    month = MONTH.last(made[-1]) + DAY
    report.section(f"What a budget would buy in {month:%B %Y}")
    report.say(
        f"{len(history.creators)} creators, judged by {history.first} to {history.last}; producing x"
        f" effective views a month costs a creator its difficulty times x^{bonus.exponent:g}."
        f" Without a bonus an effective view earns {history.price:.3f} micros, and"
        " that goes on. bought: effective views of the month beyond what would be produced anyway."
    )
    rows: list[tuple[object, ...]] = []
    for budget in budgets:
        plan = make_plan(history, month, bonus.model_copy(update={"budget_micros": budget}))
        if plan is None:
            raise ExpectedError(
                f"{history.first} to {history.last}: nothing was produced or paid, so no difficulty"
                " can be told"
            )
        levels = plan.published.threshold.size
        for found in plan.forecast():
            bought, spent = found["bought"], found["expected_micros"]
            rows.append(
                (
                    money(budget), found["scheme"], found["production"], bought,
                    100 * bought / (found["production"] - bought), money(round(spent)),
                    spent / bought / 1e6 if bought > 0 else None,
                    levels if found["scheme"] == "published" else None,
                )
            )  # fmt: skip
    report.table(
        "own_creators",
        ("budget", "scheme", "effective views", "bought", "more, %", "spent", "a bought view costs",
         "levels"),
        rows,
        "What each budget buys, by scheme; published is the one that would be paid.",
    )  # fmt: skip


def _budget(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[int]:
    micros = []
    for value in values:
        try:
            amount = Decimal(value) * 1_000_000
            if not (amount == amount.to_integral_value() and 0 < amount <= 10**18):
                raise ValueError
        except (InvalidOperation, ValueError) as error:
            raise click.BadParameter(f"{value!r} is no amount of money, write e.g. 5000") from error
        micros.append(int(amount))
    return micros


@click.command("rewards", cls=Command)
@option(
    "--own",
    "own",
    multiple=True,
    callback=_budget,
    metavar="AMOUNT",
    help="A month's budget for this home's own creators: what it would buy, before it is set. May be"
    " given more than once; nothing else is studied then.",
)
@option(
    "--types",
    "name",
    default="geometric",
    help="uniform, geometric, or a CSV file with columns mass and difficulty.",
)
@option(
    "--levels",
    type=click.IntRange(2, 10_000),
    default=12,
    help="Number of types (uniform, geometric).",
)
@option(
    "--hardest",
    type=click.FloatRange(1),
    default=10.0,
    help="Difficulty of the least able; the most able has 1 (uniform, geometric).",
)
@option(
    "--creators",
    type=click.IntRange(2),
    help="How many creators there are. Default: 120, or what the masses of the file add up to.",
)
@option(
    "--budget", type=click.FloatRange(0, min_open=True), default=1000.0, help="Money to give out."
)
@option(
    "--exponent",
    type=click.FloatRange(1),
    default=2.0,
    help="Quality x costs a creator its difficulty times x to this power.",
)
@option(
    "--instances",
    type=click.IntRange(5),
    default=INSTANCES,
    help="Random instances on which each theorem is checked.",
)
@option("--seed", type=click.IntRange(0), default=1, help="Seed of the random instances.")
@into_folder("rewards")
@as_json_option
@click.pass_obj
def command(
    home: Home,
    own: list[int],
    name: str,
    levels: int,
    hardest: float,
    creators: int | None,
    budget: float,
    exponent: float,
    instances: int,
    seed: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Paying for quality under a budget: optimal, linear and proportional rewards for the same
    creators.

    What the money buys, who produces what, and the reward curves; gross product against budget;
    every inequality of Chen et al. on random instances, and its algorithm 2 as printed; its
    examples; what rounding to whole cents breaks, and the rounding that does not.

    \b
    earnings lab rewards --own 5000 --own 10000 --own 20000
    """
    if own:
        report = Report(folder, "What a month's bonus budget would buy from our own creators")
        own_creators(report, home, own)
        finish(report, as_json)
        return
    mass, difficulty = types(name, levels, hardest, creators)
    report = Report(
        folder,
        f"Rewards for quality under a budget of {budget:g}, {Path(name).name} types",
        mark=f"Short run: {instances} random instances, not {INSTANCES}."
        if instances < INSTANCES
        else "",
    )
    study(
        report, mass, difficulty, budget=budget, exponent=exponent, instances=instances, seed=seed
    )
    finish(report, as_json)
