"""A creator's month: what the account held, what was earned, corrected and paid, and why the ad
pools paid what they did.

What belongs here: the month as the ledger books it, summed explanations, text and the
self-contained HTML page (`statement.html.j2`). How one payout is taken apart is in
`explanation.py`; what is paid when days are closed is decided in `closing.py`.
"""

from __future__ import annotations

from calendar import month_name, monthrange
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from textwrap import wrap
from typing import Any

from pipelines.ledger.counterfactual import LABELS, NothingToExplainError, Part
from pipelines.ledger.entries import REVERSALS
from pipelines.ledger.explained import BonusMonth, CreatorDay, VideoDay
from pipelines.ledger.explanation import DayBook, bonus_month
from pipelines.ledger.revenue import (
    KINDS,
    Estimate,
    TakenOut,
    VideoCorrection,
    estimates,
    taken_out,
    video_corrections,
)
from pipelines.ledger.whereabouts import Transfer, Waiting, transfers, waiting
from pipelines.ledger.wording import ORDER_FREE, as_lines, phrase, strongest, summed
from pipelines.money import MICROS_PER_CENT, cents, money
from pipelines.plain import page_template
from pipelines.store.warehouse import Connection

_TOP_VIDEOS = 10


@dataclass(frozen=True)
class Correction:
    """A day that was closed before and came out differently: what it was and is for this creator
    (micros). `videos`: what each reason changed for each video; with what parts in videos changed
    (`shares_micros`) they sum to it, where the version that corrected the day kept them.
    """

    day: date
    booked_day: date
    reason: str
    before_micros: int
    after_micros: int
    videos: tuple[VideoCorrection, ...] = ()
    shares_micros: int = 0

    @property
    def micros(self) -> int:
        return self.after_micros - self.before_micros


@dataclass(frozen=True)
class Adjustment:
    """What a budget-neutral restatement of `day` adds or takes (micros)."""

    day: date
    booked_day: date
    reason: str
    micros: int


@dataclass(frozen=True)
class Payment:
    """What was paid when the days through `day` were closed."""

    day: date
    cents: int


@dataclass(frozen=True)
class VideoMonth:
    """A video's month (micros), with one line of words."""

    video_id: str
    micros: int
    words: str


@dataclass(frozen=True)
class CreatorMonth:
    """A creator's month. opening + earned + corrections + adjustments - paid = closing, to the
    micro.

    Everything down to `sources` is what the ledger books in the month; `sources` sum to what was
    earned. What follows explains the days of the month as they stand now, which differs from what
    was earned by corrections booked elsewhere: `factors` sum to what the ad pools pay, `coins` to
    what is kept of gifts (`own`: coins gifted), with the largest such payout in words. `bonuses`
    are those that are booked in the month, as they stand now. `estimates` are days whose pay may
    change when revenue is final, `taken_out` is what does not count of the month's days.
    `transfers` and `waiting` are what became of everything that was ever stated.
    """

    creator_id: str
    first_day: date
    last_day: date
    policies: tuple[str, ...]
    opening_micros: int
    earned_micros: int
    corrected_micros: int
    adjusted_micros: int
    paid_cents: int
    closing_micros: int
    days: dict[date, int]
    corrections: tuple[Correction, ...]
    adjustments: tuple[Adjustment, ...]
    payments: tuple[Payment, ...]
    estimates: tuple[Estimate, ...]
    taken_out: tuple[TakenOut, ...]
    transfers: tuple[Transfer, ...]
    waiting: tuple[Waiting, ...]
    sources: dict[str, int]
    factors: tuple[Part, ...]
    coins: tuple[Part, ...]
    coin_words: str
    bonuses: tuple[BonusMonth, ...]
    videos: tuple[VideoMonth, ...]
    words: tuple[str, ...]

    @property
    def pools_micros(self) -> int:
        """What the ad pools pay for the days of the month as they stand now."""
        return sum(part.micros for part in self.factors)

    @property
    def estimated_micros(self) -> int:
        """What of the pay of the month's days rests on estimated revenue."""
        return sum(estimate.micros for estimate in self.estimates)

    @property
    def title(self) -> str:
        return f"{month_name[self.first_day.month]} {self.first_day.year}"

    def as_dict(self) -> dict[str, Any]:
        def plain(value: Any) -> Any:
            if isinstance(value, date):
                return value.isoformat()
            if isinstance(value, dict):
                return {plain(key): plain(of_key) for key, of_key in value.items()}
            return [plain(item) for item in value] if isinstance(value, list | tuple) else value

        return {name: plain(value) for name, value in asdict(self).items()}


