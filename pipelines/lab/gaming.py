"""What an account that means to move pay can move: attackers let loose on a day of the home's own,
which is then paid again by the pipeline's own assets.

What belongs here: the attackers, what they cost, the axioms that judge any rule by what came out,
and the page. Paying is in `trial.py`. Nothing here knows how a rule works, so a new one is judged
by the same attackers.

A *viewer-day* is the unit: what ads pay creators on the day, over the viewers who were there. An
account that is worth more than one is worth making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from statistics import median

import click
import numpy as np

from pipelines.console import DAY, Command, as_json_option, option
from pipelines.lab.finding import Verdict
from pipelines.lab.report import Report, finish, into_folder, progress
from pipelines.lab.trial import Trial, trial
from pipelines.money import money
from pipelines.policy import Policy, PolicyBook
from pipelines.settings import Home
from pipelines.store.warehouse import Connection

COUNTS = (1, 10, 100, 1000)
SAMPLE = 20


@dataclass(frozen=True)
class Attacker:
    """Accounts that all do the same to one video.

    `loops`: watch time over the video's length; `price`: what a thousand of them cost, in currency
    units, as such services are offered in the street (2020 to 2025, a few units a thousand actions;
    an account with a verified phone far more). `hurts`: aimed at a rival.
    """

    name: str
    what: str
    loops: float
    actions: tuple[str, ...]
    price: float
    verified: bool = False
    hurts: bool = False


ALL = ("liked", "commented", "shared", "followed")
ATTACKERS = (
    Attacker("mimic", "watches twice, likes, comments, shares and follows", 2.02, ALL, 12.0),
    Attacker("watch farm", "watches once, and nothing else", 1.0, (), 1.0),
    Attacker("like farm", "likes without watching", 0.0, ("liked",), 2.0),
    Attacker("aged account", "a mimic with a verified account", 2.02, ALL, 2000.0, verified=True),
    Attacker("silent saboteur", "opens a rival's video and leaves", 0.0, (), 0.5, hurts=True),
    Attacker(
        "liking saboteur", "likes a rival's video and leaves", 0.0, ("liked",), 2.0, hurts=True
    ),
    Attacker("bored saboteur", "watches a tenth of a rival's video", 0.11, (), 0.5, hurts=True),
)


@dataclass(frozen=True)
class Target:
    """A creator, and the video of theirs that most people watched."""

    creator_id: str
    video_id: str
    viewers: int


@dataclass(frozen=True)
class Blow:
    """What so many accounts of one kind did to a creator's pay, by one rule (micros)."""

    rule: str
    attacker: Attacker
    accounts: int
    target: Target
    micros: int
    viewer_day: float

    @property
    def each(self) -> float:
        """What an account moved, in viewer-days: gained, or taken from a rival."""
        moved = -self.micros if self.attacker.hurts else self.micros
        return moved / self.accounts / self.viewer_day if self.viewer_day else 0.0

    @property
    def profit(self) -> float:
        """Currency units an account earns over its price, for whoever is paid for it."""
        return self.micros / self.accounts / 1e6 - self.attacker.price / 1000


def accounts(
    attacker: Attacker, targets: Sequence[Target], number: int, day: date
) -> Callable[[Connection], None]:
    """So many accounts of that kind for each target, written among the day's rows."""

    def attack(con: Connection) -> None:
        con.execute(
            """CREATE OR REPLACE TEMP TABLE staged AS
               SELECT 'gaming-' || video_id || '-' || i AS viewer_id, video_id
               FROM (SELECT unnest($videos) AS video_id), range($number) AS r(i)""",
            {"videos": [target.video_id for target in targets], "number": number},
        )
        con.execute(
            """INSERT INTO viewers BY NAME SELECT $day AS day, viewer_id, $verified AS verified,
               1.0 AS trust, 'gaming' AS source FROM staged""",
            {"day": day, "verified": attacker.verified},
        )
        did = ", ".join(f"{name in attacker.actions} AS {name}" for name in ALL)
        con.execute(
            f"""INSERT INTO viewer_events BY NAME
                SELECT $day AS day, viewer_id AS event_id, $day::TIMESTAMP AS ts, viewer_id,
                       video_id, ceil(length_ms * $loops)::BIGINT AS watch_ms, {did}, length_ms,
                       false AS repeated, 'gaming' AS source
                FROM staged JOIN (SELECT video_id, arg_max(length_ms, day) AS length_ms FROM videos
                                  WHERE day <= $day GROUP BY video_id) USING (video_id)""",
            {"day": day, "loops": attacker.loops},
        )

    return attack


def targets(room: Trial, sample: int, *, seed: int = 7) -> tuple[list[Target], list[Target]]:
    """The three creators whose videos most people watched, and a sample of the others."""
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
    rest = found[3:]
    chosen = np.random.default_rng(seed).permutation(len(rest))[:sample]
    return found[:3], [rest[i] for i in sorted(chosen.tolist())]


