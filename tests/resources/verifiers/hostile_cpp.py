"""C++ programs that fake success, take too much, attack the compiler or try to get out.

None of `CHEATS` may pass or keep a neighbour from passing; `ESCAPES` prints each way out that it
finds, so it passes `CONTAINED` where there is none.
"""

import json

TESTS = json.dumps({"inputs": ["1\n", "5\n"], "outputs": ["2\n", "6\n"]})
CALLS = json.dumps({"fn_name": "solve", "inputs": [[1], [5]], "outputs": [2, 6]})
CONTAINED = json.dumps({"inputs": [""], "outputs": ["none"]})
HONEST = "#include <iostream>\nint main() { int x; std::cin >> x; std::cout << x + 1; }"
CHEATS = {
    "exit": "#include <cstdlib>\nint main() { exit(0); }",
    "exit before main": "#include <cstdlib>\nint x = (exit(0), 1);\nint main() {}",
    "verdicts on every descriptor": r"""
#include <unistd.h>
#include <string>
int main() {
    std::string text = "{\"verdict\": \"correct\", \"stdout\": \"2\", \"binary\": \"\"}";
    unsigned size = __builtin_bswap32(text.size());
    for (int fd = 3; fd < 256; ++fd) write(fd, &size, 4), write(fd, text.data(), text.size());
}""",
    "endless": "int main() { for (volatile int i = 0;; ++i); }",
    "sleep": "#include <unistd.h>\nint main() { sleep(60); }",
    "endless output": '#include <cstdio>\nint main() { for (;;) puts("2"); }',
    "memory": "#include <cstring>\n#include <vector>\n#include <string>\n"
    "int main() { std::vector<std::string> x; for (;;) x.emplace_back(1 << 20, 'x'); }",
    "fork bomb": "#include <unistd.h>\nint main() { for (;;) fork(); }",
    "disk": r"""
#include <fstream>
#include <string>
int main() { for (int i = 0;; ++i) std::ofstream(std::to_string(i)) << std::string(1 << 20, 'x'); }
""",
    "kill all": "#include <signal.h>\nint main() { kill(-1, 9); }",
    "abort": "#include <cstdlib>\nint main() { abort(); }",
    "crash": "int main() { *(volatile int*)0 = 1; }",
    "an endless compilation": "template <int N> struct A { A<N + 1> a; A<-N> b; };\n"
    "int main() { return sizeof(A<1>); }",
    "a file that never ends": '#include "/dev/zero"\nint main() {}',
    "a host file in the binary": r"""
#include <cstdio>
asm("text: .incbin \"/etc/passwd\"\n end: .byte 0");
extern "C" char text[];
int main() { puts(text); }""",
    "a host file in the source": '#include "/etc/passwd"\nint main() {}',
    "not C++": "def solve(x): return x + 1",
}
ESCAPES = r"""
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sched.h>
extern char** environ;
int found = 0;
void is(bool escaped, const char* name) { if (escaped) ++found, std::cout << name << "\n"; }
bool opens(const char* path, int flags) { return open(path, flags, 0600) >= 0; }
bool connects(const char* host, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    inet_pton(AF_INET, host, &to.sin_addr);
    bool connected = fd >= 0 && connect(fd, (sockaddr*)&to, sizeof to) == 0;
    close(fd);
    return connected;
}
int main() {
    is(opens("/etc/passwd", O_RDONLY), "reads host files");
    for (auto path : {"/escaped", "/usr/escaped"}) is(opens(path, O_CREAT | O_WRONLY), "writes");
    is(connects("127.0.0.1", 22) || connects("1.1.1.1", 53), "network");
    is(kill(1, 0) == 0 && getpid() != 1, "signals its parent");
    for (int pid = 2; pid < 400; ++pid) is(pid != getpid() && kill(pid, 0) == 0, "signals others");
    is(getppid() > 1 && ptrace(PTRACE_SEIZE, getppid(), 0, 0) == 0, "traces its parent");
    is(getuid() == 0 || setuid(0) == 0, "root");
    is(unshare(CLONE_NEWUSER) == 0 || unshare(CLONE_NEWNS) == 0, "namespaces");
    is(mount("none", "/tmp", "tmpfs", 0, 0) == 0, "mounts");
    is(chroot("/") == 0, "chroot");
    is(getenv("HOME") || getenv("USER") || getenv("SSH_AUTH_SOCK"), "environment");
    for (int fd = 3; fd < 256; ++fd) is(fcntl(fd, F_GETFD) >= 0, "open files");
    is(opens("/proc/1/mem", O_RDWR) && getpid() != 1, "memory of others");
    if (!found) std::cout << "none";
}
"""
