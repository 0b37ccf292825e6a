"""The jobs of jobs.yaml as Airflow DAGs: a task each, with their order, retries and schedules.

Airflow's environment needs the wheel, and of its requirements only what Airflow has itself
(`pip install --no-deps`): jobs.yaml is read by `lakehouse.jobs`, as `candlelake run` does. The
tasks run as processes of another environment, which has Spark. Environment variables, the same for
the DAG processor and the workers:

CANDLELAKE_HOME    the checkout; the folder above this file's unless given
CANDLELAKE_JOBS    jobs.yaml in it unless given
CANDLELAKE_CONF    the settings; conf/sample.yaml in it unless given
CANDLELAKE_LAUNCH  the command that runs a task; it is followed by the task's name and arguments.
                   Unless given `.venv/bin/python deploy/launch.py`; spark-submit does as well
"""

import os
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule

from lakehouse.job_file import ALL_SUCCESS, AT_LEAST_ONE_SUCCESS
from lakehouse.jobs import Job, JobTask, load_jobs

HOME = Path(os.environ.get("CANDLELAKE_HOME", Path(__file__).resolve().parents[1]))
JOBS = Path(os.environ.get("CANDLELAKE_JOBS", HOME / "jobs.yaml"))
CONF = os.environ.get("CANDLELAKE_CONF", str(HOME / "conf" / "sample.yaml"))
LAUNCH = os.environ.get("CANDLELAKE_LAUNCH", f"{HOME}/.venv/bin/python {HOME}/deploy/launch.py")

# Databricks' rules wait for all tasks before, whatever became of them; Airflow's `one_success` is
# content with the first.
TRIGGER_RULES = {
    ALL_SUCCESS: TriggerRule.ALL_SUCCESS,
    AT_LEAST_ONE_SUCCESS: TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
}


_DAY = "(SUN|MON|TUE|WED|THU|FRI|SAT)"
# Second, minute, hour, day of the month, month and day of the week. Quartz counts the last from 1,
# Sunday, and cron from 0, so that only the names agree; cron has no last and no nearest day.
_AS_CRON = re.compile(rf"0 [\d,/*-]+ [\d,/*-]+ [\d,/*?-]+ [\dA-Z,/*-]+ (\?|\*|{_DAY}([,-]{_DAY})*)")


def cron(quartz: str) -> str:
    """A Quartz expression as cron has it: without the second, and with `*` for `?`.

    Raises:
        ValueError: It names a second, a year, or days as cron does not have them.
    """
    if not _AS_CRON.fullmatch(quartz):
        raise ValueError(
            f"{quartz!r} cannot be told in cron: give minutes, and days by their names"
        )
    return quartz.partition(" ")[2].replace("?", "*")


def make_dag(job: Job) -> DAG:
    """The DAG of a job; its name and a run's id are the `run_id` of all rows that it writes."""
    schedule = job.schedule
    dag = DAG(
        dag_id=job.name,
        description=job.description,
        schedule=CronTriggerTimetable(cron(schedule.quartz), timezone=schedule.timezone)
        if schedule
        else None,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,  # a run works on all that is new
        max_active_runs=job.max_concurrent_runs,  # a further one waits
        dagrun_timeout=_seconds(job.timeout_seconds),
        is_paused_upon_creation=schedule is not None and schedule.paused,
        tags=["candlelake"],
    )
    made = {task.key: _operator(job, task, dag) for task in job.tasks}
    for task in job.tasks:
        made[task.key].set_upstream([made[key] for key in task.depends_on])
    return dag


def _operator(job: Job, task: JobTask, dag: DAG) -> BashOperator:
    references = {
        "job.parameters.conf": CONF,
        "job.name": job.name,
        # Airflow's template; two DAGs that start at the same time have runs of the same id.
        "job.run_id": f"{job.name}__{{{{ run_id }}}}",
    }
    command = [*shlex.split(LAUNCH), task.entry_point, *task.arguments(references)]
    return BashOperator(
        task_id=task.key,
        dag=dag,
        bash_command=shlex.join(["exec", *command]),
        cwd=str(HOME),
        trigger_rule=TRIGGER_RULES[task.run_if],
        retries=task.max_retries,
        retry_delay=timedelta(seconds=task.retry_seconds),
        execution_timeout=_seconds(task.timeout_seconds),
    )


def _seconds(timeout: int) -> timedelta | None:
    return timedelta(seconds=timeout) if timeout else None


dags = {job.name: make_dag(job) for job in load_jobs(JOBS).values()}
globals().update(dags)  # where Airflow looks for them
