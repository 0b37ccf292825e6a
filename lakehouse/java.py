"""Java, found as Spark finds it: `$JAVA_HOME/bin/java` if JAVA_HOME is set, else the PATH's.

Standard library only, so that it works before anything is installed: `python -m lakehouse.java`
is silent when Spark can start, else it prints one line and exits with 1.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import EnvironmentProblem

SUPPORTED = (17, 21, 25)
"""Java releases that Spark 4.2 runs on, by its documentation."""

NEEDED = f"{', '.join(map(str, SUPPORTED[:-1]))} or {SUPPORTED[-1]}"

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Java:
    """The Java that Spark would run.

    Attributes:
        found: What there is, in words: `17.0.15 at /usr/bin/java`, `none on the PATH`.
        major: Release number, 17 of `17.0.15` and 8 of `1.8.0_391`; None if it does not run.
    """

    found: str
    major: int | None = None

    @property
    def supported(self) -> bool:
        """Whether Spark runs on it."""
        return self.major in SUPPORTED


def find_java() -> Java:
    """Find Java and ask it for its version; never raises."""
    home = os.environ.get("JAVA_HOME")
    path = shutil.which(Path(home, "bin", "java") if home else "java")
    if path is None:
        # With a JAVA_HOME that has none, Spark does not fall back on the PATH either.
        return Java(f"no bin/java in JAVA_HOME={home}" if home else "none on the PATH")
    try:
        answer = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        # macOS has a /usr/bin/java that only says that no Java is installed.
        return Java(f"{path}, which does not run")
    version = re.search(r'version "(1\.)?(\d+)[^"]*"', answer.stderr + answer.stdout)
    if version is None:
        return Java(f"{path}, which tells no version")
    number = version.group().removeprefix('version "').removesuffix('"')
    return Java(f"{number} at {path}", int(version.group(2)))


def how_to_get_java(platform: str = sys.platform) -> str:
    """The command that installs a supported Java and points Spark at it, in one line."""
    if platform == "darwin":
        return 'brew install openjdk@17 && export JAVA_HOME="$(brew --prefix openjdk@17)"'
    return (
        "sudo apt-get install openjdk-17-jre-headless (where 17 is gone: openjdk-21-jre-headless; "
        "Fedora: sudo dnf install java-21-openjdk-headless), with JAVA_HOME unset or pointing to it"
    )


def require_java() -> None:
    """Make sure that Spark can start.

    Raises:
        EnvironmentProblem: Java is missing, does not run, or is a release that Spark refuses.
    """
    java = find_java()
    if not java.supported:
        raise EnvironmentProblem(
            f"Spark needs Java {NEEDED} but found {java.found}: {how_to_get_java()}"
        )


if __name__ == "__main__":
    try:
        require_java()
    except EnvironmentProblem as problem:
        sys.exit(str(problem))
