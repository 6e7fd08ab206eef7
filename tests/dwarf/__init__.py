"""Debug information, compared with pyelftools and with the BTF of clang."""