def blows(
    room: Trial,
    rules: Sequence[Policy],
    *,
    sample: int,
    counts: Sequence[int] = COUNTS,
    attackers: Sequence[Attacker] = ATTACKERS,
) -> Iterator[Blow]:
    """Every attacker against every rule. Single accounts are let loose on the whole sample at once,
    each on a creator of its own; many on one creator at a time, the largest and a few of the
    sample.
    """
    top, others = targets(room, sample)
    if not top:
        return
    (viewers,) = room.con.execute(
        "SELECT count(DISTINCT viewer_id) FROM viewer_events WHERE day = ?", [room.day]
    ).fetchall()[0]
    for rule in rules:
        before = room.attacked(rule)
        viewer_day = sum(before.values()) / viewers
        for attacker in attackers:
            progress(f"{rule.name}: {attacker.name}")
            for number in counts:
                few = [*top[:2], *others[:2]]
                together = (
                    [[t] for t in top] + ([others] if others else [])
                    if number == 1
                    else [[t] for t in few]
                )
                for group in together:
                    after = room.attacked(rule, accounts(attacker, group, number, room.day))
                    for target in group:
                        moved = after.get(target.creator_id, 0) - before.get(target.creator_id, 0)
                        yield Blow(rule.name, attacker, number, target, moved, viewer_day)


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


def no_account_is_worth_more(found: Sequence[Blow], bound: float = 1.0) -> Verdict:
    """No single unverified account brings a creator more than so many viewer-days."""
    return at_most([b.each for b in found if b.accounts == 1 and _of(b, verified=False)], bound)


def many_are_worth_no_more(found: Sequence[Blow], bound: float = 1.0) -> Verdict:
    """Nor does each of ten, a hundred or a thousand."""
    return at_most([b.each for b in found if b.accounts > 1 and _of(b, verified=False)], bound)


def no_sabotage_beyond(found: Sequence[Blow], bound: float = 1.0) -> Verdict:
    """No account takes more than so many viewer-days from a rival."""
    return at_most([b.each for b in found if b.attacker.hurts], bound)


def crime_does_not_pay(found: Sequence[Blow]) -> Verdict:
    """No account earns its creator more than it costs."""
    return at_most([b.profit for b in found if not b.attacker.hurts], 0.0)


def _of(blow: Blow, *, verified: bool) -> bool:
    return not blow.attacker.hurts and blow.attacker.verified == verified


# --------------------------------------------------------------------------------------------------


def study(report: Report, room: Trial, rules: Sequence[Policy], sample: int) -> None:
    """Fill the report."""
    found = list(blows(room, rules, sample=sample))
    report.say(
        f"Accounts were added to the rows of {room.day} and the day was paid again, rule by rule,"
        " by the pipeline's own assets. A viewer-day is what ads pay creators on the day over the"
        " viewers who were there; gains and damage are in viewer-days an account. Single accounts"
        f" were tried on the three most watched creators and on {sample} drawn at random, many on"
        " four of them."
    )
    summary: list[tuple[object, ...]] = []
    for (rule, attacker, number), some in groupby(
        found, key=lambda b: (b.rule, b.attacker.name, b.accounts)
    ):
        these = list(some)
        each, worst = [b.each for b in these], max(these, key=lambda b: b.each)
        summary.append(
            (
                rule,
                attacker,
                number,
                len(these),
                round(median(each), 3),
                round(worst.each, 3),
                f"{worst.target.creator_id} ({worst.target.viewers} viewers)",
                round(max(b.profit for b in these), 6),
            )
        )
    report.table(
        "attacks",
        (
            "rule",
            "attacker",
            "accounts",
            "creators",
            "median",
            "worst",
            "worst for",
            "profit an account",
        ),
        summary,
        "Viewer-days an account moves, and currency units it earns over its price",
        most=len(summary),
    )
    report.table(
        "prices",
        ("attacker", "what an account does", "price of a thousand"),
        [(a.name, a.what, a.price) for a in ATTACKERS],
        "The attackers, and what they are taken to cost",
    )
    for rule in dict.fromkeys(b.rule for b in found):
        own = [b for b in found if b.rule == rule]
        paid = money(round(own[0].viewer_day))
        for says, beyond, shown in (
            (
                "no unverified account is worth more than one viewer-day to anybody",
                1.0,
                [b.each for b in own if b.accounts == 1 and _of(b, verified=False)],
            ),
            (
                "nor is each of ten, a hundred or a thousand",
                1.0,
                [b.each for b in own if b.accounts > 1 and _of(b, verified=False)],
            ),
            (
                "no account takes more than a viewer-day from a rival",
                1.0,
                [b.each for b in own if b.attacker.hurts],
            ),
            (
                "no account earns more than it costs",
                0.0,
                [b.profit for b in own if not b.attacker.hurts],
            ),
        ):
            figures = (
                f"median {median(shown):.3g}, worst {max(shown):.3g}" if shown else "nothing tried"
            )
            report.never(
                f"{rule}: {says}",
                sum(x > beyond for x in shown),
                len(shown),
                "attacks",
                f"{figures}; a viewer-day is {paid}",
            )


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
    """What bought accounts move: mimics, farms and saboteurs let loose on a day that is paid again.

    For each rule: what one, ten, a hundred and a thousand accounts are worth to a creator or cost a
    rival, in viewer-days, what they earn over their price, and whether the rule keeps the axioms.
    """
    wanted = names or (home.policies.in_force(day.date()).name,)
    rules = [PolicyBook.read(home.policy_folder, name).in_force(day.date()) for name in wanted]
    report = Report(
        folder,
        f"Gaming {day:%Y-%m-%d}: {', '.join(wanted)}",
        mark=f"Short run: {sample} creators drawn, not {SAMPLE}." if sample < SAMPLE else "",
    )
    reach = max(rule.quality.window_days for rule in rules)
    with trial(home, day.date(), window_days=reach) as room:
        study(report, room, rules, sample)
    finish(report, as_json)
