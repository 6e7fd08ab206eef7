/* Causes events: WORKLOAD KIND stops itself, does it when it is continued, and stops again. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define APART __attribute__((noipa))

/* Without libc, which has no frame pointers. */
static inline __attribute__((always_inline)) long call(long number, long first, long second)
{
	long result;

	asm volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second)
		     : "rcx", "r11", "memory");
	return result;
}

APART void one_call(void)
{
	call(SYS_getpgid, 1, 0);
	asm volatile("");
}

APART void three_calls(void)
{
	for (int i = 0; i < 3; i++)
		one_call();
}

static void stacks(void)
{
	one_call();
	three_calls();
	three_calls();
}

static void calls(void)
{
	for (int i = 1; i <= 5; i++)
		for (int j = 0; j < i; j++)
			call(SYS_getpgid, i, 0);
	for (int i = 0; i < 4; i++)
		call(SYS_getsid, 1, 0);
	for (int i = 0; i < 3; i++)
		call(SYS_getpriority, PRIO_PROCESS, 0);
}

static void files(void)
{
	char bytes[64] = {};
	int fd = memfd_create("data", 0);

	for (int size = 1; size <= 64; size *= 2) {
		if (write(fd, bytes, size) != size || lseek(fd, 0, SEEK_SET) ||
		    read(fd, bytes, size) != size)
			abort();
		lseek(fd, 0, SEEK_SET);
	}
	close(fd);
}

APART int add(int a, int b)
{
	return a + b;
}

static void additions(void)
{
	for (int i = 0; i < 9; i++)
		add(i % 3, -10);
}

/* Probes as sys/sdt.h makes them. */
#define PROBE(name, semaphore, arguments, ...)                                                     \
	asm volatile("990: nop\n"                                                                  \
		     ".pushsection .note.stapsdt, \"?\", \"note\"\n"                               \
		     ".balign 4\n"                                                                 \
		     ".4byte 992f-991f, 994f-993f, 3\n"                                            \
		     "991: .asciz \"stapsdt\"\n"                                                   \
		     "992: .balign 4\n"                                                            \
		     "993: .8byte 990b, _.stapsdt.base, " semaphore "\n"                           \
		     ".asciz \"tools\"\n"                                                          \
		     ".asciz \"" name "\"\n"                                                       \
		     ".asciz \"" arguments "\"\n"                                                  \
		     "994: .balign 4\n"                                                            \
		     ".popsection\n"                                                               \
		     ".ifndef _.stapsdt.base\n"                                                    \
		     ".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat\n"   \
		     ".weak _.stapsdt.base\n"                                                      \
		     ".hidden _.stapsdt.base\n"                                                    \
		     "_.stapsdt.base: .space 1\n"                                                  \
		     ".size _.stapsdt.base, 1\n"                                                   \
		     ".popsection\n"                                                               \
		     ".endif\n" ::__VA_ARGS__)

unsigned short probed_semaphore __attribute__((section(".probes"), used));

APART void probes(void)
{
	static volatile short table[] = { -5, 6, -700, 8 };

	for (long i = 0; i < 4; i++)
		PROBE("indexed", "0", "-2@(%%rax,%%rdx,2) 8@%%rdx -1@$-3", "a"(table), "d"(i));
	for (long i = 0; i < 7; i++)
		if (*(volatile unsigned short *)&probed_semaphore)
			PROBE("guarded", "probed_semaphore", "-4@4(%%rax) 8@%%rdx", "a"(table), "d"(i));
}

static void *sleep_once(void *unused)
{
	struct timespec time = { 2 };

	nanosleep(&time, NULL);
	return unused;
}

static void sleepers(void)
{
	pthread_t threads[60];

	for (int i = 0; i < 60; i++)
		if (pthread_create(&threads[i], NULL, sleep_once, NULL))
			abort();
	for (int i = 0; i < 60; i++)
		pthread_join(threads[i], NULL);
}

static void faults(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	char *memory = mmap((void *)0x200000000, 64 << 12, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	for (int page = 0; page < 64; page += 1 + page % 2)
		*(volatile char *)(memory + (page << 12)) = 1;
}

static const struct {
	const char *name;
	void (*cause)(void);
} kinds[] = {
	{ "stacks", stacks },	  { "calls", calls },	{ "files", files },   { "additions", additions },
	{ "sleepers", sleepers }, { "probes", probes }, { "faults", faults },
};

int main(int argc, char **argv)
{
	/* Stack traces end here: libc's own functions have no frame pointers. */
	*(void *volatile *)__builtin_frame_address(0) = NULL;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (argc == 2 && !strcmp(kinds[i].name, argv[1])) {
			raise(SIGSTOP);
			kinds[i].cause();
			raise(SIGSTOP);
			_exit(0);
		}
	_exit(2);
}
