"""The table of causes: what the verifier's messages mean, and what to change.

The order matters: of several messages in a log, the one whose cause comes first is explained. So
messages that only introduce or summarize another message come last.

Sources: kernel/bpf/verifier.c, kernel/bpf/btf.c and kernel/bpf/check_btf.c of Linux 6.1, 6.12, 6.18
and 7.3; messages of other kernels have a note. Linux 7.3 names arguments by their registers: "R3"
instead of "arg#2".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from lskel.verifier.patterns import slots

# Causes that the code refers to: found from more than the message, or without a register value.
STALE = "stale-pointer"
NULLABLE = "nullable-argument"
UNSET = "uninitialized-register"


class CauseLocation(Enum):
    """Where the error is."""

    INSN = "insn"  # the last verified instruction, or the one in the message
    PROGRAM = "program"  # no single place: the end of the log says nothing
    FUNCTION = "function"  # the function with the largest stack frame


class MessageTemplate(NamedTuple):
    """A message template (patterns.py); `note` says which kernels print it."""

    template: str
    note: str = ""


class Cause(NamedTuple):
    """Why a program is rejected. `suggestion` is what to change, `example` the change in C."""

    id: str
    title: str
    explanation: str
    suggestion: str
    messages: tuple[MessageTemplate, ...]
    example: str = ""
    place: CauseLocation = CauseLocation.INSN


class Match(NamedTuple):
    """A cause, the index of its message, and the values of the message's slots."""

    cause: Cause
    number: int
    slots: Mapping[str, str]


def match(messages: Sequence[str]) -> Match | None:
    """The cause of the messages of one log; None if the table has none.

    Of several messages of one cause the last counts: a BTF log lists all types first.
    """
    for cause in CAUSES:
        for said in cause.messages:
            for number, message in reversed(list(enumerate(messages))):
                if (found := slots(said.template, message)) is not None:
                    return Match(cause, number, found)
    return None


def cause_of(id: str) -> Cause:
    """The cause of this id; it must be in the table."""
    return next(cause for cause in CAUSES if cause.id == id)


def _messages(*templates: str | MessageTemplate) -> tuple[MessageTemplate, ...]:
    return tuple(MessageTemplate(item) if isinstance(item, str) else item for item in templates)


