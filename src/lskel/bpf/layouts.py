"""Fields of `union bpf_attr` and of the info structs: (offset, size).

Written by scripts/gen_bpf.py from the BTF of Linux 7.3; not edited by hand.
"""

Layout = dict[str, tuple[int, int]]

MAP_CREATE: Layout = {
    "map_type": (0, 4),
    "key_size": (4, 4),
    "value_size": (8, 4),
    "max_entries": (12, 4),
    "map_flags": (16, 4),
    "inner_map_fd": (20, 4),
    "numa_node": (24, 4),
    "map_name": (28, 16),
    "map_ifindex": (44, 4),
    "btf_fd": (48, 4),
    "btf_key_type_id": (52, 4),
    "btf_value_type_id": (56, 4),
    "btf_vmlinux_value_type_id": (60, 4),
    "map_extra": (64, 8),
    "value_type_btf_obj_fd": (72, 4),
    "map_token_fd": (76, 4),
    "excl_prog_hash": (80, 8),
    "excl_prog_hash_size": (88, 4),
}

MAP_ELEM: Layout = {
    "map_fd": (0, 4),
    "key": (8, 8),
    "value": (16, 8),
    "next_key": (16, 8),
    "flags": (24, 8),
}

BATCH: Layout = {
    "in_batch": (0, 8),
    "out_batch": (8, 8),
    "keys": (16, 8),
    "values": (24, 8),
    "count": (32, 4),
    "map_fd": (36, 4),
    "elem_flags": (40, 8),
    "flags": (48, 8),
}

PROG_LOAD: Layout = {
    "prog_type": (0, 4),
    "insn_cnt": (4, 4),
    "insns": (8, 8),
    "license": (16, 8),
    "log_level": (24, 4),
    "log_size": (28, 4),
    "log_buf": (32, 8),
    "kern_version": (40, 4),
    "prog_flags": (44, 4),
    "prog_name": (48, 16),
    "prog_ifindex": (64, 4),
    "expected_attach_type": (68, 4),
    "prog_btf_fd": (72, 4),
    "func_info_rec_size": (76, 4),
    "func_info": (80, 8),
    "func_info_cnt": (88, 4),
    "line_info_rec_size": (92, 4),
    "line_info": (96, 8),
    "line_info_cnt": (104, 4),
    "attach_btf_id": (108, 4),
    "attach_prog_fd": (112, 4),
    "attach_btf_obj_fd": (112, 4),
    "core_relo_cnt": (116, 4),
    "fd_array": (120, 8),
    "core_relos": (128, 8),
    "core_relo_rec_size": (136, 4),
    "log_true_size": (140, 4),
    "prog_token_fd": (144, 4),
    "fd_array_cnt": (148, 4),
    "signature": (152, 8),
    "signature_size": (160, 4),
    "keyring_id": (164, 4),
}

OBJ: Layout = {
    "pathname": (0, 8),
    "bpf_fd": (8, 4),
    "file_flags": (12, 4),
    "path_fd": (16, 4),
}

PROG_ATTACH: Layout = {
    "target_fd": (0, 4),
    "target_ifindex": (0, 4),
    "attach_bpf_fd": (4, 4),
    "attach_type": (8, 4),
    "attach_flags": (12, 4),
    "replace_bpf_fd": (16, 4),
    "relative_fd": (20, 4),
    "relative_id": (20, 4),
    "expected_revision": (24, 8),
}

TEST: Layout = {
    "prog_fd": (0, 4),
    "retval": (4, 4),
    "data_size_in": (8, 4),
    "data_size_out": (12, 4),
    "data_in": (16, 8),
    "data_out": (24, 8),
    "repeat": (32, 4),
    "duration": (36, 4),
    "ctx_size_in": (40, 4),
    "ctx_size_out": (44, 4),
    "ctx_in": (48, 8),
    "ctx_out": (56, 8),
    "flags": (64, 4),
    "cpu": (68, 4),
    "batch_size": (72, 4),
}

GET_ID: Layout = {
    "start_id": (0, 4),
    "prog_id": (0, 4),
    "map_id": (0, 4),
    "btf_id": (0, 4),
    "link_id": (0, 4),
    "next_id": (4, 4),
    "open_flags": (8, 4),
    "fd_by_id_token_fd": (12, 4),
}

INFO: Layout = {
    "bpf_fd": (0, 4),
    "info_len": (4, 4),
    "info": (8, 8),
}

QUERY: Layout = {
    "target_fd": (0, 4),
    "target_ifindex": (0, 4),
    "attach_type": (4, 4),
    "query_flags": (8, 4),
    "attach_flags": (12, 4),
    "prog_ids": (16, 8),
    "prog_cnt": (24, 4),
    "count": (24, 4),
    "prog_attach_flags": (32, 8),
    "link_ids": (40, 8),
    "link_attach_flags": (48, 8),
    "revision": (56, 8),
}

RAW_TRACEPOINT: Layout = {
    "name": (0, 8),
    "prog_fd": (8, 4),
    "cookie": (16, 8),
}

