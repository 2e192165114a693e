"""What a process gives up before it reads a file that anybody may have written: memory, time, the network, and writing.

Limits come from the kernel, so that they hold for C libraries and for what those start. Knows no format and no course.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take: wall and processor seconds, and bytes of address space."""

    seconds: int = 60
    memory_bytes: int = 1 << 30


def enter(limits: Limits) -> None:
    """Puts this process under the limits for good. Its parent's death ends it too.

    It may still send signals, as it must to end an OCR program that takes too long; the server that forked it keeps the time as well.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # At the soft limit of seconds comes SIGXCPU, which says why; SIGKILL, at the hard one, would not.
    for what, soft, hard in (
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.seconds, limits.seconds + 5),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 64, 64),
    ):
        resource.setrlimit(what, (soft, hard))
    # Unhandled, the alarm ends the process even in the middle of a C function that never returns to Python.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(limits.seconds)
    if can_filter_system_calls():
        _filter_system_calls()
    else:  # the next best: a write that would make a file grow fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def can_filter_system_calls() -> bool:
    """Whether this kernel can forbid a process the network and writing; the numbers below are those of x86-64 Linux."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    return _libc().prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


_PR_SET_PDEATHSIG, _PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 21, 22, 38
_SECCOMP_MODE_FILTER = 2
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32 = 0x40000000  # the numbers from here on reach the same functions by another way

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_OPENING = {2: 1, 257: 2}  # open, openat: which argument holds the flags
_LIMITING = 302  # prlimit64: of this process only, whose hard limits it can but lower
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FORBIDDEN = {
    "the network": (41, 42, 43, 44, 46, 49, 50, 53, 288, 307),  # socket, connect, accept, send*, bind, listen, socketpair
    "writing files": (76, 77, 82, 83, 84, 85, 86, 87, 88, 133, 258, 259, 263, 264, 265, 266, 285, 316, 437),  # truncate … openat2
    "changing rights": (90, 91, 92, 93, 94, 188, 189, 190, 235, 260, 268, 280, 452),  # chmod, chown, setxattr, utimes
    "other processes": (101, 129, 200, 297, 310, 311, 424, 434, 438),  # ptrace, rt_sigqueueinfo, tkill, process_vm_*, pidfd_*
    "other rooms": (155, 161, 165, 166, 175, 272, 304, 308, 313, 321, 323, 425, *range(428, 434), 442),  # mount, unshare, bpf, io_uring
    "shared memory and queues": (29, 64, 68, 240, 248, 249, 250),  # shmget, semget, msgget, mq_open, keys
    "getting away from its end": (37, 38, 109, 112),  # alarm, setitimer, setpgid, setsid
}


def _filter_system_calls() -> None:
    """Makes the kernel refuse, with an error code, what reading a file never needs."""
    refuse = (_RETURN, 0, 0, _ERRNO | 1)  # EPERM
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH_X86_64), refuse]
    program += [(_LOAD, 0, 0, _NUMBER_AT), (_JUMP_IF_AT_LEAST, 0, 1, _X32), refuse]
    for number in (number for numbers in _FORBIDDEN.values() for number in numbers):
        program += [(_JUMP_IF_EQUAL, 0, 1, number), refuse]
    program += [(_JUMP_IF_EQUAL, 0, 4, _LIMITING), (_LOAD, 0, 0, _ARGUMENTS_AT), (_JUMP_IF_EQUAL, 1, 0, 0), refuse, (_RETURN, 0, 0, _ALLOW)]
    for number, argument in _OPENING.items():
        flags_at = _ARGUMENTS_AT + 8 * argument
        program += [(_JUMP_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags_at), (_JUMP_IF_ANY_BIT, 0, 1, _WRITING_FLAGS), refuse]
        program += [(_RETURN, 0, 0, _ALLOW)]
    program += [(_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _prctl(option: int, value: int, pointer: bytes | int = 0) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), pointer, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
