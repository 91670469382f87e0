"""Bin packing: which examples share a sequence, from their lengths alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

ENOUGH = 1.005  # times the fewest packs the tokens could take: good enough to look no further


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices grouped so that no group's lengths exceed `capacity`, in few groups.

    Best-fit decreasing and, where that takes over 0.5 % more packs than the tokens alone would,
    minimum bin slack: the fewer packs are kept. The result depends on the lengths alone. Raises
    ValueError for a length above capacity or below 1.

    >>> pack([3, 4, 1], 4)
    [[1], [0, 2]]
    """
    for index, length in enumerate(lengths):
        if not 1 <= length <= capacity:
            raise ValueError(f"example {index} has {length} tokens; a pack holds 1 to {capacity}")
    packs = best_fit(lengths, capacity)
    if len(packs) <= ENOUGH * -(-sum(lengths) // capacity):
        return packs
    return min(packs, least_slack(lengths, capacity), key=len)


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing: longest first, each into the fullest pack it fits in.

    Of equally full packs the oldest. At most 11/9 of the fewest possible packs, plus one. Fast, and
    as good as any when packs hold many examples.
    """
    packs: list[list[int]] = []
    waiting: dict[int, deque[int]] = {}  # room left -> packs, oldest first
    rooms: list[int] = []  # the keys of `waiting`, sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect_left(rooms, lengths[index])
        if place == len(rooms):
            chosen, room = len(packs), capacity
            packs.append([])
        else:
            room = rooms[place]
            chosen = waiting[room].popleft()
            if not waiting[room]:
                del waiting[room], rooms[place]
        packs[chosen].append(index)
        room -= lengths[index]
        if room:
            if room not in waiting:
                waiting[room] = deque()
                insort(rooms, room)
            waiting[room].append(chosen)
    return packs


def least_slack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Minimum bin slack: each pack takes the longest example left and what then fills it best.

    J. N. D. Gupta and J. C. Ho, "A new heuristic algorithm for the one-dimensional bin-packing
    problem", Production Planning & Control 10 (1999). Of equally long examples the first goes
    first.
    """
    left: defaultdict[int, deque[int]] = defaultdict(deque)
    for index, length in enumerate(lengths):
        left[length].append(index)
    sizes = sorted(left)
    packs: list[list[int]] = []
    while sizes:
        members: list[int] = []
        for size in [sizes[-1], *_fill(sizes, left, capacity - sizes[-1])]:
            members.append(left[size].popleft())
            if not left[size]:
                del sizes[bisect_left(sizes, size)]
        packs.append(members)
    return packs


def _fill(sizes: Sequence[int], left: Mapping[int, Sequence[int]], room: int) -> list[int]:
    """The sizes, largest first, that fill `room` best when one of the last size is taken.

    Subset sums as the bits of one integer: bit `s` says that some choice sums to `s`. Longer ones
    are tried first, so that short ones are kept for what nothing else fits.
    """
    sums, mask = 1, (1 << room + 1) - 1
    tried: list[tuple[int, int, int]] = []  # size, how many of it at once, the sums without them
    for place in range(bisect_right(sizes, room) - 1, -1, -1):
        size = sizes[place]
        count = min(len(left[size]) - (place == len(sizes) - 1), room // size)
        part = 1
        while count > 0:  # 1, 2, 4, ... at once: every number up to `count` is a sum of those
            taken = min(part, count)
            tried.append((size, taken, sums))
            sums |= sums << taken * size & mask
            count, part = count - taken, 2 * part
        if sums >> room:
            break
    total = sums.bit_length() - 1
    chosen: list[int] = []
    for size, taken, without in reversed(tried):
        if not without >> total & 1:
            chosen += [size] * taken
            total -= taken * size
    return chosen[::-1]
