"""Talking to the running kernel: bpf(2), fds, maps, links, buffers.

Needs the standard library only, and every module can be imported on any system: what needs
Linux says so when it is used. Loaders are run with it, and generated Python skeletons import it.
"""
