"""The root of the command line: finds commands by name and imports only the one that is used.

Data goes to stdout and everything else to stderr; with `--json` stdout is one JSON document, also
when the command fails.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
import sys
from collections.abc import Mapping

import click

from bulkhead.cli.output import Output, exit_code_of
from bulkhead.engine.errors import BulkheadError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("up", "Start everything on this machine and serve it."),
    "down": ("up", "Stop what `up` has left running."),
    "status": ("status", "Show what runs, where, and with which keys."),
    "doctor": ("doctor", "Check everything that can be checked and say what to do."),
    "demo": ("demo", "Replay real orders through the HTTP API and prove that all is well."),
    "app": ("app", "List applications and load their sample data."),
    "database": ("database", "List, show and reach databases."),
    "migrate": ("migrate", "Plan, apply, roll back and verify migrations."),
    "reference": ("reference", "Check and repair references between databases."),
    "event": ("event", "Look at events and their deliveries, resend dead ones."),
    "saga": ("saga", "Look at sagas, resume or compensate them."),
    "policy": ("policy", "Lint row level security and explain what a user sees."),
    "user": ("user", "Create users and tokens."),
    "key": ("key", "List, rotate and revoke the keys of databases and of tokens."),
    "secret": ("secret", "List, rotate and export the keys under which secrets are sealed."),
    "provision": ("provision", "Give stores their databases, and watch how they are made."),
    "tenant": ("tenant", "Suspend, resume, move, export and delete the databases of stores."),
    "server": ("server", "Look after the servers on which the databases of stores are made."),
    "storage": ("storage", "Connect, try and forget the buckets with the files of stores."),
    "media": ("media", "List, upload and delete the files of stores."),
    "usage": ("usage", "Show what stores use of their plans, and check the books."),
    "explain": ("explain", "Say what the code of an error means."),
    "version": ("version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and take the command from it."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"bulkhead.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest the nearest when there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BULKHEAD"},
    epilog="Start with:  bulkhead up",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("--home", type=click.Path(), help="The folder with data, keys and logs.")
@click.option("-q", "--quiet", is_flag=True, help="Print data and errors only.")
@click.pass_context
def cli(ctx: click.Context, *, as_json: bool, home: str | None, quiet: bool) -> None:
    """Applications whose data is split over several databases, kept in one piece."""
    ctx.obj = Output(as_json=as_json, quiet=quiet, home=home)


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = _hoist_globals(sys.argv[1:])
    output = Output(as_json="--json" in arguments)
    try:
        result = cli.main(args=arguments, prog_name="bulkhead", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort as stop:
        stopped = isinstance(stop.__cause__, KeyboardInterrupt)
        output.note("Stopped." if stopped else "\nNothing was done.")
        sys.exit(130)
    except click.ClickException as error:
        output.fail_usage(error)
        sys.exit(error.exit_code)
    except BulkheadError as error:
        output.fail(error)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


def _hoist_globals(arguments: list[str]) -> list[str]:
    """Let the options of all commands stand anywhere: `bulkhead saga list --json`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    movable, rest = [], []
    words = iter(arguments[:end])
    for word in words:
        if word in {"--json", "-q", "--quiet"} or word.startswith("--home="):
            movable.append(word)
        elif word == "--home":
            movable += [word, *itertools.islice(words, 1)]
        else:
            rest.append(word)
    return [*movable, *rest, *arguments[end:]]
