/* Shared by the programs: reading files, the clock, and a line of nanoseconds for each round. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

struct bytes {
	void *data;
	size_t size;
};

static inline struct bytes read_file(const char *path)
{
	struct bytes file = {};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	file.size = st.st_size;
	file.data = malloc(file.size + 1);
	if (!file.data || read(fd, file.data, file.size) != (ssize_t)file.size)
		err(1, "%s", path);
	close(fd);
	return file;
}

static inline long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Stage i lasts from times[i] to times[i + 1]. */
static inline void print_sample(const long long *times, int stages)
{
	for (int stage = 0; stage < stages; stage++)
		printf("%lld%c", times[stage + 1] - times[stage], stage + 1 < stages ? ' ' : '\n');
}

static inline long sys_bpf(int cmd, void *attr, unsigned int size)
{
	return syscall(SYS_bpf, cmd, attr, size);
}

#endif
