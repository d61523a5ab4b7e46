"""Everything that the study of donation markets shows, computed again: its figures, bounds,
statements and tables, and what came out.

What belongs here: the settings of the document (those it does not print are marked), what it
claims, tables and plots. The market itself is `solvers.donation_market`, the inverse problem
`solvers.donation_market.fit`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt

from pipelines.console import Command, as_json_option, option
from pipelines.lab.finding import Side, mean
from pipelines.lab.market_loop import closed_loop
from pipelines.lab.report import Report, finish, into_folder, progress
from solvers.arrays import Floats
from solvers.donation_market import (
    TWITCH_DONATION,
    DonationMarket,
    Equilibrium,
    PreferenceFit,
    fit_preferences,
    sine_preferences,
)
from solvers.donation_market.mechanism import Donation, PowerDonation, SaturatingDonation

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""`map`, or that of a pool of processes."""

HUNDREDTHS = np.arange(1, 101) / 100
"""The document's search."""
COEFFICIENTS = (75.0, 1.8, 250.0)
VIEWERS = 3000.0
"""Mean of the synthetic day; of those in table `scale` the nearest to table II."""
TODAY = 0.71
NOISE = 0.02
"""Standard deviation of a count of creators, as a part of it, where noise is looked at."""
TABLE_V, TABLE_W = (0.2, 1.0, 2.0, 4.0), (2.0, 10.0, 20.0, 100.0, 200.0, 1000.0)
TABLE_2 = (
    np.array([[8, 9, 8, 7, 7, 7], [32, 31, 30, 28, 28, 28], [39, 38, 38, 40, 40, 40], [40] * 6])
    / 100
)
TABLE_3 = (
    np.array(
        [
            [215, 205, 206, 217, 217, 218],
            [132, 120, 120, 132, 132, 132],
            [55, 54, 53, 43, 43, 43],
            [41] * 6,
        ]
    )
    / 100
)
_SETTLED = 1e-4
"""A fall by this part of the highest value before is none: where nothing moves, rounding does."""


@dataclass(frozen=True)
class Detail:
    """How fine the study is.

    Attributes
    ----------
    rounds : random markets for each of four exponents
    plane_step : of N1 and N2 in figure 6
    line_step : of |N1 - N2| along its three lines, half of it
    alpha_step : of alpha in figure 6
    cost_steps : values of V, and of W, in figure 7
    fit_places : locations at which preferences are fitted, a divisor of 96
    places : locations of the case study
    loops : random markets in closed loop
    """

    rounds: int = 40
    plane_step: int = 50
    line_step: int = 20
    alpha_step: float = 0.002
    cost_steps: int = 13
    fit_places: int = 24
    places: int = 96
    loops: int = 20


FULL = Detail(
    rounds=1000,
    plane_step=20,
    line_step=5,
    alpha_step=0.0005,
    cost_steps=25,
    fit_places=48,
    loops=80,
)


def market(
    creators: npt.ArrayLike,
    viewers: npt.ArrayLike,
    *,
    V: float,
    W: float,
    K: int = 1,
    donation: Donation = TWITCH_DONATION,
) -> DonationMarket:
    """A market in the document's letters."""
    return DonationMarket(
        creators, viewers, window=K, opportunity_cost=V, deviation_cost=W, donation=donation
    )


def wave(places: int, turn: float, mean: float, part: float) -> Floats:
    """Mean times 1 + part sin(around the circle + turn)."""
    return np.asarray(mean * (1 + part * np.sin(2 * np.pi * np.arange(places) / places + turn)))


def falls(values: Floats) -> float:
    """The largest fall below an earlier value, relative to the highest one."""
    return float(np.max(np.maximum.accumulate(values) - values) / max(float(values.max()), 1e-300))


# --------------------------------------------------------------------------------------------------


def potential(report: Report, seed: int) -> None:
    """Whether (14) has the payoffs as its slopes (13)."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(10) / 10
    m, alpha, step = (
        market(45 * (2 + np.cos(angle)), 45 * (2 + np.sin(angle)), V=0.1, W=1.0),
        0.3,
        1e-6,
    )
    everyone = float(m.creators.sum())
    x = rng.dirichlet(np.ones(100)).reshape(10, 10)

    def integral(share: Floats) -> float:
        return alpha * float(
            m.donation.integral(m.viewers, everyone * (m.serves @ share.sum(axis=0))).sum()
        )

    change = np.zeros((10, 10))
    change[0, 0] = step
    slope = (integral(x + change) - integral(x - change)) / (2 * step)
    served = everyone * (m.serves @ x.sum(axis=0))
    gain = alpha * float(m.donation.value(m.viewers, served)[0] / served[0])
    report.settled(
        "lemma 1: (14) has the payoffs (7) as its slopes (13)",
        abs(slope / gain - 1) < 1e-3,
        f"the integral's slope is {slope:.4g}, what a creator receives {gain:.4g}:"
        f" {slope / gain:.1f} times as much, N = {everyone:.0f}; with 1/N before the integral it"
        " comes out",
    )


def figure_3(report: Report) -> None:
    """Creators' choices for three splits: without deviation cost, and without opportunity cost."""
    n, m = wave(24, np.pi / 2, 1000 / 24, 0.6), wave(24, 0.0, 1000 / 24, 0.6)
    alphas = np.array([0.1, 0.2, 0.5])
    free, bound = (
        market(n, m, V=0.1, W=0.0).equilibrium(alphas),
        market(n, m, V=0.0, W=0.4).equilibrium(alphas),
    )
    report.say(
        "Figure 3. The document prints neither the locations nor the preferences of figures 3 to 5;"
        " here 24 and two waves."
    )
    with report.plot(
        "figure_3", "Figure 3: (a) W = 0, V = .1; (b) W = .4, V = 0", columns=2
    ) as axes:
        for axis, now in zip(axes, (free, bound), strict=True):
            axis.plot(n, "v-", label="creators prefer")
            axis.plot(m, "^--", label="viewers")
            for alpha, serving in zip(alphas, now.serving, strict=True):
                axis.plot(serving, label=f"creators serve, alpha = {alpha}")
            axis.set(xlabel="location (number)", ylabel="creators, viewers (heads)")
        axes[0].legend(fontsize=7)
    rows = [
        (
            float(a),
            float(f.sum()),
            float(np.ptp(f / m) / (f / m).mean()),
            float(b.sum()),
            float(abs(b - m).sum() / 2),
        )
        for a, f, b in zip(alphas, free.serving, bound.serving, strict=True)
    ]
    heads = (
        "alpha",
        "(a) take part",
        "(a) spread of creators per viewer",
        "(b) take part",
        "(b) creators not where viewers are",
    )
    report.table(
        "figure_3", heads, rows, "Figure 3: participation of 1000 creators, and how well they match"
    )
    report.settled(
        "figure 3(a): with W = 0 creators always match the viewers perfectly; more take part as"
        " alpha grows",
        max(row[2] for row in rows) < 1e-6 and rows[0][1] < rows[1][1] <= rows[2][1] + 1e-6,
        f"creators per viewer differ by at most {max(row[2] for row in rows):.0e};"
        f" {', '.join(f'{row[1]:.0f}' for row in rows)} take part",
    )
    report.settled(
        "figure 3(b): with V = 0 all always take part; the match improves as alpha grows",
        min(row[3] for row in rows) > 1000 * (1 - 1e-6) and rows[0][4] > rows[1][4] > rows[2][4],
        f"creators who are not where viewers are: {', '.join(f'{row[4]:.1f}' for row in rows)}",
    )


