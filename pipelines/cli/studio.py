"""The command that opens the workbench in a browser."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pipelines.console import OUT, Command, option, short
from pipelines.settings import Home


@click.command(cls=Command)
@option("--port", default=3001)
@option(
    "--host",
    default="127.0.0.1",
    help="Never expose it without a reverse proxy that asks for a login.",
)
@option(
    "--allow",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name under which browsers reach it, as that of a proxy. May be given again.",
)
@click.pass_obj
def studio(home: Home, port: int, host: str, hosts: Sequence[str]) -> None:
    """The workbench in a browser: what another policy would pay while you drag, then exactly;
    creators, explanations, quarantine, money. Stop with Ctrl-C.

    It reads the published copy, so it neither waits for a run nor stops one, and writes nothing but
    new policy files, on request.
    """
    from pipelines.operation.web import require_free_port
    from pipelines.studio.app import serve

    require_free_port(host, port)
    OUT.print(f"http://{host}:{port}   home {short(home.root)}   (Ctrl-C stops it)")
    serve(home, host, port, hosts=hosts)
