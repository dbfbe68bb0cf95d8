"""`dagbox call`: call any service."""

from __future__ import annotations

from typing import Any

import click

from dagbox.commands.options import JSON, open_database, target_option, timeout_option
from dagbox.commands.output import print_json


@click.command("call", short_help="call any service")
@click.argument("service", metavar="SERVICE")
@click.argument("payload", type=JSON, required=False, metavar="[JSON|-|@./FILE]")
@target_option
@timeout_option
def call(service: str, payload: Any, target: str | None, timeout: float) -> None:
    """Call any service with a payload, and print its answer as JSON."""
    with open_database(target, timeout=timeout) as db:
        print_json(db.call(service, payload, timeout=timeout))
