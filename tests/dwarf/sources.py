"""A struct of all kinds of members, which clang writes to BTF or not."""

TYPES = """
enum kind { FIRST = -1, SECOND = 2 };
enum wide { HUGE = 0x123456789a };
typedef struct { int left; unsigned flag : 3, : 2, rest : 27; } pair_t;
struct inner { __u64 first; char second; };
struct deep {
	__u64 stamp;
	__u32 pid;
	enum kind kind;
	enum wide wide;
	_Bool is_ok;
	pair_t pair;
	const struct inner *volatile address;
	char name[16];
	unsigned char raw[4];
	__s16 matrix[2][3];
	union { int number; float ratio; struct { __u16 low, high; }; };
	struct inner several[2];
	unsigned long long bits : 40, more : 7;
	void (*call)(int);
	__int128 big;
	double real;
	int flexible[];
};
"""
SENDS = """
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
SEC("raw_tp/sys_enter") int send(void *ctx)
{
	struct deep *deep = bpf_ringbuf_reserve(&ring, sizeof(*deep), 0);
	if (!deep)
		return 0;
	deep->pair.flag = 5;
	bpf_ringbuf_submit(deep, 0);
	return 0;
}
"""
# Makes clang write the struct to BTF.
IN_BTF = "const struct deep *unused __attribute__((unused));"
