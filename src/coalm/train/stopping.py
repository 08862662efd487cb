"""Ctrl-C and SIGTERM as a wish that the training loop grants after the step it is in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def wish_to_stop(*, patient: bool = False) -> Iterator[threading.Event]:
    """An event that the first signal sets; the second one does what it does elsewhere.

    Signals reach the main thread only; in any other the event is never set.

    Args:
        patient: further signals change nothing, for processes whose launcher passes on to them the
            signal that the terminal has given them already.
    """
    wished = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wished
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def wish(number: int, frame: FrameType | None) -> None:
        wished.set()
        if not patient:
            restore()

    for number in _SIGNALS:
        signal.signal(number, wish)
    try:
        yield wished
    finally:
        restore()