BTF_LOAD: Layout = {
    "btf": (0, 8),
    "btf_log_buf": (8, 8),
    "btf_size": (16, 4),
    "btf_log_size": (20, 4),
    "btf_log_level": (24, 4),
    "btf_log_true_size": (28, 4),
    "btf_flags": (32, 4),
    "btf_token_fd": (36, 4),
}

TASK_FD_QUERY: Layout = {
    "pid": (0, 4),
    "fd": (4, 4),
    "flags": (8, 4),
    "buf_len": (12, 4),
    "buf": (16, 8),
    "prog_id": (24, 4),
    "fd_type": (28, 4),
    "probe_offset": (32, 8),
    "probe_addr": (40, 8),
}

LINK_CREATE: Layout = {
    "prog_fd": (0, 4),
    "map_fd": (0, 4),
    "target_fd": (4, 4),
    "target_ifindex": (4, 4),
    "attach_type": (8, 4),
    "flags": (12, 4),
    "target_btf_id": (16, 4),
    "iter_info": (16, 8),
    "iter_info_len": (24, 4),
    "perf_event_bpf_cookie": (16, 8),
    "kprobe_multi_flags": (16, 4),
    "kprobe_multi_cnt": (20, 4),
    "kprobe_multi_syms": (24, 8),
    "kprobe_multi_addrs": (32, 8),
    "kprobe_multi_cookies": (40, 8),
    "tracing_target_btf_id": (16, 4),
    "tracing_cookie": (24, 8),
    "netfilter_pf": (16, 4),
    "netfilter_hooknum": (20, 4),
    "netfilter_priority": (24, 4),
    "netfilter_flags": (28, 4),
    "tcx_relative_fd": (16, 4),
    "tcx_relative_id": (16, 4),
    "tcx_expected_revision": (24, 8),
    "uprobe_multi_path": (16, 8),
    "uprobe_multi_offsets": (24, 8),
    "uprobe_multi_ref_ctr_offsets": (32, 8),
    "uprobe_multi_cookies": (40, 8),
    "uprobe_multi_cnt": (48, 4),
    "uprobe_multi_flags": (52, 4),
    "uprobe_multi_pid": (56, 4),
    "uprobe_multi_path_fd": (60, 4),
    "netkit_relative_fd": (16, 4),
    "netkit_relative_id": (16, 4),
    "netkit_expected_revision": (24, 8),
    "cgroup_relative_fd": (16, 4),
    "cgroup_relative_id": (16, 4),
    "cgroup_expected_revision": (24, 8),
    "tracing_multi_ids": (16, 8),
    "tracing_multi_cookies": (24, 8),
    "tracing_multi_cnt": (32, 4),
}

LINK_UPDATE: Layout = {
    "link_fd": (0, 4),
    "new_prog_fd": (4, 4),
    "new_map_fd": (4, 4),
    "flags": (8, 4),
    "old_prog_fd": (12, 4),
    "old_map_fd": (12, 4),
}

LINK_DETACH: Layout = {
    "link_fd": (0, 4),
}

ENABLE_STATS: Layout = {
    "type": (0, 4),
}

ITER_CREATE: Layout = {
    "link_fd": (0, 4),
    "flags": (4, 4),
}

PROG_BIND_MAP: Layout = {
    "prog_fd": (0, 4),
    "map_fd": (4, 4),
    "flags": (8, 4),
}

TOKEN_CREATE: Layout = {
    "flags": (0, 4),
    "bpffs_fd": (4, 4),
}

PROG_STREAM_READ: Layout = {
    "stream_buf": (0, 8),
    "stream_buf_len": (8, 4),
    "stream_id": (12, 4),
    "prog_fd": (16, 4),
}

PROG_ASSOC_STRUCT_OPS: Layout = {
    "map_fd": (0, 4),
    "prog_fd": (4, 4),
    "flags": (8, 4),
}

COMMON_ATTR: Layout = {
    "log_buf": (0, 8),
    "log_size": (8, 4),
    "log_level": (12, 4),
    "log_true_size": (16, 4),
}

MAP_INFO: Layout = {
    "type": (0, 4),
    "id": (4, 4),
    "key_size": (8, 4),
    "value_size": (12, 4),
    "max_entries": (16, 4),
    "map_flags": (20, 4),
    "name": (24, 16),
    "ifindex": (40, 4),
    "btf_vmlinux_value_type_id": (44, 4),
    "netns_dev": (48, 8),
    "netns_ino": (56, 8),
    "btf_id": (64, 4),
    "btf_key_type_id": (68, 4),
    "btf_value_type_id": (72, 4),
    "btf_vmlinux_id": (76, 4),
    "map_extra": (80, 8),
    "hash": (88, 8),
    "hash_size": (96, 4),
}

