"""How much memory a benchmark takes at most; Linux only, read from /proc."""

import threading
from pathlib import Path


class PeakMemory:
    """Most resident memory of this process's tree at once, by program."""

    def __init__(self) -> None:
        self._peak: dict[str, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to look, twice a second."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._done.set()
        self._thread.join()

    def __str__(self) -> str:
        large = sorted((name, kb // 1024) for name, kb in self._peak.items() if kb >= 1024)
        return ", ".join(f"{name} {mb:,}" for name, mb in large)

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            now: dict[str, int] = {}
            for pid in tree(threading.main_thread().native_id or 0):
                try:
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                except OSError:
                    continue  # it has ended
                status = dict(line.split(":", 1) for line in lines)
                kb = int(status.get("VmRSS", "0 kB").split()[0])
                name = status["Name"].strip()
                now[name] = now.get(name, 0) + kb
            for name, kb in now.items():
                self._peak[name] = max(self._peak.get(name, 0), kb)


def tree(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found
