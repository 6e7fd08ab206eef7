"""What verifier logs have in common (kernel/bpf/verifier.c, kernel/bpf/diagnostics.c)."""

# Begins the report after the message, in sections for readers (Linux 7.3).
REPORT = "Verification failed: "
