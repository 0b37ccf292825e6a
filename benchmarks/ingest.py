"""Throughput from verified ZIPs to a committed Delta table, beside what else a user would take.

    .venv/bin/python benchmarks/ingest.py compare ../shared/archive --runs 3
    .venv/bin/python benchmarks/ingest.py unchanged --files 100000

`compare` loads two archives: (a) the small 4h files as they are, (b) the minute files, copied under
other names until there are 5 million rows. Each run is a process of its own; the variants take
turns. Each loads twice, into two new places: the first load is what a command waits for, the next
what many batches or a running cluster see, where the JVM has compiled its code. Imports and the
start of a session are not counted; Candlelake's tables, its ledger and its checks are. All variants
must give the same number of rows and the same sum of closes.

`unchanged` times a run that finds nothing new beside a ledger of many files, and beside one of a
hundred in turn: each time three runs in the session of a new process. In turn with them, a session
writes a row into a new Delta table and reads it, three times: what any run waits for.
"""

import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import pandas as pd
import polars as pl

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from lakehouse.settings import Settings, load_settings  # noqa: E402  # found by the path above

COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_base",
    "taker_buy_quote",
    "ignore",
)
INTEGERS = ("open_time", "close_time", "trades")
KLINES = "data/futures/um/monthly/klines"
# Files that a script gathers before it writes them, so that its table is not of tiny files.
GATHERED_ROWS = 500_000
MINUTE_ROWS = 5_000_000


def archive_files(archive: Path, interval: str) -> list[Path]:
    """The ZIPs of one interval."""
    return sorted(archive.glob(f"{KLINES}/*/{interval}/*.zip"))


def body_of(path: Path) -> bytes:
    """The CSV in a ZIP."""
    with zipfile.ZipFile(path) as packed:
        return packed.read(packed.namelist()[0])


