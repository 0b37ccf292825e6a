"""Ctrl-C, for work that runs beside Spark in threads of its own.

Python tells the main thread alone. Whoever works for long in another one asks for an event here
and looks at it now and then.
"""

import threading
from weakref import WeakSet

_events: WeakSet[threading.Event] = WeakSet()


def stop_event() -> threading.Event:
    """A new event, which `interrupt` sets while it is in use."""
    event = threading.Event()
    _events.add(event)
    return event


def interrupt() -> None:
    """Ask all work that is going on to stop."""
    for event in list(_events):
        event.set()
