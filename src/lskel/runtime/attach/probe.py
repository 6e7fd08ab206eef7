"""Programs of type KPROBE: each can attach to any kind of probe, whatever its section says."""

from __future__ import annotations

from lskel.bpf.enums import AttachType
from lskel.errors import UsageError
from lskel.runtime.attach.target import is_return, target_of
from lskel.runtime.perf import ANY_PROCESS
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lskel.runtime.attach.link import BpfLink, Link
    from lskel.runtime.attach.uprobe import Binary
    from lskel.runtime.attach.usdt import UsdtLink


class ProbeProgram(Program):
    """A program of type KPROBE: ``SEC("kprobe")``, "uprobe", "usdt" and the others of their kind.

    Its section is the default for `attach`. The kernel has one type for all of these programs, so
    each may attach in other ways: ``attach_kprobe``, ``attach_uprobe``, ``attach_usdt``. Only links
    to many functions need a program that was loaded for them: by its section ("kprobe.multi"), or
    by its expected attach type.
    """

    def attaches_itself(self) -> bool:
        """Whether the section name has an attach target."""
        return bool(self.definition.target)

    def attach_as(self, section: str) -> Link:
        """Attach as another section name says, such as "uretprobe/libc.so.6:malloc".

        UsageError for the name of another kind, or without a target; else the errors of the method
        for that kind.
        """
        from lskel.runtime.attach.probe_ways import attach_as

        return attach_as(self, section)

    def attach_kprobe(
        self,
        function: str,
        offset: int = 0,
        *,
        returns: bool | None = None,
        maxactive: int = 0,
        cookie: int = 0,
    ) -> BpfLink:
        """Attach to a kernel function, or to an instruction at a byte `offset`.

        The offset may also be part of the name ("do_unlinkat+0x10"). With `returns` the program
        runs when the function returns: by default if the section is that of a return probe.
        UsageError if the program was loaded for links to many functions; else the arguments and
        errors of `lskel.runtime.attach.kprobe.attach_kprobe`.
        """
        from lskel.runtime.attach.kprobe import attach_kprobe, parse_kprobe_target
        from lskel.runtime.attach.probe_ways import check_loaded_for

        check_loaded_for(self, "attach_kprobe")
        name, added = parse_kprobe_target(function)
        link = attach_kprobe(
            self.fileno(),
            name,
            offset + added,
            returns=self._returns(returns),
            maxactive=maxactive,
            cookie=cookie,
        )
        self.attached(link)
        return link

    def attach_ksyscall(
        self, name: str, *, returns: bool | None = None, maxactive: int = 0, cookie: int = 0
    ) -> BpfLink:
        """Attach to a system call by its name, such as "openat"; else as `attach_kprobe`.

        NotFound if the kernel has no such system call.
        """
        from lskel.runtime.attach.functions import syscall_function

        function = syscall_function(name)
        return self.attach_kprobe(function, returns=returns, maxactive=maxactive, cookie=cookie)

    def attach_kprobe_multi(
        self,
        functions: str | Sequence[str],
        *,
        returns: bool | None = None,
        cookies: Sequence[int] = (),
    ) -> BpfLink:
        """Attach to many kernel functions with one link. Linux 5.18.

        The program must have been loaded for it: by its section, or with the expected attach type
        TRACE_KPROBE_MULTI, or TRACE_KPROBE_SESSION for a session (6.10); UsageError otherwise. For
        `returns` see `attach_kprobe`; else the arguments and errors of
        `lskel.runtime.attach.kprobe.attach_kprobe_multi`.
        """
        from lskel.runtime.attach.kprobe import attach_kprobe_multi
        from lskel.runtime.attach.probe_ways import check_loaded_for

        check_loaded_for(self, "attach_kprobe_multi")
        link = attach_kprobe_multi(
            self.fileno(),
            functions,
            returns=self._returns(returns),
            session=self.definition.attach_type == AttachType.TRACE_KPROBE_SESSION,
            cookies=cookies,
        )
        self.attached(link)
        return link

    def attach_uprobe(
        self,
        binary: Binary,
        symbol: str = "",
        offset: int = 0,
        *,
        returns: bool | None = None,
        pid: int = ANY_PROCESS,
        ref_ctr_offset: int = 0,
        cookie: int = 0,
    ) -> BpfLink:
        """Attach to a function of a binary, or to a file offset.

        For `returns` see `attach_kprobe`; else the arguments and errors of
        `lskel.runtime.attach.uprobe.attach_uprobe`.
        """
        from lskel.runtime.attach.probe_ways import check_loaded_for
        from lskel.runtime.attach.uprobe import attach_uprobe

        check_loaded_for(self, "attach_uprobe")
        if not symbol and not offset:
            raise UsageError("no attach target in the binary", hint="pass symbol or offset")
        link = attach_uprobe(
            self.fileno(),
            binary,
            symbol,
            offset,
            returns=self._returns(returns),
            pid=pid,
            ref_ctr_offset=ref_ctr_offset,
            cookie=cookie,
        )
        self.attached(link)
        return link

    def attach_uprobe_multi(
        self,
        binary: Binary | int,
        places: str | Sequence[str] | Sequence[int],
        *,
        returns: bool | None = None,
        pid: int = ANY_PROCESS,
        ref_ctr_offsets: Sequence[int] = (),
        cookies: Sequence[int] = (),
    ) -> BpfLink:
        """Attach to functions or offsets of a binary with one link. Linux 6.6.

        The program must have been loaded for it: by its section, or with the expected attach type
        TRACE_UPROBE_MULTI, or TRACE_UPROBE_SESSION for a session (6.13); UsageError otherwise.
        `binary` is a path, a name for `find_binary`, or the fd of an open file (7.2): its offsets
        are those of that file, in whatever mount namespace it is, though it was replaced since.
        `places` is a pattern of function names (``*`` is any text, ``?`` any character), or a
        sequence of names or file offsets; `ref_ctr_offsets` and `cookies`, one for each, need a
        sequence. Functions at the same offset count once. NotFound if no function matches; else the
        errors of `lskel.runtime.attach.uprobe.attach_uprobe_multi` and `attach_uprobe`.
        """
        from lskel.runtime.attach.binaries import find_binary
        from lskel.runtime.attach.probe_ways import check_loaded_for
        from lskel.runtime.attach.uprobe import attach_uprobe_multi, file_offsets

        check_loaded_for(self, "attach_uprobe_multi")
        if binary == "" or not places:
            raise UsageError("no attach target", hint="use attach(BINARY, PATTERN)")
        if isinstance(places, str) and (ref_ctr_offsets or cookies):
            raise UsageError("cookies and ref_ctr_offsets need a sequence of places, not a pattern")
        file = binary if isinstance(binary, int) else find_binary(binary)
        link = attach_uprobe_multi(
            self.fileno(),
            file,
            file_offsets(file, places),
            AttachType(self.definition.attach_type),
            returns=self._returns(returns),
            pid=pid,
            ref_ctr_offsets=ref_ctr_offsets,
            cookies=cookies,
        )
        self.attached(link)
        return link

    def attach_usdt(
        self,
        binary: Binary,
        provider: str,
        name: str,
        *,
        pid: int = ANY_PROCESS,
        cookie: int = 0,
    ) -> UsdtLink:
        """Attach to a probe of a binary, such as "libc" "setjmp", until the link is closed.

        Its object must include bpf/usdt.bpf.h. For arguments and errors see
        `lskel.runtime.attach.usdt.attach_usdt`.
        """
        from lskel.runtime.attach.usdt import attach_usdt

        multi = self.definition.attach_type == AttachType.TRACE_UPROBE_MULTI
        if not multi:
            from lskel.runtime.attach.probe_ways import check_loaded_for

            check_loaded_for(self, "attach_usdt")
        if not provider or not name:
            raise UsageError("no probe in the binary", hint="use attach(BINARY, PROVIDER, NAME)")
        link = attach_usdt(
            self.fileno(), self.maps, binary, provider, name, pid=pid, cookie=cookie, multi=multi
        )
        self.attached(link)
        return link

    def _returns(self, wanted: bool | None) -> bool:
        return is_return(self.definition.kind) if wanted is None else wanted


