"""Commands on pages, and in the help of commands, that the tests do not run, with the reason.

An entry that is on no page is an error; what is here and is a command of lskel is parsed.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why a command is not run."""

    TESTS = "runs the tests, this one among them"
    NETWORK = "gets packages from the network"
    CONTAINERS = "needs an engine for containers, and an image"
    LOCKED_DOWN = "needs a kernel that is not locked down: fentry, freplace"
    SHELL = "is for another shell than the one that types (tests/cli/test_completion.py has it)"
    MODULES = "needs a kernel's headers, and a kernel that loads modules (tests/vm/test_module.py)"
    SERVICE = "is about the machine's services"


# Where, and which. Pages are named by their paths, the help of commands is `help`.
_COMMANDS: tuple[tuple[Reason, str, tuple[str, ...]], ...] = (
    (Reason.NETWORK, "README.md", ("make demo", "pip install .")),
    (Reason.TESTS, "README.md", ("make test", "make docs")),
    (
        Reason.TESTS,
        "CONTRIBUTING.md",
        (
            "make test",
            "make test-all",
            "make test-vm",
            ".venv/bin/pytest -m vm tests/vm/test_attach.py -k 7.3",
            ".venv/bin/pytest tests/loader",
            '.venv/bin/pytest -m "not kernel and not corpus"',
        ),
    ),
    (
        Reason.LOCKED_DOWN,
        "docs/howto/configure.md",
        ("lskel run probe.bpf.o --target on_call=do_unlinkat --duration 1",),
    ),
    (
        Reason.LOCKED_DOWN,
        "help",
        (
            "lskel load probe.lskel --target on_call=do_unlinkat --no-autoload on_return",
            "lskel run probe.bpf.o --target on_call=do_unlinkat --kconfig CONFIG_HZ=250",
            "lskel doctor probe.lskel --target on_call=do_unlinkat --json",
        ),
    ),
    (
        Reason.SHELL,
        "help",
        (
            'eval "$(lskel completion zsh)"          # in ~/.zshrc, after compinit',
            "lskel completion fish | source          # in ~/.config/fish/config.fish",
        ),
    ),
    (
        Reason.MODULES,
        "docs/c-skeleton.md",
        ("make", "insmod execs.ko", "rmmod execs", "dmesg | tail -n 1"),
    ),
    (
        Reason.SERVICE,
        "docs/verifier.md",
        ("journalctl -u tool | lskel verifier-log - --program on_exec",),
    ),
    (
        Reason.SERVICE,
        "docs/howto/container.md",
        (
            "install -D execsnoop.pyz /opt/execsnoop/execsnoop.pyz",
            "install execsnoop.service /etc/systemd/system",
            "systemctl enable --now execsnoop",
        ),
    ),
    (
        Reason.CONTAINERS,
        "docs/howto/container.md",
        (
            "docker build --tag hello --file Dockerfile .",
            "docker run --rm --read-only --cap-drop ALL --cap-add BPF --cap-add PERFMON hello",
            "podman run --rm --read-only --cap-drop ALL --cap-add BPF --cap-add PERFMON hello",
            "kubectl apply -f hello.yaml",
        ),
    ),
)
NOT_RUN = {(page, text): reason for reason, page, texts in _COMMANDS for text in texts}
