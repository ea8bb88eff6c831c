//! What the C library's heap keeps of memory that was freed.
//!
//! glibc gives threads arenas of their own, eight for each processor, and keeps what is
//! freed in each for itself. Content is received on one thread and freed on another, so
//! that hundreds of saves at once were in memory two or three times: 500 of 64 MiB
//! took 350 to 650 MiB, and take 180 to 220 with these bounds. A crate of its own, as it
//! is the only place that calls the C library.

/// Memory of at least so many bytes goes back to the system when it is freed. What glibc
/// chooses by itself grows to 32 MiB, and what an arena keeps with it. The pages of tables
/// have a mebibyte when they are unpacked, which is below it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: i32 = 3 << 19;

/// What an arena keeps of freed memory at its end. glibc, once it is told the above, would
/// give back all but 128 KiB: a page of a list frees some hundred, and the next one would
/// have each page of them made and cleared again. So would the next row group of a table
/// with less than here: to make pages was a fifth of the CPU of a read of two columns.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: i32 = 6 << 20;

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
        set(libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
    }
}

/// Sets one of the heap's parameters. One that a later library does not know stays as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the heap has no safe interface")]
fn set(parameter: i32, value: i32) {
    // SAFETY: `mallopt` takes two numbers and changes nothing but the heap's parameters.
    unsafe { libc::mallopt(parameter, value) };
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Pages of memory that this thread had made for it so far.
    #[expect(unsafe_code, reason = "nobody else counts them")]
    fn pages_made() -> i64 {
        // SAFETY: zeroes are a value of this struct, which the call fills.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
            usage.ru_minflt
        }
    }

    #[test]
    fn what_a_call_frees_serves_the_next_one() {
        bound();
        let call = || {
            black_box(
                (0..=255_u8)
                    .cycle()
                    .take(512)
                    .map(|byte| vec![byte; 2_048])
                    .collect::<Vec<_>>(),
            )
        };
        drop(call());
        let before = pages_made();
        drop(call());
        let made = pages_made() - before;
        assert!(made < 32, "{made} pages of 4 KiB were made for 1 MiB");
        let pages_of_a_table = || black_box((0..4).map(|byte| vec![byte; (1 << 20) + 100]).collect::<Vec<Vec<u8>>>());
        drop(pages_of_a_table());
        let before = pages_made();
        drop(pages_of_a_table());
        let made = pages_made() - before;
        assert!(made < 32, "{made} pages of 4 KiB were made for 4 MiB");
    }
}
