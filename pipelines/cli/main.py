"""The `earnings` command: thin over the functions that the assets and the tests call.

Output for people goes through rich; `--json` prints one JSON document on standard output instead,
and progress goes to standard error. Exit codes: 0 done, 1 the data, the policy or the run is at
fault (the message says where), 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.completion import policies
from pipelines.cli.inputs import INPUT_COMMANDS
from pipelines.cli.lab import lab
from pipelines.cli.ledger import LEDGER_COMMANDS
from pipelines.cli.market import MARKET_COMMANDS
from pipelines.cli.payouts import PAYOUT_COMMANDS, print_money
from pipelines.cli.quarantine import quarantine as quarantine_commands
from pipelines.cli.revenue import revenue as revenue_commands
from pipelines.cli.shadow import announced, print_announced
from pipelines.cli.shadow import shadow as shadow_commands
from pipelines.cli.studio import studio
from pipelines.cli.weights import EPOCH_COMMANDS
from pipelines.cli.whatif import whatif
from pipelines.console import (
    DAY,
    ERR,
    OUT,
    Command,
    CommandError,
    Table,
    as_issued_option,
    as_json_option,
    home_option,
    in_order,
    option,
    print_error,
    print_json,
    print_summary,
    print_text,
    progress,
    short,
    styled,
)
from pipelines.errors import ExpectedError
from pipelines.money import money
from pipelines.periods import in_words
from pipelines.schema import DELIVERED, LANDING, TABLES
from pipelines.schema.graph import LOOKING_ON, MADE_FROM
from pipelines.schema.invariants import NOTHING_TO_LOOK_AT
from pipelines.settings import SAMPLE, Home
from pipelines.store import results
from pipelines.store.results import FORMATS, Format
from solvers import InfeasibleError

if TYPE_CHECKING:
    from pipelines.operation.plan import Step
    from pipelines.operation.running import RunOutcome
    from pipelines.payouts.state import MoneyState
    from pipelines.status import DayStatus, PeriodStatus


class _Group(click.Group):
    """Turns the errors that mean "your input" into one clear message and exit code 1."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ExpectedError, InfeasibleError) as error:
            print_error(error)
            raise SystemExit(1) from error
        except KeyboardInterrupt as error:
            ERR.print()
            print_error(
                "what was committed stays, and nothing is half written. Start the same command"
                " again to go on.",
                "interrupted",
            )
            raise SystemExit(130) from error
        except OSError as error:
            if error.filename is None:  # nobody's file: not the input's fault
                raise
            print_error(f"{error.filename}: {error.strerror}")
            raise SystemExit(1) from error


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help=(
        "Folder of the platform: landing/, warehouse.duckdb, settings.toml, policies/. Default:"
        " $EARNINGS_HOME, or assets_data/ of the checkout; installed from a wheel: this folder if"
        " it is a home, else ~/creator-earnings."
    ),
)
@option(
    "--policy",
    shell_complete=policies,
    help=(
        "Name of the policy that pays, e.g. printed. Default: what settings.toml says, or evidence."
    ),
)
@click.version_option(package_name="creator-earnings", prog_name="earnings")
@click.pass_context
def main(ctx: click.Context, home: Path | None, policy: str | None) -> None:
    """Viewer events of a short-video platform in, money owed to creators out.

    \b
    Start here:   earnings demo
    Real data:    earnings --home my_platform import kuairand DIR
                  earnings --home my_platform run
    Watch it:     earnings status        earnings ui
    """
    if home:
        os.environ["EARNINGS_HOME"] = str(home.resolve())
    if policy:
        os.environ["EARNINGS_POLICY"] = policy
    ctx.obj = Home.here()


