"""The shell itself: what it is connected to, what it holds, and how it runs a command.

Rules:

1. A command is run from a `ParsedCommand`: read-only mode and confirmation are decided here, from its row in the
   table, never in the command's function.
2. Every failure ends in one line on standard error, and the shell goes on. Ctrl-C ends the command, not the shell.
3. Held locks are renewed by the client while the shell lives, and given back by `close`.
4. A batch is collected here and sent as a whole by `commit`; nothing of it reaches the store before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagbox
from dagbox.notation.problems import SyntaxProblem
from dagbox.shell.connection import Connection
from dagbox.shell.grammar.parse import parse
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.output import DEFAULT_PAGER, Output
from dagbox.shell.problems import CommandFailed, Declined, LeaveShell, told_of
from dagbox.shell.render.show import View, show
from dagbox.shell.results import Nodes, Outcome, Result, Rows
from dagbox.shell.settings import Configuration, Environment, Settings
from dagbox.text.durations import format_duration
from dagbox.text.terminal import cell_width, printable


@dataclass(frozen=True, slots=True)
class Pending:
    """A write that a batch collected.

    Args:
        text: what it is, as a command.
        apply: adds it to the client's batch.
        fence: the lease whose token the batch then carries.
        destroys: whether it loses data.
        replaces: the record that it overwrites if there is one, whatever its version.
    """

    text: str
    apply: Callable[[Any], Any]
    fence: Any = None
    destroys: bool = False
    replaces: dagbox.Ref | None = None


@dataclass(slots=True)
class Held:
    """A lock that this shell holds."""

    lease: Any

    @property
    def name(self) -> str:
        """Its keys."""
        return ", ".join(self.lease.keys)

    @property
    def left_s(self) -> float:
        """Seconds that the lease still runs; 0 when it is lost."""
        return float(self.lease.left)


@dataclass
class Shell:
    """One shell, with or without a terminal.

    Args:
        connection: what it works on.
        output: where results go.
        configuration: the contents of `shell.toml`.
        stays_read_only: commands that write are refused wherever the shell goes.
        yes: destructive commands do not ask.
        keep_going: `source` goes on after a command that fails.
        ask: asks a person a question that is answered with yes or no; None: there is nobody to ask.
        clear_screen: empties the terminal.
        history_lines: the commands typed before, newest first.

    Attributes:
        bucket: the bucket that `use` set.
        held: the locks held, in the order they were taken.
        batch: what the open batch collected; None if there is none.
        last_s: how long the last command took, in seconds; None before the first one.
        interrupted: whether the last command was ended by Ctrl-C.
    """

    connection: Connection
    output: Output
    settings: Settings = field(default_factory=Settings)
    configuration: Configuration = field(default_factory=Configuration)
    stays_read_only: bool = False
    yes: bool = False
    keep_going: bool = False
    ask: Callable[[str], bool] | None = None
    clear_screen: Callable[[], None] = lambda: None
    history_lines: Callable[[], Iterator[str]] = lambda: iter(())
    bucket: str | None = None
    held: list[Held] = field(default_factory=list)
    batch: list[Pending] | None = None
    last_s: float | None = None
    interrupted: bool = False
    sourcing: tuple[Path, ...] = ()

    @property
    def environment(self) -> Environment:
        """The environment of the place that the shell is connected to."""
        return self.connection.environment

    @property
    def read_only(self) -> bool:
        """True if commands that write are refused."""
        return self.stays_read_only or self.environment.read_only

    @property
    def db(self) -> dagbox.Database:
        """The database the shell works on."""
        return self.connection.db

    # -- running commands

    def run_text(self, text: str) -> bool:
        """Run one command; whether it was done. What went wrong is told on standard error.

        Raises:
            LeaveShell: the command was `exit`.
        """
        parsed = parse(text, self.bucket)
        if parsed.problem is not None:
            self._tell_problem(parsed.problem, text)
            return False
        return self.run(parsed)

    def run(self, parsed: ParsedCommand) -> bool:
        """Run a command that was read without a problem; else as `run_text`."""
        if parsed.command is None:
            return True
        self.interrupted = False
        begun = time.perf_counter()
        try:
            self.show(self.perform(parsed), parsed)
            return True
        except KeyboardInterrupt:
            self.interrupted = True
            self.output.say("cancelled", "missing")
        except Declined as declined:
            self.output.say(declined.message)
        except (CommandFailed, SyntaxProblem, dagbox.DagBoxError) as error:
            self.tell_error(error)
        except RecursionError:
            self.output.report("the value is nested too deep to be shown")
        except (BrokenPipeError, LeaveShell):
            raise
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            self.tell_error(CommandFailed(f"{place}{error.strerror or error}"))
        except Exception as error:
            # At a terminal, locks and a batch may hang on this shell: a fault of ours must not end it.
            if self.ask is None or os.environ.get("DAGBOX_DEBUG"):
                raise
            fault = f"{type(error).__name__}: {error} (this is a fault of dagbox; DAGBOX_DEBUG=1 shows where)"
            self.tell_error(CommandFailed(fault))
        finally:
            self.last_s = time.perf_counter() - begun
            if self.settings.on("timing"):
                self.output.say(format_duration(self.last_s))
        return False

    def perform(self, parsed: ParsedCommand) -> Result | None:
        """Do what a command says, after the checks that its row asks for; its result is not shown yet.

        Raises:
            CommandFailed: it is refused, or nobody agreed to it.
        """
        command = parsed.command
        if command is None:
            return None
        if self.read_only and command.writes:
            raise CommandFailed(f"{command.name} is refused: this shell is read-only")
        values = {name: value for name, value in parsed.values.items() if name not in ("format", "yes")}
        if command.danger_function is not None and not parsed.values.get("yes"):
            self.confirm(command.danger_function(self, **values))
        if (
            self.batch is not None
            and command.writes
            and not command.batches
            and command.name not in ("batch", "commit")
        ):
            raise CommandFailed(f"{command.name} cannot be part of a batch: commit or abort it first")
        result: Result | None = command.function(self, **values)
        return result

    def confirm(self, danger: str | None) -> None:
        """Go on only if nothing would be lost, or if it was agreed to.

        Raises:
            CommandFailed: somebody said no, or nobody is there to say yes.
        """
        if danger is None or self.yes or not self.settings.on("confirm"):
            return
        if self.ask is None:
            raise CommandFailed(f"this would {danger}: add --yes to do it")
        if not self.ask(f"This will {danger}. Go on?"):
            raise Declined("nothing was done")

    # -- showing results

    def view(self, parsed: ParsedCommand) -> View:
        """Return how a command's result is shown."""
        people = self.output.terminal and parsed.redirect is None
        chosen = parsed.values.get("format") or self.settings["format"]
        return View(chosen, self.output.size[0] if people else None, people)

    def show(self, result: Result | None, parsed: ParsedCommand, *, paged: bool = True) -> None:
        """Write a command's result where it belongs, and what was left out on standard error."""
        if result is None:
            return
        view = self.view(parsed)
        if parsed.redirect is not None:
            self.output.write_to(parsed.redirect, show(result, view))
        else:
            command = parsed.command
            use_pager = paged and command is not None and command.paged and self.settings.on("pager") and self.ask
            self.output.write(show(result, view), pager=_pager() if use_pager else "")
        for note in result.notes:
            self.output.say(note)
        if isinstance(result, Nodes | Outcome | Rows) and result.unreadable:
            raise CommandFailed(told_of(result.unreadable))

    def tell_error(self, error: Exception) -> None:
        """One line on standard error."""
        self.output.report(str(error))

    def _tell_problem(self, problem: SyntaxProblem, text: str) -> None:
        """The line that is wrong with a mark under the place, then what is wrong."""
        before = text[: problem.start]
        line_at = before.rfind("\n") + 1
        line = text[line_at:].split("\n", 1)[0].replace("\t", " ")
        begin, end = problem.start - line_at, min(problem.end - line_at, len(line))
        if line.strip() and len(line) <= 200:
            self.output.say(f"  {line}")
            space, marks = (cell_width(printable(part)) for part in (line[:begin], line[begin:end]))
            self.output.say(f"  {' ' * space}{'^' * max(1, marks)}")
        self.tell_error(problem)

    # -- what the shell holds

    def held_lease(self, key: str) -> Any:
        """The lease of a lock that this shell holds.

        Raises:
            CommandFailed: it holds none of that name, or lost it.
        """
        leases = [held.lease for held in self.held if key in held.lease.keys]
        for lease in leases:
            if lease.left > 0:
                return lease
        if leases:
            raise CommandFailed(f"the lock {key} was lost: `lock {key}` takes it again, `unlock {key}` goes on without")
        raise CommandFailed(f"this shell does not hold the lock {key}: `lock {key}` first")

    def fence_of(self, bucket: str, key: str | None, named: str | None) -> Any:
        """The lease whose token a write carries: the named lock, or the one with the record's own name; or None."""
        if named is not None:
            inside = f"{self.bucket}/{named}"
            return self.held_lease(inside if any(inside in held.lease.keys for held in self.held) else named)
        name = f"{bucket}/{key}"
        if key is not None and any(name in held.lease.keys and not held.lease.shared for held in self.held):
            return self.held_lease(name)
        return None

    def collect(self, pending: Pending) -> Outcome | None:
        """Add a write to the open batch; None if there is none and it must be done now."""
        if self.batch is None:
            return None
        self.batch.append(pending)
        document = {"batched": pending.text, "position": len(self.batch)}
        return Outcome(f"in the batch ({len(self.batch)}): {pending.text}", document)

    def give_back_locks(self) -> None:
        """Release every held lock; those that cannot be released run out by themselves."""
        while self.held:
            held = self.held.pop()
            try:
                held.lease.release()
            except dagbox.LeaseLost:
                self.output.say(f"the lock {held.name} had been lost", "missing")
            except dagbox.DagBoxError as error:
                self.output.say(f"the lock {held.name} runs out by itself: {error}")

    def close(self) -> None:
        """Give back the locks, forget the batch, close the connection."""
        if self.batch:
            self.output.say(f"the batch was not committed: {len(self.batch)} writes are forgotten", "missing")
        self.batch = None
        self.give_back_locks()
        self.connection.close()


def _pager() -> str:
    return os.environ.get("DAGBOX_PAGER") or os.environ.get("PAGER") or DEFAULT_PAGER
