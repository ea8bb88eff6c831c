//! The memory of content on its way.

/// What is on its way at once, so that all of it may be freed at once and kept.
const BUFFER_BYTES: usize = 4 << 20;

/// Lets the allocator keep the memory of such buffers for the next ones.
///
/// glibc gives a large block back to the system when it is freed, and the next
/// one is made of fresh pages, which costs as much as receiving into them. What
/// is large follows the largest block that was freed, so one is freed at once. It
/// is never touched and takes no memory; other allocators do not care.
pub(crate) fn keep_buffers() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BUFFER_BYTES)));
}
