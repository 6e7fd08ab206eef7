//! Variables, a map that BTF defines, functions and a loop, in Rust.
#![no_std]
#![no_main]

use core::mem::transmute;
use core::panic::PanicInfo;

#[repr(C)]
struct HashMap {
    r#type: *const [i32; 1], // BPF_MAP_TYPE_HASH
    max_entries: *const [i32; 16],
    key: *const u32,
    value: *const u64,
}
unsafe impl Sync for HashMap {}

#[no_mangle]
#[link_section = ".maps"]
static sums: HashMap = HashMap {
    r#type: core::ptr::null(),
    max_entries: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
};

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";

#[no_mangle]
static mut results: [i64; 8] = [0; 8];

#[no_mangle]
static mut counted: i32 = 4;

fn lookup(key: &u32) -> Option<&'static mut u64> {
    let helper: unsafe extern "C" fn(*const HashMap, *const u32) -> *mut u64 =
        unsafe { transmute(1usize) }; // bpf_map_lookup_elem
    unsafe { helper(&raw const sums, key).as_mut() }
}

fn update(key: &u32, value: &u64) -> i64 {
    let helper: unsafe extern "C" fn(*const HashMap, *const u32, *const u64, u64) -> i64 =
        unsafe { transmute(2usize) }; // bpf_map_update_elem
    unsafe { helper(&raw const sums, key, value, 0) }
}

#[inline(never)]
fn square(number: i64) -> i64 {
    number * number
}

#[no_mangle]
#[link_section = "syscall"]
unsafe extern "C" fn run(_context: *mut u8) -> i32 {
    let mut sum = 0;
    for number in 0..10 {
        sum += square(number);
    }
    unsafe {
        counted += 1;
        results[0] = sum;
        results[1] = counted as i64;
        results[2] = update(&7, &40);
        if let Some(value) = lookup(&7) {
            *value += 2;
            results[3] = *value as i64;
        }
    }
    0
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}