PROG_INFO: Layout = {
    "type": (0, 4),
    "id": (4, 4),
    "tag": (8, 8),
    "jited_prog_len": (16, 4),
    "xlated_prog_len": (20, 4),
    "jited_prog_insns": (24, 8),
    "xlated_prog_insns": (32, 8),
    "load_time": (40, 8),
    "created_by_uid": (48, 4),
    "nr_map_ids": (52, 4),
    "map_ids": (56, 8),
    "name": (64, 16),
    "ifindex": (80, 4),
    "netns_dev": (88, 8),
    "netns_ino": (96, 8),
    "nr_jited_ksyms": (104, 4),
    "nr_jited_func_lens": (108, 4),
    "jited_ksyms": (112, 8),
    "jited_func_lens": (120, 8),
    "btf_id": (128, 4),
    "func_info_rec_size": (132, 4),
    "func_info": (136, 8),
    "nr_func_info": (144, 4),
    "nr_line_info": (148, 4),
    "line_info": (152, 8),
    "jited_line_info": (160, 8),
    "nr_jited_line_info": (168, 4),
    "line_info_rec_size": (172, 4),
    "jited_line_info_rec_size": (176, 4),
    "nr_prog_tags": (180, 4),
    "prog_tags": (184, 8),
    "run_time_ns": (192, 8),
    "run_cnt": (200, 8),
    "recursion_misses": (208, 8),
    "verified_insns": (216, 4),
    "attach_btf_obj_id": (220, 4),
    "attach_btf_id": (224, 4),
}

BTF_INFO: Layout = {
    "btf": (0, 8),
    "btf_size": (8, 4),
    "id": (12, 4),
    "name": (16, 8),
    "name_len": (24, 4),
    "kernel_btf": (28, 4),
}

LINK_INFO: Layout = {
    "type": (0, 4),
    "id": (4, 4),
    "prog_id": (8, 4),
    "raw_tracepoint_tp_name": (16, 8),
    "raw_tracepoint_tp_name_len": (24, 4),
    "raw_tracepoint_cookie": (32, 8),
    "tracing_attach_type": (16, 4),
    "tracing_target_obj_id": (20, 4),
    "tracing_target_btf_id": (24, 4),
    "tracing_cookie": (32, 8),
    "cgroup_cgroup_id": (16, 8),
    "cgroup_attach_type": (24, 4),
    "iter_target_name": (16, 8),
    "iter_target_name_len": (24, 4),
    "iter_map_map_id": (28, 4),
    "iter_cgroup_cgroup_id": (32, 8),
    "iter_cgroup_order": (40, 4),
    "iter_task_tid": (32, 4),
    "iter_task_pid": (36, 4),
    "netns_netns_ino": (16, 4),
    "netns_attach_type": (20, 4),
    "xdp_ifindex": (16, 4),
    "struct_ops_map_id": (16, 4),
    "netfilter_pf": (16, 4),
    "netfilter_hooknum": (20, 4),
    "netfilter_priority": (24, 4),
    "netfilter_flags": (28, 4),
    "kprobe_multi_addrs": (16, 8),
    "kprobe_multi_count": (24, 4),
    "kprobe_multi_flags": (28, 4),
    "kprobe_multi_missed": (32, 8),
    "kprobe_multi_cookies": (40, 8),
    "uprobe_multi_path": (16, 8),
    "uprobe_multi_offsets": (24, 8),
    "uprobe_multi_ref_ctr_offsets": (32, 8),
    "uprobe_multi_cookies": (40, 8),
    "uprobe_multi_path_size": (48, 4),
    "uprobe_multi_count": (52, 4),
    "uprobe_multi_flags": (56, 4),
    "uprobe_multi_pid": (60, 4),
    "tracing_multi_attach_type": (16, 4),
    "tracing_multi_count": (20, 4),
    "tracing_multi_btf_obj_id": (24, 4),
    "tracing_multi_ids": (32, 8),
    "tracing_multi_addrs": (40, 8),
    "tracing_multi_cookies": (48, 8),
    "perf_event_type": (16, 4),
    "perf_event_uprobe_file_name": (24, 8),
    "perf_event_uprobe_name_len": (32, 4),
    "perf_event_uprobe_offset": (36, 4),
    "perf_event_uprobe_cookie": (40, 8),
    "perf_event_uprobe_ref_ctr_offset": (48, 8),
    "perf_event_kprobe_func_name": (24, 8),
    "perf_event_kprobe_name_len": (32, 4),
    "perf_event_kprobe_offset": (36, 4),
    "perf_event_kprobe_addr": (40, 8),
    "perf_event_kprobe_missed": (48, 8),
    "perf_event_kprobe_cookie": (56, 8),
    "perf_event_tracepoint_tp_name": (24, 8),
    "perf_event_tracepoint_name_len": (32, 4),
    "perf_event_tracepoint_cookie": (40, 8),
    "perf_event_event_config": (24, 8),
    "perf_event_event_type": (32, 4),
    "perf_event_event_cookie": (40, 8),
    "tcx_ifindex": (16, 4),
    "tcx_attach_type": (20, 4),
    "netkit_ifindex": (16, 4),
    "netkit_attach_type": (20, 4),
    "sockmap_map_id": (16, 4),
    "sockmap_attach_type": (20, 4),
}
