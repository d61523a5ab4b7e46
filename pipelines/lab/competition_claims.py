"""What Yao et al. claim of their mechanisms, and which of it came out; theorem 2 where its sign is
certain, and where it is not.

What belongs here: the claims, each a sentence with the figures that decide it. Playing is in
`competition_runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.lab.competition_runs import (
    ADAPTIVE,
    HALVED,
    Experiment,
    Gains,
    Run,
    each_by_rank,
)
from pipelines.lab.finding import Side, mean, share, spread_ratio
from pipelines.lab.report import Report
from solvers.arrays import Floats


def shown(gain: Gains, names: Iterable[str], metric: str = "deployed") -> str:
    return ", ".join(
        f"{name} {gain[name][metric][0]:+.2f} +- {gain[name][metric][1]:.2f} %" for name in names
    )


def claims(report: Report, experiment: Experiment, runs: dict[str, list[Run]], gain: Gains) -> None:
    """The document's sentences about this setting, each judged over seeds."""

    def claim(says: str, *sides: Side, shown: str) -> None:
        report.judge(f"{experiment.name}: {says}", *sides, shown=shown)

    if experiment.is_toy:
        _toy_claims(claim, runs)
        return

    base = {d: np.array([r.late(default=d) for r in runs["base"]]) for d in (False, True)}

    def gains(name: str, *, default: bool = False) -> Floats:
        """By seed, in percent of the baseline's mean."""
        late = np.array([r.late(default=default) for r in runs[name]])
        return np.asarray(100 * (late - base[default]) / base[default].mean())

    def ahead(name: str, values: Floats, least: float = 0.0) -> Side:
        return Side(name, mean(values, unit="%"), least=least)

    claim(
        "all three mechanisms outperform the baseline (5.1.4)",
        *(ahead(name, gains(name)) for name in ADAPTIVE),
        shown=shown(gain, ADAPTIVE),
    )
    claim(
        "HMT gains most, SMT moderately, UIR least but something (5.1.4)",
        ahead("HMT over SMT", gains("HMT") - gains("SMT")),
        ahead("SMT over UIR", gains("SMT") - gains("UIR")),
        ahead("UIR", gains("UIR")),
        shown=shown(gain, ("HMT", "SMT", "UIR")),
    )
    claim(
        "the gain is creators serving users better, not a narrower matching (ours): most of it"
        " stays under the default matching",
        *(ahead(f"{name} deployed", gains(name)) for name in ("SMT", "HMT")),
        *(
            ahead(f"{name} default over half of it", gains(name, default=True) - gains(name) / 2)
            for name in ("SMT", "HMT")
        ),
        shown=f"default matching: {shown(gain, ('SMT', 'HMT'), 'default')}; a coordinated search"
        f" gained {shown(gain, ('coordinated',))}, so content alone can gain that at least",
    )
    best = max(ADAPTIVE, key=lambda name: gain[name]["deployed"][0])
    controls = ("static K", "static beta")
    claim(
        "adapting weights beats narrowing the matching for everybody (ours)",
        *(ahead(f"{best} over {name}", gains(best) - gains(name)) for name in controls),
        shown=shown(gain, (best, *controls)),
    )
    late = {name: [r.late() for r in runs[name]] for name in ADAPTIVE}
    claim(
        "HMT varies least, SMT most (5.1.4)",
        Side("log of UIR's sd over HMT's", spread_ratio(late["UIR"], late["HMT"]), least=0),
        Side("log of SMT's sd over UIR's", spread_ratio(late["SMT"], late["UIR"]), least=0),
        shown=", ".join(
            f"{n} sd {np.std(x, ddof=1) if len(x) > 1 else float('nan'):.4f}"
            for n, x in late.items()
        ),
    )

    def rise(name: str) -> Floats:
        curves = np.array([r.welfare for r in runs[name]])
        size = curves.shape[1]
        return np.asarray(curves[:, -max(1, size // 10) :].mean(axis=1) - curves[:, size // 5])

    claim(
        "the baseline plateaus, the mechanisms rise again (5.1.4), here: after a fifth of the"
        " steps, twice as much as it at least",
        *(
            Side(f"{name} over twice base", mean(rise(name) - 2 * np.maximum(rise("base"), 0)), 0)
            for name in ADAPTIVE
        ),
        shown=", ".join(f"{name} {rise(name).mean():+.4f}" for name in ("base", *ADAPTIVE)),
    )
    _group_claims(claim, runs)


Claiming = Callable[..., None]


def _toy_claims(claim: Claiming, runs: dict[str, list[Run]]) -> None:
    served = {name: sum(r.served for r in of) for name, of in runs.items()}
    of_runs = {name: share(served[name], len(of)) for name, of in runs.items()}
    claim(
        "without intervention some users stay unserved, in more than half of the runs (4.1)",
        Side("base: all five served", of_runs["base"], most=0.5),
        shown=f"all five served in {of_runs['base'].value:.0%} of runs",
    )
    claim(
        "halving the weight of the central user leads creators to all, in more than half (4.1)",
        Side(f"{HALVED}: all five served", of_runs[HALVED], least=0.5),
        shown=f"{of_runs[HALVED].value:.0%} of runs",
    )
    claim(
        "so do the adaptive mechanisms (4.2, 4.3)",
        *(Side(f"{name}: all five served", of_runs[name], least=0.5) for name in ADAPTIVE),
        shown=", ".join(f"{name} {of_runs[name].value:.0%}" for name in ADAPTIVE),
    )


def _group_claims(claim: Claiming, runs: dict[str, list[Run]]) -> None:
    """Figures b and c, judged on the document's groups; what the platform's own show stands
    beside.
    """

    def with_size(name: str, figure: str, of: Literal["seen", "document"] = "document") -> Floats:
        """By seed, the correlation with the logarithm of the group's size."""
        found = []
        for run in runs[name]:
            groups = getattr(run, of)
            values = getattr(groups, figure)
            flat = np.ptp(values) == 0 or np.ptp(groups.size) == 0
            found.append(0.0 if flat else np.corrcoef(np.log(groups.size), values)[0, 1])
        return np.array(found)

    def both(words: Callable[[Literal["seen", "document"]], str]) -> str:
        return f"{words('document')}; by the platform's groups {words('seen')}"

    claim(
        "all three give small groups more weight than large ones (figure b)",
        *(
            Side(f"{name}, correlation", mean(with_size(name, "weight")), most=0)
            for name in ADAPTIVE
        ),
        shown="correlation of weight and log size: "
        + both(
            lambda of: ", ".join(
                f"{name} {with_size(name, 'weight', of).mean():+.2f}" for name in ADAPTIVE
            )
        ),
    )
    claim(
        "without intervention larger groups are served better (figure c)",
        Side("base, correlation", mean(with_size("base", "utility")), least=0),
        shown="correlation of utility and log size "
        + both(lambda of: f"{with_size('base', 'utility', of).mean():+.2f}"),
    )

    def change(name: str, of: Literal["seen", "document"] = "document") -> Floats:
        """(seeds, ranks)"""
        own, base = (each_by_rank(runs[which], "utility", of=of) for which in (name, "base"))
        ranks = min(own.shape[1], base.shape[1])
        return np.asarray(own[:, :ranks] - base[:, :ranks])

    def halves(name: str, of: Literal["seen", "document"] = "document") -> tuple[Floats, Floats]:
        """Mean change by seed of the larger half of the groups, and of the smaller."""
        found = change(name, of)
        half = found.shape[1] // 2
        return found[:, :half].mean(axis=1), found[:, half:].mean(axis=1)

    def in_halves(name: str) -> str:
        def words(of: Literal["seen", "document"]) -> str:
            large, small = halves(name, of)
            return f"larger half {large.mean():+.4f}, smaller half {small.mean():+.4f}"

        return both(words)

    hmt = change("HMT")
    claim(
        "HMT improves every group (figure c)",
        *(Side(f"rank {rank}", mean(hmt[:, rank - 1]), 0) for rank in range(1, hmt.shape[1] + 1)),
        shown=both(
            lambda of: (
                f"{int((change('HMT', of).mean(axis=0) > 0).sum())} of"
                f" {change('HMT', of).shape[1]} ranks, from"
                f" {change('HMT', of).mean(axis=0).min():+.4f} to"
                f" {change('HMT', of).mean(axis=0).max():+.4f}"
            )
        ),
    )
    large, small = halves("UIR")
    claim(
        "UIR helps small groups and costs large ones a little (figure c)",
        Side("smaller half", mean(small), least=0),
        Side("larger half", mean(large), most=0),
        shown=in_halves("UIR"),
    )
    large, small = halves("SMT")
    claim(
        "SMT skews utilities towards large groups (figure c)",
        Side("larger half over smaller half", mean(large - small), least=0),
        shown=in_halves("SMT"),
    )


SOFT = ([1, 1, 1, 1], [2, 1], [1, 1, 3], [2, 1, 1, 0.5], [5, 1, 0.2])
SHARP: tuple[tuple[list[float], list[float], float], ...] = (
    ([2, 1], [250, 750], 0.2),
    ([2, 1], [500, 500], 0.3),
    ([2, 1], [667, 333], 0.2),
    ([2, 1, 1, 0.5], [250, 250, 250, 250], 0.2),
    ([2, 1, 1, 0.5], [444, 222, 222, 112], 0.2),
)


@dataclass(frozen=True)
class Slope:
    """What theorem 2's step does to welfare in one case: dW/d eta. `formula` is what it should be
    where creators stay together.
    """

    weights: str
    creators: str
    temperature: float
    bound: float
    soft: bool
    slope: float
    formula: float | None

    @property
    def improves(self) -> bool:
        """Welfare does not fall; differences below 1e-9 are those of the numerical derivative."""
        return self.slope >= -1e-9


def slopes() -> list[Slope]:
    """The soft cases at the temperature where their regime begins, then the sharp ones."""
    from solvers.competition import is_soft, orthogonal, sharp_slope, soft_slope

    found, eta = [], 1e-5
    for weights in SOFT:
        w = np.array(weights, dtype=np.float64)
        bound = float(w.max() / np.linalg.norm(w))
        ahead, behind = (
            orthogonal(
                w * np.exp(-t * w / np.linalg.norm(w)), creators=3, temperature=bound
            ).welfare()
            for t in (eta, -eta)
        )
        found.append(
            Slope(
                _words(weights),
                "together",
                bound,
                bound,
                True,
                (ahead - behind) / (2 * eta),
                soft_slope(w),
            )
        )
    for weights, counts, temperature in SHARP:
        bound = float(max(weights) / np.linalg.norm(weights))
        slope = sharp_slope(weights, counts, temperature)
        found.append(
            Slope(
                _words(weights),
                _words(counts),
                temperature,
                bound,
                is_soft(weights, temperature),
                slope,
                None,
            )
        )
    return found


def _words(numbers: Sequence[float]) -> str:
    return " ".join(map(str, numbers))


def theorem_2(report: Report) -> None:
    """The theorem where its sign is certain, and where its proof does not reach."""
    found = slopes()
    report.table(
        "theorem_2",
        (
            "weights",
            "creators by user",
            "temperature",
            "max w / norm",
            "regime",
            "dW/d eta",
            "improves",
        ),
        [
            (
                s.weights,
                s.creators,
                s.temperature,
                s.bound,
                "soft" if s.soft else "sharp",
                s.slope,
                s.improves,
            )
            for s in found
        ],
        "Theorem 2: what its step does to welfare. Soft: (S1 S3/S2^2 - 1)/m with S_k = sum of w^k,"
        " creators stay together. Sharp: creators have specialised",
    )
    soft, sharp = [s for s in found if s.soft], [s for s in found if not s.soft]
    error = max(abs(s.slope - s.formula) for s in soft if s.formula is not None)
    report.settled(
        "theorem 2: the step improves welfare, where temperature >= max w / norm of w",
        all(s.improves for s in soft) and error < 1e-8,
        f"{sum(s.improves for s in soft)} of {len(soft)} cases; the formula is the derivative to"
        f" {error:.0e}",
    )
    report.settled(
        "theorem 2: and where the temperature is small, as its proof assumes",
        all(s.improves for s in sharp),
        f"{sum(s.improves for s in sharp)} of {len(sharp)} cases improve; the worst dW/d eta is"
        f" {min(s.slope for s in sharp):.2g}",
    )


def in_words(experiment: Experiment, gain: Gains) -> str:
    """One paragraph: who gained, whether it was the content, and what the controls and the
    reference did.
    """

    def listed(names: Sequence[str]) -> str:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))

    sure = [name for name in ADAPTIVE if gain[name]["deployed"][0] > gain[name]["deployed"][1]]
    kept = [name for name in sure if gain[name]["default"][0] > gain[name]["default"][1]]
    control = max(("static K", "static beta"), key=lambda name: gain[name]["deployed"][0])
    content = (
        f"{listed(kept)} still {'does' if len(kept) == 1 else 'do'}"
        if kept
        else "none of them still does"
    )
    return (
        f"In words: {listed(sure) or 'none of the mechanisms'} certainly gained over doing nothing"
        f" in {experiment.name}."
        + (f" When the same content is matched as before, {content}." if sure else "")
        + f" A control that adapts to nobody gained: {shown(gain, (control,))}. What content alone"
        f" could gain: {shown(gain, ('coordinated',))}; that reference is a local search too, so"
        " it is a bound from below."
    )
