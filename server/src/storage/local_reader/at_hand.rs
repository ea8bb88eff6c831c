//! Reads of what the system has in memory: they wait for no disk.
//!
//! Handing a read to another thread and waiting for it wakes two, which costs more than
//! to copy what is there. So the system is asked first for what it has. It answers that
//! it would have to wait where that is so, and where it cannot tell; then, and after every
//! error, the read is made as others are, which also finds out what is wrong.

use std::{fs::File, io::IoSliceMut, path::Path};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::{ReadWriteFlags, preadv2},
};

/// The file at a path, all of which the system remembers.
pub(super) fn open(path: &Path) -> Option<File> {
    // What is no file might wait for somebody to write to it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED);
    opened.ok().map(File::from)
}

/// Reads until the buffer is full; false when something is missing.
pub(super) fn fill(file: &File, buffer: &mut [u8], start: u64) -> bool {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut rest = [IoSliceMut::new(&mut buffer[filled..])];
        match preadv2(file, &mut rest, start + filled as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => return false,
            Ok(read) => filled += read,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_is_at_hand_and_nothing_behind_its_end_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        std::fs::write(&path, b"0123456789").unwrap();
        assert!(open(&folder.path().join("other")).is_none());
        let Some(file) = open(&path) else {
            // A system that cannot tell is asked in vain, and no more is promised.
            return;
        };
        let mut buffer = [0; 4];
        if fill(&file, &mut buffer, 3) {
            assert_eq!(&buffer, b"3456");
        }
        assert!(!fill(&file, &mut buffer, 7));
        assert!(!fill(&file, &mut buffer, 10));
    }
}
