"""Build the wheel `candlelake`: five packages, the command line and the task entry points."""

from setuptools import setup

# Databricks looks a wheel task's `entry_point` up by name in the package's metadata, and so does
# `candlelake run`: the names on the left are those of jobs.yaml.
TASKS = [
    "ingest_archive=bronze.tasks:ingest_archive",
    "clean_candles=silver.tasks:clean_candles",
    "asset_metrics=gold.tasks:asset_metrics",
    "correlations=gold.tasks:correlations",
    "smart_index=gold.tasks:smart_index",
    "factor_returns=gold.tasks:factor_returns",
    "factor_exposures=gold.tasks:factor_exposures",
    "factor_risk=gold.tasks:factor_risk",
    "pca=ml.tasks:pca",
    "kmeans=ml.tasks:kmeans",
    "gbt_features=ml.tasks:gbt_features",
    "gbt=ml.tasks:gbt",
    "score=ml.tasks:score",
    "index_run=ml.tasks:index_run",
    "report=ml.tasks:report",
    "quality_gate=silver.tasks:quality_gate",
    "maintain_tables=lakehouse.maintenance:maintain_tables",
]

setup(
    name="candlelake",
    version="0.1.0",
    description="From a crypto exchange's raw candles to research that can be trusted, on Delta.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=["lakehouse", "bronze", "silver", "gold", "ml"],
    package_data={"": ["py.typed"], "ml": ["templates/*.html"]},  # "" is every package
    # What the code imports, and the releases it is written for. pyspark, delta-spark and mlflow are
    # not here: Databricks brings its own. constraints.txt locks all of it (`make lock`).
    install_requires=[
        "click>=8.1",
        "isal>=1.7",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "numba>=0.68",
        "numpy>=2.0",
        "packaging>=24",
        # pandas 3 gives strings another dtype and dates another resolution: a table, a CSV or a
        # model's signature must not depend on which of the two a machine has.
        "pandas>=2.2,<3",
        "pyarrow>=18",
        "pydantic>=2.9",
        "pyyaml>=6.0",
        "requests>=2.32",
        "rich>=13.9",
        "scikit-learn>=1.5",
        "tenacity>=9.0",
        "threadpoolctl>=3.5",
        "urllib3>=2.3",  # its answers can be shut down by another thread
    ],
    extras_require={
        "local": [
            # The newest Spark that a Delta release supports; `connect` is for spark.remote.
            "pyspark[connect]==4.2.0",
            # The session loads io.delta:delta-spark_4.2_2.13:4.4.0; 4.4.1 has no such jar yet.
            "delta-spark==4.4.0",
            # A newer release may refuse the store (mlflow.db) of this one until it is migrated.
            "mlflow==3.17.*",
        ],
        "test": [
            "bt",  # index levels are checked against it
            "databricks-bundles",
            "deltalake",
            "empyrical-reloaded",  # and their statistics against this
            "hypothesis",
            "import-linter",
            "mypy",
            "pandas-stubs",
            "polars",
            "pytest",
            "pytest-cov",
            "pytest-xdist",
            "ruff",
            "scipy",
            "setuptools>=77",  # builds the wheel under test with no download
            "statsmodels",
            "types-PyYAML",
            "types-requests",
            "uv",  # installs all this, and builds the wheel
        ],
    },
    entry_points={
        "console_scripts": ["candlelake=lakehouse.cli:main"],
        "candlelake.tasks": TASKS,
        # Commands that stand in modules of their own.
        "candlelake.commands": [
            "risk=gold.risk_command:risk",
            "runs=lakehouse.runs_command:runs",
        ],
        # What the command line shows of an upper layer: functions of a session and the settings.
        "candlelake.listings": ["republished_files=bronze.republished:republished_files"],
        # How the command line has a model run again: a function of settings and a reference.
        "candlelake.reproduction": ["reproduce=ml.reproduce:reproduce"],
    },
)
