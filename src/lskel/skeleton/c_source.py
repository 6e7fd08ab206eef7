"""Text of inputs as C source: literals, identifiers, comments.

The result means the same in all dialects of C and C++, with or without trigraphs.
"""

from __future__ import annotations

import errno
import re

from lskel.skeleton.source import LONGEST, Source, source, word

# Characters per line of data, without quotes.
_LINE = 76
# Not allowed in comments: what could begin, end or continue one.
_NOT_IN_COMMENTS = re.compile(r"[^ -~]|[*?\\]")
# Printable ASCII except quotes, backslashes, and question marks (trigraphs).
_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\?')

# Reserved in C (up to C23) or by compilers, and macros that do not expand to themselves: those of
# compilers on Unix, and of the headers that a skeleton includes.
_C_TEXT = """
alignas alignof asm auto bool break case char const constexpr continue default do double else enum
extern false float for goto if inline int long nullptr register restrict return short signed sizeof
static static_assert struct switch thread_local true typedef typeof typeof_unqual union unsigned
void volatile while
EHWPOISON EOF NULL errno i386 linux offsetof st_atime st_ctime st_mtime stderr stdin stdout unix
"""
_C_WORDS = frozenset((*_C_TEXT.split(), *(name for name in dir(errno) if name[0] == "E")))
# Reserved for compilers and libraries: keywords (_Bool), macros (__LINE__, __linux), and for the
# header. Other names with `__` are common in BPF programs.
_RESERVED = re.compile(
    r"_[A-Z]\w*|__[A-Z]\w*|__\w*__|__u?int\w+|__(attr|builtin|extern|float|glibc|has_|stub)\w+"
    r"|LSKEL_\w+"
    "|__(alignof|always_inline|amd64|asm|auto_type|bitwise|complex|const|cplusplus|flexarr"
    "|fortify_function|i386|imag|inline|k8|linux|nonnull|null|pic|pie|ptr_t|real|restrict"
    "|restrict_arr|returns_nonnull|signed|thread|typeof|unix|volatile|wur|x86_64)"
)
# Also reserved in C++.
_CPP_TEXT = """
and and_eq bitand bitor catch char16_t char32_t char8_t class co_await co_return co_yield compl
concept const_cast consteval constinit decltype delete dynamic_cast explicit export friend mutable
namespace new noexcept not not_eq operator or or_eq private protected public reinterpret_cast
requires static_cast template this throw try typeid typename using virtual wchar_t xor xor_eq
"""
_CPP_WORDS = frozenset(_CPP_TEXT.split())


def string(value: str | bytes) -> Source:
    r"""A string literal with quotes: text in one line, bytes as \xNN and \0 in several lines.

    Non-ASCII text becomes octal escapes of its UTF-8, always three digits, so that a following
    digit is not part of the escape.
    """
    if isinstance(value, bytes):
        return Source(f'"\\\n{_data(value)}"')
    data = value.encode("utf-8", "backslashreplace")
    return Source('"' + "".join(chr(b) if b in _PLAIN else f"\\{b:03o}" for b in data) + '"')


def _data(data: bytes) -> str:
    lines, line = [], ""
    for byte in data:
        part = "\\0" if byte == 0 else f"\\x{byte:02x}"
        if len(line) + len(part) > _LINE:
            lines.append(line)
            line = ""
        line += part
    return "\\\n".join([*lines, line])


def number(value: int) -> Source:
    """An integer constant of up to 64 bits."""
    if value == -(1 << 63):
        return Source(f"{value + 1}LL - 1")
    if value >= 1 << 63:
        return Source(f"{value}ULL")
    if not -(1 << 31) <= value < 1 << 32:
        return Source(f"{value}LL")
    return Source(f"{value}U" if value >= 1 << 31 else f"{value}")


def comment(text: str) -> Source:
    """Text for a comment, in one line."""
    return Source(_NOT_IN_COMMENTS.sub("_", text[:LONGEST]))


def is_identifier(name: str) -> bool:
    """Whether the name is an identifier in C."""
    return word(name) == name and not _is_reserved(name)


def _is_reserved(name: str) -> bool:
    return name in _C_WORDS or _RESERVED.fullmatch(name) is not None


class MemberNames:
    """Names of members: `used` are all of them, `reserved` those that are reserved in C++ only.

    The latter have a trailing `_` in C++.
    """

    def __init__(self) -> None:
        self.reserved: set[Source] = set()
        self.used: set[Source] = set()

    def member(self, name: str) -> Source:
        """The name as an identifier that is reserved neither in C nor in C++."""
        made = word(name)
        if made in _CPP_WORDS:
            self.reserved.add(made)
        if made in _CPP_WORDS or _is_reserved(made):
            made = source("{}_", made)
        self.used.add(made)
        return made
