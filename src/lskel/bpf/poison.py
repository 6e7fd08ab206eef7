"""Helpers that do not exist: a call of one replaces what cannot be run.

The verifier refuses the call, if it is reached, and its log says why. Source: relo_core.c of the
kernel and of libbpf, and libbpf.c.
"""

FAILED_RELOCATION = 0xBAD2310
# Plus the index of the map, and the number of the relocation.
NO_MAP = 2001000000
NO_KFUNC = 2002000000
