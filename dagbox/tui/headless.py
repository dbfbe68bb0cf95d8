"""Recording and metrics without a screen."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, closing

import dagbox
from dagbox.text.streams import note, report
from dagbox.tui.options import Options
from dagbox.tui.polling.request import Map
from dagbox.tui.polling.source import LiveSource
from dagbox.tui.recording.format import RECORDED
from dagbox.tui.recording.writer import Recorder


def run_headless(options: Options, stop: threading.Event | None = None) -> int:
    """Record a node, or serve its figures, until interrupted.

    A node that goes away is waited for; what it told before stays in the recording.

    Args:
        options: with `record` or `metrics_port`.
        stop: set it to end; for programs that run this on a thread.

    Returns:
        The exit status: 0.

    Raises:
        dagbox.CannotConnect: nobody answers at the beginning.
        dagbox.InvalidArgument: the file cannot be written, or the port is taken.
    """
    ended = stop if stop is not None else threading.Event()
    with ExitStack() as stack:
        if stop is None:
            for number in (signal.SIGINT, signal.SIGTERM):
                stack.callback(signal.signal, number, signal.signal(number, lambda *_: ended.set()))
        source = stack.enter_context(closing(LiveSource(options.target)))
        first = source.polls(RECORDED)
        if options.metrics_port is not None:
            from dagbox.prometheus import serving_metrics

            address = stack.enter_context(serving_metrics(options.target, options.metrics_port))
            note(f"dagbox: metrics at {address}")
        if options.record is None:
            ended.wait()
            return 0
        recorder = stack.enter_context(closing(Recorder(options.record)))
        note(f"dagbox: recording {source.name} to {options.record}, until Ctrl-C")
        _record(source, recorder, first, options.refresh_s, ended)
    return 0


def _record(source: LiveSource, recorder: Recorder, polls: list[Map], refresh_s: float, ended: threading.Event) -> None:
    heard = True
    while True:
        for poll in polls:
            recorder.add(poll)
        if ended.wait(refresh_s):
            return
        try:
            polls = source.polls(RECORDED)
            heard = True
        except dagbox.DagBoxError as error:
            polls = []
            if heard:
                report(f"{time.strftime('%H:%M:%S')} {error.message}")
            heard = False
