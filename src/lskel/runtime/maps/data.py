"""Global data: the variables of .data, .bss, .rodata and .kconfig."""

from __future__ import annotations

from _thread import allocate_lock

from lskel.bpf.flags import MapFlag
from lskel.errors import Closed, ReadOnly, UsageError
from lskel.light_typing import Generic
from lskel.runtime.maps.base import Map
from lskel.runtime.one_element import lookup, update
from lskel.runtime.syscall import ENOTSUPP, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from lskel.btf.last_array import LastArray
    from lskel.cursor import ByteOrder
    from lskel.runtime.kernel import Kernel
    from lskel.runtime.maps.base import MapDefinition
    from lskel.runtime.memory import MappedFd
    from lskel.runtime.objects import Fd
    from lskel.runtime.values import Struct

    V = TypeVar("V", bound=Struct)
else:
    V = object


_TYPE = type
_KEY = bytes(4)
SET_BEFORE = "constants are set before load()"
_HIDDEN = "all variables of {} are static or hidden, so that it is not mapped"
_NOT_SHARED = "{}: maps with locks, lists, trees or timers cannot be mapped"


class Variables(Map, Generic[V]):
    """A map of global variables: attributes of `value`.

    `type` is the class of the variables, or a function that creates it on first use; `initial` are
    their initial bytes.
    """

    _why_fixed = "holds variables, which are one element"

    def __init__(
        self, definition: MapDefinition, type_: type[V] | Callable[[], type[V]], initial: bytes
    ) -> None:
        super().__init__(definition)
        self._type = type_
        self._variables: Any = None
        self._content = initial
        self._made: bytearray | None = None
        self._lock = allocate_lock()
        self._value: Any = None

    @property
    def _size(self) -> int:
        return len(self._content)

    @property
    def _memory(self) -> bytearray:
        """The initial values, which are made when they are first asked for."""
        if self._made is None:
            made = bytearray(self._size)
            made[: len(self._content)] = self._content
            with self._lock:  # of two threads, both get the same
                if self._made is None:
                    self._made = made
        return self._made

    def _become(self) -> None:
        """Its class is that of a section, whatever its flags."""

    @property
    def variables(self) -> type[V]:
        """The class of the variables."""
        if self._variables is None:
            base = self._base()
            # A class of its own: what it says in errors is of this collection.
            own = {"elsewhere_": staticmethod(self.elsewhere), "noun_": "variable"}
            self._variables = _TYPE(base.__name__, (base,), own)
        found: Any = self._variables
        return found  # type: ignore[no-any-return]

    def _base(self) -> Any:
        """The class of the variables as declared."""
        # `type` is an attribute of maps.
        return self._type if isinstance(self._type, _TYPE) else self._type()

    def elsewhere(self, name: str) -> str:
        """Which other map of the collection has a variable of this name; empty if none."""
        others = (made for made in self.siblings if isinstance(made, Variables))
        return next((made.name for made in others if name in made.variables._members_), "")

    @property
    def initial(self) -> memoryview:
        """All initial values, writable before load(); their number is `value_size`."""
        if self._fd is not None:
            raise ReadOnly(f"map '{self.name}' is loaded", hint=SET_BEFORE)
        return memoryview(self._memory)