def creator_month(con: Connection, creator_id: str, year: int, month: int) -> CreatorMonth:
    """What the ledger books for a creator in a month, and why.

    Raises
    ------
    NothingToExplainError
        No day of the month is made, or there is no such creator.
    """
    first, last = date(year, month, 1), date(year, month, monthrange(year, month)[1])
    made = [
        day
        for (day,) in con.execute(
            "SELECT day FROM written_days WHERE table_name = 'creator_earnings' AND day BETWEEN ?"
            " AND ? ORDER BY day",
            [first, last],
        ).fetchall()
    ]
    if not made:
        begin, end = con.execute(
            "SELECT min(day), max(day) FROM written_days WHERE table_name = 'creator_earnings'"
        ).fetchall()[0]
        raise NothingToExplainError(
            f"no day of {year}-{month:02} is made; "
            + (f"there are days from {begin} to {end}" if begin else "no day is made at all")
        )
    (since,) = con.execute(
        "SELECT min(day) FROM creators WHERE creator_id = ?", [creator_id]
    ).fetchall()[0]
    explained = [
        DayBook.of(con, day).creator(creator_id) for day in made if since is None or since <= day
    ]
    booked = _booked(con, creator_id, last)
    month_rows = [row for row in booked if row.booked_day >= first]
    opening = sum(row.micros for row in booked if row.booked_day < first)
    earned = [
        row
        for row in month_rows
        if row.kind != "statement" and row.part != "adjustment" and row.is_earned
    ]
    corrections = _corrections(
        [row for row in month_rows if row.part != "adjustment" and not row.is_earned],
        video_corrections(con, creator_id, first, last),
    )
    estimated = estimates(con, creator_id, first, last)
    adjustments = _adjustments([row for row in month_rows if row.part == "adjustment"])
    payments = tuple(
        Payment(row.day, -row.micros // MICROS_PER_CENT)
        for row in month_rows
        if row.kind == "statement"
    )
    total, corrected, adjusted = (
        sum(row.micros for row in earned),
        sum(c.micros for c in corrections),
        sum(a.micros for a in adjustments),
    )
    paid = sum(p.cents for p in payments)
    days = Counter(dict.fromkeys(made, 0))
    sources: Counter[str] = Counter()
    for row in earned:
        days[row.booked_day] += row.micros
        sources[_source(row.part)] += row.micros
    factors = _summed(
        payout.parts
        for day in explained
        for video in day.videos
        for payout in video.payouts
        if payout.source == "ads"
    )
    coins, coin_words = _coins(explained)
    closing = opening + total + corrected + adjusted - paid * MICROS_PER_CENT
    return CreatorMonth(
        creator_id=creator_id,
        first_day=first,
        last_day=last,
        policies=tuple(dict.fromkeys(day.policy for day in explained if day.policy)),
        opening_micros=opening,
        earned_micros=total,
        corrected_micros=corrected,
        adjusted_micros=adjusted,
        paid_cents=paid,
        closing_micros=closing,
        days=dict(sorted(days.items())),
        corrections=corrections,
        adjustments=adjustments,
        payments=payments,
        estimates=estimated,
        taken_out=taken_out(con, creator_id, first, last),
        transfers=transfers(con, creator_id),
        waiting=waiting(con, creator_id),
        sources=dict(sorted(sources.items(), key=lambda item: (-item[1], item[0]))),
        factors=factors,
        coins=coins,
        coin_words=coin_words,
        bonuses=tuple(
            b
            for b in (
                bonus_month(con, creator_id, day)
                for day in sorted({r.day for r in earned if r.kind == "bonus"})
            )
            if b
        ),
        videos=_best_videos(explained),
        words=_in_words(
            f"{month_name[month]} {year}",
            days,
            sources,
            factors,
            corrected + adjusted,
            paid,
            closing,
            estimated,
        ),
    )


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    kind: str
    day: date
    booked_day: date
    reason: str
    link: str | None
    part: str
    micros: int

    @property
    def is_earned(self) -> bool:
        """Not a correction of what was closed before: booked on its own day, or the first bonus of
        a month that was closed.
        """
        return self.day == self.booked_day or (self.kind == "bonus" and self.link is None)


def _booked(con: Connection, creator_id: str, last: date) -> list[_Entry]:
    """The creator's entries booked up to `last`."""
    rows = con.execute(
        """SELECT kind, t.day, booked_day, reason, link, part, amount_micros
           FROM ledger_entries AS e JOIN ledger_transactions AS t USING (txn_id)
           WHERE account = 'creator:' || ? AND booked_day <= ? ORDER BY seq, part""",
        [creator_id, last],
    ).fetchall()
    return [_Entry(*row) for row in rows]


def _corrections(
    rows: Sequence[_Entry], videos: Sequence[VideoCorrection] = ()
) -> tuple[Correction, ...]:
    """Reversals and what replaced them, paired by the payout that both name; those that change
    nothing for the creator are left out. The last of a day has the day's videos.
    """
    pairs: dict[tuple[date, str | None], list[_Entry]] = {}
    for row in rows:
        pairs.setdefault((row.day, row.link), []).append(row)
    lines = [
        Correction(
            day=day,
            booked_day=pair[0].booked_day,
            reason=pair[-1].reason,
            before_micros=-sum(row.micros for row in pair if row.kind in REVERSALS.values()),
            after_micros=sum(row.micros for row in pair if row.kind in REVERSALS),
        )
        for (day, _), pair in pairs.items()
    ]
    changed = [c for c in lines if c.micros]
    last = {c.day: place for place, c in enumerate(changed)}
    for day, place in last.items():
        of_day = tuple(v for v in videos if v.day == day)
        parts = (row for row in rows if row.day == day and row.part.startswith("share:"))
        changed[place] = replace(
            changed[place], videos=of_day, shares_micros=sum(row.micros for row in parts)
        )
    return tuple(changed)


def _adjustments(rows: Sequence[_Entry]) -> tuple[Adjustment, ...]:
    adjustments: dict[tuple[date, date], Adjustment] = {}
    for row in rows:
        before = adjustments.get((row.day, row.booked_day))
        micros = row.micros + (before.micros if before else 0)
        adjustments[row.day, row.booked_day] = Adjustment(
            row.day, row.booked_day, row.reason, micros
        )
    return tuple(a for a in adjustments.values() if a.micros)


def _source(part: str) -> str:
    """A part of the ledger as creators read it.

    >>> _source("ads:music"), _source("coins")
    ('ad pool music', 'gifted coins')
    """
    kind, _, category = part.partition(":")
    names = {
        "pulse": "Pulse",
        "coins": "gifted coins",
        "carry": f"ad pool {category}, carried in",
        "bonus": f"bonus for {category}",
        "share": f"part in video {category}",
    }
    return names.get(kind, f"ad pool {category}")


# --------------------------------------------------------------------------------------------------


def _summed(payouts: Iterable[Sequence[Part]]) -> tuple[Part, ...]:
    """The parts of many payouts, added up by name."""
    sums = Counter[str]()
    for parts in payouts:
        for part in parts:
            sums[part.name] += part.micros
    return tuple(Part(name, sums[name]) for name in LABELS if name in sums)


def _coins(explained: Sequence[CreatorDay]) -> tuple[tuple[Part, ...], str]:
    gifted = [
        (video, payout)
        for day in explained
        for video in day.videos
        for payout in video.payouts
        if payout.source == "coins"
    ]
    if not gifted:
        return (), ""
    counts = {
        kind: sum(payout.facts[f"{kind}_coins"] for _, payout in gifted)
        for kind in ("normal", "premium")
    }
    parts = tuple(
        replace(part, own=counts.get(part.name))
        for part in _summed(payout.parts for _, payout in gifted)
    )
    video, payout = max(gifted, key=lambda of: of[1].paid_micros)
    return parts, f"The most came for {video.video_id} on {video.day}. {payout.words}"


def _best_videos(explained: Sequence[CreatorDay]) -> tuple[VideoMonth, ...]:
    by_video: dict[str, list[VideoDay]] = {}
    for video in (video for day in explained for video in day.videos if video.total_micros):
        by_video.setdefault(video.video_id, []).append(video)
    totals = {
        video_id: sum(day.total_micros for day in days) for video_id, days in by_video.items()
    }
    best = sorted(totals, key=lambda video_id: (-totals[video_id], video_id))[:_TOP_VIDEOS]
    return tuple(
        VideoMonth(video_id, totals[video_id], _video_in_words(by_video[video_id]))
        for video_id in best
    )


def _video_in_words(days: Sequence[VideoDay]) -> str:
    sources: Counter[str] = Counter()
    for payout in (payout for day in days for payout in day.payouts):
        sources[payout.title] += payout.paid_micros
    (source, most), *rest = sources.most_common()
    largest = (
        f"the largest part from {source} ({money(most)})"
        if rest and rest[0][1]
        else f"all of it from {source}"
    )
    words = [f"{len(days)} day{'s' if len(days) > 1 else ''}, {largest}"]
    added, took = strongest(
        _summed(p.parts for day in days for p in day.payouts if p.source == "ads")
    )
    words += [
        f"{phrase(part)} {did}"
        for part, did in ((added, "added most"), (took, "took most away"))
        if part
    ]
    return "; ".join(words) + "."


def _in_words(
    title: str,
    days: dict[date, int],
    sources: Counter[str],
    factors: Sequence[Part],
    changed: int,
    paid: int,
    closing: int,
    estimated: Sequence[Estimate] = (),
) -> tuple[str, ...]:
    earned = sum(days.values())
    if earned:
        source, most = sources.most_common(1)[0]
        best = max(days, key=lambda day: (days[day], day))
        words = [
            f"In {title} you earned {money(earned)}; the largest part of it, {money(most)}, came"
            f" from {source}."
        ]
        words += [f"Your best day was {best}: {money(days[best])}."]
    else:
        words = [f"In {title} you earned nothing."]
    added, took = strongest(factors)
    moved = " and ".join(
        f"{phrase(part)} {did}"
        for part, did in ((added, "added most"), (took, "took most away"))
        if part
    )
    words += [f"Compared with typical videos in your place, {moved}."] if moved else []
    words += (
        [f"Corrections of earlier days come to {'+' if changed > 0 else ''}{money(changed)}."]
        if changed
        else []
    )
    if estimated:
        total = sum(estimate.micros for estimate in estimated)
        count = f"{len(estimated)} day{'s' if len(estimated) > 1 else ''}"
        words.append(
            f"{money(total)} of {count} rests on estimated ad revenue; it is paid as it is, and"
            " corrected when the revenue is final."
        )
    words += [f"{cents(paid)} was paid to you."] if paid else []
    if closing < 0:
        words.append(
            f"{money(-closing)} was paid too much and will be taken from the next statement."
        )
    elif closing:
        words.append(f"{money(closing)} is not paid yet; it is left for the next statement.")
    else:
        words.append("Nothing is left for the next statement.")
    return tuple(words)


# --------------------------------------------------------------------------------------------------


def text(month: CreatorMonth) -> str:
    """The month for people: words, the account, sources, factors and videos, in currency units to
    the micro.
    """
    account = [
        ("left from before", money(month.opening_micros)),
        ("earned", money(month.earned_micros)),
    ]
    account += [
        (
            (
                f"correction of {c.day} ({c.reason}): {money(c.before_micros)} became"
                f" {money(c.after_micros)}"
            ),
            money(c.micros),
        )
        for c in month.corrections
    ]
    account += [
        (f"adjustment for {a.day} ({a.reason})", money(a.micros)) for a in month.adjustments
    ]
    account += [
        (f"paid: statement through {p.day}", money(-MICROS_PER_CENT * p.cents))
        for p in month.payments
    ]
    words = [line for sentence in month.words for line in wrap(sentence, 120)]
    lines = [f"creator {month.creator_id}, {month.title}", "", *words, "", "the account:"]
    lines += summed(account, month.closing_micros)
    videos = [video for correction in month.corrections for video in correction.videos]
    if videos:
        lines += ["", "corrections, video by video:"]
        lines += [f"  {money(video.micros)}  {video.words}" for video in videos]
        shares = sum(correction.shares_micros for correction in month.corrections)
        lines += [f"  {money(shares)}  parts in videos"] if shares else []
    if month.taken_out:
        lines += ["", "what does not count:", *(f"  {of.words}" for of in month.taken_out)]
    if month.transfers or month.waiting:
        lines += ["", "what became of everything that was stated, as it is now:"]
        stated: list[Transfer | Waiting] = [*month.transfers, *month.waiting]
        lines += [f"  {money(of.micros)}  {of.words}" for of in stated]
    if month.sources:
        lines += [
            "",
            "earned, by source:",
            *summed(
                [(name, money(micros)) for name, micros in month.sources.items()],
                month.earned_micros,
            ),
        ]
    if month.factors:
        factors = [(part.label, money(part.micros)) for part in month.factors]
        lines += ["", "why the ad pools paid this:", *summed(factors, month.pools_micros)]
    if month.coins:
        kept = [
            (
                part.label,
                money(part.micros),
                f"of {part.own:,} coins" if part.own is not None else "",
            )
            for part in month.coins
        ]
        lines += [
            "",
            "what is kept of gifted coins:",
            *summed(kept, sum(part.micros for part in month.coins)),
        ]
        lines += wrap(month.coin_words, 120, initial_indent="  ", subsequent_indent="  ")
    for bonus in month.bonuses:
        lines += ["", f"bonus for {bonus.first_day:%B %Y}: {money(bonus.paid_micros)}"]
        lines += wrap(bonus.words, 120, initial_indent="  ", subsequent_indent="  ")
        lines += summed(
            [(part.label, money(part.micros)) for part in bonus.parts if part.micros],
            bonus.paid_micros,
        )
    for video in month.videos:
        lines += [
            "",
            f"{video.video_id}: {money(video.micros)}",
            *wrap(video.words, 120, initial_indent="  ", subsequent_indent="  "),
        ]
    return as_lines([*lines, "", *wrap(ORDER_FREE, 120)])


def html(month: CreatorMonth) -> str:
    """The month as one HTML page without scripts or anything from the network; it prints on A4."""
    template = page_template("ledger", "statement.html.j2", amount=_amount, cents=cents)
    return template.render(
        month=month,
        kinds=KINDS,
        changed=month.corrected_micros + month.adjusted_micros,
        later=month.pools_micros
        - sum(micros for name, micros in month.sources.items() if name.startswith("ad pool")),
        columns=_columns(month),
        sources=_bars(month.sources),
        factors=_waterfall(month.factors),
        order_free=ORDER_FREE,
    )


def _amount(micros: int) -> str:
    """Cents large, the four digits behind them small."""
    from markupsafe import Markup

    digits = money(micros)
    return Markup('{}<span class="u">{}</span>').format(digits[:-4], digits[-4:])


@dataclass(frozen=True)
class _Bar:
    """A bar of a chart (pixels); `start` is where a waterfall stood before it, `day` what stands
    below a column.
    """

    label: str
    amount: str
    kind: str
    x: float
    y: float
    width: float
    height: float = 20
    start: float = 0
    day: str = ""


_LEFT, _RIGHT, _ROW = 280, 610, 28


def _bars(amounts: dict[str, int]) -> dict[str, Any]:
    """Horizontal bars from 0."""
    most = max(amounts.values(), default=0) or 1
    bars = [
        _Bar(
            name,
            money(micros),
            "total",
            _LEFT,
            _ROW * row,
            round(max(0, micros) / most * (_RIGHT - _LEFT), 1),
        )
        for row, (name, micros) in enumerate(amounts.items())
    ]
    return {"bars": bars, "height": _ROW * len(bars)}


def _waterfall(parts: Sequence[Part]) -> dict[str, Any]:
    """Where the sum of the parts stands after each of them, and the sum itself."""
    steps = [0, *accumulate(part.micros for part in parts)]
    low, high = min(steps), max(steps)
    scale = (_RIGHT - _LEFT) / ((high - low) or 1)

    def bar(row: int, label: str, before: int, after: int, kind: str) -> _Bar:
        x, width = _LEFT + (min(before, after) - low) * scale, abs(after - before) * scale
        signed = f"{'+' if kind == 'more' else ''}{money(after - before)}"
        return _Bar(
            label,
            signed,
            kind,
            round(x, 1),
            _ROW * row,
            round(width, 1),
            start=round(_LEFT + (before - low) * scale, 1),
        )

    bars = [bar(0, "typical videos in place of yours", 0, steps[1], "total")] if parts else []
    bars += [
        bar(row, part.label, before, after, "less" if part.micros < 0 else "more")
        for row, (part, before, after) in enumerate(
            zip(parts[1:], steps[1:], steps[2:], strict=False), start=1
        )
    ]
    bars.append(bar(len(bars), "your videos", 0, steps[-1], "total"))
    return {
        "bars": [replace(b, start=b.x + b.width) if b is bars[-1] else b for b in bars],
        "height": _ROW * len(bars),
    }


def _columns(month: CreatorMonth) -> dict[str, Any]:
    """A column a day of the month over a line at 0, with round numbers beside it."""
    top, bottom, left, right = 12, 168, 64, 720
    most = max(month.days.values(), default=0) or 1
    unit = 10 ** (len(str(most)) - 2) if most > 9 else 1
    step = next(unit * n for n in (1, 2, 5, 10, 20, 50) if most <= 5 * unit * n)
    scale = (bottom - top) / max(most, step)
    width = (right - left) / month.last_day.day
    bars = []
    for place in range(month.last_day.day):
        day = month.first_day + timedelta(days=place)
        height = max(0, month.days.get(day, 0)) * scale
        x, y = left + place * width + 1.5, bottom - height
        amount = money(month.days[day]) if day in month.days else "not made yet"
        bars.append(
            _Bar(
                str(day),
                amount,
                "total",
                round(x, 1),
                round(y, 1),
                round(width - 3, 1),
                round(height, 1),
                day=str(day.day),
            )
        )
    ticks = [
        {"y": round(bottom - level * scale, 1), "label": f"{level / 1e6:,.6g}"}
        for level in range(0, most + 1, step)
    ]
    return {"bars": bars, "ticks": ticks}
