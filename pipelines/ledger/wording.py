"""Explanations in words: sentences on what moved an amount, and the text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from textwrap import wrap
from typing import Any

from pipelines.ledger.counterfactual import COMPONENTS, LABELS, Part
from pipelines.ledger.explained import SOURCES, CreatorDay, Payout, VideoDay
from pipelines.money import money
from pipelines.plain import visible

_IN_WORDS = {
    "viewers": ("more viewers than usual", "fewer viewers than usual"),
    "trust": ("an audience that counts for more", "an audience that counts for less"),
    "group_weight": ("viewers of groups with a high weight", "viewers of groups with a low weight"),
    "watch": ("longer watching", "shorter watching"),
    "engagement": ("more engagement", "less engagement"),
    "diversity": ("more varied engagement", "less varied engagement"),
    "rewatch": ("more rewatching", "less rewatching"),
    "safety": ("a better safety score", "a worse safety score"),
    "fairness": ("the fairness rule for small earners", "the fairness rule for small earners"),
    "bounds": ("the floor or cap", "the floor or cap"),
    "rules": ("a rule over groups", "a rule over groups"),
    "quality": ("better quality", "lower quality"),
    "normal_coins": ("more normal coins", "fewer normal coins"),
    "premium_coins": ("more premium coins", "fewer premium coins"),
}
_FACTS = {
    "pool_micros": "the pool",
    "revenue_micros": "revenue",
    "platform_micros": "of which the platform keeps",
    "carry_in_micros": "carried in",
    "spread_micros": "taken over from other pools",
    "units": "units of fairness",
    "median_payout_micros": "median payout of its videos",
    "rules": "rules over groups",
    "floor_micros": "floor of a unit",
    "cap_micros": "cap of a unit",
    "share": "share of the pool's effective views",
    "carried_micros": "of this payout carried in",
    "unit_id": "unit of fairness",
    "unit_videos": "videos of this unit",
    "effective_view_micros": "an effective view earned",
    "normal_share": "x_n",
    "premium_share": "x_p",
    "quality": "Q",
    "safety": "S",
    "revenue_floor": "the platform keeps at least",
}
ORDER_FREE = (
    "A factor's part is what it adds when factors are switched one by one from typical to this"
    " video's own, averaged over all orders of switching; so no order of listing them favours any"
    " of them."
)


def bonus_in_words(last: date, facts: dict[str, Any]) -> str:
    views = views_in_words(facts["production_milliviews"])
    made = f"In {last:%B %Y} the videos had {views} effective views"
    if facts["level"]:
        words = (
            f"{made}: level {facts['level']}, which begins at"
            f" {views_in_words(facts['threshold_milliviews'])} and pays"
        )
        words += f" {money(facts['promised_micros'])}."
    else:
        words = f"{made}, less than the first level of the bonus schedule."
    if facts["paid_micros"] < facts["promised_micros"]:
        words += (
            f" The levels that all creators reached come to {money(facts['all_promised_micros'])},"
            f" more than the month's budget of {money(facts['budget_micros'])}, so everybody gets"
            f" that part of it: {money(facts['paid_micros'])}."
        )
    if facts["next_micros"] is not None:
        words += (
            f" The next level begins at {views_in_words(facts['next_milliviews'])} and pays"
            f" {money(facts['next_micros'])}."
        )
    return words


def views_in_words(milliviews: int) -> str:
    return f"{milliviews // 1000:,}.{milliviews % 1000:03}"


def phrase(part: Part) -> str:
    """A factor's part in words.

    >>> phrase(Part("viewers", -2_000_000, 3.0, 5.0))
    'fewer viewers than usual (-2.000000)'
    """
    more, less = _IN_WORDS[part.name]
    rising = (
        part.micros > 0 if part.own is None or part.typical is None else part.own > part.typical
    )
    return f"{more if rising else less} ({'+' if part.micros > 0 else ''}{money(part.micros)})"


def strongest(parts: Iterable[Part]) -> tuple[Part | None, Part | None]:
    """The factor that added most and the one that took most away."""
    factors = [p for p in parts if p.name in _IN_WORDS]
    most, least = (
        max(factors, key=lambda p: p.micros, default=None),
        min(factors, key=lambda p: p.micros, default=None),
    )
    return most if most and most.micros > 0 else None, least if least and least.micros < 0 else None


def pool_in_words(category: str, paid: int, parts: Sequence[Part], facts: dict[str, Any]) -> str:
    zero = [p for p in parts if p.name in COMPONENTS and p.own == 0]
    if paid == 0 and zero:
        return (
            f"Nothing: {LABELS[zero[0].name]} is 0, so its quality is 0 and the pool {category}"
            " pays it nothing."
        )
    if facts["rule"] == "equal":
        return (
            f"No video in {category} had quality above 0, so its pool was split equally:"
            f" {money(paid)}."
        )
    most, least = strongest(parts)
    moved = " and ".join(
        f"{phrase(part)} {did}"
        for part, did in ((most, "added most"), (least, "took most away"))
        if part
    )
    start = f"A typical video in its place would get {money(parts[0].micros)} from {category}"
    return (
        f"{start}; {moved}: {money(paid)}."
        if moved
        else f"{start}, and so does this video: {money(paid)}."
    )


def video_in_words(
    video_id: str, day: date, total: int, payouts: Sequence[Payout], notes: Sequence[str]
) -> str:
    sources = ", ".join(f"{money(p.paid_micros)} from {p.title}" for p in payouts if p.paid_micros)
    if not sources:
        return (
            f"{video_id} earned nothing on {day}. {' '.join([*notes, *(p.words for p in payouts)])}"
        )
    return f"{video_id} earned {money(total)} on {day}: {sources}."


def creator_in_words(
    creator_id: str, day: date, total: int, sources: dict[str, int], videos: Sequence[VideoDay]
) -> str:
    parts = ", ".join(
        f"{money(micros)} from {SOURCES[name]}" for name, micros in sources.items() if micros
    )
    if not parts:
        return f"{creator_id} earned nothing on {day}." + (
            "" if videos else " Nobody watched a video or gave a coin."
        )
    best = max(videos, key=lambda v: v.total_micros, default=None)
    most = (
        f" Most came from {best.video_id}, {money(best.total_micros)}."
        if best and len(videos) > 1
        else ""
    )
    return f"{creator_id} earned {money(total)} on {day}: {parts}.{most}"


def text(explained: VideoDay | CreatorDay) -> str:
    """The explanation for people: words first, then the parts of every payout, in currency units to
    the micro.
    """
    if isinstance(explained, VideoDay):
        return as_lines([*_video_lines(explained), "", *wrap(ORDER_FREE, 120)])
    lines = [
        f"creator {explained.creator_id}, {explained.day}, policy {explained.policy}",
        "",
        explained.words,
        "",
    ]
    lines += summed(
        [(SOURCES[name], money(micros)) for name, micros in explained.sources.items() if micros],
        explained.total_micros,
    )
    if explained.bonus:
        lines += [
            "",
            f"bonus: {money(explained.bonus.paid_micros)}",
            *wrap(explained.bonus.words, 120, initial_indent="  ", subsequent_indent="  "),
        ]
        lines += summed(
            [(p.label, money(p.micros)) for p in explained.bonus.parts if p.micros],
            explained.bonus.paid_micros,
        )
    for video in explained.videos:
        lines += ["", *_video_lines(video)]
    return as_lines([*lines, "", *wrap(ORDER_FREE, 120)])


def as_lines(lines: Sequence[str]) -> str:
    """A line stays one line whatever ids and reasons are in it."""
    return "\n".join(visible(line) for line in lines)


def _video_lines(video: VideoDay) -> list[str]:
    lines = [
        f"video {video.video_id} of creator {video.creator_id}, {video.day}, policy {video.policy}",
        "",
        *wrap(video.words, 120),
    ]
    lines += [note for note in video.notes if note not in video.words]
    for payout in video.payouts:
        lines += [
            "",
            f"{payout.title}: {money(payout.paid_micros)}",
            *wrap(payout.words, 120, initial_indent="  ", subsequent_indent="  "),
        ]
        lines += summed(
            [(p.label, money(p.micros), *figures(p)) for p in payout.parts], payout.paid_micros
        )
        facts = "; ".join(f"{name} {value}" for name, value in facts_of(payout))
        lines += wrap(facts, 120, initial_indent="  ", subsequent_indent="  ")
        if payout.comparison:
            lines += ["  compared with the median of the day's gifted videos:"]
            lines += summed(
                [(p.label, money(p.micros), *figures(p)) for p in payout.comparison],
                payout.paid_micros,
            )
    return lines


def figures(part: Part) -> tuple[str, str]:
    """A factor's own value and the typical one, as people read them."""
    return (
        f"{part.own:,.4g}" if part.own is not None else "",
        f"typical {part.typical:,.4g}" if part.typical is not None else "",
    )


def facts_of(payout: Payout) -> list[tuple[str, str]]:
    """The facts behind a payout as people read them: name and value."""
    return [
        (_FACTS.get(name, name.replace("_", " ")), _readable(name, value))
        for name, value in payout.facts.items()
    ]


def _readable(name: str, value: Any) -> str:
    if name.endswith("_micros"):
        return money(value)
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def summed(rows: Sequence[tuple[str, ...]], total: int) -> list[str]:
    """Lines of an indented table whose second column adds up to `total`."""
    lines = [*rows, ("=", money(total))]
    widths = [max((len(row[i]) for row in lines if i < len(row)), default=0) for i in range(4)]
    return ["    " + "  ".join(_aligned(row, widths)).rstrip() for row in lines]


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> list[str]:
    return [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)),
    ]
