"""The commands about money that was paid or will be: closing, restating, proving, and explaining
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pipelines.cli.completion import ids
from pipelines.console import (
    DAY,
    ERR,
    OUT,
    Command,
    CommandError,
    Table,
    as_issued_option,
    as_json_option,
    confirmed,
    home_option,
    in_order,
    option,
    print_error,
    print_json,
    print_text,
    progress,
    short,
    styled,
)
from pipelines.money import cents, money
from pipelines.plain import visible
from pipelines.settings import Home

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.ledger.closing import Closing
    from pipelines.remake.replay import Replay
    from pipelines.store.warehouse import Connection

_MOST = 15


@click.command(cls=Command)
@option(
    "--through",
    type=DAY,
    required=True,
    help="Last day to close; all days before it are closed with it.",
)
@option("--yes", is_flag=True, help="Close without asking, for scripts.")
@as_json_option
@click.pass_obj
def close(home: Home, through: datetime, yes: bool, as_json: bool) -> None:
    """Issue statements: what every creator is owed through a day, in whole cents. The days can no
    longer change.

    Shows what would be paid, and asks, for a closing cannot be undone. Without --yes nothing is
    closed with --json, or where there is no terminal to ask at. The rest of a cent, and a debt that
    a restatement left, carries to the creator's next statement. Late data for a closed day, or a
    policy corrected backwards, go through earnings restate. Closing the same days again changes
    nothing.
    """
    from pipelines.ads.carried import carried_pools
    from pipelines.ledger.closing import close as close_days
    from pipelines.ledger.closing import preview
    from pipelines.store.warehouse import Warehouse

    shown = preview(home, through.date())
    if as_json and not yes:
        print_json(shown.as_dict())
        return
    if shown.outcome != "already closed" and not yes:
        _print_closing(shown)
        confirmed("Close these days? It cannot be undone.", yes=yes)
    closing = close_days(
        home, through.date(), expected=None if shown.outcome == "already closed" else shown
    )
    with Warehouse(home).open(read_only=True) as con:
        carried = carried_pools(con, closing.through)
    for pool in carried:
        print_error(pool.sentence, "warning", "yellow")
    if as_json:
        print_json({**closing.as_dict(), "carried_pools": [pool.as_dict() for pool in carried]})
        return
    _print_closing(closing)
    if closing.waits_for_approval:
        OUT.print(
            "Noted. Somebody else has to ask for the same now, with the same command. Nothing is"
            " closed yet."
        )
        return
    OUT.print(
        f"Note the head where nobody can change it; earnings{home_option(home)} ledger verify"
        f" --head {closing.head[:12]}... looks for it."
    )


def _print_closing(closing: Closing) -> None:
    OUT.print(f"{closing.first_day} to {closing.through}: {closing.outcome}")
    OUT.print(
        f"{closing.statements} statements pay {cents(closing.paid_cents)};"
        f" {money(closing.carried_forward_micros)} carry forward"
    )
    OUT.print(f"head of the ledger: {closing.head}")


@click.command(cls=Command)
@option("--day", type=DAY, required=True, help="First (or only) closed day to make again.")
@option("--through", type=DAY, help="Last closed day to make again. Default: --day.")
@option(
    "--reason", required=True, help="Why; it stands in the ledger and in the creators' statements."
)
@option(
    "--budget-neutral",
    is_flag=True,
    help=(
        "Creators together keep what they were paid for each day; the platform bears the"
        " difference."
    ),
)
@option(
    "--yes", is_flag=True, help="Apply without asking. With --json nothing is applied without it."
)
@as_json_option
@click.pass_obj
def restate(
    home: Home,
    day: datetime,
    through: datetime | None,
    reason: str,
    budget_neutral: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Correct closed days: late, corrected or retracted files in landing/, or a policy corrected
    backwards.

    Shows who gains and who loses, and asks. What was paid is reversed and reissued in the open
    period, with the reason and a link to what it replaces; statements that were issued stay as they
    are, and the difference is in the next ones. Later days that depend on the restated ones follow,
    all in one transaction.
    """
    from pipelines.operation.running import record_days
    from pipelines.remake.days import restate as restate_days

    if not reason.strip():
        raise click.UsageError("--reason is empty: say why, creators will read it")
    in_order(day, through, "--day is after --through")
    days = (day.date(), (through or day).date())
    shown, _ = restate_days(home, *days, reason=reason, budget_neutral=budget_neutral)
    if not as_json:
        _print_restatement(shown)
    if not yes:
        if as_json:
            print_json(shown.as_dict())
            return
        click.confirm("Apply it?", abort=True)
    applied, made = restate_days(
        home, *days, reason=reason, budget_neutral=budget_neutral, expected=shown.digest
    )
    record_days(home, made)
    if as_json:
        print_json(applied.as_dict())
    else:
        OUT.print(
            f"Applied; booked on {applied.booked_day}. It is in the creators' next statements."
        )


