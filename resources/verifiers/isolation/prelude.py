"""Names that programs for TACO, APPS and LiveCodeBench find without importing them.

Those collections run each program behind a page of imports, so that a right answer may name `List`
or `deque` as it stands. A name of a builtin keeps its meaning.
"""

import bisect
import builtins
import collections
import copy
import datetime
import functools
import heapq
import itertools
import json
import math
import operator
import random
import re
import statistics
import string
import sys
import typing
from types import ModuleType
from typing import Any

_MODULES = (
    bisect, collections, copy, datetime, functools, heapq, itertools, json, math, operator, random,
    re, statistics, string, sys, typing,
)  # fmt: skip
_STARRED = (typing, collections, heapq, bisect, itertools, functools, math)


def _public(module: ModuleType) -> list[str]:
    return getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]


NAMES: dict[str, Any] = {
    name: getattr(module, name)
    for module in _STARRED
    for name in _public(module)
    if not hasattr(builtins, name)
} | {module.__name__: module for module in _MODULES}
