/*
 * Runs a command, and prints the time and memory of its process: process COMMAND [ARGUMENT...]
 * This is a small program, because the peak memory of a process is at least its parent's.
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include "samples.h"

int main(int argc, char **argv)
{
	long long start = now();
	pid_t child = argc > 1 ? fork() : -1;
	struct rusage usage;
	int status;

	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[1], argv + 1);
		err(127, "%s", argv[1]);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) < 0)
		err(2, "usage: process COMMAND [ARGUMENT...]");
	printf("%lld %ld\n", now() - start, usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
