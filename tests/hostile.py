"""Text of others that a terminal, a page or a log would act on: one corpus for all faces.

`HOSTILE` may stand in every text that others write: keys, data, owners, names of workers and services, errors, facts.
`BYTES` are words of a command line that are no text.
"""

from __future__ import annotations

from dagbox.text.terminal import printable

HOSTILE = [
    "\x1b]0;pwned\x07",  # sets the window title
    "\x1b]52;c;aGk=\x07",  # writes the clipboard
    "\x1b]8;;http://x\x1b\\y",  # a link to elsewhere
    "\x1b[2J\x1b[H",  # wipes the screen
    "\x1b[8m",  # hides what follows
    "\x9b31m",  # an 8-bit control sequence
    "\x07",
    "line\nbreak\r\t\x00\x08\x7f",
    "\u202egnp.exe\u2066",  # turns the direction of text
    "a\u200bb\ufeff\u00ad\U000e0041",  # shows nothing
    "\u2028\u2029\x85",  # breaks lines for some
    "\ue000\U000f0000",  # of private use
    "[bold]markup[/bold] [@click=app.quit]x[/]",
    "<script>alert(1)</script>&\"'",
    '"} 1\ndagbox_evil{x="',  # ends a label of a metric
]
IDS = [ascii(text)[1:-1] for text in HOSTILE]
EVIL = "".join(HOSTILE)
"""All of them in one text."""
BYTES = [b"\xff", b"a\xffb\x1b[2J", b"\x9b2J"]


def bucket_of(text: str) -> str:
    """Return a name of a bucket with as much of the text as one may have: no slash, no null, 120 bytes."""
    return f"b{text}".replace("/", "-").replace("\0", "").encode()[:120].decode(errors="ignore")


def assert_inert(text: str, *, breaks: str = "\n") -> None:
    """Fail if the text holds what a terminal acts on.

    Args:
        breaks: characters that the program writes itself, to end lines.
    """
    for char in breaks:
        text = text.replace(char, "")
    raw = sorted({char for char in text if printable(char) != char})
    assert not raw, f"{raw!a} in {text[-2000:]!a}"
