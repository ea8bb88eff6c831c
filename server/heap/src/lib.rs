//! What the C library's heap keeps of memory that was freed.
//!
//! glibc gives threads arenas of their own, eight for each processor, and keeps what is
//! freed in each for itself. Content is received on one thread and freed on another, so
//! that hundreds of saves at once were in memory two or three times: 500 of 64 MiB
//! took 350 to 650 MiB, and take 180 to 220 with these bounds. A crate of its own, as it
//! is the only place that calls the C library.

/// Memory of at least so many bytes goes back to the system when it is freed. What glibc
/// chooses by itself grows to 32 MiB, and what an arena keeps with it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: i32 = 1 << 20;

/// Bounds the heap of this process: as many arenas as processors. Other C libraries have
/// no such arenas, and are left as they are.
///
/// To be called before any other thread is there: threads keep the arenas that they have.
pub fn bound() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let arenas = std::thread::available_parallelism().map_or(1, usize::from);
        set(libc::M_ARENA_MAX, i32::try_from(arenas).unwrap_or(i32::MAX));
        set(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

/// Sets one of the heap's parameters. One that a later library does not know stays as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the heap has no safe interface")]
fn set(parameter: i32, value: i32) {
    // SAFETY: `mallopt` takes two numbers and changes nothing but the heap's parameters.
    unsafe { libc::mallopt(parameter, value) };
}
