"""Loops that are compiled for the machine they run on, when their module is imported.

Plain IEEE arithmetic in the order that is written: neither reordered nor fused, so that the bits
do not depend on the machine's vector registers. The compiled code is kept beside the module, or in
the user's cache folder where that cannot be written or is an archive; where there is no such
folder, it is made again in each process.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., None])


def compiled(signature: str) -> Callable[[_Function], _Function]:
    """Compile a function for these types of its arguments, all at once; it returns nothing."""

    def compile_(function: _Function) -> _Function:
        try:
            made = njit(signature, cache=True, error_model="numpy")(function)
        except (RuntimeError, OSError):  # numba found no folder for its cache
            made = njit(signature, error_model="numpy")(function)
        return cast(_Function, made)

    return compile_