class KprobeProgram(ProbeProgram):
    """A program of ``SEC("kprobe/...")``, ``SEC("ksyscall/...")``, or their return variants."""

    def attach(
        self,
        function: str | None = None,
        offset: int = 0,
        *,
        maxactive: int = 0,
        cookie: int = 0,
    ) -> BpfLink:
        """Attach to a function, by default that of the section name, until the link is closed.

        For ``SEC("ksyscall")`` to a system call, by its name. ``bpf_get_attach_cookie`` returns
        `cookie`. UsageError without a function; else the arguments and errors of `attach_kprobe`.
        """
        target = target_of(self, function, "a function", "kprobe/do_unlinkat")
        if self.definition.kind in ("ksyscall", "kretsyscall"):
            if offset:
                raise UsageError("a system call takes no offset")
            return self.attach_ksyscall(target, maxactive=maxactive, cookie=cookie)
        return self.attach_kprobe(target, offset, maxactive=maxactive, cookie=cookie)


class KprobeMultiProgram(ProbeProgram):
    """A program of ``SEC("kprobe.multi/...")``, "kretprobe.multi" or "kprobe.session"."""

    def attach(
        self, functions: str | Sequence[str] | None = None, *, cookies: Sequence[int] = ()
    ) -> BpfLink:
        """Attach to functions, by default the pattern in the section name, until the link is closed

        ``bpf_get_attach_cookie`` returns the function's cookie. UsageError without functions; else
        the arguments and errors of `attach_kprobe_multi`.
        """
        if functions is None or isinstance(functions, str):
            functions = target_of(self, functions, "functions", "kprobe.multi/tcp_*")
        return self.attach_kprobe_multi(functions, cookies=cookies)