def figures_4_and_5(report: Report) -> None:
    """Total donation against alpha where D saturates: creators placed best, and elsewhere in
    several ways.
    """
    donation, alphas = SaturatingDonation(4, 8), np.append(0.0, HUNDREDTHS)

    def now(creators: Floats, viewers: Floats) -> Equilibrium:
        return market(creators, viewers, V=0.0, W=0.4, donation=donation).equilibrium(alphas)

    m = wave(24, 0.0, 1000 / 24, 0.2)
    best = (1000 + 2 * m.size) * np.sqrt(m) / np.sqrt(
        m
    ).sum() - 2  # where D' is the same everywhere
    totals = {}
    with report.plot(
        "figures_4_and_5",
        "Figures 4 (above) and 5: D = M N/(4 N + 8), W = .4, V = 0",
        rows=2,
        columns=2,
    ) as axes:
        for (figure, n), (left, right) in zip(
            {4: best, 5: wave(24, np.pi / 2, 1000 / 24, 0.6)}.items(), axes, strict=True
        ):
            found = now(n, m)
            totals[figure] = found.total_donation
            left.plot(m, "^--", label="viewers")
            left.plot(n, "v-", label="creators prefer")
            left.plot(found.serving[1], label="creators serve, alpha = .01")
            left.plot(found.serving[-1], label="creators serve, alpha = 1")
            left.set(xlabel="location (number)", ylabel="creators, viewers (heads)")
            left.legend(fontsize=7)
            right.plot(alphas, found.total_donation)
            right.set(xlabel="alpha (part that creators keep)", ylabel="total donation (money)")
    report.table(
        "figures_4_and_5",
        ("alpha", "figure 4: total donation", "figure 5: total donation"),
        list(zip(*(x.tolist() for x in (alphas, *totals.values())), strict=True)),
        "Figures 4 and 5",
        most=6,
    )
    total = totals[4]
    report.settled(
        "figure 4: creators placed best for donations draw less and less as alpha grows",
        bool((np.diff(total) <= 1e-9 * total[0]).all()) and total[-1] < total[0],
        f"total donation {total[0]:.3f} at 0, {total[-1]:.3f} at 1",
    )
    rows = []
    for wide in (0.2, 0.6):
        for part, turn in ((0.6, np.pi / 2), (0.3, np.pi), (0.6, np.pi), (0.95, np.pi)):
            total = now(
                wave(24, turn, 1000 / 24, part), wave(24, 0.0, 1000 / 24, wide)
            ).total_donation
            at = int(np.argmax(total))
            rows.append(
                (
                    wide,
                    part,
                    float(turn / (2 * np.pi)),
                    *total[[0, at, -1]].tolist(),
                    float(alphas[at]),
                    falls(total),
                )
            )
    heads = (
        "viewers' wave",
        "creators' wave",
        "turn",
        "at 0",
        "at most",
        "at 1",
        "most at alpha",
        "largest fall",
    )
    report.table(
        "figure_5_settings",
        heads,
        rows,
        "Figure 5 for eight preferences; the first, which falls least, is the one plotted",
    )
    growing = [row[-1] for row in rows if row[-1] < _SETTLED]
    report.settled(
        "figure 5: creators can be placed so that they draw more and more as alpha grows",
        len(growing) > 0,
        f"its preferences are not printed; in {len(growing)} of {len(rows)} tried, but for falls of"
        f" up to {max(growing, default=0):.0e}",
    )
    inner = sum(0 < row[-2] < 1 for row in rows)
    report.settled(
        "remark 1: total donation need neither grow nor fall with alpha",
        inner > 0,
        f"grows, then falls in {inner} of {len(rows)} settings",
    )


class Round(NamedTuple):
    """What one random market of remark 2 shows."""

    exponent: float
    window: int
    best: float
    lower: float
    printed_lower: float
    all_gain_the_same: bool
    participation_falls: float
    deviation_falls: float
    cost_falls: float
    donation_falls: float


