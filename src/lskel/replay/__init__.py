"""Replaying: running a loader in the kernel, or a trace's calls one by one."""

from lskel.replay import direct, kernel

__all__ = ["direct", "kernel"]