def _print_restatement(shown: Any) -> None:
    table = Table(
        title="Days (before -> after, currency units)",
    )
    table.add_column("day")
    table.add_column("state")
    for name in ("taken in", "creators get", "platform keeps", "carried"):
        table.add_column(name, justify="right")
    table.add_column("ledger")
    for d in shown.days:
        amounts = [
            money(a) if a == b else f"{money(a)} -> {money(b)}" for a, b in d.accounts.values()
        ]
        table.add_row(
            f"{d.day}{' bonuses' if d.of == 'bonus' else ''}",
            "closed" if d.closed else "open",
            *amounts,
            d.outcome,
        )
    OUT.print(table)
    changes = shown.changes
    gained, lost = [c for c in changes if c.gain > 0], [c for c in changes if c.gain < 0]
    OUT.print(
        f"\n{len(gained)} creators gain {money(sum(c.gain for c in gained))}, {len(lost)} lose"
        f" {money(-sum(c.gain for c in lost))}; booked on {shown.booked_day}:"
        f" {shown.reason}"
    )
    shortened = (
        changes if len(changes) <= _MOST else (*gained[: _MOST // 2], *lost[-(_MOST // 2) :])
    )
    table = Table("creator")
    for name in ("before", "after", "difference"):
        table.add_column(name, justify="right")
    for c in shortened:
        table.add_row(
            c.creator_id,
            money(c.before),
            money(c.after),
            f"{'+' if c.gain > 0 else ''}{money(c.gain)}",
        )
    if changes:
        OUT.print(table)
    if len(shortened) < len(changes):
        OUT.print(f"and {len(changes) - len(shortened)} more; --json lists all")


@click.command(cls=Command)
@click.argument(
    "name",
    metavar="VIDEO|CREATOR",
    required=False,
    shell_complete=ids(("videos", "video_id"), ("creators", "creator_id")),
)
@option("--day", type=DAY, help="Day of the amount.")
@option(
    "--month",
    type=click.DateTime(formats=["%Y-%m"]),
    help="Or a month, e.g. 2026-04: why it differs from the month before.",
)
@option("--all", "everybody", is_flag=True, help="All creators instead of one name; see --out.")
@option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --all: write the table there (.csv, .parquet, .json, .xlsx).",
)
@option(
    "--kind",
    type=click.Choice(["video", "creator"]),
    help="Which of the two, where both have the name.",
)
@as_issued_option
@as_json_option
@click.pass_obj
def explain(
    home: Home,
    name: str | None,
    day: datetime | None,
    month: datetime | None,
    everybody: bool,
    out: Path | None,
    kind: Literal["video", "creator"] | None,
    as_issued: datetime | None,
    as_json: bool,
) -> None:
    """Why a video or a creator got this amount on a day: parts that sum to the paid integer. Or why
    a creator's month differs from the month before.

    A video in an ad pool is compared with the typical video of its category, factor by factor; a
    coin split says which bound or balance decided its shares. A month is taken apart into own views
    and quality, money of the pools, competition, policy, Pulse, coins, bonus and corrections.
    docs/formulas.md says how a part is computed.

    \b
    earnings explain c000003 --day 2026-03-02
    earnings explain c000003 --month 2026-04
    earnings explain --all --day 2026-03-02 --out parts.parquet
    """
    from pipelines.store.warehouse import Past, Warehouse

    if (day is None) == (month is None):
        raise click.UsageError("give --day or --month")
    if everybody == (name is not None):
        raise click.UsageError("name a video or creator, or say --all")
    if month and kind == "video":
        raise click.UsageError("--month is about creators")
    past = Past(issued=as_issued.date()) if as_issued else None
    with Warehouse(home).look(past) as con:
        if month:
            _explain_month(home, con, month.date(), name, out, as_json)
        elif everybody:
            from pipelines.ledger.explained_day import explained_day

            assert day is not None
            _table_out(con, explained_day(con, day.date()), out, as_json)
        else:
            from pipelines.ledger.explanation import explain as explain_amount
            from pipelines.ledger.wording import text

            assert day is not None
            assert name is not None
            explained = explain_amount(con, name, day.date(), kind=kind)
            if as_json:
                print_json(explained.as_dict())
            else:
                print_text(text(explained))


def _explain_month(
    home: Home, con: Connection, month: date, name: str | None, out: Path | None, as_json: bool
) -> None:
    import pyarrow as pa

    from pipelines.ledger.counterfactual import NothingToExplainError
    from pipelines.whatif.months import LABELS, PARTS, in_words, month_changes

    found = month_changes(con, home, month)
    if name is None:
        words = [in_words(str(who), row, month) for who, row in found.iterrows()]
        table = pa.Table.from_pandas(found.assign(words=words).reset_index(), preserve_index=False)
        _table_out(con, table, out, as_json)
        return
    if name not in found.index:
        raise NothingToExplainError(
            f"{name} earned nothing in {month:%B %Y} and nothing in the month before"
        )
    row = {key: int(value) for key, value in found.loc[name].items()}
    if as_json:
        print_json({"creator_id": name, "month": f"{month:%Y-%m}", **row})
        return
    OUT.print(in_words(name, row, month))
    table_of = Table("part", title=f"\n{month:%B %Y} against the month before")
    table_of.add_column("change", justify="right")
    for part in PARTS:
        if row[part]:
            table_of.add_row(LABELS[part][0 if row[part] > 0 else 1], money(row[part]))
    table_of.add_row("=", money(row["change"]))
    OUT.print(table_of)


def _table_out(con: Connection, table: pa.Table, out: Path | None, as_json: bool) -> None:
    """A table as a file, as JSON, or its size in words."""
    from pipelines.store.results import FORMATS, write_file

    if as_json:
        print_json(table.to_pylist())
        return
    if out is None:
        raise click.UsageError("--all is a table: say where it goes (--out FILE), or --json")
    kind = next((one for one in FORMATS if out.suffix.lower() == f".{one}"), None)
    if kind is None:
        raise click.UsageError(f"{out}: one of {', '.join(f'.{one}' for one in FORMATS)}")
    con.register("explained_rows", table)
    write_file(con.execute("FROM explained_rows"), out, kind)
    con.unregister("explained_rows")
    OUT.print(f"{short(out)}: {table.num_rows:,} rows")


@click.command(cls=Command)
@click.argument("creator", shell_complete=ids(("creators", "creator_id")))
@option(
    "--month", type=click.DateTime(formats=["%Y-%m"]), required=True, help="Month, e.g. 2026-03."
)
@option(
    "--html",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the statement there: one file, prints well.",
)
@option(
    "--changes",
    is_flag=True,
    help="Also say why the month differs from the one before. Where another policy paid, that pays"
    " both months again.",
)
@as_issued_option
@as_json_option
@click.pass_obj
def statement(
    home: Home,
    creator: str,
    month: datetime,
    target: Path | None,
    changes: bool,
    as_issued: datetime | None,
    as_json: bool,
) -> None:
    """A creator's month: what was earned, corrected and paid, and why; opening and closing
    balance.
    """
    from pipelines.files import replacing
    from pipelines.ledger.statement import creator_month, html, text
    from pipelines.store.warehouse import Past, Warehouse

    past = Past(issued=as_issued.date()) if as_issued else None
    with Warehouse(home).look(past) as con:
        found = creator_month(con, creator, month.year, month.month)
        if changes:
            from pipelines.whatif.months import in_words, month_changes

            moved = month_changes(con, home, month.date())
            if creator in moved.index:
                why = in_words(creator, moved.loc[creator], month.date())
                found = replace(found, words=(*found.words, why))
    if target:
        with replacing(target) as partial:
            partial.write_text(html(found), encoding="utf-8")
    if as_json:
        print_json(found.as_dict())
    elif target:
        OUT.print(f"{short(target)}: open it in a browser, or print it")
    else:
        print_text(text(found))


@click.group()
def ledger() -> None:
    """The book itself."""


@ledger.command(cls=Command)
@option(
    "--head",
    help=(
        "Hash (or its first 12 digits or more) that must be in the chain, e.g. the one a closing"
        " printed."
    ),
)
@option(
    "--all",
    "every_table",
    is_flag=True,
    help="Also read the tables of events, viewers and scores: every block, and every row.",
)
@as_json_option
@click.pass_obj
def verify(home: Home, head: str | None, every_table: bool, as_json: bool) -> None:
    """Replay the ledger from its first transaction; exit code 1 if anything contradicts anything, 3
    if all that does not fit is a day that is half made: its run was interrupted, and running the
    day again ends it.

    Compares ids, hashes and links of the chain, the sums of every transaction, reversals with what
    they take back, every statement with the entries it follows from, the policies that were paid
    under, the payout tables, payments, creators' earnings, what days were paid from with the chain,
    and the rows of every table with what was noted when they were written (those of events, viewers
    and scores only with --all); and all closings and payments with the witness, if the settings
    name one.
    """
    from pipelines.ledger.verification import verify as verify_ledger
    from pipelines.ledger.witness import findings as witness_findings
    from pipelines.store.warehouse import Warehouse

    with Warehouse(home).open(read_only=True) as con:
        found = verify_ledger(con, head=head, every_table=every_table)
        found = replace(found, findings=(*found.findings, *witness_findings(con, home)))
    if as_json:
        print_json(found.as_dict())
    else:
        for finding in found.findings:
            OUT.print(styled("wrong:", "bold red"), visible(finding))
        for waiting in found.unfinished:
            OUT.print(styled("half made:", "yellow"), visible(waiting))
        for changed in found.unbooked:
            OUT.print("not booked yet:", visible(changed) + "; run or restate the day")
        if found.unproven:
            OUT.print(
                f"{found.unproven} days of tables were written by an earlier version, which did not"
                " note what they hold: changes in them cannot be seen; running the days again notes it"
            )
        verdict = (
            f"contradictions: {len(found.findings)}"
            if found.findings
            else "nothing contradicts anything"
        )
        OUT.print(
            f"{found.transactions} transactions, {found.entries} entries replayed; {verdict}\nhead"
            f" {found.head}"
        )
    if found.findings:
        raise SystemExit(1)
    if found.unfinished:
        raise SystemExit(3)


@ledger.command(cls=Command)
@option("--from", "first", type=DAY, help="First day to make again. Default: the first posted.")
@option("--to", "last", type=DAY, help="Last day to make again. Default: the last posted.")
@as_json_option
@option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_obj
def replay(
    home: Home, first: datetime | None, last: datetime | None, as_json: bool, quiet: bool
) -> None:
    """Make the book again from the landing files and the policies that are kept, in a temporary
    home, and compare every account of every day; exit code 1 if an amount differs, or if what it
    was made from is not there any more.

    Each day is made under the policy it was paid by, from the files that were loaded for it; files
    that came later do not count until a run or a restatement loads them. Committed weights, markets
    that days were paid by, published schedules and adjustments are taken as recorded. With --from,
    so is what the days before left. Open days that a run would change are named and not compared:
    exit code 3, if that is all. Nothing in the home changes. It takes about as long as running the
    days did, and room for the tables in the temporary folder (TMPDIR).
    """
    from pipelines.remake.replay import replay as replay_book

    in_order(first, last, "--from is after --to")
    console = ERR if as_json else OUT
    with progress(console, 0, quiet=quiet):
        made = replay_book(home, first and first.date(), last and last.date())
    if as_json:
        print_json(made.as_dict())
    else:
        _print_replay(made)
    if not made.good:
        raise SystemExit(1)
    if made.not_compared:
        raise SystemExit(3)


def _print_replay(made: Replay) -> None:
    for finding in made.findings:
        OUT.print(styled("wrong:", "bold red"), visible(finding))
    if made.differences:
        table = Table("day", "creator", "account", "part")
        for name in ("booked", "made again", "difference"):
            table.add_column(name, justify="right")
        for d in made.differences[:_MOST]:
            table.add_row(
                str(d.day),
                d.creator_id or "",
                d.account,
                d.part,
                money(d.booked),
                money(d.replayed),
                money(d.replayed - d.booked),
            )
        OUT.print(table)
        if len(made.differences) > _MOST:
            OUT.print(f"and {len(made.differences) - _MOST} more; --json lists all")
    for day, why in made.not_compared.items():
        OUT.print(styled("not compared:", "yellow"), visible(f"{day}: {why}"))
    months = f" and bonuses of {len(made.months)} months" if made.months else ""
    verdict = (
        f"{len(made.differences)} amounts differ, {len(made.findings)} things cannot be made again"
        if not made.good
        else "every amount is what was booked"
    )
    OUT.print(
        f"{len(made.days)} days{months} made again, {made.entries} net amounts; {verdict}\nhead"
        f" {made.head}"
    )


@ledger.command(cls=Command)
@click.pass_obj
def witness(home: Home) -> None:
    """Tell the witness (section [witness] of settings.toml) every closing and payment it does not
    know.

    Closings and payments do that by themselves; this is for those before there was a witness, or
    when it did not answer.
    """
    from pipelines.ledger.witness import tell
    from pipelines.store.warehouse import Warehouse

    if not home.settings.witness.configured:
        raise CommandError(
            f"{home.root / 'settings.toml'}: no section [witness]; docs/operations.md says how one"
            " is written"
        )
    with Warehouse(home).open() as con:
        told = tell(con, home)
    for head in told:
        OUT.print(head.txn_id, head.hash)
    OUT.print(f"{len(told)} heads were told; it knows them all")


LEDGER_COMMANDS: Sequence[click.Command] = (explain, close, statement, restate, ledger)