def random_round(which: tuple[int, float, int]) -> Round:
    """Seed, exponent, number: a market drawn as before remark 2, with ten locations."""
    seed, exponent, number = which
    rng = np.random.default_rng([seed, round(10 * exponent), number])
    window = int(rng.integers(1, 11))
    viewers, creators = rng.integers(1, 1001, (2, 10)).astype(np.float64)
    m = market(
        creators,
        viewers,
        V=rng.uniform(0, 0.4),
        W=rng.uniform(0, 0.8),
        K=window,
        donation=PowerDonation(TWITCH_DONATION.scale, exponent),
    )
    now = m.equilibrium(HUNDREDTHS)
    without_number = m.equilibria(np.ones(1), np.full((1, 10), 1e30)).serving[0]
    gains = unit_price(m, without_number) @ m.serves
    return Round(
        exponent,
        window,
        float(HUNDREDTHS[np.argmax(now.platform_payoff)]),
        m.lower_bound(),
        printed_lower_bound(m),
        bool(gains.min() > m.opportunity_cost * (1 - 1e-6)),
        falls(now.participation),
        falls(now.deviation),
        falls(m.opportunity_cost * now.participation + m.deviation_cost * now.deviation),
        falls(now.total_donation),
    )


def unit_price(m: DonationMarket, serving: Floats) -> Floats:
    """U of (8)."""
    return m.donation.value(m.viewers, serving) / serving


def printed_lower_bound(m: DonationMarket) -> float:
    """Proposition 2 to the letter, for a power.

    (22b) asks all windows for the same sum of prices, so a price returns after gcd(K, L) places; it
    is least where the creators of one of these places run out. (23) is then largest at 1 - b.
    """
    assert isinstance(m.donation, PowerDonation)
    period = math.gcd(m.window, m.viewers.size)
    least = unit_price(m, m.creators).reshape(-1, period).max(axis=0).sum() * m.window / period
    return min(1.0, m.opportunity_cost / float(least), 1 - m.donation.exponent)


def random_markets(report: Report, rounds: Sequence[Round]) -> None:
    """Propositions 1 and 2, lemma 2 and remark 2 on the same random markets."""
    report.say(
        f"Random markets as before remark 2: {len(rounds) // 4} for each of b = .2, .4, .6, .8; K"
        " from 1 to 10, M and N from 1 to 1000, V to .4, W to .8. The document does not print the"
        " number of locations; here 10. alpha on .01, .02, ..., 1."
    )
    groups = {
        "K = 1": [r for r in rounds if r.window == 1],
        "K > 1": [r for r in rounds if r.window > 1],
    }
    heads = (
        *(
            "markets",
            "rounds",
            "best alpha above 1 - b",
            "participation falls",
            "deviation falls",
            "V x participation + W x deviation falls",
        ),
        *(
            "donation falls",
            "lower bound above best alpha",
            "printed bound above best alpha",
            "no equality in (22b)",
        ),
    )

    def count(kept: Sequence[Round]) -> tuple[int, ...]:
        tests = (
            [r.best > 1 - r.exponent + 1e-9 for r in kept],
            [r.participation_falls > _SETTLED for r in kept],
            [r.deviation_falls > _SETTLED for r in kept],
            [r.cost_falls > _SETTLED for r in kept],
            [r.donation_falls > _SETTLED for r in kept],
            [r.best < r.lower - 0.01 for r in kept],
            [r.best < r.printed_lower - 0.01 for r in kept],
            [not r.all_gain_the_same for r in kept],
        )
        return (len(kept), *(sum(test) for test in tests))

    by_exponent = {f"b = {b}": [r for r in rounds if r.exponent == b] for b in (0.2, 0.4, 0.6, 0.8)}
    counts = {name: count(kept) for name, kept in (groups | by_exponent | {"all": rounds}).items()}
    report.table(
        "random_markets",
        heads,
        [(name, *row) for name, row in counts.items()],
        "Random markets: how many break what",
    )
    report.table(
        "random_rounds",
        Round._fields,
        rounds,
        "Every round; falls are relative to the highest value",
        most=5,
    )
    everyone, above, participation, deviation, cost, donation, lower, printed, _ = counts["all"]
    wide = counts["K > 1"]
    of = f"of {everyone} markets"
    report.never(
        "proposition 1(1): participation grows with alpha",
        participation,
        everyone,
        "markets",
        f"falls in {participation} {of}",
    )
    report.never(
        "proposition 1(2): total deviation grows with alpha",
        deviation,
        everyone,
        "markets",
        f"falls in {counts['K = 1'][3]} of {counts['K = 1'][0]} markets with K = 1, {wide[3]} of"
        f" {wide[0]} with K > 1; what does grow is V times participation + W times deviation (falls"
        f" in {cost})",
    )
    report.never(
        "lemma 2: for a power, total donation grows with alpha",
        donation,
        everyone,
        "markets",
        f"falls in {donation} {of}",
    )
    report.never(
        "remark 2: the best alpha is at most 1 - b for any K",
        above,
        everyone,
        "markets",
        f"above it in {above} {of}; it is a theorem",
    )
    report.never(
        "proposition 2, corrected (what serves a place; equality only where somebody starts): a"
        " lower bound",
        lower,
        everyone,
        "markets",
        f"broken in {lower} {of} (to the search's .01)",
    )
    report.never(
        "proposition 2 to the letter is a lower bound",
        printed,
        everyone,
        "markets",
        f"above the best alpha in {printed} {of}",
    )
    report.never(
        "proposition 2 with what really serves a place, but equality for all p as in (22b), can"
        " be met",
        wide[8],
        wide[0],
        "markets with K > 1",
        f"for K > 1 it cannot in {wide[8]} of {wide[0]} markets ({wide[8] / max(wide[0], 1):.0%})",
    )


# -------------------------------------------------------------------------------------------------


