"""Confine a process that parses strangers' files: it opens nothing, starts nothing and reaches nobody.

Three barriers, none of which needs privileges. Each holds without the others:

- limits (POSIX): no further descriptor, so no file, socket or pipe can be opened; no file grows; memory is bounded;
- Landlock (Linux 5.13): no access to any file; TCP from Linux 6.7; signals and abstract sockets from 6.12;
- seccomp (Linux 3.17, on x86-64 and ARM64): of all system calls, only those that compute, use open pipes and end.

A process of root gives up its capabilities first, without which it cannot raise its limits again.

The kernel interface is called through libc, because Python has no functions for it. Sources: landlock(7), seccomp(2),
capset(2), prctl(2), linux/landlock.h, linux/filter.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Mapping
from typing import Any, Final

MEMORY: Final = 2**30
"""Bytes of address space: about three times the need of the largest accepted picture."""
NICENESS: Final = 10
"""Requests go first: a decoder gets the processor time that is left."""

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every architecture
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_FILES: Final = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""All rights on files that a version of Landlock knows, from that version on."""
_LANDLOCK_TCP, _LANDLOCK_SCOPES = 0x3, 0x3

_CALLS: Final = {
    "x86_64": (
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
            "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
            "setitimer": 38, "getpid": 39, "exit": 60, "gettimeofday": 96, "getrusage": 98, "futex": 202,
            "restart_syscall": 219, "clock_gettime": 228, "exit_group": 231, "prlimit64": 302, "getrandom": 318,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215,
            "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sched_yield": 124, "mremap": 216,
            "madvise": 233, "setitimer": 103, "getpid": 172, "exit": 93, "gettimeofday": 169, "getrusage": 165, "futex": 98,
            "restart_syscall": 128, "clock_gettime": 113, "exit_group": 94, "prlimit64": 261, "getrandom": 278,
        },
    ),
}  # fmt: skip
"""The system calls that remain, by machine: the kernel's number of the architecture, and the numbers of the calls."""

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # 1: EPERM
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where they stand in `struct seccomp_data`. Of a 64-bit argument, the lower half comes first on both machines."""


def confine() -> tuple[str, ...]:
    """Confine this process for the rest of its life, and return the barriers that this system lacks.

    Load all modules before: afterwards nothing can be imported.
    """
    give_up_privileges()
    absent = () if forbid_files() else ("Landlock",)  # before the limits: it needs a descriptor for a moment
    limit()
    return absent if forbid_calls() else (*absent, "seccomp")


def give_up_privileges() -> None:
    """Hold no capability, also not through a program that is started: Landlock and seccomp ask for this."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *[0] * 6))
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    hide_memory()


def hide_memory() -> None:
    """Let no other process of the same user read the memory or the environment of this one. No core dump is written."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit() -> None:
    """Bound memory and priority, and forbid further descriptors, processes, written bytes and core dumps."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),  # Linux lets root have any number
    ):
        resource.setrlimit(kind, (most, most))
    os.nice(NICENESS)


def forbid_files() -> bool:
    """Forbid access to files, TCP, signals and abstract sockets, as far as the kernel's Landlock knows them.

    False if the kernel has no Landlock.
    """
    if sys.platform != "linux":
        return False
    call: Any = ctypes.CDLL(None).syscall
    version = call(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION)
    if version < 1:
        return False
    files = _LANDLOCK_FILES[max(first for first in _LANDLOCK_FILES if first <= version)]
    fields = (files, _LANDLOCK_TCP, _LANDLOCK_SCOPES)[: 1 + (version >= 4) + (version >= 6)]
    rules = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = call(_LANDLOCK_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        return False
    restricted = call(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return bool(restricted)


def forbid_calls() -> bool:
    """Refuse all system calls but those in `_CALLS`, with EPERM. False if the machine or the kernel has no such filter."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return False
    instructions = _filter(*_CALLS[platform.machine()])
    program = ctypes.create_string_buffer(b"".join(instructions))
    header = struct.pack("@HP", len(instructions), ctypes.addressof(program))
    return bool(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def _filter(architecture: int, calls: Mapping[str, int]) -> list[bytes]:
    """The instructions of the filter. Of the limits, the process may set only its own processor time."""
    others = [number for name, number in calls.items() if name != "prlimit64"]
    return [
        *_unless(_ARCHITECTURE, architecture, _REFUSE),
        *(step for number in others for step in _if(_NUMBER, number, _ALLOW)),
        *_unless(_NUMBER, calls["prlimit64"], _REFUSE),
        *_unless(_ARGUMENTS, 0, _REFUSE),  # the process: itself
        *_unless(_ARGUMENTS + 8, resource.RLIMIT_CPU, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _if(field: int, value: int, result: int) -> tuple[bytes, ...]:
    """Return `result` if the 32-bit field has this value."""
    return _instruction(_LOAD, field), _instruction(_JUMP_IF_EQUAL, value, false=1), _instruction(_RETURN, result)


def _unless(field: int, value: int, result: int) -> tuple[bytes, ...]:
    """Return `result` unless the 32-bit field has this value."""
    return _instruction(_LOAD, field), _instruction(_JUMP_IF_EQUAL, value, true=1), _instruction(_RETURN, result)


def _instruction(code: int, value: int, *, true: int = 0, false: int = 0) -> bytes:
    """One `struct sock_filter`: the operation, how many instructions it skips if true and if false, and its operand."""
    return struct.pack("=HBBI", code, true, false, value)
