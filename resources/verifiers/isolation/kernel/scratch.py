"""The folder that one program writes, as the server sees it: measured while it runs, then removed.

Its contents are hostile: names, nesting and modes are the program's choice, and change meanwhile.
"""

import os
import secrets

MOST_ENTRIES = 4096
MOST_NESTED = 1024  # characters of a path within it


def overdrawn(folder: str, most_bytes: int) -> bool:
    """Whether what is in it is too much, too deep or takes more than `most_bytes` of disk.

    True as well where it cannot be read to the end, which an honest program has no reason for.
    """
    taken, entries, waiting = 0, 0, [folder]
    longest = len(folder) + MOST_NESTED
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    taken += entry.stat(follow_symlinks=False).st_blocks * 512
                    if taken > most_bytes or entries > MOST_ENTRIES or len(entry.path) > longest:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


def remove(folder: str) -> None:
    """Remove a folder that nobody writes any more, however deep and whatever its modes.

    Inner folders are moved up before they are emptied, so that no path grows.
    """
    while entries := _entries(folder):
        for path, is_folder in entries:
            if not is_folder:
                os.unlink(path)
                continue
            for inner, inner_is_folder in _entries(path):
                if inner_is_folder:
                    os.chmod(inner, 0o700)
                    os.rename(inner, f"{folder}/{secrets.token_hex(16)}")
                else:
                    os.unlink(inner)
            os.rmdir(path)
    os.rmdir(folder)


def _entries(folder: str) -> list[tuple[str, bool]]:
    os.chmod(folder, 0o700)
    with os.scandir(folder) as found:
        return [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in found]