def counterexamples(report: Report) -> None:
    """One market for each statement that does not hold."""
    m = market([1, 500, 200, 50, 100], [100, 200, 200, 500, 10], K=2, V=0.2, W=2.0)
    alphas = np.arange(30, 46) / 100
    deviation = m.equilibrium(alphas).deviation / m.creators.sum()
    with report.plot(
        "proposition_1", "Proposition 1(2) fails: L = 5, K = 2, V = .2, W = 2"
    ) as axis:
        axis.plot(alphas, deviation, "o-")
        axis.set(
            xlabel="alpha (part that creators keep)",
            ylabel="squared deviation per creator (circle = 1)",
        )
    report.table(
        "proposition_1",
        ("alpha", "deviation per creator"),
        list(zip(alphas.tolist(), deviation.tolist(), strict=True)),
        "Deviation",
    )
    before, after = deviation[[4, 11]].tolist()
    says = (
        "proposition 1(2) in N = (1, 500, 200, 50, 100), M = (100, 200, 200, 500, 10), K = 2, V ="
        " .2, W = 2"
    )
    report.settled(
        says,
        after >= before,
        f"deviation per creator falls from {before:.6f} at .34 to {after:.6f} at .41",
    )

    m = market([400, 400], [1000, 10], V=1.0, W=0.1, donation=SaturatingDonation(4, 8))
    grid = np.arange(1, 10_001) / 10_000
    serve = (grid[:, None] * m.viewers / m.opportunity_cost - 8) / 4  # U = V/alpha at both places
    total = m.donation.value(m.viewers, np.maximum(serve, 0)).sum(axis=1)
    payoff = np.where((serve >= 0).all(axis=1), (1 - grid) * total, 0)
    first = grid[((serve >= 0) & (serve <= m.creators)).all(axis=1)].max()
    printed, found = min(float(first), float(grid[np.argmax(payoff)])), m.optimal_split()
    report.settled(
        "proposition 2 as printed for D = M N/(4 N + 8), M = (1000, 10), N = (400, 400), V = 1, W"
        " = .1",
        printed <= found.alpha,
        f"it says at least {printed:.2f}, as it wants both places served; the best alpha is"
        f" {found.alpha:.4f}, the corrected bound {found.lower_bound:.2f}",
    )

    best = market([350, 650], [500, 500], V=0.1, W=0.1).optimal_split()
    alphas = np.arange(1, 501) / 1000
    payoffs = market([350, 650], [500, 500], V=0.1, W=0.1).equilibrium(alphas).platform_payoff
    with report.plot(
        "two_peaks", "N = (350, 650), M = (500, 500), V = W = .1, b = .6: two peaks"
    ) as axis:
        axis.plot(alphas, payoffs)
        axis.plot(best.peaks[:, 0], best.peaks[:, 1], "o")
        axis.set(
            xlabel="alpha (part that creators keep)",
            ylabel="platform's payoff (money)",
            xlim=(0.15, 0.5),
            ylim=(payoffs.max() * 0.93, payoffs.max() * 1.01),
        )
    report.settled(
        "section V-A: the platform's payoff may have several peaks",
        len(best.peaks) > 1,
        "; ".join(f"{payoff:.2f} at alpha = {alpha:.4f}" for alpha, payoff in best.peaks),
    )

    rows = []
    for K in (1, 2):
        m = market([30, 60, 90], [300, 150, 200], V=0.1, W=1e6, K=K)
        best = m.optimal_split()
        rows.append((K, *without_moving_as_printed(m), best.alpha, best.platform_payoff))
    heads = ("K", "alpha by (27)", "payoff by (27)", "best alpha, W = 1e6", "its payoff")
    report.table(
        "equation_27",
        heads,
        rows,
        "(27) by enumeration against the market, N = (30, 60, 90), M = (300, 150, 200), V = .1",
    )
    for K, by_27, payoff_27, real, real_payoff in rows:
        report.settled(
            f"proposition 4: where creators never move the best alpha solves (27), K = {K}",
            abs(payoff_27 / real_payoff - 1) < 0.01 and abs(by_27 - real) < 0.01,
            f"(27) gives {by_27:.3f} with {payoff_27:.2f}; W = 1e6 has {real:.3f} with"
            f" {real_payoff:.2f}",
        )


def without_moving_as_printed(m: DonationMarket, steps: int = 120) -> tuple[float, float]:
    """The best alpha and payoff of (27) to the letter, for three locations: all x on a grid, each
    with the least alpha it allows.
    """
    parts = np.arange(1, steps + 1) / steps
    x = np.stack(np.meshgrid(parts, parts, parts), axis=-1).reshape(-1, 3) * m.creators
    donated = m.donation.value(m.viewers, x)
    alpha = m.opportunity_cost / (donated / x @ m.serves).min(axis=1)
    payoff = np.where(alpha <= 1, (1 - alpha) * donated.sum(axis=1), 0)
    at = int(np.argmax(payoff))
    return float(alpha[at]), float(payoff[at])


# --------------------------------------------------------------------------------------------- sect


def pairs_of_creators(creators: Floats, step: float) -> tuple[Floats, Floats, Floats]:
    """Figure 6's market for many (N1, N2): best alpha, payoff there, and how many deviate; alpha
    searched up to 1 - b (remark 2).
    """
    m = market([500, 500], [500, 500], V=0.1, W=0.1)
    alphas = np.arange(step, 0.4 + step / 2, step)
    best, payoff, moved = np.zeros((3, len(creators)))
    for row, pair in enumerate(creators):
        now = m.equilibria(alphas, np.broadcast_to(pair, (alphas.size, 2)))
        at = int(np.argmax(now.platform_payoff))
        best[row], payoff[row] = alphas[at], now.platform_payoff[at]
        moved[row] = now.choice[at, 0, 1] + now.choice[at, 1, 0]
    return best, payoff, moved


