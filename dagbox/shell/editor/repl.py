"""The shell at a terminal: prompt, keys, completion menu, the lines below, and what happens between commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import lru_cache
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, has_focus, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.bindings.completion import generate_completions
from prompt_toolkit.output import Output as Screen
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.shortcuts import clear as clear_terminal

import dagbox
from dagbox.shell.editor.complete import Proposer
from dagbox.shell.editor.highlight import ShellLexer, shell_style
from dagbox.shell.editor.hints import hint, state
from dagbox.shell.editor.history import newest_first, open_history
from dagbox.shell.editor.inert import filter_what_is_drawn, inert
from dagbox.shell.editor.live_names import LiveNames
from dagbox.shell.grammar.parse import parse
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.grammar.splitting import brackets_open, split_commands
from dagbox.shell.problems import LeaveShell
from dagbox.shell.session import Shell
from dagbox.text.amounts import plural
from dagbox.text.terminal import is_dumb, printable

REFRESH_S = 0.5
"""The interval at which the lines below are redrawn, for the time that locks have left."""
INDENT = "  "
MENU_LINES = 6
"""Lines kept free below the prompt for proposals."""


class ShellCompleter(Completer):
    """Proposals as prompt_toolkit wants them."""

    def __init__(self, proposer: Proposer, read_text: Callable[[str], ParsedCommand]) -> None:
        self.proposer = proposer
        self.read_text = read_text

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Return what could stand at the cursor; never waits."""
        before = document.text_before_cursor
        for proposal in self.proposer.propose(self.read_text(before)):
            yield Completion(
                proposal.text,
                start_position=proposal.start - len(before),
                display=printable(proposal.display or proposal.text.strip()),
                display_meta=printable(proposal.meta),
            )


