"""The command about money that leaves the house."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.console import (
    DAY,
    OUT,
    Command,
    Table,
    as_json_option,
    home_option,
    option,
    print_json,
    short,
    styled,
)
from pipelines.money import cents, money
from pipelines.settings import Home

if TYPE_CHECKING:
    from pipelines.payouts.documents import Format
    from pipelines.payouts.runs import PayoutRun
    from pipelines.payouts.state import MoneyState

_MOST = 15
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=Command)
@option("--through", type=DAY, help="Last day of a closing: pay what was stated through it.")
@option("--on", type=DAY, help="Day the bank is asked to pay on (UTC). Default: today.")
@option("--returns", type=_FILE, help="Book what the bank says: pain.002, camt.053, or a CSV.")
@option("--check", is_flag=True, help="Where the money is; exit code 1 if the bank is late.")
@option(
    "--release-hold", multiple=True, metavar="PAYEE", help="Pay although held, e.g. creator:c1."
)
@option("--below-minimum", multiple=True, metavar="PAYEE", help="Pay less than the minimum.")
@option("--pay-again", multiple=True, metavar="PAYEE", help="Pay an account that refused before.")
@option("--reason", default=None, help="Why an override; it stands in the ledger with your name.")
@option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the files. Default: payments/ of the home.",
)
@option("--yes", is_flag=True, help="Pay without asking. With --json nothing is paid without it.")
@as_json_option
@click.pass_obj
def pay(  # noqa: PLR0912 - three commands in one, and what must not go together
    home: Home,
    through: datetime | None,
    on: datetime | None,
    returns: Path | None,
    check: bool,
    release_hold: tuple[str, ...],
    below_minimum: tuple[str, ...],
    pay_again: tuple[str, ...],
    reason: str | None,
    out: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Pay creators what was stated, and book what the bank answers.

    \b
    earnings pay --through 2026-03-07            shows who is paid and who is not, and why; asks
    earnings pay --returns camt053.xml           payments that were made, or came back
    earnings pay --check                         where all money is; payments the bank did not answer

    Only closed money is paid. Payees (landing/payees/) say where to, from which minimum on, until
    when a payment is held, and which part is kept back. The same run twice is one payment.
    docs/payouts.md says how each case goes.
    """
    if sum((through is not None, returns is not None, check)) != 1:
        raise click.UsageError("one of --through, --returns and --check")
    if through is None and (release_hold or below_minimum or pay_again or reason or out):
        raise click.UsageError("overrides, --reason and --out go with --through")
    if returns:
        _settle(home, returns, as_json)
    elif through:
        from pipelines.payouts.runs import Overrides
        from pipelines.payouts.runs import pay as pay_out

        chosen = Overrides(release_hold, below_minimum, pay_again, reason or "")
        if reason is not None and not chosen.any:
            raise click.UsageError("--reason goes with an override")
        day = on.date() if on else datetime.now(UTC).date()
        shown = pay_out(home, through.date(), on=day, overrides=chosen)
        if not as_json:
            _print_run(shown)
        if not yes:
            if as_json:
                print_json(shown.as_dict())
                return
            click.confirm("Pay it?" if shown.payments else "Book it?", abort=True)
        done = pay_out(
            home, through.date(), on=day, overrides=chosen, expected=shown.digest, folder=out
        )
        if as_json:
            print_json(done.as_dict())
        elif done.waits_for_approval:
            OUT.print(
                "Noted. Somebody else has to ask for the same now: the same command with"
                f" --on {day}. Nothing is paid yet."
            )
        else:
            for file in done.files:
                OUT.print(f"written: {short(Path(file))}")
            OUT.print(
                f"When the bank answers: earnings{home_option(home)} pay --returns FILE"
                if done.payments
                else "Nothing was to be paid."
            )
    else:
        _check(home, on.date() if on else datetime.now(UTC).date(), as_json)


def _print_run(run: PayoutRun) -> None:
    OUT.print(
        styled(f"{len(run.payments)} payments of {cents(run.paid_cents)} {run.currency}", "bold"),
        f"for statements through {run.through}, to be made on {run.on}",
    )
    table = Table("payment", "payee", "method", "account")
    table.add_column("amount", justify="right")
    for p in run.payments[:_MOST]:
        table.add_row(
            p.payment_id,
            f"{p.owner} ({p.name})",
            p.method,
            p.account,
            cents(p.amount_cents),
        )
    if run.payments:
        OUT.print(table)
    if len(run.payments) > _MOST:
        OUT.print(f"and {len(run.payments) - _MOST} more; --json lists all")
    if run.reserved_cents:
        OUT.print(f"kept back as reserve: {cents(run.reserved_cents)}")
    why = {left.state: left.why for left in run.left}
    for state, (creators, amount) in sorted(run.by_state().items()):
        OUT.print(f"not paid, {why[state]}: {creators} creators, {cents(amount)}")
    table = Table("creator", "payee", "not paid because", "until")
    table.add_column("amount", justify="right")
    for left in run.left[:_MOST]:
        table.add_row(
            left.creator_id,
            left.owner or "",
            left.why,
            str(left.hold_until) if left.state == "held" else "",
            cents(left.cents),
        )
    if run.left:
        OUT.print(table)


