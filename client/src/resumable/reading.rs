//! The file is read once from its beginning to its end while its parts travel: to hash
//! it, and to compare it with the parts that came before.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use artifactd_domain::{Sha256, Sha256Hasher, crc32c_append};
use bytes::BytesMut;
use tokio::sync::oneshot;

use super::{file::LocalFile, parts::Sums};
use crate::{Error, Result, upload::CHUNK_BYTES};

/// What is found by reading.
#[derive(Debug)]
pub(super) struct Reading {
    path: PathBuf,
    sha256: Told<Sha256>,
    compared: Told<()>,
}

/// Something that is known, or will be told once.
#[derive(Debug)]
enum Told<T> {
    Known(T),
    Coming(oneshot::Receiver<Result<T>>),
}

impl Reading {
    /// Reads what has to be: all of the file unless its sha256 was declared, and in any case
    /// what the durable parts shall be.
    pub(super) fn start(file: &LocalFile, declared: Option<Sha256>, durable: Sums) -> Self {
        let (tell_sha256, sha256) = oneshot::channel();
        let (tell_compared, compared) = oneshot::channel();
        let is_compared = durable.parts.is_empty();
        let reading = Self {
            path: file.path().to_owned(),
            sha256: declared.map_or(Told::Coming(sha256), Told::Known),
            compared: if is_compared {
                Told::Known(())
            } else {
                Told::Coming(compared)
            },
        };
        if declared.is_some() && is_compared {
            return reading;
        }
        let mut reader = Reader {
            file: file.clone(),
            hasher: declared.is_none().then(Sha256Hasher::default),
            durable,
            compared: Some(tell_compared),
            hashed: tell_sha256,
        };
        // The thread ends with the file, or when nobody waits for it any more.
        tokio::task::spawn_blocking(move || {
            let read = reader.read();
            reader.tell(read);
        });
        reading
    }

    /// The sha256 of the file, as it was declared or found.
    pub(super) async fn sha256(&mut self) -> Result<Sha256> {
        self.sha256.wait(&self.path).await
    }

    /// Completes when all durable parts are what the file has, or fails.
    pub(super) async fn compared(&mut self) -> Result<()> {
        self.compared.wait(&self.path).await
    }
}

impl<T: Copy> Told<T> {
    async fn wait(&mut self, path: &std::path::Path) -> Result<T> {
        let told = match self {
            Self::Known(told) => *told,
            Self::Coming(coming) => {
                // A runtime that ends takes its threads with it.
                let ended = |error| Error::file(path, io::Error::other(error));
                coming.await.map_err(ended)??
            }
        };
        *self = Self::Known(told);
        Ok(told)
    }
}

/// What reads, on a thread of its own.
struct Reader {
    file: LocalFile,
    hasher: Option<Sha256Hasher>,
    durable: Sums,
    compared: Option<oneshot::Sender<Result<()>>>,
    hashed: oneshot::Sender<Result<Sha256>>,
}

impl Reader {
    fn read(&mut self) -> Result<()> {
        let path = self.file.path().to_owned();
        let failed = |error| Error::file(&path, error);
        let mut opened = File::open(&path).map_err(failed)?;
        let mut memory = BytesMut::zeroed(CHUNK_BYTES);
        let (mut at, size_bytes) = (0_u64, self.file.size_bytes);
        for number in 0.. {
            let end = u64::min(size_bytes, self.durable.part_bytes.saturating_add(at));
            if at == end || self.is_stopped() {
                break;
            }
            let mut sum = 0;
            while at < end {
                let most = (end - at).min(CHUNK_BYTES as u64) as usize;
                let read = opened.read(&mut memory[..most]).map_err(failed)?;
                if read == 0 {
                    return Err(self.file.changed("it became shorter while it was uploaded"));
                }
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&memory[..read]);
                }
                sum = crc32c_append(sum, &memory[..read]);
                at += read as u64;
            }
            self.compare(number, sum)?;
        }
        Ok(())
    }

    /// Whether nobody waits for anything any more, or nothing is left to be found.
    fn is_stopped(&self) -> bool {
        let hashed = self.hasher.is_none() || self.hashed.is_closed();
        hashed && self.compared.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn compare(&mut self, number: u64, sum: u32) -> Result<()> {
        if self.durable.parts.remove(&number).is_some_and(|durable| durable != sum) {
            return Err(self
                .file
                .changed(&format!("part {number} was uploaded with other bytes")));
        }
        if self.durable.parts.is_empty()
            && let Some(compared) = self.compared.take()
        {
            // Nobody waits any more.
            let _ = compared.send(Ok(()));
        }
        Ok(())
    }

    fn tell(self, read: Result<()>) {
        match (read, self.compared, self.hasher) {
            (Err(error), Some(compared), _) => drop(compared.send(Err(error))),
            (Err(error), None, _) => drop(self.hashed.send(Err(error))),
            (Ok(()), _, Some(hasher)) => drop(self.hashed.send(Ok(hasher.finish()))),
            (Ok(()), _, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use artifactd_domain::crc32c;

    use super::*;

    const PART: usize = 3 << 20;

    async fn reading(content: &[u8], declared: Option<Sha256>, sums: &[(u64, u32)]) -> (Result<()>, Result<Sha256>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let local = LocalFile::look(file.path()).await.unwrap();
        let durable = Sums {
            part_bytes: PART as u64,
            parts: BTreeMap::from_iter(sums.iter().copied()),
        };
        let mut reading = Reading::start(&local, declared, durable);
        (reading.compared().await, reading.sha256().await)
    }

    fn content() -> Vec<u8> {
        (0..2 * PART + 77).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn parts_that_are_the_same_are_compared_and_all_is_hashed() {
        let bytes = content();
        let sums = [(0, crc32c(&bytes[..PART])), (2, crc32c(&bytes[2 * PART..]))];
        let (compared, sha256) = reading(&bytes, None, &sums).await;
        compared.unwrap();
        assert_eq!(sha256.unwrap(), Sha256::of(&bytes));
        let declared = Sha256::of(b"whatever the caller says");
        let (compared, sha256) = reading(&bytes, Some(declared), &sums).await;
        compared.unwrap();
        assert_eq!(sha256.unwrap(), declared);
    }

    #[tokio::test]
    async fn a_part_that_is_not_is_found() {
        let bytes = content();
        for declared in [None, Some(Sha256::of(&bytes))] {
            let sums = [(0, crc32c(&bytes[..PART])), (1, 7)];
            let (compared, _) = reading(&bytes, declared, &sums).await;
            let error = compared.unwrap_err();
            assert!(
                matches!(&error, Error::FileChanged { what, .. } if what.contains("part 1")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_is_read_where_nothing_has_to_be_found() {
        let declared = Sha256::of(b"x");
        let (compared, sha256) = reading(b"", Some(declared), &[]).await;
        assert!(compared.is_ok() && sha256.unwrap() == declared);
        let (compared, sha256) = reading(b"", None, &[]).await;
        assert!(compared.is_ok() && sha256.unwrap() == Sha256::of(b""));
    }
}
