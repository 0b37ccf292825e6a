from io import StringIO
from pathlib import Path

from rich.console import Console

from lakehouse.runner import JobResult, TaskResult
from lakehouse.settings import Settings, load_settings
from lakehouse.summary import print_summary


def printed(settings: Settings) -> str:
    text = StringIO()
    task = TaskResult("ingest_archive", "succeeded", 2.5, "3 of 3 files new", {"rows": "1,000"})
    result = JobResult("medallion", "run-1", (task,), session_seconds=1.5, seconds=4.0)
    print_summary(Console(file=text, width=200), result, settings, Path("conf/x.yaml"), [])
    return text.getvalue()


def test_what_to_look_at_next_is_there(tmp_path: Path) -> None:
    store, folder = tmp_path / "mlflow.db", tmp_path / "report"
    settings = load_settings(
        Path("conf/sample.yaml"),
        [f"mlflow.tracking_uri=sqlite:///{store}", f"report.folder={folder}"],
    )
    before = printed(settings)
    assert "3 of 3 files new" in before
    assert "1,000" in before
    assert "MLflow UI" not in before
    assert "report.html" not in before
    store.touch()
    folder.mkdir()
    (folder / "report.html").touch()
    after = printed(settings)
    assert f"ui --backend-store-uri sqlite:///{store}" in after
    assert f"{folder}/report.html" in after
    elsewhere = settings.mlflow.model_copy(update={"tracking_uri": "http://127.0.0.1:5000"})
    remote = settings.model_copy(update={"mlflow": elsewhere})
    assert "ui --backend-store-uri http://127.0.0.1:5000" in printed(remote)
