"""placeholder"""


def parse_struct_ops(elf, btf):
    return ()
