/* TOOL VARIANT WORKLOAD: what a tool prints, of the variant of its use. */
#include "tool.h"

static const struct {
	const char *name;
	tool_fn *run;
} tools[] = {
	{ "stacks", stacks },	  { "functions", functions }, { "uprobes", uprobes },
	{ "events", events },	  { "usdt", usdt },	      { "counts", counts },
	{ "nested", nested },	  { "parameters", parameters }, { "returns", returns },
	{ "profile", profile },	  { "fallback", fallback },   { "many", many },
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; i < sizeof(tools) / sizeof(*tools); i++)
		if (argc == 4 && !strcmp(argv[1], tools[i].name)) {
			tools[i].run(argv[2], argv[3]);
			return 0;
		}
	return 2;
}
