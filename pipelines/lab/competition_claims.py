"""What Yao et al. claim of their mechanisms, and which of it came out; theorem 2 where its sign is
certain, and where it is not.

What belongs here: the claims, each a sentence with the figures that decide it. Playing is in
`competition_runs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.lab.competition_runs import ADAPTIVE, HALVED, Experiment, Gains, Run, by_rank
from pipelines.lab.report import Report


def shown(gain: Gains, names: Iterable[str], metric: str = "deployed") -> str:
    return ", ".join(
        f"{name} {gain[name][metric][0]:+.2f} +- {gain[name][metric][1]:.2f} %" for name in names
    )


def claims(report: Report, experiment: Experiment, runs: dict[str, list[Run]], gain: Gains) -> None:
    def claim(says: str, holds: bool, shown: str) -> None:
        report.claim(f"{experiment.name}: {says}", holds, shown)

    if experiment.is_toy:
        share = {name: float(np.mean([r.served for r in of])) for name, of in runs.items()}
        claim(
            "without intervention some users stay unserved (4.1)",
            share["base"] <= 0.5,
            f"all five served in {share['base']:.0%} of runs",
        )
        claim(
            "halving the weight of the central user leads creators to all (4.1)",
            share[HALVED] > 0.5,
            f"{share[HALVED]:.0%} of runs",
        )
        claim(
            "so do the adaptive mechanisms (4.2, 4.3)",
            all(share[name] > 0.5 for name in ADAPTIVE),
            ", ".join(f"{name} {share[name]:.0%}" for name in ADAPTIVE),
        )
        return

    deployed = {name: metrics["deployed"] for name, metrics in gain.items()}
    default = {name: metrics["default"] for name, metrics in gain.items()}
    claim(
        "all three mechanisms outperform the baseline (5.1.4)",
        all(deployed[name][0] > deployed[name][1] for name in ADAPTIVE),
        shown(gain, ADAPTIVE),
    )
    claim(
        "HMT gains most, SMT moderately, UIR least but something (5.1.4)",
        deployed["HMT"][0] > deployed["SMT"][0] > deployed["UIR"][0] > 0,
        shown(gain, ("HMT", "SMT", "UIR")),
    )
    claim(
        "the gain is creators serving users better, not a narrower matching (ours): most of it"
        " stays under the default matching",
        all(default[name][0] > deployed[name][0] / 2 > 0 for name in ("SMT", "HMT")),
        f"default matching: {shown(gain, ('SMT', 'HMT'), 'default')}; content alone could gain"
        f" {shown(gain, ('coordinated',))}",
    )
    best = max(ADAPTIVE, key=lambda name: deployed[name][0])
    control = max(("static K", "static beta"), key=lambda name: deployed[name][0])
    claim(
        "adapting weights beats narrowing the matching for everybody (ours)",
        deployed[best][0] > deployed[control][0],
        f"{shown(gain, (best, control))}",
    )
    if experiment.seeds > 1:
        sd = {name: float(np.std([r.late() for r in runs[name]], ddof=1)) for name in ADAPTIVE}
        claim(
            "HMT varies least, SMT most (5.1.4)",
            sd["HMT"] < sd["UIR"] < sd["SMT"],
            ", ".join(f"{n} sd {s:.4f}" for n, s in sd.items()),
        )

    def rise(name: str) -> float:
        curve = np.mean([r.welfare for r in runs[name]], axis=0)
        return float(curve[-max(1, curve.size // 10) :].mean() - curve[curve.size // 5])

    claim(
        "the baseline plateaus, the mechanisms rise again (5.1.4), here: after a fifth of the"
        " steps",
        all(rise(name) > 2 * max(rise("base"), 0) for name in ADAPTIVE),
        ", ".join(f"{name} {rise(name):+.4f}" for name in ("base", *ADAPTIVE)),
    )

    def with_size(name: str, figure: str) -> float:
        return float(
            np.mean([np.corrcoef(np.log(r.size), getattr(r, figure))[0, 1] for r in runs[name]])
        )

    claim(
        "all three give small groups more weight than large ones (figure b)",
        all(with_size(name, "weight") < 0 for name in ADAPTIVE),
        "correlation of weight and log size: "
        + ", ".join(f"{name} {with_size(name, 'weight'):+.2f}" for name in ADAPTIVE),
    )
    claim(
        "without intervention larger groups are served better (figure c)",
        with_size("base", "utility") > 0,
        f"correlation of utility and log size {with_size('base', 'utility'):+.2f}",
    )
    change = {
        name: by_rank(runs[name], "utility") - by_rank(runs["base"], "utility") for name in ADAPTIVE
    }
    half = change["HMT"].size // 2
    claim(
        "HMT improves every group (figure c)",
        bool((change["HMT"] > 0).all()),
        f"{int((change['HMT'] > 0).sum())} of {change['HMT'].size} ranks, from"
        f" {change['HMT'].min():+.4f} to {change['HMT'].max():+.4f}",
    )
    claim(
        "UIR helps small groups and costs large ones a little (figure c)",
        change["UIR"][half:].mean() > 0 > change["UIR"][:half].mean(),
        f"smaller half {change['UIR'][half:].mean():+.4f}, larger half"
        f" {change['UIR'][:half].mean():+.4f}",
    )
    claim(
        "SMT skews utilities towards large groups (figure c)",
        change["SMT"][:half].mean() > change["SMT"][half:].mean(),
        f"larger half {change['SMT'][:half].mean():+.4f}, smaller half"
        f" {change['SMT'][half:].mean():+.4f}",
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
    report.claim(
        "theorem 2: the step improves welfare, where temperature >= max w / norm of w",
        all(s.improves for s in soft) and error < 1e-8,
        f"{sum(s.improves for s in soft)} of {len(soft)} cases; the formula is the derivative to"
        f" {error:.0e}",
    )
    report.claim(
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
