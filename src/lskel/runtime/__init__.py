"""Access to the running kernel: bpf(2), fds, maps, links, buffers.

Uses the standard library only. Every module can be imported on any system; what needs Linux raises
NotSupported when used. It runs loaders, and generated Python skeletons import it.
"""