def figure_6(report: Report, detail: Detail) -> None:
    """Best alpha and payoff against the two numbers of creators."""
    exact = []
    for pair, printed in {
        (500, 500): "both large",
        (400, 600): "at the boundary",
        (250, 350): "both small",
        (700, 700): "both large",
    }.items():
        best = market(pair, [500, 500], V=0.1, W=0.1).optimal_split()
        exact.append((*pair, best.alpha, best.platform_payoff, printed))
    report.table(
        "figure_6_points",
        ("N1", "N2", "alpha", "payoff", "where"),
        exact,
        "Figure 6: four points, to all digits",
    )
    sizes = np.arange(100, 801, detail.plane_step)
    grid = np.stack(np.meshgrid(sizes, sizes, indexing="ij"), axis=-1).astype(np.float64)
    upper = np.triu_indices(sizes.size)
    planes = np.zeros((3, sizes.size, sizes.size))
    planes[:, upper[0], upper[1]] = pairs_of_creators(grid[upper], detail.alpha_step)
    planes[:, upper[1], upper[0]] = planes[:, upper[0], upper[1]]
    alpha, payoff, moved = planes
    rows = [
        (*pair, *values)
        for pair, values in zip(
            grid.reshape(-1, 2).tolist(), planes.reshape(3, -1).T.tolist(), strict=True
        )
    ]
    report.table(
        "figure_6",
        ("N1", "N2", "alpha", "payoff", "creators who deviate"),
        rows,
        "Figure 6",
        most=8,
    )
    with report.plot(
        "figure_6",
        "Figure 6: (a) best alpha, (b) payoff; in the red corner both have 400 creators",
        columns=2,
    ) as axes:
        for axis, values, title in zip(
            axes, (alpha, payoff), ("best alpha", "platform's payoff (money)"), strict=True
        ):
            drawn = axis.pcolormesh(sizes, sizes, values.T, shading="nearest")
            axis.figure.colorbar(drawn, ax=axis)
            axis.plot([400, 400, 800], [800, 400, 400], "r--")
            for total in (600, 1000, 1400):
                axis.plot(
                    [max(100, total - 800), min(800, total - 100)],
                    [min(800, total - 100), max(100, total - 800)],
                    "b:",
                )
            axis.set(xlabel="N1 (creators)", ylabel="N2 (creators)", title=title)
    inside = (grid >= 400).all(axis=-1)
    still = moved <= 1e-6 * grid.sum(axis=-1)
    uneven = ~inside & (grid[:, :, 0] != grid[:, :, 1])
    report.settled(
        "figure 6: with 400 creators or more at both places nobody deviates under the best alpha",
        bool(still[inside].all()),
        f"nobody deviates at all {inside.sum()} such points; outside, at {still[uneven].sum()} of"
        f" {uneven.sum()} with N1 != N2",
    )
    line_rows: list[tuple[float, ...]] = []
    follows: dict[str, list[bool]] = {"inside": [], "outside": [], "payoff": []}
    for total in (600, 1000, 1400):
        half = np.arange(0, min(total / 2 - 100, 800 - total / 2) + 1, detail.line_step)
        pairs = np.stack([total / 2 - half, total / 2 + half], axis=1)
        a, g, _ = pairs_of_creators(pairs, detail.alpha_step / 2)
        line_rows += [
            (total, *pair, x, y)
            for pair, x, y in zip(pairs.tolist(), a.tolist(), g.tolist(), strict=True)
        ]
        within = pairs[1:, 0] >= 400
        follows["inside"] += (np.diff(a) <= 0)[within].tolist()
        follows["outside"] += (np.diff(a) >= 0)[~within].tolist()
        follows["payoff"] += (np.diff(g) <= 1e-9).tolist()
    report.table(
        "figure_6_lines",
        ("N1 + N2", "N1", "N2", "alpha", "payoff"),
        line_rows,
        "Figure 6 along its three lines",
        most=12,
    )
    with report.plot("figure_6_lines", "Best alpha along N1 + N2 = 600, 1000, 1400") as axis:
        for total in (600, 1000, 1400):
            kept = np.array([row for row in line_rows if row[0] == total])
            axis.plot(kept[:, 2] - kept[:, 1], kept[:, 3], ".-", label=f"N1 + N2 = {total}")
        axis.set(xlabel="N2 - N1 (creators)", ylabel="best alpha")
        axis.legend()
    for name, says in {
        "inside": "remark 3: inside the boundary, a worse match gives a smaller alpha",
        "outside": "remark 3: outside, a worse match gives a larger alpha",
        "payoff": "remark 3: a worse match always gives a smaller payoff",
    }.items():
        steps = follows[name]
        report.settled(
            says,
            all(steps),
            f"{sum(steps)} of {len(steps)} steps along the three lines go that way",
        )


def figure_7_market(V: float, W: float) -> DonationMarket:
    """Section VI-B's ten locations."""
    angle = 2 * np.pi * np.arange(10) / 10
    return market(45 * (2 + np.cos(angle)), 45 * (2 + np.sin(angle)), V=V, W=W)


def figure_7_row(which: tuple[float, Sequence[float]]) -> list[tuple[float, float]]:
    """V, values of W: best alpha on the document's grid, and the payoff."""
    V, deviation_costs = which
    alphas = HUNDREDTHS[:40]  # up to 1 - b
    row = []
    for W in deviation_costs:
        payoff = figure_7_market(V, W).equilibrium(alphas).platform_payoff
        row.append((float(alphas[np.argmax(payoff)]), float(payoff.max())))
    return row


