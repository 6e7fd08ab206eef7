"""A C program for any light skeleton: it tells what came of opening, loading and attaching it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.skeleton.c.headers import HEADER, Members

_HEAD = r"""
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>
"""
_SHOW = r"""
static void show(const char *name, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	printf("%s", name);
	for (size_t i = 0; i < size; i++)
		printf(i % 4 ? "%02x" : " %02x", bytes[i]);
	printf("\n");
}

static void get_info(int fd, void *info, unsigned int size)
{
	union bpf_attr attr;

	memset(info, 0, size);
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info_len = size;
	attr.info.info = (unsigned long)info;
	if (syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
		printf("no info: %s\n", strerror(errno));
}

__attribute__((unused)) static void show_map(const char *name, int fd)
{
	struct bpf_map_info info;

	get_info(fd, &info, sizeof(info));
	printf("map %s: %s type %u key %u value %u entries %u", name, info.name, info.type,
		info.key_size, info.value_size, info.max_entries);
	printf(" flags %#x btf %d %u %u\n", info.map_flags, !!info.btf_id, info.btf_key_type_id,
		info.btf_value_type_id);
}

__attribute__((unused)) static void show_prog(const char *name, int fd)
{
	struct bpf_prog_info info;

	get_info(fd, &info, sizeof(info));
	printf("prog %s: %s type %u maps %u attach %u", name, info.name, info.type,
		info.nr_map_ids, info.attach_btf_id);
	show(" tag", info.tag, sizeof(info.tag));
}
"""


def driver(name: str, members: Members) -> str:
    """The program for the skeleton `name`: exit status 2 where it does not load."""
    return "\n".join([_HEAD, f'#include "{HEADER}"', _SHOW, *_main(name, members)])


def _main(name: str, members: Members) -> Iterator[str]:
    def values() -> Iterator[str]:
        for variable in members.variables:
            yield f'\tshow("{variable}", &skel->{variable}, sizeof(skel->{variable}));'

    yield "int main(void)\n{"
    yield f"\tstruct {name} *skel = {name}__open();\n\tint err;\n"
    yield '\tif (!skel) {\n\t\tprintf("open: %s\\n", strerror(errno));\n\t\treturn 1;\n\t}'
    yield '\tprintf("context of %u bytes\\n", skel->ctx.sz);'
    yield from values()
    yield f"\terr = {name}__load(skel);"
    yield '\tprintf("load %d\\n", err);'
    yield f"\tif (err) {{\n\t\t{name}__destroy(skel);\n\t\treturn 2;\n\t}}"
    yield from values()
    for made in members.maps:
        yield f'\tshow_map("{made}", skel->maps.{made}.map_fd);'
    for made in members.progs:
        yield f'\tshow_prog("{made}", skel->progs.{made}.prog_fd);'
    yield f"\terr = {name}__attach(skel);"
    yield '\tprintf("attach %d %s\\n", err, err ? strerror(errno) : "");'
    for made in members.progs:
        yield f'\tprintf("link {made} %d\\n", skel->links.{made}_fd > 0);'
    yield f"\t{name}__destroy(skel);\n\treturn 0;\n}}\n"