def processor_seconds() -> float:
    """Processor time of this process and all below it so far, the JVM and its workers included.

    Unlike wall time it says something on a machine that others use too.
    """
    ticks, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        process = int(stat.parent.name)
        parents[process] = int(fields[1])
        ticks[process] = sum(map(int, fields[11:15]))
    family, grown = {os.getpid()}, True
    while grown:
        children = {process for process, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return sum(ticks[process] for process in family) / os.sysconf("SC_CLK_TCK")


# Wall seconds and processor seconds.
Times = tuple[float, float]


def timed(load: Callable[[], object]) -> Times:
    """How long a load takes."""
    wall, processor = time.monotonic(), processor_seconds()
    load()
    return time.monotonic() - wall, processor_seconds() - processor


def candlelake(archive: Path, interval: str, places: Sequence[Path]) -> list[Times]:
    """The task ingest_archive."""
    from bronze.tasks import ingest_archive
    from lakehouse.session import spark_session

    with spark_session(_settings(archive, interval, places[0]).spark) as spark:
        return [
            timed(
                partial(
                    ingest_archive.run, spark, _settings(archive, interval, out), "benchmark", ""
                )
            )
            for out in places
        ]


def _settings(archive: Path, interval: str, warehouse: Path) -> Settings:
    overrides = {
        "archive.url": archive,
        "archive.interval": interval,
        "archive.start": "2020-01",
        "archive.end": "2030-12",
        "warehouse": warehouse,
    }
    return load_settings(
        ROOT / "conf" / "sample.yaml", [f"{key}={value}" for key, value in overrides.items()]
    )


def tutorial(archive: Path, interval: str, places: Sequence[Path]) -> list[Times]:
    """Extract, `spark.read.csv`, write: no checksum, no bad line kept, no ledger."""
    from pyspark.sql import functions as F

    from lakehouse.session import spark_session

    schema = ", ".join(f"{n} {'bigint' if n in INTEGERS else 'double'}" for n in COLUMNS)
    with spark_session(_settings(archive, interval, places[0]).spark) as spark:

        def load(out: Path) -> None:
            extracted = out.with_name(f"{out.name}-csv")
            for path in archive_files(archive, interval):
                with zipfile.ZipFile(path) as packed:
                    packed.extractall(extracted)
            frame = spark.read.csv(str(extracted), schema=schema, header=True)
            name = F.element_at(F.split(F.input_file_name(), "/"), -1)
            frame.withColumn("source_file", name).write.format("delta").save(str(out))

        return [timed(partial(load, out)) for out in places]


def gathered(
    archive: Path, interval: str, read: Callable[[Path], pl.DataFrame | pd.DataFrame], out: Path
) -> None:
    """Read file by file and append to a Delta table with delta-rs."""
    from deltalake import write_deltalake

    waiting: list[pl.DataFrame | pd.DataFrame] = []

    def write() -> None:
        frames = list(waiting)
        waiting.clear()
        if isinstance(frames[0], pl.DataFrame):
            write_deltalake(str(out), pl.concat(frames).to_arrow(), mode="append")
        else:
            write_deltalake(str(out), pd.concat(frames, ignore_index=True), mode="append")

    for path in archive_files(archive, interval):
        waiting.append(read(path))
        if sum(map(len, waiting)) >= GATHERED_ROWS:
            write()
    if waiting:
        write()


def with_pandas(archive: Path, interval: str, places: Sequence[Path]) -> list[Times]:
    """Pandas and delta-rs."""

    def read(path: Path) -> pd.DataFrame:
        types = {name: "int64" if name in INTEGERS else "float64" for name in COLUMNS}
        frame = pd.read_csv(path, names=list(COLUMNS), header=0, dtype=types)
        return frame.assign(source_file=path.name)

    return [timed(partial(gathered, archive, interval, read, out)) for out in places]


def with_polars(archive: Path, interval: str, places: Sequence[Path]) -> list[Times]:
    """Polars and delta-rs."""

    def read(path: Path) -> pl.DataFrame:
        types = [pl.Int64 if name in INTEGERS else pl.Float64 for name in COLUMNS]
        frame = pl.read_csv(body_of(path), new_columns=list(COLUMNS), schema_overrides=types)
        return frame.with_columns(source_file=pl.lit(path.name))

    return [timed(partial(gathered, archive, interval, read, out)) for out in places]


VARIANTS = {
    "candlelake": candlelake,
    "tutorial": tutorial,
    "pandas + delta-rs": with_pandas,
    "Polars + delta-rs": with_polars,
}


@contextmanager
def minute_archive(archive: Path) -> Iterator[Path]:
    """The minute files under as many names as make 5 million rows."""
    paths = archive_files(archive, "1m")
    bodies = {path: body_of(path) for path in paths}
    rows = sum(body.count(b"\n") for body in bodies.values())
    with tempfile.TemporaryDirectory() as folder:
        for copy in range(-(-MINUTE_ROWS // rows)):
            for path, body in bodies.items():
                symbol, _, rest = path.stem.partition("-")
                put(Path(folder), f"C{copy}{symbol}", rest, body)
        yield Path(folder)


def put(root: Path, symbol: str, rest: str, body: bytes) -> None:
    """One ZIP and its checksum."""
    target = root / KLINES / symbol / "1m" / f"{symbol}-{rest}.zip"
    target.parent.mkdir(parents=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"{symbol}-{rest}.csv", body)
    target.write_bytes(packed.getvalue())
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    target.with_name(target.name + ".CHECKSUM").write_text(f"{digest}  {target.name}\n")


@click.group()
def main() -> None:
    """Time the ingest."""


@main.command()
@click.argument("variant", type=click.Choice(list(VARIANTS)))
@click.argument("archive", type=Path)
@click.argument("interval")
@click.argument("out", type=Path)
def one(variant: str, archive: Path, interval: str, out: Path) -> None:
    """Load twice and print the seconds of each, rows, sum of closes and the data files, as JSON."""
    times = VARIANTS[variant](archive, interval, [out.with_name("first"), out])
    table = out / "bronze" / "klines" if variant == "candlelake" else out
    frame = pl.scan_delta(str(table)).select(pl.len(), pl.col("close").sum()).collect()
    sizes = [
        path.stat().st_size for path in table.rglob("*.parquet") if "_delta_log" not in str(path)
    ]
    commits = len(list((table / "_delta_log").glob("*.json")))
    print(
        json.dumps(
            [*times[0], *times[1], *frame.row(0), len(sizes), statistics.median(sizes), commits]
        )
    )


@main.command()
@click.argument("archive", type=Path)
@click.option("--runs", default=3, show_default=True)
@click.option("--only", multiple=True, help="Run these variants alone.")
@click.option("--rows", type=click.Choice(["small", "minute", "both"]), default="both")
def compare(archive: Path, runs: int, only: tuple[str, ...], rows: str) -> None:
    """Print the median of each variant, and its layout."""
    if rows != "minute":
        print("(a) small 4h files")
        take_turns(archive.absolute(), "4h", runs, only or tuple(VARIANTS))
    if rows != "small":
        with minute_archive(archive.absolute()) as minutes:
            print("(b) minute rows")
            take_turns(minutes, "1m", runs, only or tuple(VARIANTS))


def in_a_new_process(*arguments: object) -> list[float]:
    """What a command of this script prints in its last line, as JSON."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def take_turns(archive: Path, interval: str, runs: int, variants: tuple[str, ...]) -> None:
    """Run the variants in turn and print a table."""
    found = defaultdict(list)
    for _ in range(runs):
        for variant in variants:
            place = Path(tempfile.mkdtemp())
            found[variant].append(
                in_a_new_process("one", variant, archive, interval, place / "lake")
            )
            shutil.rmtree(place)
    reference = found[variants[0]][0][4:6]
    print(
        "| variant | first load, s | processor s | next load, s | processor s | M rows/s |", end=""
    )
    print(" data files | median MB | commits |")
    print(f"| --- |{' ---: |' * 8}")
    for variant, results in found.items():
        for *_, rows, closes, _, _, _ in results:
            if rows != reference[0] or abs(closes / reference[1] - 1) > 1e-9:
                raise SystemExit(f"{variant} gave {rows}, {closes} and not {reference}")
        times = [statistics.median(result[n] for result in results) for n in range(4)]
        *_, rows, _, files, size, commits = results[-1]
        print(
            f"| {variant} | {' | '.join(f'{seconds:.1f}' for seconds in times)} "
            f"| {rows / times[2] / 1e6:.3f} | {files} | {size / 1e6:.2f} | {commits} |"
        )


@main.command()
@click.option("--files", default=100_000, show_default=True)
@click.option("--runs", default=3, show_default=True, help="New processes for each ledger.")
def unchanged(files: int, runs: int) -> None:
    """Time a run that finds nothing new beside a ledger of many files, and of a hundred."""
    with tempfile.TemporaryDirectory() as folder:
        places = {number: Path(folder, str(number)) for number in (100, files)}
        for number, place in places.items():
            make_ledger(number, place)
        found = defaultdict(list)
        for _ in range(runs):
            found["one row written and read"].append(in_a_new_process("one-row"))
            for number, place in places.items():
                found[f"{number:,} files"].append(in_a_new_process("nothing-new", place))
    print("| | first of a session, s | third, s |")
    print("| --- | ---: | ---: |")
    for label, results in found.items():
        first, third = (statistics.median(result[n] for result in results) for n in (0, 2))
        print(f"| {label} | {first:.1f} | {third:.1f} |")


@main.command()
@click.argument("place", type=Path)
def nothing_new(place: Path) -> None:
    """Print the seconds of three runs in one session, as JSON."""
    from bronze.tasks import ingest_archive
    from lakehouse.invocation import new_run_id
    from lakehouse.runs import recorded_here_alone
    from lakehouse.session import spark_session

    settings = _settings(place / "archive", "4h", place / "lake")
    with spark_session(settings.spark) as spark:

        def run() -> None:
            run_id = new_run_id(datetime.now(UTC))
            with recorded_here_alone(run_id):  # as `candlelake run` does
                done = ingest_archive.run(spark, settings, run_id, "")
            if done.status != "unchanged":
                raise SystemExit(done.message)

        times = [timed(run) for _ in range(3)]
    print(json.dumps([wall for wall, _ in times]))


@main.command()
def one_row() -> None:
    """Print the seconds of three times a new Delta table with a row, in one session, as JSON."""
    from lakehouse.session import spark_session

    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder), "4h", Path(folder))
        with spark_session(settings.spark) as spark:

            def write_and_read(name: str) -> None:
                spark.range(1).write.format("delta").saveAsTable(name)
                assert spark.table(name).toArrow().num_rows == 1

            names = [f"delta.`{folder}/{n}`" for n in range(3)]
            times = [timed(partial(write_and_read, name)) for name in names]
    print(json.dumps([wall for wall, _ in times]))


def make_ledger(files: int, place: Path) -> None:
    """An archive of so many files of a byte, and a warehouse whose ledger knows them."""
    from bronze.archive import files_prefix, parse_key
    from bronze.contracts import ARCHIVE_FILES, KLINES
    from bronze.tasks import ingest_archive
    from lakehouse.session import spark_session
    from lakehouse.tables import Lake

    months = [f"{year}-{month:02d}" for year in range(2020, 2028) for month in range(1, 13)]
    told = []
    for n in range(files):
        symbol, month = f"S{n // len(months)}USDT", months[n % len(months)]
        key = parse_key(f"{files_prefix('um', 'monthly', symbol, '4h')}{symbol}-4h-{month}.zip")
        assert key is not None
        path = place / "archive" / key.source_file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        digest = f"{n:064x}"
        path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
        told.append(
            {
                **dict.fromkeys(ARCHIVE_FILES.column_names),
                **{
                    name: getattr(key, name)
                    for name in ("source_file", "market", "interval", "symbol", "month")
                },
                "period": month,
                "cadence": "monthly",
                "size_bytes": 1,
                "sha256": digest,
                "published_sha256": digest,
                "status": "ingested",
                "rows": 180,
                "rejected_lines": 0,
                "time_unit": "ms",
                "run_id": "made",
                "ingested_at": datetime(2026, 1, 1, tzinfo=UTC),
            }
        )
    settings = _settings(place / "archive", "4h", place / "lake")
    with spark_session(settings.spark) as spark:
        lake = Lake(spark, settings.warehouse)
        lake.create(KLINES)
        lake.append(ARCHIVE_FILES, lake.frame(ARCHIVE_FILES, told))
        ingest_archive.run(spark, settings, "the first, which names the symbols", "")


if __name__ == "__main__":
    main()
