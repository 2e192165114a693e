"""What a process gives up before it reads a file that anybody may have written: memory, time, the network, and writing.

Limits come from the kernel, so that they hold for C libraries and for what those start. Knows no format and no course. An office program,
which must write and start up as it does on a desktop, gets another set: no network, and no file but its own and those of one folder.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take: wall and processor seconds, and bytes of address space."""

    seconds: int = 60
    memory_bytes: int = 1 << 30


def enter(limits: Limits) -> None:
    """Puts this process under the limits for good. Its parent's death ends it too.

    It may still send signals, as it must to end an OCR program that takes too long; the server that forked it keeps the time as well.
    """
    _limit_resources(limits, open_files=64)
    if can_filter_system_calls():
        _filter_system_calls()
    else:  # the next best: a write that would make a file grow fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


SOCKETS = Path("/tmp")
"""Where LibreOffice listens for others of its kind, whatever TMPDIR says, and without which it does not start."""


def enter_to_convert(limits: Limits, readable: Iterable[Path], folder: Path, largest_file_bytes: int) -> None:
    """Puts this process, which is about to become an office program, under its limits for good.

    It reads and starts what lies below `readable`, writes below `folder`, and reaches no network: it may listen on a socket of its own, as
    office programs do at their start, but connect to none. That also closes the sockets of this machine's name service. It sends signals
    to itself alone and changes no limit but its own; what it starts can send none.

    Raises:
        OSError: this kernel cannot forbid that (`can_confine`).
    """
    _limit_resources(limits, open_files=256)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _restrict_files(readable, folder)
    own = os.getpid()  # stays the same in the program that this process becomes
    signals = [rule for number in _SIGNALLING for rule in _allow_only_with(number, own)]
    _install_filter(_refuse(_CONNECTING) + signals + _allow_only_with(_LIMITING, 0) + _allow_only_with(_SOCKET, _AF_UNIX))


def can_confine() -> bool:
    """Whether this kernel can forbid a process both the network and all files but some: x86-64 Linux with seccomp and Landlock."""
    return can_filter_system_calls() and _landlock_version() >= 1


def _limit_resources(limits: Limits, open_files: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # At the soft limit of seconds comes SIGXCPU, which says why; SIGKILL, at the hard one, would not.
    for what, soft, hard in (
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.seconds, limits.seconds + 5),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, open_files, open_files),
    ):
        resource.setrlimit(what, (soft, hard))
    # Unhandled, the alarm ends the process even in the middle of a C function that never returns to Python.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(limits.seconds)


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


_CONNECTING = (
    *(42, 44, 46, 307),  # connect, sendto, sendmsg, sendmmsg
    *_FORBIDDEN["other processes"],
    *_FORBIDDEN["other rooms"],
    *_FORBIDDEN["getting away from its end"],
)
_SOCKET, _AF_UNIX = 41, 1
_SIGNALLING = (62, 234)  # kill, tgkill: the process comes first

_Instruction = tuple[int, int, int, int]
_REFUSE: _Instruction = (_RETURN, 0, 0, _ERRNO | 1)  # EPERM


def _filter_system_calls() -> None:
    """Makes the kernel refuse, with an error code, what reading a file never needs."""
    program = _refuse(number for numbers in _FORBIDDEN.values() for number in numbers)
    program += _allow_only_with(_LIMITING, 0)
    for number, argument in _OPENING.items():
        flags_at = _ARGUMENTS_AT + 8 * argument
        program += [(_JUMP_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags_at), (_JUMP_IF_ANY_BIT, 0, 1, _WRITING_FLAGS), _REFUSE]
        program += [(_RETURN, 0, 0, _ALLOW)]
    _install_filter(program)


def _refuse(numbers: Iterable[int]) -> list[_Instruction]:
    """Instructions that refuse these system calls; at their end, the number of another one is loaded."""
    return [instruction for number in numbers for instruction in ((_JUMP_IF_EQUAL, 0, 1, number), _REFUSE)]


def _allow_only_with(number: int, argument: int) -> list[_Instruction]:
    """Instructions that refuse a system call unless its first argument, of 32 bits, is this; another call's number stays loaded."""
    is_it = (_JUMP_IF_EQUAL, 1, 0, argument)
    return [(_JUMP_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS_AT), is_it, _REFUSE, (_RETURN, 0, 0, _ALLOW)]


def _install_filter(rules: Sequence[_Instruction]) -> None:
    """Puts the rules into force, for this machine's own system calls; what they let through is allowed."""
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH_X86_64), _REFUSE]
    program += [(_LOAD, 0, 0, _NUMBER_AT), (_JUMP_IF_AT_LEAST, 0, 1, _X32), _REFUSE, *rules, (_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


# linux/landlock.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_SOCKET = 1 << 9
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE
_ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""By version of Landlock: each one knows more of what can be done to files (2: moving, 3: truncating)."""


def _landlock_version() -> int:
    """The version of Landlock in this kernel; negative where there is none."""
    return int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))


def _restrict_files(readable: Iterable[Path], folder: Path) -> None:
    """Lets this process read and start what is `readable`, do anything in `folder`, and nothing else with files.

    https://docs.kernel.org/userspace-api/landlock.html; a path that is not there is left out.
    """
    rights = _ALL_RIGHTS[min(_landlock_version(), max(_ALL_RIGHTS))]
    ruleset = _landlock(_CREATE_RULESET, struct.pack("Q", rights), ctypes.c_size_t(8), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        _allow(ruleset, Path(os.devnull), _READ_FILE | _WRITE_FILE)
        _allow(ruleset, SOCKETS, _MAKE_SOCKET)
        _allow(ruleset, folder, rights)
        _landlock(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _landlock(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights if path.is_dir() else rights & _OF_FILES, place), 0)
    finally:
        os.close(place)


def _landlock(call: int, *arguments: object) -> int:
    result = int(_libc().syscall(call, *arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock, system call {call}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int, pointer: bytes | int = 0) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), pointer, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
