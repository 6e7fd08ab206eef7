"""Which causes the messages have that the kernel's selftests bring about, reviewed one by one.

What is decided here is not derived from the table of causes, so that a change there which takes a
message from its cause is noticed. A star stands for what varies, mostly numbers.
"""

from __future__ import annotations

from lskel.verifier.patterns import slots

_REVIEWED: dict[str, tuple[str, ...]] = {
    "argument-type": (
        "R* type=ctx expected=fp",
        "R* type=scalar expected=fp",
        "arg#* expects pointer to ctx",
        "arg#* reference type('FWD S') size cannot be determined: *",
        "kernel function bpf_ct_* args#* expected pointer to STRUCT nf_conn* but R* has a *",
    ),
    "attach-target": ("attach to unsupported member * of struct tcp_congestion_ops",),
    # Of kptrs to structs of a module that is not loaded; types are listed, nothing more is said.
    "btf-rejected": ("[*] VAR dummy_ksym type_id=* linkage=*",),
    "constant-argument": (
        "R* does not point to a readonly map'",
        "string is not zero-terminated",
    ),
    "context-field": ("invalid bpf_context access off=* size=*",),
    "core-relocation": ("invalid func unknown#195896080",),
    "global-call-depth": ("the call stack of * frames is too deep !",),
    "helper-not-allowed": (
        "program of this type cannot use helper bpf_get_local_storage#*",
        "program of this type cannot use helper bpf_get_retval#*",
        "program of this type cannot use helper bpf_probe_write_user#*",
        "program of this type cannot use helper bpf_setsockopt#*",
    ),
    "infinite-loop": ("infinite loop detected at insn *",),
    "license": ("struct ops programs must have a GPL compatible license",),
    "map-field": (
        "tracing progs cannot use bpf_spin_lock yet",
        "tracing progs cannot use bpf_timer yet",
    ),
    "missing-symbol": ("ldimm64 failed to find the address for kernel symbol '*'.",),
    "modified-pointer": ("dereference of modified ctx ptr R* off=* disallowed",),
    "null-check": (
        "R* invalid mem access 'trusted_ptr_or_null_'",
        "R* pointer arithmetic on sock_or_null prohibited, null-check it first",
        "R* type=sock_or_null expected=sock_common, *",
    ),
    "out-of-bounds": (
        "R* invalid rdwr buffer access: off=-*, size=*",
        "invalid access to map value, value_size=16 off=16000 size=4",
    ),
    "pointer-arithmetic": ("R* pointer arithmetic on sock prohibited",),
    "read-only": (
        "R* cannot write into map_key",
        "no write support to nf_conn at off *",
        "only read is supported",
        "write into map forbidden, value_size=* off=* size=*",
    ),
    "reference-leak": ("Unreleased reference id=* alloc_insn=*",),
    "return-value": (
        "At program exit the register R* has * should have been in [*]",
        "Global function foo() doesn't return scalar. Only those are supported.",
    ),
    # A struct on the stack is passed as a larger one.
    "stack-bounds": ("invalid read from stack R1 off=-8 size=16",),
    # A socket that was released.
    "stale-pointer": ("R* invalid mem access 'scalar'",),
    "too-large": (
        "BPF program is too large. Processed * insn",
        "The sequence of * jumps is too complex.",
    ),
    "zero-size": ("R* invalid zero-sized read: u64=[0,*]",),
}


def reviewed(message: str) -> set[str]:
    """The causes that a message was found to have; none where it was not looked at."""
    return {
        cause
        for cause, templates in _REVIEWED.items()
        for template in templates
        if slots(template, message) is not None
    }
