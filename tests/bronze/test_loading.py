"""What a Python worker gives Spark of whole files."""

import json
import subprocess
import sys

from bronze.lines import parse_whole
from bronze.loading import with_facts

HEADER = b"open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore\n"
FIRST = b"1577836800000,1.5,2,1,1.25,10,1577836859999,15.5,7,4,6.1,0\n"
LATER = b"1577836860000000,2.5,3,2,2.25,10,1577836919999999,15.5,7,4,6.1,0\n"
BODIES = [HEADER + FIRST + FIRST, LATER, FIRST + FIRST + FIRST]
READ = f"""
import sys
from bronze.lines import parse_whole
from bronze.loading import with_facts
assert with_facts([0, 1, 2], parse_whole({BODIES!r})).num_rows == 6
print("pandas" in sys.modules)
"""


def test_the_facts_of_a_file_stand_in_its_first_row() -> None:
    whole = parse_whole(BODIES)
    assert whole is not None
    made = with_facts([7, 3, 5], whole)
    made.validate(full=True)
    assert made["number"].to_pylist() == [7, 7, 3, 5, 5, 5]
    assert made["line"].to_pylist() == [2, 3, 1, 1, 2, 3]
    told = [fact and json.loads(fact) for fact in made["facts"].to_pylist()]
    assert told == [
        {"number": 7, "rows": 2, "has_header": True, "time_unit": "ms"},
        None,
        {"number": 3, "rows": 1, "has_header": False, "time_unit": "us"},
        {"number": 5, "rows": 3, "has_header": False, "time_unit": "ms"},
        None,
        None,
    ]


def test_a_worker_needs_no_pandas_whose_import_takes_longer_than_its_files() -> None:
    done = subprocess.run([sys.executable, "-c", READ], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
