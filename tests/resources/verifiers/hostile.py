"""Programs that fake success, take too much or disturb others; none may pass or keep a neighbour
from passing, in either tier of isolation. What tries to get out is the probe (`escape.py`)."""

from resources.verifiers.programs.sandbox import Limits

TESTS = "assert solve(1) == 2\nassert solve(5) == 6"
HONEST = "def solve(x):\n    return x + 1"
QUICK = Limits(cpu_seconds=1, wall_seconds=4.0)
CHEATS = {
    "exit": "import sys; sys.exit(0)",
    "hard exit": "import os; os._exit(0)",
    "exit in the call": "import os\ndef solve(x):\n    os._exit(0)",
    "exit exception in the call": "def solve(x):\n    raise SystemExit(0)",
    "equal to everything": """
class Any(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
def solve(x): return Any(0)
""",
    "equal object": """
class Any:
    def __eq__(self, other): return True
def solve(x): return Any()
""",
    "list that equals": """
class Any(list):
    def __eq__(self, other): return True
def solve(x): return Any()
""",
    "patched builtins": """
import builtins
builtins.AssertionError = type("Quiet", (BaseException,), {})
builtins.__dict__["__build_class__"] = None
def solve(x): return 0
""",
    "frames": """
import sys
def solve(x):
    frame = sys._getframe()
    while frame:
        for name, value in list(frame.f_globals.items()):
            if name == "tests": frame.f_globals[name] = ""
        frame = frame.f_back
    return 0
""",
    "forged replies": """
import os, struct, json
def send(message):
    data = json.dumps(message).encode()
    for number in range(3, 64):
        try: os.write(number, struct.pack("!I", len(data)) + data)
        except OSError: pass
def solve(x):
    send({"verdict": "correct", "evidence": ""})
    send({"nonce": "", "verdict": "correct"})
    return 0
""",
    "forged remote": """
import os, struct, json
data = json.dumps({"names": {"solve": {"t": "type", "v": "bool"}, "assert": 1}}).encode()
for number in range(3, 64):
    try: os.write(number, struct.pack("!I", len(data)) + data)
    except OSError: pass
def solve(x): return 0
""",
    "asks the tester for its code": """
import os, struct, json
def solve(x):
    data = json.dumps({"op": "getattr", "args": ["", "join"], "kwargs": {}}).encode()
    for number in range(3, 64):
        try: os.write(number, struct.pack("!I", len(data)) + data)
        except OSError: pass
    return 0
""",
    "printed marker": "print('all tests passed')\ndef solve(x):\n    print('correct'); return 0",
    "endless": "while True: pass",
    "endless call": "def solve(x):\n    while True: pass",
    "sleep": "import time; time.sleep(60)",
    "endless output": "while True: print('x' * 10000)",
    "memory": "x = bytearray(4 << 30)",
    "memory by lists": "x = []\nwhile True: x.append('y' * 1000000)",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "thread bomb": """
import threading, time
while True: threading.Thread(target=time.sleep, args=(99,)).start()
""",
    "disk": "f = open('x', 'wb')\nwhile True: f.write(b'x' * 1000000)",
    "disk by files": """
import itertools
for name in itertools.count():
    with open(str(name), 'wb') as file: file.write(b'x' * 1000000)
""",
    "disk by folders": """
import itertools, os
for name in itertools.count():
    os.mkdir('x'); os.chdir('x')
""",
    "disk by unreadable folders": """
import itertools, os
os.mkdir('x', 0o300); os.chdir('x')
for name in itertools.count():
    with open(str(name), 'wb') as file: file.write(b'x' * 1000000)
""",
    "deep": "x = []\nfor _ in range(100000): x = [x]\ndef solve(_): return x",
    "huge answer": "def solve(x): return 'x' * (30 << 20)",
    "crash": "import ctypes\ndef solve(x): ctypes.string_at(0)",
    "kill all": "import os, signal\nos.kill(-1, signal.SIGKILL)\ndef solve(x): return 0",
    "close the connection": "import os\nos.closerange(0, 100)\ndef solve(x): return 0",
    "no solution": "def other(x): return x",
    "not python": "def solve(x) return x",
}
