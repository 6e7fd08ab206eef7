"""The semantics of instructions; `machine` runs programs."""
