"""The table of causes: what the messages of the verifier mean, and what to change.

The order matters: of several messages in a log, that of the earliest cause is explained. So what
only introduces or sums up another message stands at the end.

Sources: kernel/bpf/verifier.c, kernel/bpf/btf.c and kernel/bpf/check_btf.c of Linux 6.1, 6.12 and
6.18; what older kernels say differently has a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from lskel.verifier.patterns import slots

# The causes that follow from more than the message, and one where a register holds nothing.
STALE = "stale-pointer"
NULLABLE = "nullable-argument"
UNSET = "uninitialized-register"


class Place(Enum):
    """Where the mistake is."""

    INSN = "insn"  # at the last instruction that was walked, or the one that the message names
    PROGRAM = "program"  # nowhere in particular: the log ends where the verifier happened to be
    FUNCTION = "function"  # in the function with the largest stack frame


class Said(NamedTuple):
    """A message as a template (see patterns.py); `note` says which kernels write it so."""

    template: str
    note: str = ""


class Cause(NamedTuple):
    """Why a program is refused. `suggestion` is what to change; `example` is it in C, if short."""

    id: str
    title: str
    explanation: str
    suggestion: str
    messages: tuple[Said, ...]
    example: str = ""
    place: Place = Place.INSN


class Match(NamedTuple):
    """A cause, the message (its number among those given), and what its slots stand for."""

    cause: Cause
    number: int
    slots: Mapping[str, str]


def match(messages: Sequence[str]) -> Match | None:
    """The cause that these messages of one log have; None where the table has none.

    Of several messages of one cause the last counts: a log of BTF lists all types before it.
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


def _said(*templates: str | Said) -> tuple[Said, ...]:
    return tuple(Said(item) if isinstance(item, str) else item for item in templates)