CAUSES: tuple[Cause, ...] = (
    Cause(
        "core-relocation",
        "this kernel lacks a type, field or enumerator that the program uses",
        "A CO-RE relocation found no match in the kernel's BTF, so the instruction was replaced by "
        "an invalid call.",
        "Check that it exists before using it, or compile against this kernel's vmlinux.h.",
        _messages(
            "invalid func unknown#195896080",
            MessageTemplate("unknown func unknown#195896080", "before 5.18"),
            "prog '*': relo #{number}: no matching targets found*",
            "relo #{number}: bad type id *",
        ),
        "if (bpf_core_field_exists(task->flags)) ...",
    ),
    Cause(
        "missing-map",
        "the program uses a map that is not created",
        "The map's autocreate is disabled, so the instruction that refers to it was replaced by an "
        "invalid call. It may stay in code that is not reached.",
        "Create the map, or disable autoload of the program.",
        _messages("invalid func unknown#{missing_map}"),
        "bpf.progs.on_open.autoload = False",
    ),
    Cause(
        "missing-symbol",
        "this kernel lacks a function or variable that the program uses",
        "Neither the kernel nor its loaded modules have the symbol: it may be in another release, "
        "or need another kernel config.",
        "Declare it __weak and check it before use, or load the module that has it.",
        _messages(
            "ldimm64 failed to find the address for kernel symbol '{symbol}'.",
            "invalid func unknown#{missing_kfunc}",
            "invalid kernel function call not eliminated in verifier pass",
            "cannot find address for kernel function {symbol}",
            "failed to find BTF for kernel function*",
            "kernel btf_id {number} is not a function",
            "pseudo btf_id {number} in ldimm64 isn't *",
        ),
        "if (symbol) ...",
    ),
    Cause(
        "privilege",
        "the loading process lacks a capability",
        "The program may be correct. Without CAP_PERFMON the verifier forbids operations that "
        "could leak kernel addresses, and variable-offset stack accesses; some features need "
        "CAP_SYS_ADMIN or CAP_SYS_BOOT.",
        "Load as root, or with CAP_PERFMON in addition to CAP_BPF.",
        _messages(
            "*prohibited for !root*",
            MessageTemplate("R{reg} tried to * from different maps*", "before 5.12"),
            "R{reg} pointer comparison prohibited",
            "R{reg} pointer -= pointer prohibited",
            "R{reg} pointer arithmetic prohibited",
            "R{reg} partial copy of pointer",
            "R{reg} sign-extension part of pointer",
            "spilled ptr in range of var-offset stack write*",
            "*allowed for CAP_BPF and CAP_SYS_ADMIN",
            "* is allowed only to CAP_PERFMON and CAP_SYS_ADMIN",
            "destructive kfunc calls require CAP_SYS_BOOT *",
            "CAP_BPF and CAP_PERFMON are required to use arena",
        ),
    ),
    Cause(
        "null-check",
        "a pointer that may be NULL is used without a check",
        "The source of this pointer returns NULL on failure. The verifier requires a NULL check on "
        "every path from there to here.",
        "Check the pointer for NULL before it is used, and return if it is NULL.",
        _messages(
            "R{reg} invalid mem access '*or_null*'",
            "R{reg} pointer arithmetic on *or_null* prohibited, null-check it first",
            "R{reg} type=*or_null* expected=*",
            MessageTemplate("Possibly NULL pointer passed to trusted arg{arg}", "since 6.2"),
            MessageTemplate("Possibly NULL pointer passed to helper arg{arg}", "since 6.6"),
            "arg#{arg} is expected to be non-NULL",
            "R{reg} is expected to be non-NULL",
            "Possibly NULL pointer passed to trusted R{reg}",
            "Possibly NULL pointer passed to helper R{reg}",
            "R{reg} is of type *or_null* but * is expected",
        ),
        "if (!pointer)\n    return 0;",
    ),
    Cause(
        NULLABLE,
        "a function argument is used without a NULL check",
        "A global (not static) function is verified on its own: each pointer argument may be NULL, "
        "whatever its callers pass.",
        "Check the argument for NULL before it is used, or declare it __arg_nonnull (since 6.8): "
        "then the callers are checked.",
        (),
        "if (!argument)\n    return 0;",
    ),
    Cause(
        "negative-index",
        "an index or size may be negative",
        "The number is signed and may be negative. The access would be before the start of the "
        "memory.",
        "Make the variable unsigned, or check that it is not negative.",
        _messages(
            "R{reg} min value is negative, either use unsigned index or do a if (index >=0) check.",
            "R{reg} min value is negative, either use unsigned or 'var &= const'",
            "R{reg} min value is negative*",
            "R{reg} is * invalid negative access: off=*",
        ),
        "if (index < 0 || index >= SIZE)\n    return 0;",
    ),
    Cause(
        "unbounded-access",
        "an index, offset or size is unbounded",
        "The verifier knows no upper bound for this number. A check counts only if it is on the "
        "same value that is used, on every path to here.",
        "Compare the number with the size, or mask it, immediately before it is used.",
        _messages(
            "R{reg} unbounded memory access*",
            "math between {type} pointer and register with unbounded min value is not allowed",
            "invalid unbounded variable-offset* stack R{reg}*",
        ),
        "if (index >= SIZE)\n    return 0;    /* or: index &= SIZE - 1, for a power of 2 */",
    ),
    Cause(
        "packet-bounds",
        "packet data is accessed without a check against data_end",
        "Each packet access needs a comparison of the same pointer, plus the access size, with "
        "data_end.",
        "Compare with data_end first. After helpers that change the packet, reload data and "
        "data_end.",
        _messages(
            "invalid access to packet, off={off} size={size}, R{reg}(*)",
            "R{reg} offset is outside of the packet",
        ),
        "if (data + sizeof(*header) > data_end)\n    return XDP_PASS;",
    ),
    Cause(
        "stack-size",
        "the program exceeds the stack limit",
        "A function and all its callers share 512 bytes of stack; each stack frame is rounded up.",
        "Move large variables to a PERCPU_ARRAY map with one element, or make them smaller.",
        _messages(
            "combined stack size of {number} calls is {size}. Too large",
            MessageTemplate("stack size of subprog {number} is {size}. Too large", "since 6.12"),
            "stack size {size}(extra *) is too large",
            "tail_calls are not allowed when call stack of previous frames is {size} bytes. "
            "Too large",
        ),
        place=CauseLocation.FUNCTION,
    ),
    Cause(
        "stack-limit",
        "a variable is outside the 512-byte stack",
        "Local variables are too large: the address is below the end of the stack.",
        "Move large variables to a PERCPU_ARRAY map with one element, or make them smaller.",
        _messages(
            "invalid* stack R{reg} off={deep} size=*",
            MessageTemplate("invalid* stack R{reg} off={deep} access_size=*", "before 5.13"),
            MessageTemplate("invalid stack off={deep} size=*", "before 5.13"),
            MessageTemplate("invalid stack type R{reg} off={deep} access_size=*", "before 5.13"),
        ),
    ),
    Cause(
        "uninitialized-stack",
        "stack memory is read before it is written",
        "Uninitialised bytes are read: a variable without a value, or padding between the members "
        "of a struct.",
        "Initialise all of it, including padding: __builtin_memset(&key, 0, sizeof(key)).",
        _messages(
            "invalid indirect read from stack*",
            "invalid read from stack off *",
            "invalid read from stack R{reg} off *+* size *",
            "invalid* read from stack R{reg} var_off *",
            "reading from stack *slot poisoned by dead code elimination",
        ),
        "struct key key = {};",
    ),
    Cause(
        "stack-bounds",
        "a stack access is out of bounds",
        "The access to a local variable ends beyond the variable or the stack frame.",
        "Check offset and size against the size of the variable.",
        _messages(
            "invalid* read from stack R{reg} off*size=*",
            "invalid* write to stack R{reg} off={off} size=*",
            "invalid* stack R{reg} off={off} size=*",
            "invalid* stack R{reg} off={off} access_size=*",
            "invalid variable-offset* stack R{reg}*",
            "invalid stack type R{reg} off={off} access_size=*",
            "variable offset stack pointer cannot be passed into helper function*",
        ),
    ),
    Cause(
        "read-only",
        "write to read-only memory",
        "Constants (.rodata), maps with BPF_F_RDONLY_PROG, map keys, kernel structs, and packets "
        "in some program types are read-only.",
        "Write to a variable or map of the program; change kernel structs through helpers and "
        "kfuncs.",
        _messages(
            "write into map forbidden, value_size=*",
            "write into map forbidden",
            "R{reg} cannot write into {type}",
            "cannot write into packet",
            "only read is supported",
            "only read from {type} is supported",
            "write to change key R{reg} not allowed",
            "the prog does not allow writes to packet data",
            "no write support to {type} at off*",
            "BPF_ATOMIC stores into R{reg} {type} is not allowed",
            "BPF_ST stores into R{reg} {type} is not allowed",
            "*() may write into memory pointed by R{reg} type=*",
        ),
    ),
    Cause(
        "map-access",
        "the map's flags forbid this",
        "The map was created with BPF_F_WRONLY_PROG: programs may write it but not read it.",
        "Remove the flag, or read from another map.",
        _messages("read from map forbidden, value_size=*"),
    ),
    Cause(
        "zero-size",
        "a size may be 0",
        "This helper does not accept a size of 0.",
        "Check that the size is greater than 0.",
        _messages(
            "R{reg} invalid zero-sized read*",
            MessageTemplate("invalid zero-sized read", "since 6.8"),
            MessageTemplate(
                "invalid access to map value, value_size={size} off={off} size=0", "before 6.8"
            ),
        ),
        "if (size == 0)\n    return 0;",
    ),
    Cause(
        "out-of-bounds",
        "a memory access is out of bounds",
        "For some possible offset, the access is outside the map value, buffer or struct: the "
        "bounds check is missing or too weak.",
        "Check the offset plus the access size against the actual size (with <, not <=).",
        _messages(
            "invalid access to map value, value_size={size} off={off} size=*",
            "invalid access to map key, key_size={size} off={off} size=*",
            "invalid access to memory, mem_size={size} off={off} size=*",
            "invalid access to map value pointer, value_size={size} off={off}",
            "R{reg} min value is outside of the allowed memory range",
            "R{reg} max value is outside of the allowed memory range",
            "R{reg} invalid * buffer access: off={off}, size=*",
            "R{reg} invalid variable buffer offset: *",
            "R{reg} is * invalid variable offset: *",
            "R{reg} invalid * access off={off} size=*",
            "invalid access to flow keys off={off} size=*",
            "access beyond struct {type} at off {off} size *",
            "access beyond the end of member {member} *",
            "cannot access ptr member {member} *",
            "struct {type} doesn't have field at offset {off}",
            "direct value offset of {off} is not allowed",
            "value {number} makes {type} pointer be out of bounds",
            "arg#{arg} arg#* memory, len pair leads to invalid memory access",
            "R{reg} memory, len pair leads to invalid memory access",
            "R{reg} invalid negative * buffer offset: *",
            "R{reg} invalid variable offset to flow keys: *",
            "invalid access to context, ctx_size={size} off={off} size=*",
        ),
        "if (index >= sizeof(value->array) / sizeof(value->array[0]))\n    return 0;",
    ),
    Cause(
        UNSET,
        "an uninitialised value is used",
        "On some path to here it was never set: a variable without an initial value, a function "
        "without a return. Calls clobber registers R1 to R5.",
        "Set the variable on every path, and return a value from each function.",
        _messages("R{reg} !read_ok"),
    ),
    Cause(
        "context-field",
        "invalid access to the program's context",
        "Context accesses are checked member by member: programs of this type may not read, or not "
        "write, at this offset and size. A tracepoint has a fixed number of arguments.",
        "Look up the context of this program type, and access whole members.",
        _messages(
            "invalid bpf_context access off={off} size={size}",
            "invalid bpf_context access off={off} size={size}*",
            "func '*' doesn't have {number}-th argument",
            "func '*' offset {off} is not multiple of 8",
            "invalid btf_id for context argument offset {off}",
            "func '*' arg{arg} '*' has type *. Only pointer access is allowed",
        ),
    ),
    Cause(
        "modified-pointer",
        "a pointer is used with an offset that is not allowed",
        "The context, and pointers to some kernel structs, must be used unmodified, with a "
        "constant offset in the instruction: no index, no address of a member.",
        "Access members by name (if or switch instead of an index). If the compiler computes an "
        "address, barrier_var(ctx) before the access prevents it.",
        _messages(
            "dereference of modified {type} ptr R{reg} off={off} disallowed",
            "dereference of modified {type} ptr *",
            "{type} access cannot have variable offset",
            "variable {type} access var_off=* disallowed",
            "negative offset {type} ptr R{reg} off={off} disallowed",
            "same insn cannot be used with different pointers",
        ),
    ),
    Cause(
        "untyped-pointer",
        "a number is used as a pointer",
        "It was read from memory of a type unknown to the verifier, or cast or computed. Such "
        "memory cannot be accessed directly.",
        "Read it with bpf_probe_read_kernel() or BPF_CORE_READ(), user memory with "
        "bpf_probe_read_user(); or use tp_btf and fentry, whose arguments are typed.",
        _messages(
            "R{reg} invalid mem access 'scalar'",
            MessageTemplate("R{reg} invalid mem access 'inv'", "before 5.18"),
            "R{reg} invalid mem access 'inv*'",
            "R{reg} is ptr_* access user memory: off=*",
            "R{reg} is ptr_* access percpu memory: off=*",
            "R{reg} invalid mem access 'percpu_*'",
            "R{reg} invalid mem access 'user_*'",
        ),
        "bpf_probe_read_kernel(&value, sizeof(value), pointer);",
    ),
    Cause(
        STALE,
        "a pointer is used after it became invalid",
        "A call invalidated it: helpers that may move packet data invalidate all packet pointers, "
        "and memory that is released, submitted or discarded is gone.",
        "Reload data and data_end after such a call, and check again; use memory before it is "
        "released.",
        (),
    ),
    Cause(
        "pointer-access",
        "a pointer of this kind cannot be dereferenced",
        "It does not point to memory that the program can access: a map, the end of the packet, a "
        "function, an invalidated pointer.",
        "Use the helpers for it, such as bpf_map_lookup_elem().",
        _messages("R{reg} invalid mem access '{type}'", "R{reg} must point to kernel BTF"),
    ),
    Cause(
        "helper-not-allowed",
        "programs of this type may not call this helper",
        "The available helpers depend on the program type, the kernel config, the capabilities of "
        "the loading process, and kernel lockdown.",
        "Use another program type or another helper: `bpftool feature probe` lists the helpers of "
        "each type.",
        _messages(
            MessageTemplate("program of this type cannot use helper {func}#{number}", "since 6.8"),
            MessageTemplate("unknown func {func}#{number}", "before 6.8"),
            "helper call is not allowed in probe",
            "func {func}#{number} not supported for program type {type}",
            "func {func}#{number} supported only for fentry/fexit/fmod_ret programs",
            "func {func}#{number} supported only for fentry/fexit/fsession/fmod_ret programs",
            "cannot update sockmap in this context",
            "BPF_LD_[ABS|IND] instructions not allowed for this program type",
            "* is only allowed in *progs*",
        ),
    ),
    Cause(
        "map-field",
        "programs of this type may not use maps with such a member",
        "Locks, timers, lists and trees in map values are for some program types; others may not "
        "even refer to the map.",
        "Move what this program needs to a map without that member.",
        _messages("{kind} progs cannot use {type} yet"),
        place=CauseLocation.PROGRAM,
    ),
    Cause(
        "helper-unknown",
        "this kernel does not have the helper",
        "The helper's number is unknown to this kernel: a later release has it.",
        "Use an older helper, or check bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_...) "
        "first.",
        _messages("invalid func {func}#{number}"),
    ),
    Cause(
        "kfunc-not-allowed",
        "programs of this type may not call this kernel function",
        "Each kernel function (kfunc) is registered for certain program types; some only for "
        "sleepable programs, or certain struct_ops.",
        "Call it from a program type it is registered for, or use a helper.",
        _messages(
            "calling kernel function {func} is not allowed",
            "calling kernel function is not allowed",
            "*kernel function {func} args#{arg} pointer type * is not supported",
            "reg type unsupported for arg#{arg} *function {func}#{number}",
        ),
    ),
    Cause(
        "license",
        "a program without a GPL-compatible license calls a GPL-only function",
        "Some helpers, kernel functions and types are only for programs with a GPL-compatible "
        "license.",
        'Declare a GPL-compatible license if you may; "Dual BSD/GPL" and "Dual MIT/GPL" also work.',
        _messages(
            "cannot call GPL-restricted function from non-GPL compatible program",
            "cannot call kernel function from non-GPL compatible program",
            "struct ops programs must have a GPL compatible license",
            "Cannot access kernel 'struct {type}' from non-GPL compatible program",
        ),
        'char LICENSE[] SEC("license") = "GPL";',
    ),
    Cause(
        "infinite-loop",
        "a loop may be infinite",
        "The verifier returned to an instruction with the same state, so the loop may never end.",
        "Bound the number of iterations by a constant, or use bpf_loop() (since 5.17) or bpf_for() "
        "(since 6.4).",
        _messages(
            "infinite loop detected at insn {insn}",
            MessageTemplate(
                "back-edge from insn {insn} to {to}", "before 5.3 any loop, later without root"
            ),
            "frame{number} bpf_loop iteration limit reached",
        ),
        "for (int i = 0; i < 16; i++) ...",
    ),
    Cause(
        "too-large",
        "the program is too complex for the verifier",
        "The verifier follows every path through the program, up to 1,000,000 instructions and "
        "8,192 pending branches. Loops and branches multiply the paths, even in a small program.",
        "Use bpf_loop() (since 5.17) or bpf_for() (since 6.4) for loops; move parts to global (not "
        "static) functions, which are verified once; or do fewer iterations.",
        _messages(
            "BPF program is too large. Processed {number} insn",
            "The sequence of {number} jumps is too complex.",
            "The sequence of {number} jumps is too complex for async cb.",
            "too many subprograms",
            "insn {insn} cannot be patched due to 16-bit range",
            "too many different kernel function calls",
            "too many different module BTFs",
            MessageTemplate("BPF program is too large. Proccessed {number} insn", "before 5.3"),
        ),
        place=CauseLocation.PROGRAM,
    ),
    Cause(
        "too-many-maps",
        "the program uses more maps than the verifier allows",
        "A program may refer to 64 maps, those of its global variables included, and to kfuncs and "
        "variables of 64 modules. An object may have more.",
        "Split the program in two, put maps into a map of maps, or join several into one with a "
        "larger key.",
        _messages(
            "The total number of maps per program has reached the limit of {number}",
            "The total number of btfs per program has reached the limit of {number}",
        ),
    ),
    Cause(
        "call-depth",
        "function calls are nested too deeply",
        "At most 8 calls may be nested, in Linux 7.3 16; recursion is not possible.",
        "Inline some functions (static __always_inline), or call them one after the other.",
        _messages("the call stack of {number} frames is too deep", "recursive call from *"),
    ),
    Cause(
        "global-call-depth",
        "calls of global functions are nested too deeply",
        "Before Linux 7.3, at most 8 calls may be nested. Global functions are verified one by "
        "one, so this is found only at the end.",
        "Inline some functions (static __always_inline), or call them one after the other.",
        _messages("the call stack of {number} frames is too deep !"),
        place=CauseLocation.PROGRAM,
    ),
    Cause(
        "unreachable",
        "the program's control flow is invalid",
        "Unreachable code, or a jump out of the program. Compilers produce this from undefined "
        "behaviour and __builtin_unreachable().",
        "Look for undefined behaviour near this line (clang -Wall), or for inline assembly that "
        "causes this.",
        _messages(
            "unreachable insn {insn}",
            "jump out of range from insn {insn} to {to}",
            "jump into the middle of ldimm64 insn {insn}",
            "last insn is not an exit or jmp",
            "call to invalid destination",
            "invalid insn idx {insn} insn_cnt {number}",
            "indirect jump out of range from insn {insn} to {to}",
            "jump table for insn {insn} points outside of the subprog *",
            "no jump tables found for subprog starting at {number}",
            "R{reg} points to outside of jump table: *",
            "R{reg} has type {type}, expected PTR_TO_INSN",
            "unexpected __bpf_trap() due to uninitialized variable?",
        ),
    ),
    Cause(
        "reference-leak",
        "an acquired reference is not released",
        "An acquired reference (a socket, a ring buffer record, a kernel object) must be released, "
        "submitted or stored on every path to the end.",
        "Release it on this path, too: bpf_sk_release(), bpf_ringbuf_submit() or "
        "bpf_ringbuf_discard(), or the kfunc that releases it.",
        _messages(
            "Unreleased reference id={number} alloc_insn={insn}",
            "*would lead to reference leak",
            "Leaking reference id={number} alloc_insn={insn}. Release it first.",
            "BPF_LD_[ABS|IND] cannot be mixed with socket references",
        ),
    ),
    Cause(
        "release",
        "a released pointer was not acquired, or was modified",
        "A release function takes the pointer that the acquire function returned, unmodified, and "
        "only once.",
        "Pass the pointer that the acquire function returned, without an offset, once on each "
        "path.",
        _messages(
            "arg {arg} is an unacquired reference",
            "R{reg} must be referenced when passed to release function",
            "R{reg} must be referenced",
            "R{reg} must have zero offset when passed to release func*",
            "func {func}#{number} reference has not been acquired before",
            "kfunc {func}#{number} reference has not been acquired before",
            "release kernel function {func} expects *",
            "cannot release unowned const bpf_dynptr",
            "allocated object must be referenced",
            "release * expects referenced PTR_TO_BTF_ID passed to R{reg}",
            "CONST_PTR_TO_DYNPTR cannot be released",
            "function expects only one referenced object but got {number}",
        ),
    ),
    Cause(
        "return-value",
        "the program or function may return a value that is not allowed",
        "Each program type has its own range of return values. A callback or global function must "
        "return a number.",
        "Return a value in the range of the message on every path; check or mask computed values.",
        _messages(
            "At {place} the register R{reg} has *",
            "At {place} the register R{reg} is not a known value (*)",
            "At {place} the register R{reg} is not a scalar value (*)",
            "*the register R{reg} is not a known value (*)",
            "*the register R{reg} has *should have been in *",
            "R{reg} not a scalar value",
            "Global function {func}() doesn't return scalar. Only those are supported.",
            "Global function {func}() return value not void or scalar. Only those are supported.",
            "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
            "cannot return stack pointer to the caller",
        ),
    ),
    Cause(
        "pointer-leak",
        "a kernel address would leak",
        "Pointers may not be returned, or stored where user space can read them: they reveal "
        "kernel addresses.",
        "Store or return the value it points to, or another number; with CAP_PERFMON pointers may "
        "be stored, too.",
        _messages(
            "R{reg} leaks addr *",
            "R0 leaks addr as return value",
            "leaking pointer from stack off {off}",
        ),
    ),
    Cause(
        "pointer-arithmetic",
        "this arithmetic is not allowed on a pointer",
        "Numbers may be added to or subtracted from a pointer, within bounds; for some pointers "
        "(context, packet end, socket, possibly NULL) not even that.",
        "Compute with numbers, and add the result to the pointer once; compare data + size with "
        "data_end, not data with data_end - size.",
        _messages(
            "math between {type} pointer and {number} is not allowed",
            "{type} pointer offset {off} is not allowed",
            "R{reg} pointer arithmetic on {type} prohibited",
            "R{reg} pointer arithmetic with {operator} operator prohibited",
            "R{reg} bitwise operator {operator} on pointer prohibited",
            "R{reg} 32-bit pointer arithmetic prohibited",
            "R{reg} tried to subtract pointer from scalar",
            "R{reg} subtraction from stack pointer prohibited",
            "R{reg} pointer {operator} pointer prohibited",
            "frame pointer is read only",
        ),
    ),
    Cause(
        "missing-btf",
        "BTF is missing, or does not match the program",
        "Locks, timers, callbacks, kernel functions and global functions need the BTF of the "
        "object, or of the kernel.",
        "Compile with clang -g, and define maps with __type(value, ...); the kernel needs "
        "CONFIG_DEBUG_INFO_BTF.",
        _messages(
            "map '{map}' has to have BTF in order to use {type}",
            "map '{map}' is not a struct type or * is mangled",
            "map '{map}' has no valid {type}",
            "map '{map}' has more than *",
            "map '{map}' doesn't have 'struct {type}'",
            "* '{map}' has no valid bpf_spin_lock",
            "missing btf func_info",
            "Global functions need valid BTF",
            "number of funcs in func_info doesn't match number of subprogs",
            "func_info BTF section doesn't match subprog layout in BPF program",
            "invalid type id {number} in func info",
            "* func info rec*",
            "nonzero tailing record in *",
            "Invalid insn code at line_info*",
            "Invalid core_relo*",
            "invalid btf id for main subprog in func_info",
            "ldimm64 unable to resolve the size of type *",
            "Invalid line_info*",
            "missing bpf_line_info for *",
            "BTF of func#{number} doesn't point to KIND_FUNC",
            "kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.",
            "calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF",
            "map_ptr access not supported without CONFIG_DEBUG_INFO_BTF",
            "in-kernel BTF is malformed",
            "btf_vmlinux is malformed",
            "ldimm64 insn specifies invalid btf_id {number}.",
            "tail_call is not allowed in subprogs without BTF",
            "LD_ABS is not allowed in subprogs without BTF",
            "*is only allowed in functions that return 'int'.",
            "bpf_obj_new/bpf_percpu_obj_new requires prog BTF",
            "Program extension requires BTF",
            "R{reg} has no valid kptr",
        ),
    ),
    Cause(
        "attach-target",
        "the program cannot attach to its target",
        "The function, hook or member is not in this kernel, is of the wrong kind, or cannot be "
        "attached to.",
        "Look for it: bpftool btf dump file /sys/kernel/btf/vmlinux | grep NAME",
        _messages(
            "Tracing programs must provide btf_id",
            "FENTRY/FEXIT program can only be attached to another program annotated with BTF",
            "attach_btf_id {number} *",
            "attach to invalid member *",
            "attach to unsupported member {member} of struct {type}",
            "The address of function {func} cannot be found",
            "Attaching tracing programs to function '{func}' is rejected.",
            "Attaching fexit/fmod_ret to __noreturn functions is rejected.",
            "Attach to function {func} with *",
            "{func}() is not a global function",
            "{func} is not a function",
            "{func}() is not modifiable",
            "Subprog {func} doesn't exist",
            "Return type * of {func}() doesn't match type *",
            "arg{arg} in {func}() *",
            "{func}() has {number} args while *",
            "The function {func} return type * is unsupported.",
            "The function {func} with variable args is unsupported.",
            "The function {func} arg{arg} type * is unsupported.",
            "The function {func} has {number} arguments. Too many.",
            "*Extension program*",
            "Cannot *extend*",
            "Cannot replace *",
            "Cannot recursively attach",
            "Can attach to only JITed progs",
            "Only FENTRY/FEXIT progs are attachable to another BPF prog",
            "Only FENTRY/FEXIT/FSESSION progs are attachable to another BPF prog",
            "Tracing program can only be attached to another program annotated with BTF",
            "Attaching fexit/fsession/fmod_ret to __noreturn function '{func}' is rejected.",
            "Cannot attach to a target with arena context arguments",
            "can't modify return codes of BPF programs",
            "ret type {type} not allowed for fmod_ret",
            "The function {func} has malformed void argument.",
            "*device mismatch*",
            "Cannot nest tracing program attach more than once",
            "struct_ops module {module} is not found",
        ),
        place=CauseLocation.PROGRAM,
    ),
    Cause(
        "sleepable",
        "a function that may sleep is used where sleeping is not allowed",
        "Some helpers, kernel functions and maps may sleep. Only sleepable programs may use them, "
        "outside RCU and preempt-disabled sections.",
        "Make the program sleepable, if its type allows it (fentry.s, lsm.s, uprobe.s, iter.s, "
        "syscall; tp.s and tp_btf.s of system calls since Linux 7.2), or use functions that do not "
        "sleep.",
        _messages(
            "helper call might sleep in a non-sleepable prog",
            "program must be sleepable to call sleepable kfunc {func}",
            "kernel function {func} is sleepable but the program is not",
            "sleepable helper {func}#{number} in *",
            "kernel func {func} is sleepable within *",
            "Sleepable programs can only use *",
            "Only *programs can be sleepable",
            "Syscall programs can only be sleepable",
            "{func} is not sleepable",
            "BPF_LSM_CGROUP programs cannot be sleepable",
            "global functions that may sleep are not allowed in non-sleepable context*",
            "sleepable global function {func}() called in *",
            "Sleepable program cannot attach to non-faultable tracepoint {func}",
            "Program of this type cannot be sleepable",
        ),
        'SEC("fentry.s/do_unlinkat")',
    ),
    Cause(
        "lock",
        "a lock or critical section is used incorrectly",
        "Only a few calls are allowed under a lock. Each lock, RCU section and preempt-disabled "
        "section must be left on every path, in order.",
        "Call functions before or after the section, and leave it before each return.",
        _messages(
            "function calls are not allowed while holding a lock",
            "global function calls are not allowed *",
            "*use static function instead",
            "{func}_unlock is missing",
            "bpf_spin_unlock without taking a lock",
            "bpf_spin_unlock of different lock",
            "{func}_unlock of different lock",
            "{func}_unlock cannot be out of order",
            "Acquiring the same lock again, AA deadlock detected",
            "irq flag acquired by * kfuncs cannot be restored with *",
            "cannot restore irq state out of order*",
            "expected * irq flag as arg#{arg}",
            "expected * irq flag as R{reg}",
            "arg#{arg} doesn't point to an irq flag on stack",
            "R{reg} doesn't point to an irq flag on stack",
            "Locking two bpf_spin_locks are not allowed",
            "* cannot be used inside *-ed region",
            "*cannot be used inside bpf_spin_lock-ed region",
            "unmatched rcu read unlock*",
            "nested rcu read lock*",
            "unmatched attempt to enable preemption*",
            "{number} bpf_preempt_enable* missing",
            "*expected an RCU CS when using {func}",
            "kernel func {func} requires RCU critical section protection",
            "R{reg} doesn't have constant offset. {type} has to be at the constant offset",
            "off {off} doesn't point to 'struct {type}'*",
            "bpf_spin_lock at off={off} must be held for {type}",
            "held lock and object are not in the same allocation",
            "*unlock* without *lock*",
        ),
    ),
    Cause(
        "special-field",
        "a lock, timer or kernel pointer in a map is accessed as plain data",
        "Members such as bpf_spin_lock, bpf_timer and kernel pointers (__kptr) may only be "
        "accessed through their functions.",
        "Use bpf_spin_lock(), bpf_timer_init(), bpf_kptr_xchg(); copy values member by member, "
        "without them.",
        _messages(
            "{type} cannot be accessed directly by load/store",
            "store to uptr disallowed",
            "{type} cannot be accessed indirectly by helper",
            "direct access to {type} is disallowed",
            "store to referenced kptr disallowed",
            "kptr access *",
            "kptr in map can only be accessed using *",
            "invalid kptr access, R{reg} *",
            "BPF_ST imm must be 0 when storing to kptr at off={off}",
            "off={off} doesn't point to kptr",
            "off={off} kptr isn't referenced kptr",
        ),
    ),
    Cause(
        "partial-pointer",
        "a pointer is partly stored, read or overwritten",
        "A pointer on the stack stays a pointer only if all 8 bytes are stored and read at once, "
        "at an address aligned to 8.",
        "Use a variable of a pointer type or of 64 bits, and copy all 8 bytes of it; look for "
        "casts to int, and for packed structs.",
        _messages(
            "invalid size of register fill",
            "invalid size of register spill",
            MessageTemplate("attempt to corrupt spilled pointer on stack", "without CAP_PERFMON"),
        ),
    ),
    Cause(
        "other-map",
        "the map argument is not the map of the value",
        "A timer or work queue is initialised with the map that contains it; here it is in a value "
        "of another map.",
        "Pass the map in which the value was looked up.",
        _messages("*pointer in R1 map_uid=* doesn't match map pointer in R2 map_uid=*"),
        "bpf_timer_init(&value->timer, &map_of_value, CLOCK_MONOTONIC);",
    ),
    Cause(
        "dynptr",
        "a dynptr is not in the required state",
        "A dynptr is a stack variable that one function initialises and another releases. In "
        "between it may not be copied, overwritten or accessed as memory, and afterwards it is "
        "invalid.",
        "Initialise it before it is used, pass its address, and submit or discard it once on each "
        "path.",
        _messages(
            "Expected an initialized dynptr as arg #{arg}",
            "Expected a dynptr of type {type} as arg #{arg}",
            "Expected an initialized dynptr as R{reg}",
            "Expected a dynptr of type {type} as R{reg}",
            "Dynptr has to be an uninitialized dynptr",
            "cannot overwrite referenced dynptr",
            "cannot pass in dynptr at an offset*",
            "cannot pass in {type} at an offset*",
            "potential write to dynptr at off={off} disallowed",
            "cannot pass pointer to const bpf_dynptr, the helper mutates it",
            "arg#{arg} expected pointer to stack or const struct bpf_dynptr",
            "R{reg} expected pointer to stack or const struct bpf_dynptr",
            "Unsupported reg type {type} for bpf_dynptr_from_mem data",
            "* has to be at a constant offset",
        ),
    ),
    Cause(
        "iterator",
        "an iterator is not in the required state",
        "An iterator is a stack variable that needs new, next and destroy, in this order, on every "
        "path.",
        "Use bpf_for() and bpf_for_each(), or call destroy wherever the loop is left.",
        _messages(
            "expected an initialized {type} as arg #{arg}",
            "expected uninitialized {type} as arg #{arg}",
            "expected valid iter pointer as arg #{arg}",
            "arg#{arg} expected pointer to an iterator on stack",
            "expected an initialized {type} as R{reg}",
            "expected uninitialized {type} as R{reg}",
            "expected valid iter pointer as R{reg}",
            "R{reg} expected pointer to an iterator on stack",
        ),
    ),
    Cause(
        "constant-argument",
        "an argument must be a constant",
        "This function needs a constant here: a size, a flag, or a NUL-terminated string in "
        ".rodata.",
        "Pass a literal, or a static const; format strings are static const char[].",
        _messages(
            "R{reg} must be a known constant",
            "R{reg} is not a known constant'",
            "R{reg} is not a const",
            "R{reg} does not point to a readonly map'",
            "R{reg} is not a constant address'",
            "string is not zero-terminated",
            "arg#{arg} doesn't point to a const string",
            "R{reg} doesn't point to a const string",
            "R{reg} points to * map which cannot be used as const string",
            "Invalid format string",
            "get_local_storage() doesn't support non-zero flags",
            "tail_call abusing map_ptr",
        ),
    ),
    Cause(
        "map-type",
        "this helper does not support this map type",
        "Most map helpers support only certain map types.",
        "Use the helper for the map type, or another map type.",
        _messages(
            "cannot pass map_type {number} into func {func}#{number2}",
            "expected prog array map for tail call",
            "map_ptr access not supported for map type {number}",
            "no direct value access support for this map type",
            "callback function not allowed for map",
            "invalid map_ptr to access map->*",
            "bpf_struct_ops map cannot be used in prog",
            "Only one arena per program",
            "arena's user address must be set via map_extra or mmap()",
            "only one cgroup storage of each type is allowed",
            "invalid arg_type for sockmap/sockhash",
        ),
    ),
    Cause(
        "exclusive-map",
        "the map is for another program only",
        "The map was created for one program, by the hash of its code; no other one may use it.",
        "Use the map in that program only, or create it for any program: without --exclusive, or "
        "bpf_map__set_exclusive_program().",
        _messages("program's hash doesn't match map's excl_prog_hash"),
    ),
    Cause(
        "alignment",
        "an access is not aligned",
        "On this machine, or for this kind of memory, an address must be a multiple of the access "
        "size.",
        "Align the member, or read it byte by byte (__builtin_memcpy from a packed struct).",
        _messages("misaligned *access off *"),
    ),
    Cause(
        "division",
        "invalid division or shift",
        "The divisor is a constant 0, or the shift count is too large.",
        "Correct the constant.",
        _messages("div by zero", "invalid shift {number}"),
    ),
    Cause(
        "callback",
        "invalid callback",
        "Callbacks (of bpf_loop, bpf_for_each_map_elem, timers) are static functions that return "
        "0 or 1, and they cannot call some functions.",
        "Make the function static, and call these functions from the program itself.",
        _messages(
            "callback function not static",
            "callback function cannot be the main program",
            "* (insn {insn}) cannot be called from callback*",
            "insn {insn} cannot call exception cb directly*",
            "*cannot be called from callback*",
            "kfunc {func}#{number} failed callback verification",
            "*exception c*",
            "*rbtree_remove not allowed in rbtree cb",
            "can't * in rbtree cb",
            "arg{arg} expected pointer to func",
            "R{reg} expected pointer to func",
            "*in rbtree cb",
            "*within callback",
        ),
    ),
    Cause(
        "kernel-configuration",
        "not supported by this kernel's JIT",
        "This needs the JIT compiler, or a JIT with more features than this one.",
        "Enable it (sysctl net.core.bpf_jit_enable=1), or load on a newer kernel.",
        _messages(
            "JIT is required *",
            "JIT does*support *",
            "* in non-JITed programs*",
            "program requires BPF JIT compiler but it is not available",
            "Private stack not supported by jit",
            "*not allowed in non-JITed programs",
        ),
    ),
    Cause(
        "argument-type",
        "an argument has the wrong type",
        "The verifier checks each argument against the type that the function expects: memory, a "
        "map, the context, a certain kernel struct, a number.",
        "Pass what the message says is expected. Pointers to kernel structs are accepted only "
        "directly from an argument, a helper or a kfunc.",
        _messages(
            "R{reg} type={type} expected={expected}",
            "R{reg} is of type {type} but {expected} is expected",
            "R{reg} must be referenced or trusted",
            "R{reg} must be a rcu pointer",
            "arg#{arg} expected *",
            "arg#{arg} expects pointer to ctx",
            "R{reg} expects pointer to ctx",
            "R{reg} expected *",
            "R{reg} pointer type *",
            "arg#{arg} pointer type *",
            "arg#{arg} is *",
            "arg#{arg} doesn't point to *",
            "R{reg} doesn't point to *",
            "R{reg} is neither owning or non-owning ref",
            "R{reg} is not a pointer to arena or scalar",
            "R{reg} arena pointer *",
            "arena argument of {func} requires a program with an associated arena",
            "R{reg} is not a scalar",
            "R{reg} is not a pointer to arena or scalar.",
            "kernel function {func} args#{arg} expected *",
            "kernel function {func} R{reg} expected *",
            "helper access to the packet is not allowed",
            "pointer in R{reg} isn't map pointer",
            "Unrecognized arg#{arg} type {type}",
            "Unrecognized R{reg} type {type}",
            "Unrecognized *arg#{arg} type {type}",
            "arg#{arg} reference type(*) size cannot be determined: *",
            "R{reg} reference type(*) size cannot be determined: *",
            "Invalid type of function {func}()",
            "Helper has invalid btf*",
            "R{reg} is invalid",
            "*type ID argument must *",
            "{type} not found at offset={off}",
            "arg#{arg} *",
            "Arg#{arg} *",
            "operation on {type} expects arg#1 *",
            "*node input must be non-owning ref",
            "*can only take non-owning *",
        ),
    ),
    Cause(
        "btf-rejected",
        "the kernel rejects the object's BTF",
        "A type in it has a kind or content that this kernel does not support.",
        "Use an older clang, or remove the code that uses this type.",
        _messages(
            "[{number}] *",
            "BTF *",
            "Invalid btf*",
            "Unsupported *",
        ),
        place=CauseLocation.PROGRAM,
    ),
    Cause(
        "too-many-arguments",
        "a function has too many arguments",
        "BPF functions get their arguments in registers R1 to R5.",
        "Pass a pointer to a struct, or make the function static __always_inline.",
        _messages(
            "Global function {func}() with {number} > {size} args*",
            "Function {func} has {number} > {size} args",
            "global function {func} has {number} > {size} args*",
            "kernel supports at most {size} parameters, function {func} has {number}",
        ),
    ),
    Cause(
        "loader",
        "the loader passed invalid data with the program",
        "File descriptors or tables of the program do not match it.",
        "Load it with another or newer loader, and report this.",
        _messages(
            "fd {number} is not pointing to valid bpf_map",
            "fd_idx without fd_array is invalid",
            "kfunc offset > 0 without fd_array is invalid",
            "invalid module BTF *",
            "BTF fd for kfunc is not a module BTF",
            "negative offset disallowed for kernel module function call",
            "fd {number} is not pointing to valid bpf_map or btf",
            "fd_idx {number} *",
            "kfunc fd_idx {number} *",
            "fd_array has too many entries (*",
            "fd_array_cnt {number} without fd_array is invalid",
        ),
    ),
    Cause(
        "signature",
        "the program's signature does not cover what it uses",
        "A signature is of the instructions and of one map; the program may use nothing else that "
        "was passed to it, and that map must be exclusive and frozen.",
        "Sign it again, with the loader that made it; the kernel must trust the key.",
        _messages(
            "signature verification failed: {number}",
            "signed program *",
            "signed payload too large: *",
            "cannot resolve signing keyring with keyring_id {number}",
            "failed to read signed metadata map *",
        ),
        place=CauseLocation.PROGRAM,
    ),
    Cause(
        "kernel-bug",
        "a bug in the verifier",
        "The message reports a bug in the kernel, not in the program.",
        "Report it to bpf@vger.kernel.org with the whole log; another kernel may accept the "
        "program.",
        _messages(
            "verifier bug*",
            "verifier internal error*",
            "*BUG *",
            "kernel subsystem misconfigured *",
            "bpf verifier is misconfigured",
        ),
    ),
    Cause(
        "invalid-instruction",
        "an instruction is not valid on this kernel",
        "This kernel does not know its opcode, or a reserved field is not 0.",
        "Compile for an older instruction set (clang -mcpu=v2 or v3), or load on a newer kernel.",
        _messages(
            "unknown opcode *",
            "*uses reserved fields",
            "invalid BPF_* opcode *",
            "BPF_ATOMIC uses invalid atomic opcode *",
            "unknown insn class *",
            "invalid bpf_ld_imm64 insn",
            "unrecognized bpf_ld_imm64 insn",
            "invalid may_goto *",
            "addr_space_cast insn *",
        ),
    ),
    Cause(
        "caller",
        "a function is called with invalid arguments",
        "A global (not static) function is verified on its own, for all arguments of its types; "
        "this call passes something else.",
        "Pass what its declaration says, or make it static: then it is verified at each call.",
        _messages(
            "Caller passes invalid args into func#{number} ('{func}')",
            MessageTemplate("Caller passes invalid args into func#{number}", "before 6.8"),
        ),
    ),
)