class Repl:
    """The loop at the terminal.

    Args:
        shell: what runs the commands.
        keyboard, screen: for tests; None for the terminal's.
        history: None for the user's.
    """

    def __init__(
        self,
        shell: Shell,
        *,
        keyboard: Input | None = None,
        screen: Screen | None = None,
        history: History | None = None,
    ) -> None:
        filter_what_is_drawn()
        self.shell = shell
        self._keyboard, self._screen = keyboard, screen
        self.history = open_history() if history is None else history
        self._parse_cached = lru_cache(maxsize=16)(parse)
        self.live = self._new_live()
        self.proposer = Proposer(self.live, lambda: shell.bucket, self._held_keys)
        self._asked_for = ""
        self._tab_at: str | None = None
        self._context = copy_context()
        self._follow = False
        self.session: PromptSession[str] = PromptSession(
            message=self._prompt,
            multiline=True,
            lexer=ShellLexer(self.parse),
            completer=ShellCompleter(self.proposer, self._read_to_complete),
            complete_while_typing=Condition(lambda: shell.settings.on("completion")),
            complete_style=CompleteStyle.COLUMN,
            auto_suggest=AutoSuggestFromHistory(),
            history=self.history,
            bottom_toolbar=self._toolbar,
            prompt_continuation=lambda width, line, wrap: [("class:continuation", "· ".rjust(width))],
            style=shell_style(),
            key_bindings=self._bindings(),
            include_default_pygments_style=False,
            enable_open_in_editor=True,
            enable_suspend=True,
            search_ignore_case=True,
            tempfile_suffix=".dagbox",
            reserve_space_for_menu=MENU_LINES,
            input=keyboard,
            output=screen,
        )
        self.session.app.before_render += lambda app: self._make_room()
        shell.ask = self.ask
        shell.clear_screen = clear_terminal
        shell.history_lines = lambda: newest_first(self.history)

    def parse(self, text: str) -> ParsedCommand:
        """Return the parsed text; cached, because colours, hints and completion ask for the same one."""
        return self._parse_cached(text, self.shell.bucket)

    def _read_to_complete(self, before: str) -> ParsedCommand:
        self._asked_for = before
        return self.parse(before)

    # -- the loop

    def run(self) -> None:
        """Ask for commands and run them until the user leaves."""
        self._greet()
        self.live.start()
        try:
            while True:
                try:
                    text = self._next_command()
                    self._run_all(text)
                except KeyboardInterrupt:
                    continue
                except EOFError:
                    if self._may_leave():
                        return
                except LeaveShell:
                    return
                self._after_command()
        finally:
            self.live.close()

    def _run_all(self, text: str) -> None:
        """Run the commands of the lines, which end as they do in a script, each until one fails."""
        commands = split_commands(text.split("\n"), lambda: self.shell.bucket)
        for each, _ in commands:
            if not self.shell.run_text(each):
                if left := sum(1 for _ in commands):
                    self.shell.output.say(f"stopped here: {plural(left, 'command')} not run", "missing")
                return

    def _next_command(self) -> str:
        self.session.editing_mode = EditingMode.VI if self.shell.settings["editing"] == "vi" else EditingMode.EMACS
        self.session.refresh_interval = REFRESH_S if self.shell.held else 0
        self.session.mouse_support = self.shell.settings.on("mouse")
        text = self.session.prompt()
        self._follow_node()
        return text

    def _greet(self) -> None:
        mode = ", read-only" if self.shell.read_only else ""
        self.shell.output.say(f"DagBox shell on {self.shell.connection.label}{mode}. `help` lists the commands.")

    def _may_leave(self) -> bool:
        """Return True if to leave at Ctrl-D; an open batch asks first."""
        batch = self.shell.batch
        return not batch or self.ask(f"The open batch of {len(batch)} writes will be forgotten. Leave?")

    def _after_command(self) -> None:
        self.live.forget()
        if self.live_target is not self.shell.connection:
            self.live.close()
            self.live = self._new_live()
            self.proposer.names = self.live
            self.live.start()

    def ask(self, question: str) -> bool:
        """Ask a person; anything but yes is no."""
        session: PromptSession[str] = PromptSession(input=self._keyboard, output=self._screen)
        try:
            answer = session.prompt(inert([("bold", question), ("", " [y/N] ")]))
        except (EOFError, KeyboardInterrupt):
            return False
        return answer.strip().lower() in ("y", "yes")

    # -- the node in the background

    def _new_live(self) -> LiveNames:
        connection = self.shell.connection
        self.live_target = connection
        live = LiveNames(connection.beside, shared=connection.embedded)
        live.on_names = self._news
        live.on_reachable = self._reach
        return live

    def _news(self) -> None:
        """Names came: draw the menu anew if the text is still the one they were fetched for."""
        self._in_loop(self._show_news)

    def _show_news(self) -> None:
        buffer = self.session.default_buffer
        menu = buffer.complete_state
        before = buffer.document.text_before_cursor
        choosing = menu is not None and menu.complete_index is not None
        # Tab came before the names did: now it does what it does where they are known.
        tab = before == self._tab_at
        wanted = tab or menu is not None or self.shell.settings.on("completion")
        if before == self._asked_for and not choosing and wanted and buffer.text.strip():
            buffer.start_completion(select_first=False, insert_common_part=tab)
        self.session.app.invalidate()

    def _reach(self, reachable: bool) -> None:
        text = "the node answers again" if reachable else "the node does not answer: trying again"
        self._follow = self._follow or reachable
        self._in_loop(lambda: run_in_terminal(lambda: self.shell.output.say(text, "good" if reachable else "missing")))

    def _in_loop(self, function: Callable[[], Any]) -> None:
        """Have the thread of the prompt call a function, if it is at the prompt."""
        loop = self.session.app.loop
        if loop is None or not self.session.app.is_running:
            return
        try:
            loop.call_soon_threadsafe(function, context=self._context)
        except RuntimeError:
            # The prompt ended between the two lines above: nobody looks at it any more.
            return

    def _follow_node(self) -> None:
        """After the node was away: connect again if it came back at another address."""
        if not self._follow:
            return
        self._follow = False
        try:
            if self.shell.connection.follow():
                self.shell.held.clear()
                self.shell.output.say(f"connected again to {self.shell.connection.label}; locks held before are lost")
        except dagbox.DagBoxError as error:
            self.shell.tell_error(error)

    # -- what is drawn

    def _held_keys(self) -> list[str]:
        return [key for held in self.shell.held for key in held.lease.keys]

    def _prompt(self) -> StyleAndTextTuples:
        shell = self.shell
        colour = f"ansi{shell.environment.colour}"
        parts: StyleAndTextTuples = []
        if shell.environment.label:
            parts.append((f"bg:{colour} ansiwhite bold", f" {shell.environment.label} "))
            parts.append(("", " "))
        parts.append((f"{colour} bold", shell.connection.short_name))
        if shell.bucket:
            parts.append(("class:prompt.bucket", f":{shell.bucket}"))
        mark = "*> " if shell.batch is not None else "> "
        parts.append(("class:prompt.mark", mark))
        return inert(parts)

    def _toolbar(self) -> StyleAndTextTuples:
        buffer = self.session.default_buffer
        before = buffer.document.text_before_cursor
        parsed = self.parse(buffer.text)
        if parsed.problem is None or parsed.unfinished:
            parsed = self.parse(before)
        first: StyleAndTextTuples = [
            (f"class:{style}", text) for style, text in hint(parsed, self.session.output.get_size().columns)
        ]
        second = state(
            self.shell, reachable=self.live.reachable, fetching=self.live.busy, more=self.proposer.more and bool(before)
        )
        return [*inert(first), ("", "\n"), *inert([(f"class:{style}", text) for style, text in second])]

    def _make_room(self) -> None:
        """Keep lines free below all that is typed, so that proposals do not hide it."""
        typed = self.session.default_buffer.document.line_count
        self.session.reserve_space_for_menu = MENU_LINES + min(typed, self.session.output.get_size().rows // 2) - 1

    # -- keys

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        typing = has_focus(DEFAULT_BUFFER) & ~is_searching

        @bindings.add("enter", filter=typing)
        def _enter(event: KeyPressEvent) -> None:
            self._on_enter(event)

        @bindings.add("}", filter=typing)
        def _close(event: KeyPressEvent) -> None:
            before = event.current_buffer.document.current_line_before_cursor
            if before and not before.strip():
                event.current_buffer.delete_before_cursor(min(len(before), len(INDENT)))
            event.current_buffer.insert_text("}")

        @bindings.add("tab", filter=typing)
        def _complete(event: KeyPressEvent) -> None:
            self._tab_at = event.current_buffer.document.text_before_cursor
            generate_completions(event)

        @bindings.add("escape", "enter", filter=typing)
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return bindings

    def _on_enter(self, event: KeyPressEvent) -> None:
        """Run the command, or begin a new line while something is open; with a proposal chosen, take it."""
        buffer = event.current_buffer
        menu = buffer.complete_state
        if menu is not None and menu.current_completion is not None:
            buffer.complete_state = None
            return
        if wants_more(buffer.text, self.shell.bucket):
            buffer.insert_text("\n" + indent_of(buffer.document.text_before_cursor))
            return
        buffer.validate_and_handle()


def wants_more(text: str, bucket: str | None) -> bool:
    """Return True if Enter begins a new line: more is needed, or a word is half typed where a bracket is open.

    Of several commands the last one decides. A mistake in the middle is run, and so told; no more lines would mend it.
    """
    if text.endswith("\\"):
        return True
    commands = [command for command, _ in split_commands(text.split("\n"), lambda: bucket)]
    parsed = parse(commands[-1] if commands else "", bucket)
    return parsed.unfinished or (parsed.being_typed and brackets_open(parsed.text))


def indent_of(before: str) -> str:
    """The indent of the line that follows a text: as deep as brackets are open."""
    depth = 0
    for opening, closing in ("{}", "[]", "()"):
        depth += max(0, before.count(opening) - before.count(closing))
    return INDENT * min(depth, 20)


def run_repl(shell: Shell) -> int:
    """Run the shell at the terminal; the exit status."""
    # Without this prompt_toolkit sends a terminal that can only print two escapes at the beginning.
    screen = PlainTextOutput(sys.stdout) if is_dumb() else None
    with create_app_session(output=screen):
        Repl(shell).run()
    return 0