class DataMap(Variables[V]):
    """A section of global variables: attributes of `value`.

    Before load() these are the initial values, which may be set; after it, the memory that programs
    use. Constants (.rodata, .kconfig) are read-only then. So are maps that cannot be mapped,
    because the kernel manages fields in them: they are read by a system call each time.

    With another `value_size`, the last variable, an array, has as many elements as fit. It gets
    its BTF type accordingly; if that does not work out, it has none, as with libbpf.

    `initial` may lack trailing zeros. The loader has no value for a `late` map: many zeros. `array`
    is that last variable.
    """

    def __init__(
        self,
        definition: MapDefinition,
        type_: type[V] | Callable[[], type[V]],
        initial: bytes,
        *,
        late: bool = False,
        array: LastArray | None = None,
    ) -> None:
        super().__init__(definition, type_, initial)
        self._late = late
        self._array = array
        self._mapped: MappedFd | None = None

    @property
    def value(self) -> V:
        """The variables; Closed after close()."""
        if self._value is not None:
            found: V = self._value
            return found
        made = self._view()
        if self._fd is None or self._mapped is not None or self.is_constant:
            self._value = made
        return made

    def _view(self) -> V:
        if self._is_left_out:
            raise UsageError(f"variables of '{self.name}': the map was left out")
        if self._fd is None:
            return self.variables.from_buffer(self._memory)
        if self._fd.closed:
            raise Closed(f"variables of '{self.name}': the map is closed")
        if self._mapped is not None:
            return self.variables.from_buffer(self._mapped.memory)
        from lskel.runtime.values.frozen import frozen

        now = lookup(self._fd.fileno(), _KEY, self._size, bpf=self._bpf) or b""
        return frozen(self.variables, now, self._why_frozen)

    @property
    def _why_frozen(self) -> str:
        if self.is_constant:
            return SET_BEFORE
        return (_NOT_SHARED if self._is_shared else _HIDDEN).format(self.name)

    @property
    def _is_shared(self) -> bool:
        """Whether it was made to be mapped; the kernel may still refuse."""
        return bool(self.definition.flags & MapFlag.MMAPABLE)

    _fixed_attributes: tuple[str, ...] = ("type", "key_size", "max_entries")

    def _redefine(self, definition: MapDefinition) -> None:
        size = definition.value_size
        if size != self.definition.value_size:
            if not 0 < size < 1 << 31:
                raise UsageError(f"map '{self.name}' cannot have {size} bytes of variables")
            self._resize(size)
        self.definition = definition

    def _resize(self, size: int) -> None:
        """Keep the values that are set."""
        content = bytes(self._memory[:size])
        self._variables = self._value = None
        self._made = bytearray(content.ljust(size, b"\0"))

    @property
    def _is_resized(self) -> bool:
        return self.definition.value_size != self.declared.value_size

    def _length(self) -> int | None:
        """The number of elements of the last variable in a resized section."""
        return None if self._array is None else self._array.length(self.definition.value_size)

    def _base(self) -> Any:
        base = super()._base()
        if not self._is_resized:
            return base
        from lskel.runtime.values.structs import resized

        length = self._length()
        last = None if self._array is None or length is None else (self._array.variable, length)
        return resized(base, self.definition.value_size, last)

    def _keeps_types(self, definition: MapDefinition) -> bool:
        return not self._is_resized or self._length() is not None

    def open_reused(self, kernel: Kernel, pin_root: str, *, trust_pins: bool) -> Fd | None:
        """A section of another size is created here: the loader has a value of the declared one."""
        there = super().open_reused(kernel, pin_root, trust_pins=trust_pins)
        if there is not None or not self._is_resized or not self.autocreate:
            return there
        from lskel.runtime.maps.section import create_section

        array, length, btf, section = self._array, self._length(), b"", 0
        # The simulated kernel takes BTF from loaders only.
        if array is not None and length is not None and self.image is not None:
            btf = self.image.object_btf() if kernel.is_running else b""
            btf = array.resized(btf, self._size, length, self.image.order) if btf else b""
            section = array.section
        return create_section(kernel, self.definition, bytes(self._memory), btf, section)

    @property
    def is_constant(self) -> bool:
        """Whether the variables are read-only after load()."""
        return bool(self.definition.flags & MapFlag.RDONLY_PROG)

    def created(self, kernel: Kernel) -> MapDefinition:
        """As defined: its size does not depend on the machine."""
        return self.definition

    @property
    def _size(self) -> int:
        return self.definition.value_size

    @property
    def _changed(self) -> bytearray | None:
        """The initial values, where they are not the object's."""
        made = self._made
        is_same = made is None or made.rstrip(b"\0") == self._content.rstrip(b"\0")
        return None if is_same else made

    def changed_value(self, kernel: Kernel, order: ByteOrder) -> bytes | bytearray | None:
        """The initial value for the loader to write, if it differs from the object's."""
        return None if self._late else self._changed

    def leave_out(self) -> None:
        """The others are created, without it: it has no variables."""
        super().leave_out()
        self._value = None

    def bind(self, fd: Fd) -> None:
        """It was created: from now on the variables are those of the programs."""
        super().bind(fd)
        self._value = None
        if self._late and not self._is_resized and self._changed is not None:
            update(fd.fileno(), _KEY, self._changed, bpf=self._bpf)
        self._made = None
        if self._is_shared and not self.is_constant:
            self._mapped = _mapped(self.kernel, fd, self._size)

    def close(self) -> None:
        """Unmap, and close the fd; variables can no longer be used."""
        super().close()
        self._value = None
        if self._mapped is not None:
            self._mapped.close()


def _mapped(kernel: Kernel, fd: Fd, size: int) -> MappedFd | None:
    """The memory of a map; None if it cannot be mapped, because the kernel manages fields in it."""
    try:
        return kernel.map_memory(fd.fileno(), size)
    except KernelError as error:
        if error.errno != ENOTSUPP:
            raise
        return None