def figure_7(report: Report, detail: Detail, each: Each) -> None:
    """Best alpha and payoff against both costs, and proposition 4's thresholds."""
    V = np.linspace(0.01, 0.25, detail.cost_steps).round(6).tolist()
    W = np.linspace(0, 6, detail.cost_steps).round(6).tolist()
    never = 1e6
    found = np.array(list(each(figure_7_row, [(v, (*W, never)) for v in V])))
    best, payoff = found[:, :-1, 0], found[:, :-1, 1]
    rows = [(v, w, best[i, j], payoff[i, j]) for i, v in enumerate(V) for j, w in enumerate(W)]
    report.table("figure_7", ("V", "W", "alpha", "payoff"), rows, "Figure 7", most=8)
    with report.plot(
        "figure_7",
        "Figure 7: (a) best alpha, (b) payoff; V in money (the document's axis: 100 V)",
        columns=2,
    ) as axes:
        for axis, values, title in zip(
            axes, (best, payoff), ("best alpha", "platform's payoff (money)"), strict=True
        ):
            axis.figure.colorbar(axis.pcolormesh(V, W, values.T, shading="nearest"), ax=axis)
            axis.set(xlabel="V (money)", ylabel="W (money for a circle squared)", title=title)
    m = figure_7_market(0.1, 1.0)
    scale, b, everyone = TWITCH_DONATION.scale, TWITCH_DONATION.exponent, float(m.creators.sum())
    threshold = (1 - b) * scale * float((m.viewers / m.creators).max()) ** b
    same = best == found[:, -1:, 0]
    # from the end: how many values of W in a row already give what creators who never move give
    settled = np.minimum.accumulate(same[:, ::-1], axis=1).sum(axis=1)
    from_w = [W[len(W) - int(n)] if n else math.inf for n in settled]
    report.table(
        "proposition_4",
        ("V", "W from which alpha is constant", "alpha there"),
        list(zip(V, from_w, found[:, -1, 0], strict=True)),
        "W°",
    )
    above = np.array(V) >= threshold
    below = figure_7_market(0.98 * threshold, 1.0)
    report.settled(
        "proposition 4, figure 7: V° = 20",
        abs(100 * threshold - 20) < 0.5 and bool((best[above] == 1 - b).all()),
        f"V° = (1-b) a max(M/N)^b = {threshold:.5f}, so the axis is in hundredths; alpha ="
        f" {1 - b:g} at all {above.sum() * len(W)} points above, and creators earn up to"
        f" {below.equilibrium(1 - b).payoff.max():.4f} at .98 V°",
    )
    report.settled(
        "figure 7: V° = 20 follows from (14) as printed, without 1/N",
        abs(everyone * threshold - 20) < 0.5,
        f"it would be {everyone * threshold:.0f}, {everyone:.0f} times as much",
    )
    constant = f"alpha on .01, .02, ... is constant from W = {max(from_w):g} on, at every V"
    report.settled(
        "remark 4, figure 7: from W° = 4 on the best alpha remains unchanged",
        max(from_w) <= 4,
        constant,
    )
    report.settled(
        "figure 7: no smaller W° would do", max(from_w) > 4 - (W[1] - W[0]) - 1e-9, constant
    )
    with report.plot("remark_4", "Best alpha against each cost", columns=2) as axes:
        for i in range(0, len(V), max(1, len(V) // 6)):
            axes[0].plot(W, best[i], ".-", label=f"V = {V[i]:.2f}")
            axes[1].plot(V, best[:, i], ".-", label=f"W = {W[i]:.1f}")
        for axis, name in zip(axes, "WV", strict=True):
            axis.set(xlabel=f"{name} (money)", ylabel="best alpha")
            axis.legend(fontsize=7)
    turns = [
        sum((np.diff(line) > 0).any() and (np.diff(line) < 0).any() for line in lines)
        for lines in (best, best.T)
    ]
    report.settled(
        "remark 4: the best alpha changes non-monotonically with either cost",
        min(turns) > 0,
        f"with W at {turns[0]} of {len(V)} values of V, with V at {turns[1]} of {len(W)} values"
        " of W",
    )
    report.settled(
        "remark 4: the best payoff falls with both costs",
        bool(
            (np.diff(payoff, axis=0) <= 1e-9 * payoff[1:]).all()
            and (np.diff(payoff, axis=1) <= 1e-9 * payoff[:, 1:]).all()
        ),
        f"from {payoff[0, 0]:.2f} to {payoff[-1, -1]:.2f}",
    )


# --------------------------------------------------------------------------------------------------


def day(
    places: int, coefficients: npt.ArrayLike, V: float, W: float, viewers: float = VIEWERS
) -> DonationMarket:
    """The case study's day, at `places` locations: streams of two hours, viewers a wave of a third
    around their mean.

    A coarser day is the same one looked at less often: a stream covers fewer places, so viewers and
    costs count for one of them.
    """
    merged = 96 // places
    return market(
        sine_preferences(coefficients, places),
        wave(places, 0.0, viewers / merged, 1 / 3),
        V=V / merged,
        W=W / merged,
        K=8 // merged,
    )


def searched(m: DonationMarket) -> tuple[float, float]:
    """The best of .01, .02, ... between the bounds, and how much more it leaves the platform than
    today's split.
    """
    low, high = m.lower_bound(), m.upper_bound()
    alphas = HUNDREDTHS[max(0, math.floor(100 * low) - 1) : round(100 * high)]
    payoff = m.equilibrium(np.append(alphas, TODAY)).platform_payoff
    at = int(np.argmax(payoff[:-1]))
    return float(alphas[at]), float(payoff[at] / payoff[-1] - 1)


def searched_day(which: tuple[int, Sequence[float], float, float, float]) -> tuple[float, float]:
    """`searched` for the arguments of `day`."""
    return searched(day(*which))


def observed_day(places: int, noise: float, seed: int) -> tuple[DonationMarket, Floats]:
    """The day with V = 2, W = 10, and who is seen to serve under today's split."""
    truth = day(places, COEFFICIENTS, 2.0, 10.0)
    error = noise * np.random.default_rng(seed).standard_normal(places)
    return truth, truth.equilibrium(TODAY).serving * (1 + error)


def fitted(which: tuple[int, float, int]) -> PreferenceFit:
    """Places, noise, seed: what V = 2, W = 10 lets be seen today, and the preferences fitted to it
    for every pair of costs.
    """
    places, noise, seed = which
    truth, seen = observed_day(places, noise, seed)
    merged = 96 // places
    return fit_preferences(
        seen,
        truth.viewers,
        alpha=TODAY,
        window=truth.window,
        donation=truth.donation,
        opportunity_costs=np.array(TABLE_V) / merged,
        deviation_costs=np.array(TABLE_W) / merged,
    )


def tables_2_and_3(
    report: Report, detail: Detail, each: Each, exact: PreferenceFit, noisy: PreferenceFit
) -> None:
    """The case study on a synthetic day: the scale, the inverse problem, best splits, gains."""
    report.say(
        "Case study. The document's data are not public: here creators prefer c = (75, 1.8, 250)"
        " and viewers are a wave of a third. Their number is not printed; 3000 was chosen by"
        " comparing with table II. So agreement with table II is no evidence, agreement with table"
        " III is some; and V = 4 comes out at any scale."
    )
    pairs = [(v, w) for v in TABLE_V for w in TABLE_W]
    scales = (1500.0, 2000.0, 2500.0, 3000.0, 3500.0, 4000.0)
    at_scales = np.array(
        list(
            each(
                searched_day,
                [(detail.fit_places, COEFFICIENTS, v, w, s) for s in scales for v, w in pairs],
            )
        )
    )
    off = at_scales.reshape(len(scales), *TABLE_2.shape, 2) - np.stack([TABLE_2, TABLE_3], axis=-1)
    rows = [
        (
            s,
            float(np.sqrt((o[..., 0] ** 2).mean())),
            float(abs(o[..., 0]).max()),
            float(abs(o[..., 1]).max()),
        )
        for s, o in zip(scales, off, strict=True)
    ]
    report.table(
        "scale",
        ("mean viewers", "rms error of table II", "largest", "largest of table III"),
        rows,
        "Scales compared with table II",
    )

    progress(
        f"tables II and III: preferences for {len(pairs)} pairs of costs, at {detail.fit_places}"
        " places"
    )
    for name, fit in (("exact", exact), ("noise", noisy)):
        rows_fit = [
            (
                v,
                w,
                float(fit.rmse[at]),
                *fit.coefficients[at].tolist(),
                bool(fit.plausible[at]),
                bool(fit.everyone_serves[at]),
            )
            for (v, w), at in zip(pairs, np.ndindex(fit.rmse.shape), strict=True)
        ]
        heads = ("V", "W", "RMSE", "c1", "c2", "c3", "plausible", "all take part")
        report.table(
            f"fit_{name}",
            heads,
            rows_fit,
            "Preferences fitted, " + ("without noise" if name == "exact" else "with 2 % noise"),
            most=24,
        )
    true = exact.coefficients[2, 1]
    report.settled(
        "section VII-B: preferences can be found from what is observed",
        bool(np.allclose(true, COEFFICIENTS, rtol=1e-3)),
        f"without noise ({true[0]:.2f}, {true[1]:.3f}, {true[2]:.2f}) of (75, 1.8, 250); with 2 %"
        f" noise ({', '.join(f'{c:.4g}' for c in noisy.coefficients[2, 1])})",
    )
    alike = [v for v, row in zip(TABLE_V, noisy.plausible, strict=True) if row.any()]
    low, high = noisy.alpha_range
    report.counted(
        "section VII-C: the least RMSE tells V and W",
        int(noisy.plausible.sum()) == 1,
        f"with 2 % noise {noisy.plausible.sum()} of {len(pairs)} pairs are as plausible, V ="
        f" {', '.join(f'{v:g}' for v in alike)}: best alpha from {low:.3f} to {high:.3f}, not one"
        " number",
    )
    progress(f"tables II and III: best splits at {detail.places} places")
    jobs = [
        (detail.places, exact.coefficients[at].tolist(), v, w, VIEWERS)
        for (v, w), at in zip(pairs, np.ndindex(TABLE_2.shape), strict=True)
    ]
    fine = np.array(list(each(searched_day, jobs))).reshape(*TABLE_2.shape, 2)
    known = np.array(
        list(each(searched_day, [(detail.places, COEFFICIENTS, v, w, VIEWERS) for v, w in pairs]))
    ).reshape(*TABLE_2.shape, 2)
    table = [
        (v, w, TABLE_2[at], fine[at][0], known[at][0], TABLE_3[at], fine[at][1], known[at][1])
        for (v, w), at in zip(pairs, np.ndindex(TABLE_2.shape), strict=True)
    ]
    heads = (
        "V",
        "W",
        "table II",
        "preferences fitted",
        "known",
        "table III",
        "fitted: gain",
        "known: gain",
    )
    report.table("tables_2_and_3", heads, table, "Tables II and III", most=24)
    with report.plot(
        "tables_2_and_3", "Table II (crosses) and what came out (dots: preferences known)"
    ) as axis:
        for i, v in enumerate(TABLE_V):
            axis.plot(TABLE_W, known[i, :, 0], "o-", color=f"C{i}", label=f"V = {v:g}")
            axis.plot(TABLE_W, TABLE_2[i], "x", color=f"C{i}")
        axis.set(xscale="log", xlabel="W (money)", ylabel="best alpha")
        axis.legend(fontsize=7)
    for name, values in (("known", known), ("fitted for each pair", fine)):
        for number, printed, at in (("II", TABLE_2, 0), ("III", TABLE_3, 1)):
            off = abs(values[..., at] - printed)
            same = off < 0.0051
            worst = np.unravel_index(np.argmax(off), off.shape)
            report.settled(
                f"table {number} to the printed digits, preferences {name}",
                bool(same.all()),
                f"{same[:3].sum()} of {same[:3].size} entries the same, and {same[3].sum()} of 6"
                f" for V = 4; the farthest is {values[..., at][worst]:.2f} for {printed[worst]:.2f}"
                f" (V = {TABLE_V[worst[0]]:g}, W = {TABLE_W[worst[1]]:g})",
            )
    report.settled(
        "remark 5: every best alpha is far below today's .71",
        float(known[..., 0].max()) < 0.5,
        f"from {known[..., 0].min():.2f} to {known[..., 0].max():.2f}",
    )
    b = TWITCH_DONATION.exponent
    formula = 0.6 / 0.29 * (0.4 / 0.71) ** ((1 - b) / b) - 1
    report.settled(
        "table III: 41 % for V = 4, whatever W",
        bool(np.allclose(known[3, :, 1], formula, atol=5e-5)),
        f"{known[3, :, 1].min():.2%} to {known[3, :, 1].max():.2%}; nobody earns, so G(.4)/G(.71) -"
        f" 1 = {formula:.2%} for any N, M, W",
    )


def figure_9(report: Report, places: int, noise: float, seed: int, fit: PreferenceFit) -> None:
    """What was seen, the fit, and what creators prefer; with footnotes 15 and 16: the lag plot and
    the residuals.
    """
    truth, seen = observed_day(places, noise, seed)
    merged = 96 // places
    preferred = sine_preferences(fit.coefficients[2, 1], places)
    model = market(preferred, truth.viewers, V=2.0 / merged, W=10.0 / merged, K=truth.window)
    serving = model.equilibrium(TODAY).serving
    residuals = seen - serving
    with report.plot(
        "figure_9",
        "Figure 9 with V = 2, W = 10, alpha = .71 and noise of 2 %: (a) known and fitted"
        " distributions; (b) lag plot of the known one (footnote 15), a circle for a wave; (c)"
        " residuals of the fit (footnote 16)",
        columns=3,
    ) as axes:
        axes[0].plot(seen, "k.", label="known (equilibrium)")
        axes[0].plot(serving, label="fitted (equilibrium)")
        axes[0].plot(model.serves @ preferred, label="fitted (preference)")
        axes[0].plot(truth.viewers, "r--", label="viewers")
        axes[0].set(xlabel="location (number)", ylabel="creators, viewers (heads)")
        axes[0].legend(fontsize=7)
        axes[1].plot(np.roll(seen, 1), seen, ".-", linewidth=0.6)
        axes[1].set(xlabel="creators, one location before", ylabel="creators (heads)")
        axes[2].hist(residuals, bins=12)
        axes[2].set(xlabel="known - fitted (creators)", ylabel="locations")
    level = float(seen.mean())
    report.judge(
        "footnote 16: the residuals have mean zero, to 1 % of the mean count",
        Side("mean residual", mean(residuals, "locations"), -0.01 * level, 0.01 * level),
        shown=f"mean {residuals.mean():+.2f}, standard deviation {residuals.std(ddof=1):.2f}, of"
        f" {level:.0f} creators a location",
    )


# --------------------------------------------------------------------------------------------------


def study(report: Report, detail: Detail, seed: int, each: Each = map) -> None:
    """Fill the report with everything that the document shows."""
    fits = each(fitted, [(detail.fit_places, noise, seed) for noise in (0.0, NOISE)])
    rounds = each(
        random_round,
        [(seed, b, number) for b in (0.2, 0.4, 0.6, 0.8) for number in range(detail.rounds)],
    )
    report.say(
        "Tang and Huang, section by section, in the document's letters; D has b = .6, a ="
        " exp(-1.17) unless it says otherwise."
    )
    progress("figures 3 to 5, counterexamples")
    report.section("Stage II: what creators do under a split (figures 3 to 5)")
    potential(report, seed)
    figure_3(report)
    figures_4_and_5(report)
    report.section("Statements with a counterexample (propositions 1, 2 and 4, section V-A)")
    counterexamples(report)
    progress("figure 6")
    report.section("Best split and mismatch (figure 6, remark 3)")
    figure_6(report, detail)
    progress("figure 7")
    report.section("Best split and costs (figure 7, proposition 4, remark 4)")
    figure_7(report, detail, each)
    progress(f"propositions 1 and 2, remark 2: {4 * detail.rounds} random markets")
    report.section("Random markets (propositions 1 and 2, lemma 2, remark 2)")
    random_markets(report, list(rounds))
    progress("tables II and III: the scale")
    report.section("The case study (section VII: tables II and III, figure 9)")
    exact, noisy = fits
    tables_2_and_3(report, detail, each, exact, noisy)
    figure_9(report, detail.fit_places, NOISE, seed, noisy)
    progress(f"the outlook: {detail.loops} random markets in closed loop")
    report.section("The outlook: an online algorithm for Stage I")
    closed_loop(report, detail.loops, each)


@contextmanager
def _processes() -> Iterator[Each]:
    """A map over processes with one thread each for linear algebra: the matrices are small, and
    threads only wait for each other.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from unittest.mock import patch

    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (
        patch.dict(os.environ, threads),
        ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        yield pool.map


@click.command("market", cls=Command)
@option(
    "--full",
    is_flag=True,
    help=(
        "Finer grids and the document's 4000 random markets: much longer than the usual minute or"
        " two."
    ),
)
@option("--seed", type=int, default=1, help="Of the random markets and of the noise.")
@into_folder("market")
@as_json_option
def command(full: bool, seed: int, folder: Path, as_json: bool) -> None:
    """Which share of donations should creators keep? The study of Tang and Huang, all of it,
    computed again.

    Creators choose whether to take part and what to serve, knowing their share; the platform
    chooses the share. Figures 3 to 7 and 9, propositions 1, 2 and 4, remarks 2 to 5, tables II and
    III on a synthetic day of 96 quarter hours: what the document says, and whether it came out.
    """
    detail = FULL if full else Detail()
    mark = (
        ""
        if full
        else f"Short run: coarser grids, and {4 * detail.rounds} random markets of the document's"
        f" {4 * FULL.rounds}; --full has all of them."
    )
    report = Report(folder, "Donation markets: what Tang and Huang show, computed again", mark=mark)
    with _processes() as each:
        study(report, detail, seed, each)
    finish(report, as_json)


if __name__ == "__main__":
    command()
