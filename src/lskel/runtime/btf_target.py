"""Programs that are loaded for an attach target in BTF, which overrides that in the section."""

from __future__ import annotations

from lskel.errors import at
from lskel.runtime.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack

    from lskel.runtime.attach_point import AttachPoint
    from lskel.runtime.kernel import Kernel


class BtfTargetProgram(Program):
    """A program of ``SEC("fentry/...")``, "tp_btf", "lsm", "iter" and others."""

    def attach_point(self, kernel: Kernel, held: ExitStack, *, trust_pins: bool) -> AttachPoint:
        """The `target`, in the BTF of the kernel, of a module, or of a BPF program.

        NotFound if it does not exist; UsageError if it is malformed.
        """
        from lskel.runtime.inputs import RunningTypes

        assert self.target is not None
        types = kernel.types or RunningTypes()
        with at(f"program '{self.name}'"):
            return types.attach_point(self.definition, self.target, held, trust_pins=trust_pins)
