"""What an account that means to move pay can move: attackers let loose on a day of the home's own,
which is then paid again by the pipeline's own assets.

What belongs here: who is attacked, the axioms that judge any rule by what came out, and the page.
The attackers are in `attackers.py`, paying is in `trial.py`. Nothing here knows how a rule works,
so a new one is judged by the same attackers.

A *viewer-day* is the unit: what ads pay creators on the day, over the viewers who were there. An
account that is worth more than one is worth making.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from statistics import median

import click
import numpy as np

from pipelines.console import DAY, Command, as_json_option, option
from pipelines.errors import ExpectedError
from pipelines.lab.attackers import ATTACKERS, COINS, Attacker, Target, attack
from pipelines.lab.finding import Verdict, mean
from pipelines.lab.report import Report, finish, into_folder, progress
from pipelines.lab.trial import Trial, trial
from pipelines.money import money
from pipelines.policy import Policy, PolicyBook
from pipelines.settings import Home

SAMPLE = 20


class PricesError(ExpectedError, ValueError):
    """Prices of attackers that do not exist: names them, and those that do."""


@dataclass(frozen=True)
class Blow:
    """What so many accounts of one kind did to a creator's pay, by one rule (micros). `before` is
    what the creator was paid without them.
    """

    rule: str
    attacker: Attacker
    accounts: int
    target: Target
    micros: int
    viewer_day: float
    before: int = 0

    @property
    def each(self) -> float:
        """What an account moved, in viewer-days: gained, or taken from a rival."""
        moved = -self.micros if self.attacker.hurts else self.micros
        return moved / self.accounts / self.viewer_day if self.viewer_day else 0.0

    @property
    def profit(self) -> float:
        """Currency units an account earns over its price, for whoever is paid for it."""
        return self.micros / self.accounts / 1e6 - self.attacker.price / 1000

    @property
    def gain(self) -> float:
        """What it moved as a part of what the creator was paid."""
        return self.micros / self.before if self.before else 0.0


def targets(room: Trial, sample: int, *, seed: int = 7) -> tuple[list[Target], list[Target]]:
    """Whom nobody draws: the two creators whose videos most people watched, and the one whom the
    certificate of the day says to look at first; and a sample of the others.
    """
    rows = room.con.execute(
        """SELECT creator_id, arg_max(video_id, (n, video_id)), max(n) FROM (
               SELECT v.creator_id, e.video_id, count(DISTINCT viewer_id) AS n
               FROM viewer_events AS e
               JOIN (SELECT video_id, arg_max(creator_id, day) AS creator_id,
                            arg_max(compliant, day) AS compliant
                     FROM videos WHERE day <= $day GROUP BY video_id) AS v USING (video_id)
               WHERE e.day = $day AND v.compliant GROUP BY ALL)
           GROUP BY creator_id ORDER BY max(n) DESC, creator_id""",
        {"day": room.day},
    ).fetchall()
    found = [Target(*row) for row in rows]
    worst = room.con.execute(
        "SELECT creator_id, video_id FROM manipulation WHERE day = ? ORDER BY account_micros DESC,"
        " video_id LIMIT 1",
        [room.day],
    ).fetchall()
    first = [replace(target, drawn=False) for target in found[:2]]
    for creator, video in worst:
        viewers = {t.creator_id: t.viewers for t in found}.get(creator, 0)
        if creator not in {t.creator_id for t in first}:
            first.append(Target(creator, video, viewers, drawn=False))
    rest = [t for t in found if t.creator_id not in {t.creator_id for t in first}]
    chosen = np.random.default_rng(seed).permutation(len(rest))[:sample]
    return first, [rest[i] for i in sorted(chosen.tolist())]


def blows(
    room: Trial,
    rules: Sequence[Policy],
    *,
    sample: int,
    attackers: Sequence[Attacker] = ATTACKERS,
) -> Iterator[Blow]:
    """Every attacker against every rule. The least number of each is let loose on the whole sample
    at once, on each creator; more on one creator at a time.
    """
    for number, rule in enumerate(rules):
        if not number:
            room.keep(rule)
        first, others = targets(room, sample)
        if not first:
            return
        (viewers,) = room.con.execute(
            "SELECT count(DISTINCT viewer_id) FROM viewer_events WHERE day = ?", [room.day]
        ).fetchall()[0]
        paid = {coins: room.attacked(rule, coins=coins) for coins in (False, True)}
        viewer_day = sum(paid[False].values()) / viewers
        for done, attacker in enumerate(attackers):
            progress(f"{rule.name}: {attacker.name} ({done + 1} of {len(attackers)})")
            coins = attacker.kind == "gifts"
            for count in attacker.counts:
                for group in _groups(attacker, count, first, others):
                    after = room.attacked(
                        rule, attack(attacker, group, count, room.day), coins=coins
                    )
                    moved = {
                        target: _of_creator(after, target.creator_id)
                        - paid[coins].get(target.creator_id, 0)
                        for target in group
                    }
                    if attacker.kind == "ring":
                        moved = {group[0]: sum(moved.values())}
                    spent = COINS * count * rule.coins.coin_micros if coins else 0
                    for target, micros in moved.items():
                        before = paid[coins].get(target.creator_id, 0)
                        yield Blow(
                            rule.name, attacker, count, target, micros - spent, viewer_day, before
                        )


def _groups(
    attacker: Attacker, count: int, first: Sequence[Target], others: Sequence[Target]
) -> list[list[Target]]:
    """Who is attacked together."""
    if attacker.kind == "ring":
        return [[target, *others[: count - 1]] for target in first[:1]] + (
            [list(others[:count])] if len(others) >= count else []
        )
    if count == min(attacker.counts):
        return [[target] for target in first] + ([list(others)] if others else [])
    return [[target] for target in (*first[-2:], *others[:1])]


def _of_creator(paid: Mapping[str, int], creator: str) -> int:
    """What a creator got, under all names."""
    return sum(
        micros for name, micros in paid.items() if name == creator or name.startswith(f"{creator}~")
    )


# --------------------------------------------------------------------------------------- the axioms


def at_most(found: Sequence[float], bound: float, *, share: float = 1.0) -> Verdict:
    """Whether the `share` quantile of what was found is at most the bound; with too few to say,
    cannot tell. A single case beyond it is a no for share = 1.

    >>> [str(at_most(x, 1.0, share=s)) for x, s in (([0.5, 0.8], 1), ([0.5, 1.2], 1), ([0.5], 0.99))]
    ['yes', 'no', 'cannot tell']
    """
    if not found or (share < 1 and len(found) * (1 - share) < 1):
        return Verdict.CANNOT_TELL
    reached = float(np.quantile(found, share, method="higher"))
    return Verdict.YES if reached <= bound else Verdict.NO


def no_account_is_worth_more(found: Sequence[Blow], bound: float = 2.0) -> Verdict:
    """No single unverified account brings a creator more than so many viewer-days."""
    return at_most(AXIOMS["one account"].values(found), bound)


def many_are_worth_no_more(found: Sequence[Blow], bound: float = 1.0) -> Verdict:
    """Nor does each of ten, a hundred or a thousand."""
    return at_most(AXIOMS["many"].values(found), bound)


def no_sabotage_beyond(found: Sequence[Blow], bound: float = 1.0) -> Verdict:
    """No account takes more than so many viewer-days from a rival."""
    return at_most(AXIOMS["sabotage"].values(found), bound)


def no_profit_from_splitting(found: Sequence[Blow], bound: float = 0.01) -> Verdict:
    """No creator gains more than so large a part of their pay by cutting an account or a video."""
    return at_most(AXIOMS["splitting"].values(found), bound)


def labels_bring_nothing(found: Sequence[Blow], bound: float = 0.01) -> Verdict:
    """Nor by labels that the video is not about."""
    return at_most(AXIOMS["labels"].values(found), bound)


def own_gifts_cost(found: Sequence[Blow]) -> Verdict:
    """Nobody gets back more than they gave to themselves."""
    return at_most(AXIOMS["gifts"].values(found), 0.0)


def crime_does_not_pay(found: Sequence[Blow]) -> Verdict:
    """No account earns its creator more than it costs."""
    return at_most(AXIOMS["profit"].values(found), 0.0)


@dataclass(frozen=True)
class Axiom:
    """A sentence about all attacks of some kinds: whose figure lies beyond the bound breaks it."""

    says: str
    bound: float
    kinds: tuple[str, ...]
    figure: str
    hurts: bool = False
    verified: bool = False
    least: int = 1
    most: int = 10**9

    def values(self, found: Sequence[Blow]) -> list[float]:
        """The figure of every attack that it is about."""
        return [
            float(getattr(b, self.figure))
            for b in found
            if b.attacker.kind in self.kinds
            and b.attacker.hurts == self.hurts
            and (self.verified or not b.attacker.verified)
            and self.least <= b.accounts <= self.most
        ]


_ACCOUNTS = ("accounts", "devoted", "ring")
AXIOMS = {
    "one account": Axiom(
        "no unverified account is worth more than two viewer-days to anybody",
        2.0, ("accounts", "devoted"), "each", most=1,
    ),
    "many": Axiom(
        "nor is each of ten, a hundred or a thousand worth more than one",
        1.0, _ACCOUNTS, "each", least=2,
    ),
    "sabotage": Axiom(
        "no account takes more than a viewer-day from a rival", 1.0, ("accounts",), "each",
        hurts=True,
    ),
    "splitting": Axiom(
        "nobody gains a hundredth by cutting an account or a video", 0.01, ("creator", "video"),
        "gain",
    ),
    "labels": Axiom("nor by labels that a video is not about", 0.01, ("labels",), "gain"),
    "gifts": Axiom("nobody gets back more than they gave to themselves", 0.0, ("gifts",), "each"),
    "profit": Axiom(
        "no account earns more than it costs", 0.0, _ACCOUNTS, "profit", verified=True
    ),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------


def priced(prices: Mapping[str, float]) -> list[Attacker]:
    """The attackers at the prices of the settings.

    Raises
    ------
    PricesError
        A price of nobody.
    """
    names = {attacker.name for attacker in ATTACKERS}
    if unknown := sorted(set(prices) - names):
        raise PricesError(
            f"settings.toml, [gaming_prices]: there is no attacker {unknown[0]!r}; there are"
            f" {', '.join(sorted(names))}"
        )
    return [replace(a, price=prices.get(a.name, a.price)) for a in ATTACKERS]


def study(
    report: Report,
    room: Trial,
    rules: Sequence[Policy],
    sample: int,
    attackers: Sequence[Attacker] = ATTACKERS,
) -> None:
    """Fill the report."""
    found = list(blows(room, rules, sample=sample, attackers=attackers))
    report.say(
        f"Attackers changed the rows of {room.day} and the day was paid again, rule by rule,"
        " by the pipeline's own assets. A viewer-day is what ads pay creators on the day over the"
        " viewers who were there; gains and damage are in viewer-days an account. The least number"
        " of each was tried on the two most watched creators, on the one whom the day's"
        f" certificate says to look at first, and on {sample} drawn at random, more of them on"
        " three of these. The mean of those who were drawn has an interval at 95 %; the worst is"
        " the worst of all."
    )
    _tables(report, found, attackers)
    for rule in dict.fromkeys(b.rule for b in found):
        own = [b for b in found if b.rule == rule]
        _plot(report, rule, own)
        paid = money(round(own[0].viewer_day))
        for axiom in AXIOMS.values():
            values = axiom.values(own)
            figures = (
                f"median {median(values):.3g}, worst {max(values):.3g}"
                if values
                else "nothing tried"
            )
            report.never(
                f"{rule}: {axiom.says}",
                sum(x > axiom.bound for x in values),
                len(values),
                "attacks",
                f"{figures}; a viewer-day is {paid}",
            )


def _tables(report: Report, found: Sequence[Blow], attackers: Sequence[Attacker]) -> None:
    summary: list[tuple[object, ...]] = []
    for (rule, attacker, number), some in groupby(
        found, key=lambda b: (b.rule, b.attacker.name, b.accounts)
    ):
        these = list(some)
        each, worst = [b.each for b in these], max(these, key=lambda b: b.each)
        drawn = mean([b.each for b in these if b.target.drawn], of="creators")
        low, high = (round(end, 3) if np.isfinite(end) else "" for end in drawn.interval)
        summary.append(
            (
                *(rule, attacker, number, len(these), round(median(each), 3)),
                *(round(drawn.value, 3) if drawn.n else "", low, high, round(worst.each, 3)),
                f"{worst.target.creator_id} ({worst.target.viewers} viewers)",
                f"{max(b.gain for b in these):.1%}",
                round(max(b.profit for b in these), 6),
            )
        )
    report.table(
        "attacks",
        (
            *("rule", "attacker", "accounts", "creators", "median", "mean of those drawn"),
            *("from", "to", "worst", "worst for", "of the pay, most", "profit an account, most"),
        ),
        summary,
        "Viewer-days an account moves, and currency units it earns over its price",
        most=len(summary),
    )
    report.table(
        "prices",
        ("attacker", "what it does", "price of a thousand"),
        [(a.name, a.what, a.price) for a in attackers],
        "The attackers, and what they are taken to cost ([gaming_prices] in settings.toml)",
    )


def _plot(report: Report, rule: str, found: Sequence[Blow]) -> None:
    with report.plot(
        f"worth-{rule}", f"{rule}: what an account is worth, the worst case, by number"
    ) as axis:
        for attacker, some in groupby(found, key=lambda b: b.attacker):
            if attacker.kind not in _ACCOUNTS:
                continue
            worst: dict[int, float] = {}
            for blow in some:
                worst[blow.accounts] = max(worst.get(blow.accounts, 0.0), blow.each)
            axis.plot(
                list(worst),
                [max(value, 1e-3) for value in worst.values()],
                "o--" if attacker.hurts else "o-",
                label=attacker.name,
            )
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="accounts", ylabel="viewer-days each")
        axis.legend(fontsize=7)


@click.command("gaming", cls=Command)
@option("--day", type=DAY, required=True, help="Day to attack; it must have been run.")
@option("--sample", default=SAMPLE, type=click.IntRange(1), help="Creators drawn at random.")
@option(
    "--rule",
    "names",
    multiple=True,
    help="Policy to judge; may be given more than once. Default: the one in force.",
)
@into_folder("gaming")
@as_json_option
@click.pass_obj
def command(
    home: Home, day: datetime, sample: int, names: tuple[str, ...], folder: Path, as_json: bool
) -> None:
    """What bought accounts and tricks move: mimics, farms, saboteurs, rings, cut accounts and videos,
    stuffed labels and washed gifts let loose on a day that is paid again.

    For each rule: what they are worth to a creator or cost a rival, in viewer-days, what they earn
    over their price ([gaming_prices] in settings.toml), and whether the rule keeps the axioms.
    """
    attackers = priced(home.settings.gaming_prices)
    wanted = names or (home.policies.in_force(day.date()).name,)
    rules = [PolicyBook.read(home.policy_folder, name).in_force(day.date()) for name in wanted]
    report = Report(
        folder,
        f"Gaming {day:%Y-%m-%d}: {', '.join(wanted)}",
        mark=f"Short run: {sample} creators drawn, not {SAMPLE}." if sample < SAMPLE else "",
    )
    reach = max(rule.quality.window_days for rule in rules)
    with trial(home, day.date(), window_days=reach) as room:
        study(report, room, rules, sample, attackers)
    finish(report, as_json)