@main.command()
@as_json_option
@click.pass_obj
def demo(home: Home, as_json: bool) -> None:
    """Run the main job on the bundled sample, and show what creators earned.

    Copies the sample (14 made-up days) to landing/, materialises every day through Dagster,
    prints the result. Weeks, which take longer, are for `earnings run`.
    """
    days = sorted(
        date.fromisoformat(p.name) for p in (SAMPLE / "viewer_events").iterdir() if p.is_dir()
    )
    for table in LANDING:
        if (SAMPLE / table).is_dir():
            shutil.copytree(SAMPLE / table, home.landing / table, dirs_exist_ok=True)
    _run(home, [(days[0], days[-1])], (), as_json=as_json, periods_too=False)
    if not as_json:
        OUT.print(
            "\nNext\n  earnings status                 which days exist, and what is in"
            " quarantine and why\n  earnings run                    the same again, and the week's"
            " donation market\n  earnings ui                     the same run in the browser:"
            ' assets, checks, money per day\n  earnings query "FROM creator_earnings LIMIT 5"\n '
            f"                                 any SQL on {short(home.published)}\n  cp -r"
            f" {short(SAMPLE / 'late')}/. {short(home.landing)}/ && earnings run --from {days[0]}"
            f" --to {days[-1]}\n                                  late data arrive: changed days"
            " are reversed and reissued in the ledger"
        )