class UprobeProgram(ProbeProgram):
    """A program of ``SEC("uprobe")`` or ``SEC("uretprobe")``, sleepable (".s") or not.

    ``SEC("uprobe/libc.so.6:malloc")`` needs no arguments to attach; after the colon is a function,
    a function and an offset ("malloc+4"), or a file offset ("0x1234"). A function may have a
    version: "realpath@GLIBC_2.3".
    """

    def attach(
        self,
        binary: Binary | None = None,
        symbol: str = "",
        offset: int = 0,
        *,
        pid: int = ANY_PROCESS,
        ref_ctr_offset: int = 0,
        cookie: int = 0,
    ) -> BpfLink:
        """Attach to a function of a binary, or to a file offset, until the link is closed.

        Without `binary`, to the target of the section name. For arguments and errors see
        `attach_uprobe`.
        """
        if binary is None:
            if symbol or offset:
                raise UsageError("'symbol' and 'offset' need 'binary'")
            target = target_of(self, None, "BINARY:FUNCTION", "uprobe/libc.so.6:malloc")
            from lskel.runtime.attach.uprobe import parse_uprobe_target

            binary, symbol, offset = parse_uprobe_target(target)
        return self.attach_uprobe(
            binary, symbol, offset, pid=pid, ref_ctr_offset=ref_ctr_offset, cookie=cookie
        )


class UprobeMultiProgram(ProbeProgram):
    """A program of ``SEC("uprobe.multi")``, "uretprobe.multi" or "uprobe.session". Linux 6.6.

    ``SEC("uprobe.multi/libc.so.6:mem*")`` needs no arguments to attach to all matching functions.
    """

    def attach(
        self,
        binary: Binary | int | None = None,
        places: str | Sequence[str] | Sequence[int] = "",
        *,
        pid: int = ANY_PROCESS,
        ref_ctr_offsets: Sequence[int] = (),
        cookies: Sequence[int] = (),
    ) -> BpfLink:
        """Attach to functions or offsets of a binary with one link, until it is closed.

        Without `binary`, to the target of the section name. For arguments and errors see
        `attach_uprobe_multi`.
        """
        if binary is None:
            if places:
                raise UsageError("'places' needs 'binary'")
            target = target_of(self, None, "functions", "uprobe.multi/libc.so.6:mem*")
            binary, _, places = target.partition(":")
        return self.attach_uprobe_multi(
            binary, places, pid=pid, ref_ctr_offsets=ref_ctr_offsets, cookies=cookies
        )


class UsdtProgram(ProbeProgram):
    """A program of ``SEC("usdt")``, sleepable (".s") or not.

    ``SEC("usdt/libc.so.6:libc:setjmp")`` needs no arguments to attach.
    """

    def attach(
        self,
        binary: Binary | None = None,
        provider: str = "",
        name: str = "",
        *,
        pid: int = ANY_PROCESS,
        cookie: int = 0,
    ) -> UsdtLink:
        """Attach to a probe of a binary, such as "libc" "setjmp", until the link is closed.

        Without `binary`, to the target of the section name. For arguments and errors see
        `attach_usdt`.
        """
        if binary is None:
            if provider or name:
                raise UsageError("'provider' and 'name' need 'binary'")
            target = target_of(self, None, "a probe", "usdt/libc.so.6:libc:setjmp")
            from lskel.runtime.attach.usdt import parse_usdt_target

            binary, provider, name = parse_usdt_target(target)
        return self.attach_usdt(binary, provider, name, pid=pid, cookie=cookie)
