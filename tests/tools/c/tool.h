/* What all of the tools have: the process that they trace, and how they end. */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A result that has to be there: a pointer that is not NULL, or a number that is not negative. */
#define HAVE(pointer) ({ typeof(pointer) _p = (pointer); if (!_p) die(#pointer); _p; })
#define DO(call) ({ long _r = (call); if (_r < 0) die(#call); _r; })

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* The process: stopped, until its events are caused. */
struct workload {
	const char *path;
	pid_t pid;
};

static inline void wait_stopped(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		die("the workload ended");
}

static inline struct workload start(const char *path, const char *kind)
{
	struct workload made = { path, DO(fork()) };

	if (!made.pid) {
		DO(prctl(PR_SET_PDEATHSIG, SIGKILL)); /* also if the tool dies before end() */
		execl(path, path, kind, NULL);
		_exit(1);
	}
	wait_stopped(made.pid);
	return made;
}

static inline void cause(struct workload work)
{
	DO(kill(work.pid, SIGCONT));
	wait_stopped(work.pid);
}

static inline void end(struct workload work)
{
	kill(work.pid, SIGKILL);
	waitpid(work.pid, NULL, 0);
}

/* Each tool: how it is to be used, and the program that causes its events. */
typedef void tool_fn(const char *variant, const char *path);
tool_fn stacks, functions, uprobes, events, usdt, counts, nested, parameters, returns, profile,
	fallback, many;