@main.command()
@option(
    "--from",
    "first",
    type=DAY,
    help="First day (UTC). Without --from and --to: every day that has landed.",
)
@option(
    "--to", "last", type=DAY, help="Last day (UTC), included. Default: last day of the calendar."
)
@option(
    "--asset",
    "assets",
    multiple=True,
    help="Only this asset, of days, weeks or months; may be given more than once.",
)
@option(
    "--workers",
    default=1,
    type=click.IntRange(1),
    help="Processes that make days at once; more than one needs a lake.",
)
@option(
    "--quiet",
    is_flag=True,
    help="Print only warnings and failures: for cron, which mails the rest.",
)
@as_json_option
@click.pass_obj
def run(
    home: Home,
    first: datetime | None,
    last: datetime | None,
    assets: tuple[str, ...],
    workers: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Materialise days through Dagster: landing files to creator earnings. Then the weeks and
    months that end with one of them.

    A week (Monday to Sunday) or a calendar month is made when all its landed days are, and only if
    the calendar holds it wholly. Running a day again is safe: equal results change nothing,
    different ones are reversed and reissued in the ledger.
    """
    in_order(first, last)
    if not first and not last:
        if missing := home.missing():
            ERR.print(
                styled("warning:", "yellow"),
                f"no table has files for {in_words(missing)}: skipped. Days after them are made,"
                " but cannot be closed until these are delivered, if only with header lines"
                " (docs/data.md)",
            )
        _run(home, home.landed_ranges(), assets, workers=workers, as_json=as_json, quiet=quiet)
        return
    begin, end = home.calendar()
    _run(
        home,
        [(first.date() if first else begin, last.date() if last else end)],
        assets,
        workers=workers,
        as_json=as_json,
        quiet=quiet,
    )


def _run(
    home: Home,
    ranges: Sequence[tuple[date, date]],
    assets: Sequence[str],
    *,
    workers: int = 1,
    as_json: bool,
    quiet: bool = False,
    periods_too: bool = True,
) -> None:
    from pipelines.operation.plan import steps
    from pipelines.operation.running import make
    from pipelines.status import overview, warnings_and_carried
    from pipelines.store.warehouse import Warehouse

    # to the end of the command: what is printed is what this run left
    click.get_current_context().with_resource(Warehouse(home).kept_open())
    runs: list[RunOutcome] = []
    console = ERR if as_json else OUT
    stopped = False
    plan = steps(home, ranges, assets)
    for step in plan if periods_too else (step for step in plan if not step.span):
        if stopped and not step.span:
            break
        if not quiet:
            console.print(*_title(home, step))
        with progress(console, _partitions(home, step), quiet=quiet):
            made = make(home, step, workers=workers)
        for warning in (warning for run in made for warning in run.warnings):
            if not warning.startswith(f"check {NOTHING_TO_LOOK_AT} "):  # said once, below
                print_error(warning, "warning", "yellow")
        runs += made
        # of a range that stopped at a bad day, the weeks that end before it are made all the same
        stopped = stopped or not all(run.success for run in made)
        if not made[-1].success or (stopped and assets):
            break
    success = all(run.success for run in runs)
    warnings = [
        found
        for found in warnings_and_carried(home)[0]
        if any(str(first) <= found["day"] <= str(last) for first, last in ranges)
    ]
    for found in warnings:
        print_error(_warning(found), "warning", "yellow")
    all_days, all_periods = overview(home)
    days = [s for s in all_days if any(first <= s.day <= last for first, last in ranges)]
    periods = [s for s in all_periods if any(first <= s.last <= last for first, last in ranges)]
    coming = announced(home)
    if as_json:
        print_json(
            {
                "success": success,
                "warnings": warnings,
                "coming": [found.as_dict() for found in coming],
                "runs": [asdict(run) for run in runs],
                "days": [s.as_dict() for s in days],
                "periods": [s.as_dict() for s in periods],
            }
        )
    elif runs[-1].success and not quiet:
        _print_days(days)
        _print_periods(periods)
        _print_creators(home, ranges[0][0], ranges[-1][1])
        print_announced(coming)
    if not success:
        failed = [run for run in runs if not run.success]
        for failure in dict.fromkeys(failure for run in failed for failure in run.failures):
            print_error(failure, "failed")
        ids = ", ".join(run.run_id for run in failed if run.run_id)
        for line in _what_was_done(home, ranges, runs, assets):
            ERR.print(line)
        ERR.print(f"Dagster run {ids or '(none)'} has the whole log: earnings ui")
        raise SystemExit(1)


def _warning(found: dict[str, Any]) -> str:
    return f"{found['day']} {found['table']}: {found['warning']}"


def _partitions(home: Home, step: Step) -> int:
    """How many days, weeks or months of assets a step makes."""
    span = step.span.name if step.span else "day"
    shadow = LOOKING_ON if home.settings.shadow.policy else ()
    assets = step.assets or [n for n in (*MADE_FROM, *shadow) if TABLES[n].span == span]
    if step.span:
        return len(assets) * len(step.span.within(step.first, step.end))
    return len(assets) * ((step.last - step.first).days + 1)


def _title(home: Home, step: Step) -> tuple[object, ...]:
    if step.span:
        return (styled(f"{step.span.name}s {step.first} to {step.end}", "bold"),)
    policy = home.policies.in_force(step.first).name
    days = styled(f"{step.first} to {step.last}", "bold")
    return days, f"in {short(home.root)}, policy {policy}"


def _what_was_done(
    home: Home,
    ranges: Sequence[tuple[date, date]],
    runs: Sequence[RunOutcome],
    assets: Sequence[str],
) -> list[str]:
    """After a run that failed: which days are made all the same, and what to do next."""
    bad = min((run.failed_on for run in runs if run.failed_on), default=None)
    if bad is None:
        return ["Days that were committed before stay."]
    made = [f"{a} to {min(b, bad - timedelta(days=1))}" for a, b in ranges if a < bad]
    done = ("Paid" if not assets else "Made") + f": {', '.join(made)}." if made else ""
    chosen = "".join(f" --asset {name}" for name in assets)
    return [
        *([done] if done and runs[-1].success else []),
        f"{bad} could not be made, and nothing after it was. Mend what is named above, then:"
        f" earnings{home_option(home)} run{chosen} --from {bad} --to {ranges[-1][1]}",
    ]


@main.command()
@option("--quarantine", "details", is_flag=True, help="Every reason, with the first file and line.")
@option("--all", "every_day", is_flag=True, help="Every day, also old ones that are in order.")
@as_json_option
@click.pass_obj
def status(home: Home, details: bool, every_day: bool, as_json: bool) -> None:
    """Which days, weeks and months exist, are missing or stale; what they paid; what is in
    quarantine and why.

    Of days that are complete or closed the newest are listed; those before are one line.
    """
    from pipelines.status import overview, quarantine, warnings_and_carried, what_accounts_move
    from pipelines.store.warehouse import Warehouse

    click.get_current_context().with_resource(Warehouse(home).kept_open())
    if Warehouse(home).exists() and Warehouse(home).being_written():
        ERR.print(
            styled("a run writes now: this is how things stood when the last one ended", "yellow")
        )
    (days, periods), bad = overview(home), quarantine(home)
    state = _money(home)
    warnings, carried = warnings_and_carried(home)
    moved = what_accounts_move(home)
    if as_json:
        begin, end = home.calendar()
        print_json(
            {
                "home": str(home.root),
                "calendar": [str(begin), str(end)],
                "days": [d.as_dict() for d in days],
                "periods": [p.as_dict() for p in periods],
                "quarantine": bad,
                "money": state.as_dict() if state else None,
                "warnings": warnings,
                "coming": [found.as_dict() for found in announced(home)],
                "carried_pools": [pool.as_dict() for pool in carried],
                "accounts": moved,
                "unread": [p.name for p in home.unread()],
            }
        )
        return
    for path in home.unread():
        OUT.print(
            styled(
                f"{short(path)} belongs to no table: nobody reads it."
                f" Tables: {', '.join(DELIVERED)}",
                "bold yellow",
            )
        )
    if not days:
        OUT.print(
            f"Nothing in {short(home.landing)} yet. Try: earnings demo, earnings simulate, earnings"
            " import kuairand DIR"
        )
        return
    since = date.min if every_day else days[-_LISTED:][0].day
    _print_days(days, since)
    _print_periods([p for p in periods if p.last >= since or p.state != "made"])
    if state:
        print_money(state, home.settings.currency)
    _print_quarantine(bad, by_day=details)
    if carried:
        table = Table("pool", "carries", "since", "days", "label", title="\nCarried pools")
        for pool in carried:
            hint = f", nearest is {pool.nearest}" if pool.nearest else ""
            label = "a video has it" if pool.labelled else f"no video has it{hint}"
            table.add_row(pool.category, money(pool.micros), pool.since, pool.days, label)
        OUT.print(table)
    if moved:
        spread = f"; sd ln Q {moved['sd_ln_quality']:.2f}" if moved["sd_ln_quality"] else ""
        OUT.print(
            f"\n{moved['day']}: one unverified account moves at most {moved['one_account']:.2f}"
            f" viewer-days (video {moved['look_first_at']}; the policy's limit is"
            f" {moved['limit']:g}), each of ten {moved['each_of_ten']:.2f}; accounts are bounded on"
            f" {moved['bounded_videos']:,} of {moved['videos']:,} paid videos{spread}"
        )
    for found in warnings:
        if found["day"] >= str(since):
            OUT.print(styled("warning:", "yellow"), _warning(found), soft_wrap=True)
    if earlier := sum(found["day"] < str(since) for found in warnings):
        OUT.print(f"{earlier} warnings of days before {since}: earnings status --all")
    print_announced(announced(home))


def _money(home: Home) -> MoneyState | None:
    """Where creators' money is; None before anything was stated."""
    from pipelines.payouts.state import money_state
    from pipelines.store.warehouse import Warehouse, closed_through

    if not Warehouse(home).exists():
        return None
    with Warehouse(home).look() as con:
        if closed_through(con) is None:
            return None
        days = home.settings.payouts.clearing_days
        return money_state(con, on=datetime.now(UTC).date(), clearing_days=days)


@main.command()
@option("--from", "first", type=DAY, default="2026-03-01", help="First day.")
@option("--days", default=14, type=click.IntRange(1))
@option("--events", default=2_200, type=click.IntRange(1), help="Sessions a day, about.")
@option("--viewers", default=1_200, type=click.IntRange(1))
@option("--creators", default=80, type=click.IntRange(1))
@option("--videos", default=320, type=click.IntRange(1))
@option(
    "--verified",
    default=0.35,
    type=click.FloatRange(0, 1),
    help="Share of viewers who are verified.",
)
@option(
    "--bots",
    default=0.03,
    type=click.FloatRange(0, 0.9),
    help="Share of accounts and sessions that are bots'.",
)
@option(
    "--actions",
    type=click.Choice(["kuairand", "lively"]),
    default="kuairand",
    help="How viewers watch and act: at the rates of a real platform, or 7 to 60 times as often, so"
    " that a thin day shows something of everything.",
)
@option(
    "--niche",
    default=0.0,
    type=click.FloatRange(0, 0.5),
    help="Share of viewers whom little content suits (region isles).",
)
@option(
    "--market",
    is_flag=True,
    help=(
        "Creators are live when a donation market lets them, for the share that the home's policy"
        " pays; gifts follow from it; --events counts for nothing."
    ),
)
@option(
    "--late",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the late delivery. Default: late/ beside landing.",
)
@option(
    "--late-share",
    default=0.01,
    type=click.FloatRange(0, 0.9),
    help="Share of a day's rows that arrive late.",
)
@option(
    "--late-day",
    "late_days",
    type=DAY,
    multiple=True,
    help="Only these days have late rows; may be given more than once.",
)
@option(
    "--rotten",
    default=0.005,
    type=click.FloatRange(0, 0.9),
    help="Share of rows that are broken on purpose.",
)
@option("--seed", default=7)
@option("--format", "file_format", type=click.Choice(["parquet", "csv.gz"]), default="parquet")
@option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Landing folder to write to. Default: landing/ of the home.",
)
@as_json_option
@click.pass_obj
def simulate(
    home: Home, /, first: datetime, out: Path | None, as_json: bool, **options: Any
) -> None:
    """A made-up platform: honest viewers, bots, gifts, advertising, late and rotten rows. Same
    seed, same bytes.
    """
    from pipelines.sources.simulator.market import LiveMarket
    from pipelines.sources.simulator.niche import Niche
    from pipelines.sources.simulator.simulate import simulate as write

    live = None
    if options["market"]:
        from pipelines.cli.live_share import share_paid

        sizes = {
            "seed": options["seed"],
            "viewers": options["viewers"],
            "creators": options["creators"],
            "videos": options["videos"],
            "verified_share": options["verified"],
            "bot_share": options["bots"],
        }
        live = LiveMarket(alpha=share_paid(home, first.date(), **sizes))
        ERR.print(styled(f"creators are live for {live.alpha:.1%} of the coins", "dim"))
    summary = write(
        out or home.landing,
        first_day=first.date(),
        days=options["days"],
        seed=options["seed"],
        events_per_day=options["events"],
        viewers=options["viewers"],
        creators=options["creators"],
        videos=options["videos"],
        verified_share=options["verified"],
        bot_share=options["bots"],
        late=options["late"],
        late_share=options["late_share"],
        late_days={d.date() for d in options["late_days"]} or None,
        rotten_share=options["rotten"],
        rates=options["actions"],
        niche=Niche(options["niche"]) if options["niche"] else None,
        live=live,
        format=options["file_format"],
        progress=lambda text: ERR.print(styled(text, "dim")),
    )
    if as_json:
        print_json(asdict(summary))
        return
    table = Table("table", "rows", "of them late", "repeated", "rotten, by reason")
    for name, counts in summary.tables.items():
        rotten = ", ".join(f"{reason} {n:,}" for reason, n in counts.rotten.items())
        table.add_row(
            name, f"{counts.rows:,}", f"{counts.late:,}", f"{counts.duplicates:,}", rotten
        )
    OUT.print(table)
    OUT.print(
        f"{summary.files:,} files; {summary.bots:,} bots push {len(summary.boosted_videos)} videos"
        f" ({summary.bot_events:,} events)"
    )
    if summary.niche_creators:
        OUT.print(f"creators of the niche: {', '.join(summary.niche_creators)}")
    if any(counts.late for counts in summary.tables.values()):
        OUT.print(
            f"late rows wait in {short(options['late'] or (out or home.landing).parent / 'late')};"
            " copy them into landing/ to deliver them"
        )
    if summary.market:
        OUT.print("what a study of the market should find:")
        print_summary(asdict(summary.market), as_json=False)
    if not out:
        last = summary.first_day + timedelta(days=summary.days - 1)
        OUT.print(f"\nNext: earnings{home_option(home)} run --from {summary.first_day} --to {last}")


