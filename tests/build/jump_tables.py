"""Programs with jump tables, and what they compute."""

from __future__ import annotations

from functools import cache

from tests.build.clang import compile_bpf

# LLVM makes jumps of tables, of instruction set v4, since clang 22.
CLANG = "clang-22"
# Of each switch, by the function's name: its cases.
CASES = {"helped": 40, "part": 24, "other": 33}
# Programs, and the functions whose results they add up; `helped` is a program of its own.
PROGRAMS = {"first": ("part",), "helped": ("helped",), "last": ("part", "other", "part")}

_SALTS = {"part": 100, "other": 200, "helped": 300}
_HEADS = {
    "part": ("static __noinline int part(unsigned n)", "n"),
    "other": ("__noinline int other(unsigned n)", "n"),
    "helped": ('SEC("syscall") int helped(struct number *ctx)', "ctx->n"),
}


def _function(name: str) -> str:
    (head, number), salt = _HEADS[name], _SALTS[name]
    cases = "\n".join(
        f"    case {n}: total += {n % 5}; return total * {n * 7 % 11} + {n + salt};"
        for n in range(CASES[name])
    )
    return f"{head}\n{{\n    switch ({number}) {{\n{cases}\n    }}\n    return {salt};\n}}\n"


_SOURCE = f"""
struct number {{ unsigned n; }};
int total;
{"".join(map(_function, _HEADS))}
SEC("syscall") int first(struct number *ctx) {{ return part(ctx->n); }}
SEC("syscall") int last(struct number *ctx)
{{
    int sum = part(ctx->n);
    sum += other(ctx->n + 1);
    return sum + part(ctx->n + 2);
}}
"""
# Of the numbers that programs are run with.
END = max(CASES.values()) + 3


@cache
def object_with_tables(*options: str, big_endian: bool = False) -> bytes:
    """The programs, as an object for BPF."""
    return compile_bpf(_SOURCE, "-mcpu=v4", *options, clang=CLANG, big_endian=big_endian)


def expected() -> dict[str, list[int]]:
    """What programs return, as u32: each is run once for each number below `END`, in order."""
    total = 0
    found: dict[str, list[int]] = {}
    for program, functions in PROGRAMS.items():
        found[program] = []
        for number in range(END):
            result = 0
            for offset, function in enumerate(functions):
                n, salt = number + offset, _SALTS[function]
                if n < CASES[function]:
                    total += n % 5
                    result += total * (n * 7 % 11) + n
                result += salt
            found[program].append(result & 0xFFFFFFFF)
    return found
