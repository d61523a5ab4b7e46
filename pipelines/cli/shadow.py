"""The commands about the policy in shadow: what it moves, and letting a version pay."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from pipelines.actor import actor as whoever
from pipelines.console import DAY, OUT, Command, as_json_option, option, print_json, styled
from pipelines.settings import Home

if TYPE_CHECKING:
    from pipelines.ledger.guard import Judgement


def announced(home: Home) -> list[Judgement]:
    """Versions of the paying policy that are still to begin, and what they moved in shadow."""
    if not home.settings.shadow.policy:
        return []
    from pipelines.ledger.guard import coming
    from pipelines.store.warehouse import Warehouse

    if not Warehouse(home).exists():
        return []
    with Warehouse(home).look() as con:
        return coming(con, home)


def print_announced(found: list[Judgement]) -> None:
    """Who wins and who loses by what is to begin."""
    from pipelines.ledger.guard import in_words

    for judgement in found:
        first, *rest = in_words(judgement)
        OUT.print(styled("a new version begins.", "bold"), first)
        for line in rest:
            OUT.print(line)


@click.group()
def shadow() -> None:
    """A policy that every day is also paid under, beside the books: what it moves, and letting a
    version pay.

    settings.toml: [shadow] policy = "NAME" (docs/whatif.md).
    """


@shadow.command(cls=Command)
@option("--days", type=click.IntRange(1), help="Latest days in shadow. Default: all of them.")
@as_json_option
@click.pass_obj
def show(home: Home, days: int | None, as_json: bool) -> None:
    """What the policy in shadow moves against what was paid, and which version is to begin."""
    from pipelines.ledger.guard import in_words, moved_between
    from pipelines.store.warehouse import Warehouse

    house, found, coming = Warehouse(home), None, announced(home)
    if house.exists():
        with house.look() as con:
            there = con.execute(
                """SELECT day, policy_hash FROM written_days WHERE table_name = 'shadow_earnings'
                   AND NOT EXISTS (FROM figures AS f WHERE f.table_name = 'shadow_earnings'
                                   AND f.day = written_days.day AND f.figure = 'shadow_failed')
                   ORDER BY day DESC LIMIT ?""",
                [days or 1 << 30],
            ).fetchall()
            found = moved_between(con, [day for day, _ in there])
    if as_json:
        winners, losers = found.extremes(10) if found else ([], [])
        print_json(
            {
                "policy": home.settings.shadow.policy or None,
                "days": [str(day) for day in found.days] if found else [],
                "paid_micros": found.paid_micros if found else 0,
                "shadow_micros": found.shadow_micros if found else 0,
                "moved_share": found.share if found else 0.0,
                "winners": winners,
                "losers": losers,
                "coming": [judgement.as_dict() for judgement in coming],
            }
        )
        return
    if not found or not found.days:
        OUT.print("No day was paid in shadow yet (settings.toml: [shadow] policy).")
        return
    from pipelines.money import money

    OUT.print(
        f"{found.days[0]} to {found.days[-1]}, {len(found.days)} days: creators were paid"
        f" {money(found.paid_micros)} and would have got {money(found.shadow_micros)};"
        f" {found.share:.1%} of their money would go to somebody else."
    )
    for title, rows in zip(("gain most", "lose most"), found.extremes(5), strict=True):
        for row in rows:
            OUT.print(
                f"  {title}: {row['creator_id']} {money(row['paid_micros'])} ->"
                f" {money(row['shadow_micros'])}"
            )
    for judgement in coming:
        for line in in_words(judgement):
            OUT.print(line)


@shadow.command(cls=Command)
@option("--day", type=DAY, required=True, help="A day on which the version is in force.")
@option("--reason", required=True, help="Why it may pay all the same; it is kept for ever.")
@option("--by", "actor", help="Who says so. Default: EARNINGS_ACTOR, or the user's login name.")
@as_json_option
@click.pass_obj
def confirm(home: Home, day: datetime, reason: str, actor: str | None, as_json: bool) -> None:
    """Let a version of the policy pay, whatever it moved in shadow."""
    from pipelines.ledger.guard import confirm as confirm_version
    from pipelines.ledger.guard import in_words

    found = confirm_version(home, day.date(), reason=reason, actor=actor or whoever())
    if as_json:
        print_json(found.as_dict())
        return
    for line in in_words(found):
        OUT.print(line)