@main.command()
@option("--day", type=DAY, help="The version in force on this day. Default: today.")
@as_json_option
@click.pass_obj
def policy(home: Home, day: datetime | None, as_json: bool) -> None:
    """Check every policy file, and show the one in force with its hash."""
    chosen = home.policies.in_force(day.date() if day else datetime.now(UTC).date())
    if as_json:
        print_json({"hash": chosen.hash, **json.loads(chosen.model_dump_json())})
        return
    OUT.print(
        styled(chosen.name, "bold"),
        f"{chosen.hash}, in force from {chosen.effective_from}: {chosen.description}",
    )
    for section, values in chosen.model_dump(
        exclude={"name", "effective_from", "description"}
    ).items():
        for key, value in values.items():
            OUT.print(f"  {section}.{key} = {value}")


@main.command()
@click.argument("sql")
@option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"]),
    help="As it was then (UTC). Only in a lake.",
)
@as_issued_option
@option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="Instead of a table for people; without it, what the name of --out says.",
)
@option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the result. parquet and xlsx need one; xlsx needs the extra `xlsx`.",
)
@as_json_option
@click.pass_obj
def query(
    home: Home,
    sql: str,
    as_of: datetime | None,
    as_issued: datetime | None,
    file_format: Format | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Ask what readers see of the warehouse, e.g. "FROM creator_earnings ORDER BY total_micros DESC
    LIMIT 5".

    No run is ever disturbed: of a single file it reads the copy that every run replaces
    (warehouse-readonly.duckdb), of a lake its latest state, or an earlier one. `earnings schema`
    lists the tables. In Python, `creator_earnings.open(home).query(sql)` is a data frame.
    """
    import duckdb

    from pipelines.store.warehouse import Past, Warehouse

    if as_of and as_issued:
        raise click.UsageError("--as-of or --as-issued, not both")
    file_format = _format_of(file_format, out, as_json)
    past = Past(at=as_of, issued=as_issued and as_issued.date()) if as_of or as_issued else None
    with Warehouse(home).read(past) as con:
        try:
            asked = con.execute(sql)
            if out and file_format:
                results.write_file(asked, out, file_format)
            elif file_format == "csv":
                results.print_csv(asked, sys.stdout)
            elif file_format == "json":
                results.print_json(asked, sys.stdout)
            else:
                table = Table(*(column[0] for column in asked.description or ()))
                for row in asked.fetchall():
                    table.add_row(*row)
                OUT.print(table)
        except duckdb.Error as error:
            raise CommandError(str(error)) from error


def _format_of(asked: Format | None, out: Path | None, as_json: bool) -> Format | None:
    """Of the result of a query; None for a table on the terminal."""
    if as_json and asked not in (None, "json"):
        raise click.UsageError(f"--json or --format {asked}, not both")
    named = next((one for one in FORMATS if out and out.suffix.lower() == f".{one}"), None)
    found = asked or ("json" if as_json else named)
    if out and not found:
        raise click.UsageError(f"{out}: add --format, one of {', '.join(FORMATS)}")
    if found in ("parquet", "xlsx") and not out:
        raise click.UsageError(f"{found} is no text for a terminal: add --out FILE")
    return found


@main.command()
@option("--port", default=3000)
@option(
    "--host",
    default="127.0.0.1",
    help="Never expose it without a reverse proxy that asks for a login.",
)
@click.pass_obj
def ui(home: Home, port: int, host: str) -> None:
    """Dagster's web UI and daemon for this home: asset graph, backfills, checks, schedules. Stop
    with Ctrl-C.
    """
    from pipelines.operation.running import prepare_dagster_home
    from pipelines.operation.web import only_one, require_free_port, serve

    prepare_dagster_home(home)
    address = f"http://{host}:{port}"
    with only_one(home, address) as place:
        require_free_port(host, port)
        OUT.print(f"{address}   home {short(home.root)}   (Ctrl-C stops it)")
        os.environ["PYTHONWARNINGS"] = "ignore"  # Dagster's, about its own next version
        raise SystemExit(serve(home, host, port, place))


@main.command()
@option("--keep-days", default=90, type=click.IntRange(1), help="Runs younger than this stay.")
@option("--yes", is_flag=True, help="Do it; without, only say what would go.")
@click.pass_obj
def prune(home: Home, keep_days: int, yes: bool) -> None:
    """Delete finished Dagster runs and their logs, which Dagster itself keeps for ever. No table
    loses a row.

    Of a lake also states older than `snapshot_days` (settings.toml) but for those in which a
    statement was issued, and files that nothing needs any more.
    """
    from pipelines.operation.housekeeping import forget_runs
    from pipelines.store.warehouse import Warehouse

    before = datetime.now(UTC) - timedelta(days=keep_days)
    runs = forget_runs(home, before, dry_run=not yes)
    done, hint = ("deleted", "") if yes else ("would delete", "; add --yes to do it")
    OUT.print(f"{done} {runs} runs that began before {before:%Y-%m-%d}{hint}")
    for line in Warehouse(home).prune(dry_run=not yes):
        OUT.print(line)


@main.command()
@click.pass_obj
def migrate(home: Home) -> None:
    """Make the warehouse's tables, or bring those of an earlier version up to date.

    Whatever writes does that by itself; this is for a lake whose tables belong to another role than
    the daily one (docs/operations.md).
    """
    from pipelines.store.migrations import MIGRATIONS
    from pipelines.store.warehouse import Warehouse

    with Warehouse(home).open():
        OUT.print(f"tables of version {len(MIGRATIONS)}: {MIGRATIONS[-1].what}")


@main.command()
@click.argument("table", required=False, type=click.Choice(list(TABLES)))
@as_json_option
def schema(table: str | None, as_json: bool) -> None:
    """Columns of every table, with units and rules (docs/data.md is made from this, in
    Markdown).
    """
    from pipelines.schema import as_markdown

    chosen = [TABLES[table]] if table else list(TABLES.values())
    if as_json:
        print_json([asdict(t) for t in chosen])
    else:
        print_text("\n".join(as_markdown(t) for t in chosen))


for command in (
    *INPUT_COMMANDS,
    *LEDGER_COMMANDS,
    *PAYOUT_COMMANDS,
    *EPOCH_COMMANDS,
    *MARKET_COMMANDS,
    quarantine_commands,
    shadow_commands,
    revenue_commands,
    studio,
    lab,
    whatif,
):
    main.add_command(command)


# --------------------------------------------------------------------------------------------------


def _missing_in_one(days: Sequence[DayStatus]) -> list[tuple[DayStatus, date]]:
    """Each day with itself; days in a row that nobody delivered are one, with the last of them."""
    shown: list[tuple[DayStatus, date]] = []
    for d in days:
        goes_on = shown and d.day - shown[-1][1] == timedelta(days=1)
        if goes_on and d.state == shown[-1][0].state == "missing":
            shown[-1] = (shown[-1][0], d.day)
        else:
            shown.append((d, d.day))
    return shown


_LISTED = 35  # days


def _print_days(days: Sequence[DayStatus], since: date = date.min) -> None:
    """A line a day; one for all before `since` that nobody need look at."""
    table = Table(title="Days (currency units, to the micro)")
    table.add_column("day")
    table.add_column("state")
    for name in (
        "events",
        "dup.",
        "quar.",
        "taken in",
        "creators get",
        "platform keeps",
        "carried",
        "creators",
        "rev.",
    ):
        table.add_column(name, justify="right")
    table.add_column("note")
    old = [d for d in days if d.day < since and d.state in ("complete", "closed") and not d.note]
    if old:
        sums = (
            sum(getattr(d, f"{n}_micros") for d in old)
            for n in ("gross", "creators", "platform", "carry")
        )
        table.add_row(
            f"{old[0].day} to {old[-1].day}", styled("in order", "dim"),
            f"{sum(d.events for d in old):,}", str(sum(d.duplicates for d in old)),
            str(sum(d.quarantined for d in old)), *map(money, sums), "", "",
            f"{len(old)} days, complete or closed; --all lists them",
        )  # fmt: skip
    listed = set(old)
    for d, until in _missing_in_one([d for d in days if d not in listed]):
        colour = {
            "complete": "green", "stale": "yellow", "partial": "yellow", "missing": "bold red",
        }.get(d.state, "dim")  # fmt: skip
        table.add_row(
            str(d.day) if d.day == until else f"{d.day} to {until}", styled(d.state, colour),
            f"{d.events:,}", str(d.duplicates), str(d.quarantined), money(d.gross_micros),
            money(d.creators_micros), money(d.platform_micros), money(d.carry_micros),
            str(d.creators), str(d.revision), d.note,
        )  # fmt: skip
    gross, creators, platform, carry = (
        sum(getattr(d, f"{n}_micros") for d in days)
        for n in ("gross", "creators", "platform", "carry")
    )
    table.add_section()
    table.add_row(
        "all",
        "",
        f"{sum(d.events for d in days):,}",
        "",
        "",
        money(gross),
        money(creators),
        money(platform),
        money(carry),
    )
    OUT.print(table)
    if days:
        same = creators + platform + carry == gross
        equal = styled("equals", "") if same else styled("DIFFERS FROM", "bold red")
        OUT.print("creators + platform + carried", equal, "taken in, to the micro.")


def _print_periods(periods: list[PeriodStatus]) -> None:
    if not periods:
        return
    table = Table(
        "made of",
        "asset",
        "state",
        "note",
        title="\nWeeks and months",
    )
    for p in periods:
        colour = {"made": "green", "stale": "yellow"}.get(p.state, "dim")
        table.add_row(f"{p.first} to {p.last}", p.asset, styled(p.state, colour), p.note)
    OUT.print(table)


def _print_creators(home: Home, first: date, last: date, most: int = 10) -> None:
    from pipelines.store.warehouse import Warehouse

    with Warehouse(home).look() as con:
        rows = con.execute(
            """SELECT creator_id, sum(pulse_micros)::BIGINT, sum(ads_micros)::BIGINT,
                sum(carry_micros)::BIGINT, sum(coins_micros)::BIGINT,
               sum(bonus_micros)::BIGINT, sum(total_micros)::BIGINT AS total
               FROM creator_earnings WHERE day BETWEEN ? AND ?
               GROUP BY creator_id ORDER BY total DESC, creator_id LIMIT ?""",
            [first, last, most],
        ).fetchall()
    table = Table(
        title=f"\nWho earned most, {first} to {last}",
    )
    table.add_column("creator")
    for name in ("Pulse", "ad pools", "carried in", "coins", "bonus", "total"):
        table.add_column(name, justify="right")
    for creator, *parts in rows:
        table.add_row(creator, *(money(p) for p in parts))
    OUT.print(table)


def _print_quarantine(bad: list[dict[str, Any]], *, by_day: bool) -> None:
    if not bad:
        OUT.print("\nNothing is in quarantine.")
        return
    if not by_day:
        merged: dict[tuple[str, str], dict[str, Any]] = {}
        for row in bad:
            kept = merged.setdefault(
                (row["table"], row["reason"]), {**row, "day": "all", "rows": 0}
            )
            kept["rows"] += row["rows"]
        bad = sorted(merged.values(), key=lambda r: -r["rows"])
    table = Table(title="\nQuarantine")
    for name in ("day", "table", "reason", "rows", "first"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    for row in bad:
        table.add_row(*(row[name] for name in ("day", "table", "reason", "rows", "first")))
    OUT.print(table)
