"""What a confined program may ask of the kernel: every allowed system call, its number on each
machine, and what its arguments must be. All others do not exist for it (`seccomp.py`).

Left out on purpose, so that they answer ENOSYS: sockets of every family, exec, ptrace and
process_vm_*, pidfd_*, rt_sigqueueinfo and tkill, setns and unshare, clone3 (its flags lie in
memory, and the C library then asks for clone), mount and its kin, openat2, io_uring_*, bpf, keyctl,
perf_event_open, userfaultfd, shared memory, message queues, memory files, setsid and setpgid, and
all that changes a file by its path alone (chmod, chown, utime, truncate, setxattr, link), which
Landlock leaves open.
"""

import errno
from dataclasses import dataclass

X86_64, AARCH64 = "x86_64", "aarch64"
WHOLE = 0xFFFFFFFF


@dataclass(frozen=True)
class Test:
    """The low 32 bits of argument `argument` (the high ones if `high`), masked, are one of these.

    `error` is what the call fails with otherwise. `own_pid` adds the process's own id.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = WHOLE
    error: int = errno.EPERM
    own_pid: bool = False
    high: bool = False


def numbers(machine: str) -> dict[str, int]:
    """Name -> number of every allowed call. Raises KeyError for a machine without a table."""
    column = {X86_64: 0, AARCH64: 1}[machine]
    found = {}
    for line in _TABLE.strip().splitlines():
        name, *columns = line.split()
        if columns[column] != "-":
            found[name] = int(columns[column])
    return found


_THREAD, _NEW_NAMESPACES = 0x00010000, 0x7E020080  # every CLONE_NEW* flag
_TRUNCATE, _PATH_OR_UNNAMED = 0x200, 0x600000
# Reading and writing are what Landlock looks at: a file opened for neither (3), or emptied while
# opened for reading, would go past its older versions.
_OPEN = (0, 1, 2, _TRUNCATE | 1, _TRUNCATE | 2)
_TERMINAL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS … FIONREAD, FIOCLEX
_DESCRIPTOR = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # F_DUPFD … F_SETLKW, F_DUPFD_CLOEXEC; no owner


TESTS: dict[str, tuple[Test, ...]] = {
    # Threads only: a program has no second process, so nothing outlives it.
    "clone": (
        Test(0, (_THREAD,), mask=_THREAD | _NEW_NAMESPACES, error=errno.EAGAIN),
        Test(0, (0,), high=True),
    ),
    "fork": (Test(0, (), error=errno.EAGAIN),),
    "vfork": (Test(0, (), error=errno.EAGAIN),),
    "kill": (Test(0, (), own_pid=True),),
    "tgkill": (Test(0, (), own_pid=True),),
    "prlimit64": (Test(0, (0,), own_pid=True),),
    "prctl": (Test(0, (15, 16)),),  # the thread's name; not the signal at its parent's death
    "open": (Test(1, _OPEN, mask=3 | _TRUNCATE), Test(1, (0,), mask=_PATH_OR_UNNAMED)),
    "openat": (Test(2, _OPEN, mask=3 | _TRUNCATE), Test(2, (0,), mask=_PATH_OR_UNNAMED)),
    "ioctl": (Test(1, _TERMINAL),),
    "fcntl": (Test(1, _DESCRIPTOR),),
    # A connected pair, as asyncio wants it. It cannot be connected or sent elsewhere.
    "socketpair": (Test(0, (1,)), Test(1, (1,), mask=WHOLE & ~0o2004000)),
    "sendto": (Test(4, (0,)), Test(4, (0,), high=True)),
}

#                  x86_64 aarch64
_TABLE = """
futex                 202      98
read                    0      63
write                   1      64
mmap                    9     222
munmap                 11     215
brk                    12     214
newfstatat            262      79
fstat                   5      80
stat                    4       -
lseek                   8      62
close                   3      57
openat                257      56
recvfrom               45     207
sendto                 44     206
madvise                28     233
mprotect               10     226
mremap                 25     216
msync                  26     227
membarrier            324     283
rt_sigaction           13     134
rt_sigprocmask         14     135
rt_sigreturn           15     139
rt_sigpending         127     136
rt_sigtimedwait       128     137
rt_sigsuspend         130     133
sigaltstack           131     132
signalfd4             289      74
restart_syscall       219     128
pause                  34       -
alarm                  37       -
getitimer              36     102
setitimer              38     103
clock_gettime         228     113
clock_getres          229     114
clock_nanosleep       230     115
nanosleep              35     101
gettimeofday           96     169
time                  201       -
times                 100     153
getrusage              98     165
clone                  56     220
fork                   57       -
vfork                  58       -
set_robust_list       273      99
rseq                  334     293
set_tid_address       218      96
gettid                186     178
sched_yield            24     124
sched_getaffinity     204     123
sched_getparam        143     121
sched_getscheduler    145     120
sched_get_priority_max 146    125
sched_get_priority_min 147    126
getcpu                309     168
arch_prctl            158       -
exit                   60      93
exit_group            231      94
wait4                  61     260
waitid                247      95
kill                   62     129
tgkill                234     131
prctl                 157     167
prlimit64             302     261
getrlimit              97     163
setrlimit             160     164
getpriority           140     141
getpid                 39     172
getppid               110     173
getpgrp               111       -
getpgid               121     155
getsid                124     156
getuid                102     174
geteuid               107     175
getgid                104     176
getegid               108     177
getresuid             118     148
getresgid             120     150
getgroups             115     158
umask                  95     166
uname                  63     160
sysinfo                99     179
getrandom             318     278
open                    2       -
readv                  19      65
writev                 20      66
pread64                17      67
pwrite64               18      68
preadv                295      69
pwritev               296      70
close_range           436     436
lstat                   6       -
statx                 332     291
access                 21       -
faccessat             269      48
faccessat2            439     439
readlink               89       -
readlinkat            267      78
getdents64            217      61
getcwd                 79      17
chdir                  80      49
fchdir                 81      50
mkdir                  83       -
mkdirat               258      34
rmdir                  84       -
unlink                 87       -
unlinkat              263      35
rename                 82       -
renameat              264      38
renameat2             316     276
symlink                88       -
symlinkat             266      36
ftruncate              77      46
fallocate             285      47
fadvise64             221     223
fsync                  74      82
fdatasync              75      83
sendfile               40      71
copy_file_range       326     285
dup                    32      23
dup2                   33       -
dup3                  292      24
pipe                   22       -
pipe2                 293      59
fcntl                  72      25
ioctl                  16      29
poll                    7       -
ppoll                 271      73
select                 23       -
pselect6              270      72
epoll_create1         291      20
epoll_ctl             233      21
epoll_wait            232       -
epoll_pwait           281      22
epoll_pwait2          441     441
eventfd2              290      19
socketpair             53     199
shutdown               48     210
getsockopt             55     209
getsockname            51     204
getpeername            52     205
"""
