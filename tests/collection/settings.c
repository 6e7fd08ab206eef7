/* What libbpf's setters make of an object: OBJ (map|prog) NAME ATTRIBUTE VALUE ..., then its infos. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_map(struct bpf_map *map, const char *what, const char *text)
{
	unsigned long long value = strtoull(text, NULL, 0);

	if (!strncmp(what, "inner_map.", 10))
		return set_map(bpf_map__inner_map(map), what + 10, text);
	if (!strcmp(what, "type"))
		return bpf_map__set_type(map, value);
	if (!strcmp(what, "key_size"))
		return bpf_map__set_key_size(map, value);
	if (!strcmp(what, "value_size"))
		return bpf_map__set_value_size(map, value);
	if (!strcmp(what, "max_entries"))
		return bpf_map__set_max_entries(map, value);
	if (!strcmp(what, "map_flags"))
		return bpf_map__set_map_flags(map, value);
	if (!strcmp(what, "map_extra"))
		return bpf_map__set_map_extra(map, value);
	if (!strcmp(what, "numa_node"))
		return bpf_map__set_numa_node(map, value);
	if (!strcmp(what, "autocreate"))
		return bpf_map__set_autocreate(map, value);
	if (!strcmp(what, "pin_path"))
		return bpf_map__set_pin_path(map, text);
	return -1;
}

static int set_program(struct bpf_program *prog, const char *what, const char *text)
{
	unsigned long long value = strtoull(text, NULL, 0);

	if (!strcmp(what, "type"))
		return bpf_program__set_type(prog, value);
	if (!strcmp(what, "expected_attach_type"))
		return bpf_program__set_expected_attach_type(prog, value);
	if (!strcmp(what, "flags"))
		return bpf_program__set_flags(prog, value);
	if (!strcmp(what, "autoload"))
		return bpf_program__set_autoload(prog, value);
	if (!strcmp(what, "target"))
		return bpf_program__set_attach_target(prog, 0, text);
	return -1;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = bpf_object__open_file(argv[1], NULL);
	struct bpf_program *prog;
	struct bpf_map *map;
	int i;

	for (i = 2; i + 3 < argc; i += 4) {
		int err = !strcmp(argv[i], "map") ?
			set_map(bpf_object__find_map_by_name(obj, argv[i + 1]), argv[i + 2], argv[i + 3]) :
			set_program(bpf_object__find_program_by_name(obj, argv[i + 1]), argv[i + 2],
				    argv[i + 3]);
		if (err)
			return 2;
	}
	if (bpf_object__load(obj))
		return 1;
	bpf_object__for_each_map(map, obj) {
		struct bpf_map_info info = {};
		__u32 size = sizeof(info);

		if (bpf_map__fd(map) < 0)
			continue;
		bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &size);
		printf("map %s %u %u %u %u %u %llu %u %u\n", bpf_map__name(map), info.type, info.key_size,
		       info.value_size, info.max_entries, info.map_flags, info.map_extra,
		       info.btf_key_type_id, info.btf_value_type_id);
	}
	bpf_object__for_each_program(prog, obj) {
		struct bpf_prog_info info = {};
		__u32 size = sizeof(info);

		if (bpf_program__fd(prog) < 0)
			continue;
		bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size);
		printf("prog %s %u %u\n", bpf_program__name(prog), info.type, info.attach_btf_id);
	}
	return 0;
}