def _settle(home: Home, path: Path, as_json: bool) -> None:
    from pipelines.payouts.settlement import settle

    done = settle(home, path)
    if as_json:
        print_json(done.as_dict())
        return
    for s in done.settled:
        words = f"{s.payment_id} {s.owner} {cents(s.amount_cents)}"
        colour = "yellow" if s.outcome == "returned" else "green"
        OUT.print(styled(s.outcome, colour), words, s.reason)
        if s.outcome == "returned" and s.short_cents:
            OUT.print(
                f"  the bank kept {cents(s.short_cents)}; the creator is owed the whole amount"
            )
    OUT.print(
        f"{len(done.settled)} payments booked, {done.known} were known,"
        f" {done.others} entries are not of these payments"
    )
    if done.copies:
        OUT.print(
            f"{done.copies} rejections are of copies that the bank had already; nothing follows from"
            " them"
        )


def _check(home: Home, on: Any, as_json: bool) -> None:
    from pipelines.payouts.state import money_state
    from pipelines.store.warehouse import Warehouse

    with Warehouse(home).look() as con:
        state = money_state(con, on=on, clearing_days=home.settings.payouts.clearing_days)
    if as_json:
        print_json(state.as_dict())
    else:
        print_money(state, home.settings.currency)
    if state.waiting or state.astray:
        raise SystemExit(1)


def print_money(state: MoneyState, currency: str | None) -> None:
    """Where all money is, and what is wrong with it."""
    from pipelines.payouts.state import PLACES

    title = f"\nCreators' money ({currency or 'currency units'}, to the micro)"
    table = Table(title=title)
    table.add_column("where")
    table.add_column("amount", justify="right")
    table.add_column("")
    for name, meaning in PLACES.items():
        label = "to be paid" if name == "statement" else name
        table.add_row(label, money(state.places[name]), meaning.removeprefix("to be paid: "))
    table.add_section()
    table.add_row("earned", money(state.earned), "their sum")
    OUT.print(table)
    for w in state.waiting:
        OUT.print(
            styled("late:", "bold red"),
            f"{w.payment_id} {w.owner} {cents(w.amount_cents)}: asked"
            f" for on {w.requested_on}, the bank did not answer",
        )
    for creator in state.astray:
        OUT.print(styled("wrong:", "bold red"), f"the money of {creator} does not add up")


@click.command(cls=Command)
@option("--through", type=DAY, help="Last day of a closing. Default: the last closing.")
@option("--on", type=DAY, help="Day as of which holds and payments are told (UTC). Default: today.")
@option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["html", "pdf", "csv"]),
    help="Only these files; may be given again. Default: all three.",
)
@option("--locale", help="How amounts and days are written, for everybody, e.g. de_DE.")
@option("--creator", "creators", multiple=True, metavar="CREATOR", help="Only of these creators.")
@option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the files. Default: statements/<day> of the home.",
)
@as_json_option
@click.pass_obj
def statements(
    home: Home,
    through: datetime | None,
    on: datetime | None,
    formats: tuple[Format, ...],
    locale: str | None,
    creators: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Write the statements of a closing, of all creators at once: HTML, PDF, CSV, and an index.

    \b
    earnings statements                                  of the last closing
    earnings statements --through 2026-03-31 --format pdf --locale de_DE

    A statement says what was stated and where it came from, what is estimated, corrected by which
    reason, what does not count, parts in videos, what was paid and when, what waits and why.
    Beside them the year's totals by payee. earnings statement takes one month of one creator apart.
    """
    from pipelines.payouts.documents import FORMATS, write_statements
    from pipelines.payouts.issued import closing_of
    from pipelines.store.warehouse import Warehouse

    with Warehouse(home).look() as con:
        _, last = closing_of(con, through.date() if through else None)
        written = write_statements(
            con,
            home,
            through=last,
            on=on.date() if on else datetime.now(UTC).date(),
            folder=out or home.root / "statements" / str(last),
            formats=formats or FORMATS,
            locale=locale,
            creators=creators or None,
        )
    if as_json:
        print_json(written.as_dict())
        return
    OUT.print(
        f"{written.statements} statements of {written.first_day} to {written.through} state"
        f" {cents(written.stated_cents)}; {written.files} files in {short(written.folder)}, begin"
        " at index.html"
    )
    if written.unknown_locales:
        OUT.print(
            f"{written.unknown_locales} payees have a locale that there is not; they got the home's"
        )


PAYOUT_COMMANDS: Sequence[click.Command] = (pay, statements)
