/*
 * Runs a loader program of lskel or bpftool, as skel_internal.h does:
 * loader ROUNDS CONTEXT_SIZE INSNS BLOB [BTF FUNC_INFO]
 */
#include <string.h>

#include "samples.h"

static int must(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static int load_blob(struct bytes blob)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = blob.size,
		.max_entries = 1,
	};
	int key = 0, map = must(sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr)), "blob map");

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (long)&key;
	attr.value = (long)blob.data;
	must(sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), "blob");
	return map;
}

static int load_btf(struct bytes btf)
{
	union bpf_attr attr = {.btf = (long)btf.data, .btf_size = btf.size};

	return btf.size ? must(sys_bpf(BPF_BTF_LOAD, &attr, sizeof(attr)), "BTF") : 0;
}

static int load_program(struct bytes insns, int map, int btf, struct bytes func_info)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SYSCALL,
		.insns = (long)insns.data,
		.insn_cnt = insns.size / sizeof(struct bpf_insn),
		.license = (long)"Dual BSD/GPL",
		.prog_flags = BPF_F_SLEEPABLE,
		.prog_btf_fd = btf,
		.func_info = (long)func_info.data,
		.func_info_rec_size = sizeof(struct bpf_func_info),
		.func_info_cnt = func_info.size / sizeof(struct bpf_func_info),
		.fd_array = (long)&map,
	};

	return must(sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr)), "loader program");
}

static void run(int program, struct bytes context)
{
	union bpf_attr attr = {
		.test = {
			.prog_fd = program,
			.ctx_in = (long)context.data,
			.ctx_size_in = context.size,
		},
	};

	must(sys_bpf(BPF_PROG_RUN, &attr, sizeof(attr)), "run");
	if (attr.test.retval)
		errx(1, "the loader returned %d: %s", (int)attr.test.retval,
		     strerror(-(int)attr.test.retval));
}

static unsigned int verified(int program)
{
	struct bpf_prog_info info = {};
	union bpf_attr attr = {
		.info = {.bpf_fd = program, .info_len = sizeof(info), .info = (long)&info},
	};

	must(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)), "info");
	return info.verified_insns;
}

int main(int argc, char **argv)
{
	struct bytes context, insns, blob, btf = {}, func_info = {};
	int *const words = calloc(argc > 2 ? atoi(argv[2]) : 0, 1);
	int map, types;

	if (argc != 5 && argc != 7)
		errx(2, "usage: loader ROUNDS CONTEXT_SIZE INSNS BLOB [BTF FUNC_INFO]");
	context = (struct bytes){words, atoi(argv[2])};
	insns = read_file(argv[3]);
	blob = read_file(argv[4]);
	if (argc == 7) {
		btf = read_file(argv[5]);
		func_info = read_file(argv[6]);
	}
	puts("map btf load run close");
	for (int round = atoi(argv[1]); round > 0; round--) {
		long long times[6];
		int program;

		memset(words, 0, context.size);
		words[0] = context.size;
		times[0] = now();
		map = load_blob(blob);
		times[1] = now();
		types = load_btf(btf);
		times[2] = now();
		program = load_program(insns, map, types, func_info);
		times[3] = now();
		run(program, context);
		times[4] = now();
		/* The blob map has the lowest of the new fds. */
		close_range(map, ~0U, 0);
		times[5] = now();
		print_sample(times, 5);
	}
	map = load_blob(blob);
	types = load_btf(btf);
	printf("verified %u\n", verified(load_program(insns, map, types, func_info)));
	return 0;
}
