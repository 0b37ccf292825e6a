import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lakehouse.errors import EnvironmentProblem
from lakehouse.java import find_java, how_to_get_java, require_java

ROOT = Path(__file__).parents[2]


def make_java(folder: Path, body: str) -> Path:
    """A program named java; `echo` and `exit` of the shell are all it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{body}\n")
    java.chmod(0o755)
    return java


def says(version_line: str) -> str:
    return f"echo '{version_line}' >&2"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No JAVA_HOME, and a PATH of one empty folder, which is returned."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("SPARK_HOME", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("line", "major", "supported"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17, True),
        ('java version "17.0.9" 2023-10-17 LTS', 17, True),
        ('openjdk version "21" 2023-09-19', 21, True),
        ('openjdk version "25-ea" 2025-09-16', 25, True),
        ('java version "1.8.0_391"', 8, False),
        ('java version "1.17.0"', 17, True),
        ('openjdk version "11.0.2" 2019-01-15', 11, False),
        ('openjdk version "170.0.1" 2099-01-01', 170, False),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21.0.1" 2023-10-17', 21, True),
    ],
)
def test_release_is_read_from_what_java_says(
    bare_machine: Path, line: str, major: int, supported: bool
) -> None:
    make_java(bare_machine, says(line))
    java = find_java()
    assert java.major == major
    assert java.supported is supported
    assert str(bare_machine / "java") in java.found


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'Unable to locate a Java Runtime.' >&2; exit 1", "does not run"),
        ("echo 'hello' >&2", "tells no version"),
    ],
)
def test_a_java_that_is_none_is_told_as_such(bare_machine: Path, body: str, words: str) -> None:
    make_java(bare_machine, body)
    java = find_java()
    assert java.major is None
    assert not java.supported
    assert words in java.found


def test_java_of_another_machine_type_does_not_run(bare_machine: Path) -> None:
    make_java(bare_machine, "").write_bytes(b"\x7fELF for another processor")
    assert "does not run" in find_java().found


def test_no_java(bare_machine: Path) -> None:
    assert find_java().found == "none on the PATH"
    (bare_machine / "java").write_text("not a program")
    assert find_java().found == "none on the PATH"


def test_java_home_wins_over_the_path(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_java(bare_machine, says('openjdk version "17.0.1"'))
    make_java(tmp_path / "jdk" / "bin", says('openjdk version "11.0.1"'))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java().major == 11


def test_empty_java_home_is_none(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_java(bare_machine, says('openjdk version "17.0.1"'))
    monkeypatch.setenv("JAVA_HOME", "")
    assert find_java().major == 17


def test_wrong_java_home_does_not_fall_back_on_the_path(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_java(bare_machine, says('openjdk version "17.0.1"'))
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert find_java().found == "no bin/java in JAVA_HOME=/nowhere"


@pytest.mark.parametrize("home", [False, True])
def test_the_java_found_is_the_one_that_spark_runs(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: bool
) -> None:
    log = tmp_path / "log"
    body = f'echo "$0" >> {log}; {says(chr(34).join(("openjdk version ", "17.0.1", "")))}'
    make_java(bare_machine, body)
    make_java(tmp_path / "jdk" / "bin", body)
    monkeypatch.setenv("PATH", f"{bare_machine}:/usr/bin:/bin")
    if home:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    pyspark = find_spec("pyspark")
    assert pyspark is not None
    assert pyspark.origin is not None
    spark_class = Path(pyspark.origin).parent / "bin" / "spark-class"
    subprocess.run(["bash", spark_class, "Any"], capture_output=True, check=False)
    ran_by_spark = log.read_text().splitlines()[0]
    assert find_java().found == f"17.0.1 at {ran_by_spark}"


def test_require_java_says_nothing_when_java_is_right(bare_machine: Path) -> None:
    make_java(bare_machine, says('openjdk version "21.0.2"'))
    require_java()


def test_require_java_says_in_one_line_what_to_do(bare_machine: Path) -> None:
    make_java(bare_machine, says('openjdk version "11.0.2"'))
    with pytest.raises(EnvironmentProblem) as caught:
        require_java()
    message = str(caught.value)
    assert "17, 21 or 25" in message
    assert "11.0.2" in message
    assert how_to_get_java() in message
    assert "\n" not in message


def test_hint_fits_the_platform() -> None:
    assert how_to_get_java("darwin").startswith("brew install openjdk@17")
    assert how_to_get_java("linux").startswith("sudo apt-get install openjdk-17-jre-headless")


@pytest.mark.parametrize(("version", "status"), [("17.0.1", 0), ("11.0.2", 1)])
def test_it_runs_with_nothing_installed(bare_machine: Path, version: str, status: int) -> None:
    make_java(bare_machine, says(f'openjdk version "{version}"'))
    # -S: no site-packages, as with a Python that has only its standard library.
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-m", "lakehouse.java"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == status
    assert ("Java" in done.stderr) == bool(status)
