"""Dialogs: confirmation, forms, whole values, help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from dagbox.tui.actions import Action
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled


class Confirm(ModalScreen[bool]):
    """Asks before an act; the safe answer has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape,q", "answer(False)", "No", id="confirm.no"),
        Binding("left,right,up,down", "other", "Other button", show=False, id="confirm.other"),
    ]

    def __init__(self, act: Action) -> None:
        super().__init__()
        self.act = act

    def compose(self) -> ComposeResult:
        """Question, reason, two buttons."""
        with Vertical(classes="dialog" + (" harmful" if self.act.harmful else "")):
            yield Label(rendered(self, Styled(self.act.question)), classes="question")
            yield Label(rendered(self, Styled(self.act.reason)), classes="reason")
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no", variant="default")
                yield Button("Yes (y)", id="yes", variant="error" if self.act.harmful else "success")

    _asked_at: float | None = None
    """When the question was drawn, on the clock of events."""

    @property
    def drawn(self) -> bool:
        """True once the question is there to be read, and takes answers."""
        return self._asked_at is not None

    def on_mount(self) -> None:
        """Give the safe answer the focus."""
        self.set_focus(self.query_one("#no", Button))
        self.call_after_refresh(self._note_drawn)

    def _note_drawn(self) -> None:
        self._asked_at = Message().time

    def on_key(self, event: events.Key) -> None:
        """Take no answer that was typed before the question was there to be read."""
        if self._asked_at is None or event.time < self._asked_at:
            event.stop()
            event.prevent_default()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button is an answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Answer by key."""
        self.dismiss(answer)

    def action_other(self) -> None:
        """Go to the other button."""
        self.focus_next()


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a form: its name, what is asked, what stands there at first."""

    name: str
    label: str
    value: str = ""
    hint: str = ""


class Form(ModalScreen["dict[str, str] | None"]):
    """Asks for some texts; None if it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", id="form.leave")]

    def __init__(self, title: str, entries: Sequence[Entry], note: str = "") -> None:
        super().__init__()
        self._title = title
        self._entries = list(entries)
        self._note = note

    def compose(self) -> ComposeResult:
        """The fields, each with its label."""
        with Vertical(classes="dialog"):
            yield Label(rendered(self, Styled(self._title)), classes="question")
            if self._note:
                yield Label(rendered(self, Styled(self._note)), classes="reason")
            for entry in self._entries:
                with Horizontal(classes="entry"):
                    yield Label(entry.label)
                    yield Input(entry.value, placeholder=entry.hint, id=entry.name, compact=True)
            yield Label(rendered(self, Styled("enter: done · tab: next field · escape: leave")), classes="keys")

    def on_input_submitted(self) -> None:
        """Enter in any field ends the form."""
        self.dismiss({entry.name: self.query_one(f"#{entry.name}", Input).value.strip() for entry in self._entries})

    def action_leave(self) -> None:
        """Leave without an answer."""
        self.dismiss(None)


class Whole(ModalScreen[None]):
    """Shows a row or value whole, to be read and copied."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "leave", "Back", id="whole.back"),
        Binding("y", "copy", "Copy", id="whole.copy"),
    ]

    def __init__(self, title: str, parts: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._parts = list(parts)

    def compose(self) -> ComposeResult:
        """Names and values, one under the other."""
        with Vertical(classes="dialog whole"):
            yield Label(rendered(self, Styled(self._title)), classes="question")
            with VerticalScroll():
                yield Static(rendered(self, self._text()), id="whole-text")
            yield Label(rendered(self, Styled("y: copy · escape: back")), classes="keys")

    def _text(self) -> Styled:
        text = Styled()
        wide = max((len(name) for name, _ in self._parts), default=0)
        for name, value in self._parts:
            if name:
                text.append(f"{name.ljust(wide)}  ", "bold")
            lines = value.splitlines() or [""]
            text.append(("\n" + " " * (wide + 2 if name else 0)).join(lines) + "\n")
        return text

    def action_leave(self) -> None:
        """Back to the screen."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy all of it."""
        self.app.copy_to_clipboard("\n".join(f"{name}: {value}" if name else value for name, value in self._parts))
        self.notify("copied")


class Help(ModalScreen[None]):
    """The help of a screen: its contents and its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "leave", "Back", id="help.back")]

    def __init__(self, title: str, about: str, groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
        super().__init__()
        self._title = title
        self._about = about
        self._groups = groups

    def compose(self) -> ComposeResult:
        """The text, then the keys."""
        with Vertical(classes="dialog whole"):
            yield Label(rendered(self, Styled(f"Help: {self._title}")), classes="question")
            with VerticalScroll():
                yield Static(rendered(self, self._text()))
            yield Label(rendered(self, Styled("escape: back")), classes="keys")

    def _text(self) -> Styled:
        # Lines are broken where the window ends, not where the source did.
        paragraphs = (" ".join(paragraph.split()) for paragraph in self._about.strip().split("\n\n"))
        text = Styled("\n\n".join(paragraphs) + "\n")
        for title, keys in self._groups:
            text.append(f"\n{title}\n", "bold")
            for key, what in keys:
                text.append(f"  {key:<18}", "second")
                text.append(f"{what}\n")
        return text

    def action_leave(self) -> None:
        """Back to the screen."""
        self.dismiss(None)


def parts_of(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The fields of a map as name and text, for `Whole`."""
    from dagbox.tui.display.text import as_json

    return [(str(name), value if isinstance(value, str) else as_json(value)) for name, value in values.items()]
