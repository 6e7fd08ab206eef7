/* Loads an object by libbpf: libbpf ROUNDS OBJECT. The first round includes libbpf's probes. */
#include <bpf/libbpf.h>

#include "samples.h"

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

int main(int argc, char **argv)
{
	struct bytes file;

	if (argc != 3)
		errx(2, "usage: libbpf ROUNDS OBJECT");
	libbpf_set_print(quiet);
	file = read_file(argv[2]);
	puts("open load close");
	for (int round = atoi(argv[1]); round > 0; round--) {
		long long times[4] = {now()};
		struct bpf_object *object = bpf_object__open_mem(file.data, file.size, NULL);

		if (!object)
			err(1, "open");
		times[1] = now();
		if (bpf_object__load(object))
			err(1, "load");
		times[2] = now();
		bpf_object__close(object);
		times[3] = now();
		print_sample(times, 3);
	}
	return 0;
}
