"""Replay: running a loader in the kernel, by direct system calls, or in the simulator."""