CAUSES: tuple[Cause, ...] = (
    Cause(
        "core-relocation",
        "this kernel lacks a type, field or enumerator that the program asks for",
        "A CO-RE relocation found nothing in the kernel's BTF, so that the instruction became a "
        "call that cannot be made.",
        "Ask whether it exists before it is used, or compile against this kernel's vmlinux.h.",
        _said(
            "invalid func unknown#195896080",
            Said("unknown func unknown#195896080", "before 5.18"),
            "prog '*': relo #{number}: no matching targets found*",
            "relo #{number}: bad type id *",
        ),
        "if (bpf_core_field_exists(task->flags)) ...",
    ),
    Cause(
        "missing-symbol",
        "this kernel does not have a function or variable that the program needs",
        "Neither the kernel nor its loaded modules have the symbol: it is in another version, or "
        "needs another configuration.",
        "Declare it __weak and test it before use, or load the module that has it.",
        _said(
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
        "who loads the program lacks a capability",
        "The program may be right. Without CAP_PERFMON the verifier forbids what could tell "
        "addresses of the kernel, and stack accesses at computed offsets; some things need "
        "CAP_SYS_ADMIN or CAP_SYS_BOOT.",
        "Load as root, or with CAP_PERFMON besides CAP_BPF.",
        _said(
            "*prohibited for !root*",
            Said("R{reg} tried to * from different maps*", "before 5.12"),
            "R{reg} pointer comparison prohibited",
            "R{reg} pointer -= pointer prohibited",
            "R{reg} pointer arithmetic prohibited",
            "R{reg} partial copy of pointer",
            "R{reg} sign-extension part of pointer",
            "spilled ptr in range of var-offset stack write*",
            "*allowed for CAP_BPF and CAP_SYS_ADMIN",
            "* access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN",
            "destructive kfunc calls require CAP_SYS_BOOT *",
            "CAP_BPF and CAP_PERFMON are required to use arena",
        ),
    ),
    Cause(
        "null-check",
        "a pointer that may be NULL is used without a check",
        "What this pointer comes from returns NULL when it fails. The verifier wants to see a "
        "comparison with NULL on every way from there to here.",
        "Compare the pointer with NULL before it is used, and return if it is.",
        _said(
            "R{reg} invalid mem access '*or_null*'",
            "R{reg} pointer arithmetic on *or_null* prohibited, null-check it first",
            "R{reg} type=*or_null* expected=*",
            Said("Possibly NULL pointer passed to trusted arg{arg}", "since 6.2"),
            Said("Possibly NULL pointer passed to helper arg{arg}", "since 6.6"),
            "arg#{arg} is expected to be non-NULL",
            "R{reg} is of type *or_null* but * is expected",
        ),
        "if (!pointer)\n    return 0;",
    ),
    Cause(
        NULLABLE,
        "an argument of a function is used without a check for NULL",
        "A function that is not static is verified by itself: whatever its callers pass, each "
        "pointer among its arguments may be NULL.",
        "Compare the argument with NULL before it is used, or declare it __arg_nonnull (since "
        "6.8): then the callers are checked.",
        (),
        "if (!argument)\n    return 0;",
    ),
    Cause(
        "negative-index",
        "an index or size may be negative",
        "The verifier sees a number that may be below 0, as its type is signed. That would reach "
        "before the start of the memory.",
        "Make the variable unsigned, or check that it is not negative.",
        _said(
            "R{reg} min value is negative, either use unsigned index or do a if (index >=0) check.",
            "R{reg} min value is negative, either use unsigned or 'var &= const'",
            "R{reg} min value is negative*",
            "R{reg} is * invalid negative access: off=*",
        ),
        "if (index < 0 || index >= SIZE)\n    return 0;",
    ),
    Cause(
        "unbounded-access",
        "nothing bounds an index, offset or size",
        "The verifier knows no upper bound for this number. A check counts only if it is made on "
        "the very value that is used, on every way to here.",
        "Compare the number with the size, or mask it, right before it is used.",
        _said(
            "R{reg} unbounded memory access*",
            "math between {type} pointer and register with unbounded min value is not allowed",
            "invalid unbounded variable-offset* stack R{reg}*",
        ),
        "if (index >= SIZE)\n    return 0;    /* or: index &= SIZE - 1, for a power of 2 */",
    ),
    Cause(
        "packet-bounds",
        "packet data is accessed without a check against its end",
        "Each access to a packet needs a comparison of the same pointer, plus what is accessed, "
        "with data_end.",
        "Compare with data_end first. After helpers that change the packet, load data and "
        "data_end anew.",
        _said(
            "invalid access to packet, off={off} size={size}, R{reg}(*)",
            "R{reg} offset is outside of the packet",
        ),
        "if (data + sizeof(*header) > data_end)\n    return XDP_PASS;",
    ),
    Cause(
        "stack-size",
        "the program needs more stack than there is",
        "There are 512 bytes of stack for a function together with all those that have called it; "
        "each one's part is rounded up.",
        "Put large variables into a map of type PERCPU_ARRAY with one element, or make them "
        "smaller.",
        _said(
            "combined stack size of {number} calls is {size}. Too large",
            Said("stack size of subprog {number} is {size}. Too large", "since 6.12"),
            "stack size {size}(extra *) is too large",
            "tail_calls are not allowed when call stack of previous frames is {size} bytes. "
            "Too large",
        ),
        place=Place.FUNCTION,
    ),
    Cause(
        "stack-limit",
        "a variable lies outside of the 512 bytes of the stack",
        "Local variables are too large: the address is further below the frame pointer than the "
        "stack reaches.",
        "Put large variables into a map of type PERCPU_ARRAY with one element, or make them "
        "smaller.",
        _said(
            "invalid* stack R{reg} off={deep} size=*",
            Said("invalid* stack R{reg} off={deep} access_size=*", "before 5.13"),
            Said("invalid stack off={deep} size=*", "before 5.13"),
            Said("invalid stack type R{reg} off={deep} access_size=*", "before 5.13"),
        ),
    ),
    Cause(
        "uninitialized-stack",
        "memory on the stack is read before it is written",
        "Bytes are read that nothing has written: a variable without a value, or padding between "
        "the members of a struct.",
        "Initialise all of it; for padding, too: __builtin_memset(&key, 0, sizeof(key)).",
        _said(
            "invalid indirect read from stack*",
            "invalid read from stack off *",
            "invalid read from stack R{reg} off *+* size *",
            "invalid* read from stack R{reg} var_off *",
        ),
        "struct key key = {};",
    ),
    Cause(
        "stack-bounds",
        "an access reaches out of the stack",
        "The address is that of a local variable, but offset or size lead past its end, or past "
        "the frame.",
        "Check offset and size against the size of the variable.",
        _said(
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
        "read-only memory is written",
        "Constants (.rodata), maps with BPF_F_RDONLY_PROG, keys of maps, kernel structs, and "
        "packets for some types of programs may only be read.",
        "Write to a variable or map of the program; kernel structs are changed by helpers and "
        "kfuncs.",
        _said(
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
        "The map was created with BPF_F_WRONLY_PROG: programs may write it, not read.",
        "Leave the flag out, or read from another map.",
        _said("read from map forbidden, value_size=*"),
    ),
    Cause(
        "zero-size",
        "a size may be 0",
        "This helper takes no memory of 0 bytes.",
        "Check that the size is greater than 0.",
        _said(
            "R{reg} invalid zero-sized read*",
            Said("invalid zero-sized read", "since 6.8"),
            Said("invalid access to map value, value_size={size} off={off} size=0", "before 6.8"),
        ),
        "if (size == 0)\n    return 0;",
    ),
    Cause(
        "out-of-bounds",
        "an access reaches beyond the memory that the pointer stands for",
        "For some value that the offset may have, the access is not within the map's value, "
        "buffer or struct: the check is missing, or allows too much.",
        "Check the offset plus what is accessed against the true size (with <, not <=).",
        _said(
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
        ),
        "if (index >= sizeof(value->array) / sizeof(value->array[0]))\n    return 0;",
    ),
    Cause(
        UNSET,
        "a value is used that was never set",
        "On a way to here nothing has set it: a variable without initial value, a function "
        "without return. Registers R1 to R5 do not survive a call.",
        "Give the variable a value on every way, and each function a return value.",
        _said("R{reg} !read_ok"),
    ),
    Cause(
        "context-field",
        "this part of the program's context may not be accessed",
        "A program's context is checked member by member: programs of this type may not read, or "
        "not write, at this offset and size. A tracepoint has so many arguments only.",
        "Look up what the context of this program type has, and access whole members.",
        _said(
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
        "a pointer is used with an offset that it must not have",
        "The context, and pointers to some structs of the kernel, must be used as they are, with "
        "a constant offset in the instruction: no index, no address of a member.",
        "Access members by name (if or switch instead of an index). Where the compiler computes "
        "an address of its own, barrier_var(ctx) before the access prevents it.",
        _said(
            "dereference of modified {type} ptr R{reg} off={off} disallowed",
            "dereference of modified {type} ptr *",
            "variable {type} access var_off=* disallowed",
            "negative offset {type} ptr R{reg} off={off} disallowed",
            "same insn cannot be used with different pointers",
        ),
    ),
    Cause(
        "untyped-pointer",
        "a number is used as a pointer",
        "It was read from memory whose type the verifier does not know, or went through a cast or "
        "arithmetic. Such memory cannot be accessed directly.",
        "Read it with bpf_probe_read_kernel() or BPF_CORE_READ(), memory of user space with "
        "bpf_probe_read_user(); or use tp_btf and fentry, whose arguments have types.",
        _said(
            "R{reg} invalid mem access 'scalar'",
            Said("R{reg} invalid mem access 'inv'", "before 5.18"),
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
        "A call made it invalid: helpers that may move a packet's data do so to all pointers into "
        "it, and what is released, submitted or discarded is gone.",
        "Load data and data_end again after such a call, and check again; use memory before it is "
        "given back.",
        (),
    ),
    Cause(
        "pointer-access",
        "a pointer of this kind cannot be dereferenced",
        "It stands for something that is no memory of the program: a map, the end of the packet, "
        "a function, a pointer that is not valid any more.",
        "Get at the content by the helpers for it, such as bpf_map_lookup_elem().",
        _said("R{reg} invalid mem access '{type}'", "R{reg} must point to kernel BTF"),
    ),
    Cause(
        "helper-not-allowed",
        "programs of this type may not call this helper",
        "Which helpers there are depends on the type of the program, the kernel's configuration, "
        "the capabilities of who loads it, and whether the kernel is locked down.",
        "Use another type of program, or another helper: `bpftool feature probe` lists those of "
        "each type.",
        _said(
            Said("program of this type cannot use helper {func}#{number}", "since 6.8"),
            Said("unknown func {func}#{number}", "before 6.8"),
            "helper call is not allowed in probe",
            "func {func}#{number} not supported for program type {type}",
            "func {func}#{number} supported only for fentry/fexit/fmod_ret programs",
            "cannot update sockmap in this context",
            "BPF_LD_[ABS|IND] instructions not allowed for this program type",
            "* is only allowed in *progs*",
        ),
    ),
    Cause(
        "map-field",
        "programs of this type may not use maps with such a member",
        "Locks, timers, lists and trees in a map's values are for some types of programs; others "
        "may not even refer to the map.",
        "Keep what this program needs in a map without that member.",
        _said("{kind} progs cannot use {type} yet"),
        place=Place.PROGRAM,
    ),
    Cause(
        "helper-unknown",
        "this kernel does not have the helper",
        "Its number is beyond those that this kernel knows: a later version has it.",
        "Use an older helper, or ask bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_...) "
        "first.",
        _said("invalid func {func}#{number}"),
    ),
    Cause(
        "kfunc-not-allowed",
        "programs of this type may not call this kernel function",
        "Kernel functions (kfuncs) are registered for some types of programs each; some are for "
        "sleepable ones, or for certain struct_ops only.",
        "Call it from a type of program that it is registered for, or use a helper.",
        _said(
            "calling kernel function {func} is not allowed",
            "calling kernel function is not allowed",
            "*kernel function {func} args#{arg} pointer type * is not supported",
            "reg type unsupported for arg#{arg} *function {func}#{number}",
        ),
    ),
    Cause(
        "license",
        "a GPL-only function is called by a program that is not GPL",
        "Some helpers, kernel functions and types are for programs with a GPL-compatible license "
        "only.",
        'Declare the license, if it is yours to give; "Dual BSD/GPL", "Dual MIT/GPL" do as well.',
        _said(
            "cannot call GPL-restricted function from non-GPL compatible program",
            "cannot call kernel function from non-GPL compatible program",
            "struct ops programs must have a GPL compatible license",
            "Cannot access kernel 'struct {type}' from non-GPL compatible program",
        ),
        'char LICENSE[] SEC("license") = "GPL";',
    ),
    Cause(
        "infinite-loop",
        "a loop does not seem to end",
        "The verifier came back to an instruction with nothing changed that it can see, so that "
        "the loop may go on forever.",
        "Count the rounds up to a constant, or use bpf_loop() (since 5.17) or bpf_for() (since "
        "6.4).",
        _said(
            "infinite loop detected at insn {insn}",
            Said("back-edge from insn {insn} to {to}", "before 5.3 any loop, later without root"),
            "frame{number} bpf_loop iteration limit reached",
        ),
        "for (int i = 0; i < 16; i++) ...",
    ),
    Cause(
        "too-large",
        "the program is too complex to be verified",
        "The verifier follows every way through the program, up to 1,000,000 instructions and "
        "8,192 open branches. Loops and branches multiply the ways, even in a small program.",
        "Use bpf_loop() (since 5.17) or bpf_for() (since 6.4) for loops; move parts into "
        "functions that are not static, which are verified once; or do fewer rounds.",
        _said(
            "BPF program is too large. Processed {number} insn",
            "The sequence of {number} jumps is too complex.",
            "The sequence of {number} jumps is too complex for async cb.",
            "too many subprograms",
            "insn {insn} cannot be patched due to 16-bit range",
            "too many different kernel function calls",
            "too many different module BTFs",
            Said("BPF program is too large. Proccessed {number} insn", "before 5.3"),
        ),
        place=Place.PROGRAM,
    ),
    Cause(
        "call-depth",
        "functions call each other too deeply",
        "At most 8 functions may be within each other's calls; recursion is not possible.",
        "Inline some of them (static __always_inline), or call one after the other.",
        _said("the call stack of {number} frames is too deep", "recursive call from *"),
    ),
    Cause(
        "global-call-depth",
        "functions that are not static call each other too deeply",
        "At most 8 functions may be within each other's calls. Each of these is verified by "
        "itself, so that this is found when all are known.",
        "Inline some of them (static __always_inline), or call one after the other.",
        _said("the call stack of {number} frames is too deep !"),
        place=Place.PROGRAM,
    ),
    Cause(
        "unreachable",
        "the program's jumps do not fit together",
        "There is code that cannot be reached, or a jump out of the program. Compilers leave such "
        "things after undefined behaviour, and __builtin_unreachable().",
        "Look for undefined behaviour near this place (clang -Wall), or for assembly that does "
        "this.",
        _said(
            "unreachable insn {insn}",
            "jump out of range from insn {insn} to {to}",
            "jump into the middle of ldimm64 insn {insn}",
            "last insn is not an exit or jmp",
            "call to invalid destination",
            "invalid insn idx {insn} insn_cnt {number}",
        ),
    ),
    Cause(
        "reference-leak",
        "something that was acquired is not given back",
        "What is acquired (a socket, a record of a ring buffer, a kernel object) must be "
        "released, submitted or stored on every way to the end.",
        "Give it back on this way, too: bpf_sk_release(), bpf_ringbuf_submit() or "
        "bpf_ringbuf_discard(), or the kfunc that releases it.",
        _said(
            "Unreleased reference id={number} alloc_insn={insn}",
            "*would lead to reference leak",
            "BPF_LD_[ABS|IND] cannot be mixed with socket references",
        ),
    ),
    Cause(
        "release",
        "what is given back was not acquired, or not as it is",
        "Functions that give something back take just what the matching function gave, unchanged, "
        "and once.",
        "Pass the pointer that the acquiring function returned, without an offset, once on each "
        "way.",
        _said(
            "arg {arg} is an unacquired reference",
            "R{reg} must be referenced when passed to release function",
            "R{reg} must be referenced",
            "R{reg} must have zero offset when passed to release func*",
            "func {func}#{number} reference has not been acquired before",
            "kfunc {func}#{number} reference has not been acquired before",
            "release kernel function {func} expects *",
            "cannot release unowned const bpf_dynptr",
            "allocated object must be referenced",
        ),
    ),
    Cause(
        "return-value",
        "the program or function may return a value that is not allowed",
        "What a program returns has a meaning, so each type has its values. A callback, and a "
        "function that is not static, must return a number.",
        "Return a value that the message names, on every way; check or mask one that is computed.",
        _said(
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
        "a kernel address would become visible",
        "Pointers may not be returned, or stored where users read them: they tell where the "
        "kernel's memory lies.",
        "Store or return a value that it points to, or a number of your own; with CAP_PERFMON "
        "pointers may be stored, too.",
        _said(
            "R{reg} leaks addr *",
            "R0 leaks addr as return value",
            "leaking pointer from stack off {off}",
        ),
    ),
    Cause(
        "pointer-arithmetic",
        "this arithmetic is not possible with a pointer",
        "Numbers may be added to a pointer and subtracted from it, within bounds; to some (the "
        "context, the end of a packet, a socket, one that may be NULL) not even that.",
        "Compute with numbers, and add the result to the pointer once; compare data + size with "
        "data_end, not data with data_end - size.",
        _said(
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
        "BTF is missing, or does not fit the program",
        "Locks, timers, callbacks, kernel functions and functions that are not static need the "
        "type information of the object, or of the kernel.",
        "Compile with clang -g, and define maps with __type(value, ...); the kernel needs "
        "CONFIG_DEBUG_INFO_BTF.",
        _said(
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
        "the program cannot attach to what it names",
        "The function, hook or member is not in this kernel, is of the wrong kind, or may not be "
        "attached to.",
        "Look for it: bpftool btf dump file /sys/kernel/btf/vmlinux | grep NAME",
        _said(
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
            "can't modify return codes of BPF programs",
            "ret type {type} not allowed for fmod_ret",
            "The function {func} has malformed void argument.",
            "*device mismatch*",
            "Cannot nest tracing program attach more than once",
            "struct_ops module {module} is not found",
        ),
        place=Place.PROGRAM,
    ),
    Cause(
        "sleepable",
        "something that may sleep is used where sleeping is not possible",
        "Some helpers, kernel functions and maps may wait. Only sleepable programs may use them, "
        "outside of RCU and preempt-disabled sections.",
        "Make the program sleepable, where its type can be (fentry.s, lsm.s, uprobe.s, iter.s, "
        "syscall), or use what does not sleep.",
        _said(
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
        ),
        'SEC("fentry.s/do_unlinkat")',
    ),
    Cause(
        "lock",
        "a lock or a critical section is not used as it must be",
        "Under a lock there may be no calls but a few. Each lock, RCU section and "
        "preempt-disabled section must be left on every way, as it was entered.",
        "Call functions before or after it, and leave it before each return.",
        _said(
            "function calls are not allowed while holding a lock",
            "global function calls are not allowed *",
            "*use static function instead",
            "{func}_unlock is missing",
            "bpf_spin_unlock without taking a lock",
            "bpf_spin_unlock of different lock",
            "cannot restore irq state out of order*",
            "expected * irq flag as arg#{arg}",
            "arg#{arg} doesn't point to an irq flag on stack",
            "Locking two bpf_spin_locks are not allowed",
            "* cannot be used inside *-ed region",
            "*cannot be used inside bpf_spin_lock-ed region",
            "unmatched rcu read unlock*",
            "nested rcu read lock*",
            "unmatched attempt to enable preemption*",
            "{number} bpf_preempt_enable* missing",
            "*expected an RCU CS when using {func}",
            "R{reg} doesn't have constant offset. {type} has to be at the constant offset",
            "off {off} doesn't point to 'struct {type}'*",
            "bpf_spin_lock at off={off} must be held for {type}",
            "held lock and object are not in the same allocation",
            "*unlock* without *lock*",
        ),
    ),
    Cause(
        "special-field",
        "a lock, timer or kernel pointer in a map is accessed like plain data",
        "Members such as bpf_spin_lock, bpf_timer and kernel pointers (__kptr) belong to the "
        "kernel: only the functions for them may touch them.",
        "Use bpf_spin_lock(), bpf_timer_init(), bpf_kptr_xchg(); copy values member by member, "
        "without them.",
        _said(
            "{type} cannot be accessed directly by load/store",
            "kptr cannot be accessed indirectly by helper",
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
        "only part of a pointer is stored, read or overwritten",
        "A pointer on the stack is kept as a pointer only if all of its 8 bytes are stored and "
        "read at once, at an address that is a multiple of 8.",
        "Use a variable of a pointer type or of 64 bits, and copy all 8 bytes of it; look for "
        "casts to int, and for packed structs.",
        _said(
            "invalid size of register fill",
            "invalid size of register spill",
            Said("attempt to corrupt spilled pointer on stack", "without CAP_PERFMON"),
        ),
    ),
    Cause(
        "other-map",
        "the map that is passed is not the one that the value is in",
        "A timer or work queue is initialised together with the map whose value has it; here it "
        "is in a value of another map.",
        "Pass the map in which the value was looked up.",
        _said("*pointer in R1 map_uid=* doesn't match map pointer in R2 map_uid=*"),
        "bpf_timer_init(&value->timer, &map_of_value, CLOCK_MONOTONIC);",
    ),
    Cause(
        "dynptr",
        "a dynptr is not in the state that is needed here",
        "A dynptr is a variable on the stack that one function makes and another gives back. In "
        "between it may not be copied, overwritten or accessed as memory, and after it it is "
        "none.",
        "Make it before it is used, pass its address, and submit or discard it once on each way.",
        _said(
            "Expected an initialized dynptr as arg #{arg}",
            "Expected a dynptr of type {type} as arg #{arg}",
            "Dynptr has to be an uninitialized dynptr",
            "cannot overwrite referenced dynptr",
            "cannot pass in dynptr at an offset*",
            "cannot pass in {type} at an offset*",
            "potential write to dynptr at off={off} disallowed",
            "cannot pass pointer to const bpf_dynptr, the helper mutates it",
            "arg#{arg} expected pointer to stack or const struct bpf_dynptr",
            "Unsupported reg type {type} for bpf_dynptr_from_mem data",
            "* has to be at a constant offset",
        ),
    ),
    Cause(
        "iterator",
        "an iterator is not in the state that is needed here",
        "An iterator is a variable on the stack that goes through new, next and destroy, in this "
        "order, on every way.",
        "Use bpf_for() and bpf_for_each(), or call destroy wherever the loop is left.",
        _said(
            "expected an initialized {type} as arg #{arg}",
            "expected uninitialized {type} as arg #{arg}",
            "expected valid iter pointer as arg #{arg}",
            "arg#{arg} expected pointer to an iterator on stack",
        ),
    ),
    Cause(
        "constant-argument",
        "an argument must be known when the program is verified",
        "This function takes a constant here: a size, a flag, or a string in .rodata that ends "
        "with a zero.",
        "Pass a literal, or a static const; format strings are static const char[].",
        _said(
            "R{reg} must be a known constant",
            "R{reg} is not a known constant'",
            "R{reg} is not a const",
            "R{reg} does not point to a readonly map'",
            "R{reg} is not a constant address'",
            "string is not zero-terminated",
            "arg#{arg} doesn't point to a const string",
            "Invalid format string",
            "get_local_storage() doesn't support non-zero flags",
            "tail_call abusing map_ptr",
        ),
    ),
    Cause(
        "map-type",
        "this helper does not go with a map of this type",
        "Most helpers for maps take some types of maps only.",
        "Use the helper that belongs to the map's type, or another type of map.",
        _said(
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
            "The total number of maps per program has reached the limit of {number}",
        ),
    ),
    Cause(
        "alignment",
        "an access is not aligned",
        "On this machine, or for this kind of memory, an address must be a multiple of the size "
        "of what is accessed.",
        "Align the member, or read it byte by byte (__builtin_memcpy from a packed struct).",
        _said("misaligned *access off *"),
    ),
    Cause(
        "division",
        "a division or shift is not possible",
        "The divisor is a constant 0, or the shift is wider than the number.",
        "Correct the constant.",
        _said("div by zero", "invalid shift {number}"),
    ),
    Cause(
        "callback",
        "a callback is not as it must be",
        "Callbacks (of bpf_loop, bpf_for_each_map_elem, timers) are static functions that return "
        "0 or 1, and some functions cannot be called from one.",
        "Make the function static, and do what it cannot in the program itself.",
        _said(
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
            "*within callback",
        ),
    ),
    Cause(
        "kernel-configuration",
        "this kernel cannot do it on this machine",
        "It needs the JIT compiler, or a JIT that can do more than this one.",
        "Switch it on (sysctl net.core.bpf_jit_enable=1), or load on a newer kernel.",
        _said(
            "JIT is required *",
            "JIT does*support *",
            "* in non-JITed programs*",
            "*not allowed in non-JITed programs",
        ),
    ),
    Cause(
        "argument-type",
        "an argument is not of the kind that the function takes",
        "The verifier compares what is passed with what the function wants: memory, a map, the "
        "context, a certain kernel struct, a number.",
        "Pass what the message says is expected. Pointers to kernel structs count only if they "
        "come straight from an argument, a helper or a kfunc.",
        _said(
            "R{reg} type={type} expected={expected}",
            "R{reg} is of type {type} but {expected} is expected",
            "R{reg} must be referenced or trusted",
            "R{reg} must be a rcu pointer",
            "arg#{arg} expected *",
            "arg#{arg} expects pointer to ctx",
            "arg#{arg} pointer type *",
            "arg#{arg} is *",
            "arg#{arg} doesn't point to *",
            "R{reg} is not a scalar",
            "R{reg} is not a pointer to arena or scalar.",
            "kernel function {func} args#{arg} expected *",
            "helper access to the packet is not allowed",
            "pointer in R{reg} isn't map pointer",
            "Unrecognized arg#{arg} type {type}",
            "Unrecognized *arg#{arg} type {type}",
            "arg#{arg} reference type(*) size cannot be determined: *",
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
        "the kernel refuses the object's BTF",
        "A type in it is of a kind, or has contents, that this kernel does not know or allow.",
        "Use a clang that is not newer than the kernel needs, or leave out what this type is "
        "about.",
        _said(
            "[{number}] *",
            "BTF *",
            "Invalid btf*",
            "Unsupported *",
        ),
        place=Place.PROGRAM,
    ),
    Cause(
        "too-many-arguments",
        "a function has more arguments than there are registers",
        "Functions of BPF get their arguments in registers R1 to R5.",
        "Pass a pointer to a struct, or make the function static __always_inline.",
        _said(
            "Global function {func}() with {number} > {size} args*",
            "Function {func} has {number} > {size} args",
        ),
    ),
    Cause(
        "loader",
        "the loader passed something wrong along with the program",
        "File descriptors or tables that belong to the program do not fit it.",
        "Load it with another loader, or a newer one, and report this.",
        _said(
            "fd {number} is not pointing to valid bpf_map",
            "fd_idx without fd_array is invalid",
            "kfunc offset > 0 without fd_array is invalid",
            "invalid module BTF *",
            "BTF fd for kfunc is not a module BTF",
            "negative offset disallowed for kernel module function call",
        ),
    ),
    Cause(
        "kernel-bug",
        "the verifier stumbled over itself",
        "The message tells of a mistake in the kernel, not in the program.",
        "Report it to bpf@vger.kernel.org with the whole log; another kernel may take the program.",
        _said(
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
        "Its opcode or a field that should be 0 is not what this kernel knows.",
        "Compile for an older instruction set (clang -mcpu=v2 or v3), or load on a newer kernel.",
        _said(
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
        "a function is called with arguments that it does not take",
        "A function that is not static is verified by itself, for all arguments of its types; "
        "this call passes something else.",
        "Pass what its declaration says, or make it static: then it is verified where it is "
        "called.",
        _said(
            "Caller passes invalid args into func#{number} ('{func}')",
            Said("Caller passes invalid args into func#{number}", "before 6.8"),
        ),
    ),
)
