//! One upload through everything that can happen on its way: its client is killed at 30 %,
//! its server at 60 %, and its line is cut at 90 %.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicU64, Ordering},
};

use artifactd_client::{Client, SaveOptions, UploadOptions, UploadProgress, domain::Sha256, domain::Sha256Hasher};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{Backend, TestServer, content::content, proxy::Proxy};

const MIB: u64 = 1 << 20;

/// Calls that are no parts, and the frames around these, for each GiB and for whatever is less.
const OVERHEAD: u64 = MIB;

/// Bytes that are generated at once.
const PIECE_BYTES: u64 = 8 * MIB;

/// How a client is asked to look after progress.
const POLL: std::time::Duration = std::time::Duration::from_millis(2);

/// What is uploaded, and how.
#[derive(Debug, Clone, Copy)]
pub struct LongUpload {
    /// What the server runs on.
    pub backend: Backend,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of a part; the server's choice when 0.
    pub part_bytes: u64,
    /// Whether the parts travel one after another.
    pub in_order: bool,
    /// Decides the content.
    pub seed: u64,
}

/// What travelled more than once.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Bytes of a part.
    pub part_bytes: u64,
    /// Streams over which parts travelled.
    pub streams: u64,
    /// Bytes that had left when the client was killed, and were not durable.
    pub lost_with_client: u64,
    /// Bytes that left after that, above those that were not durable then.
    pub again_after_two_cuts: u64,
}

/// How the first client runs, and ends.
pub enum FirstClient<'a> {
    /// In this process: all that it does is dropped.
    Dropped,
    /// In a process of its own, which is killed. It is started with the URL, the file and the key.
    Killed(&'a dyn Fn(&str, &Path, &LongUpload) -> Child),
}

impl LongUpload {
    /// Key of what is uploaded.
    pub const KEY: &'static str = "long.bin";

    /// How the client shall upload it.
    pub fn options(&self) -> UploadOptions {
        UploadOptions {
            part_bytes: self.part_bytes,
            in_order: self.in_order,
            ..UploadOptions::default()
        }
    }

    /// What each client asks for, and the next one again.
    pub fn wanted() -> SaveOptions {
        SaveOptions {
            request_id: Some("the-long-upload".to_owned()),
            ..SaveOptions::key(Self::KEY)
        }
    }

    /// Uploads it through everything; answers what it cost.
    ///
    /// # Panics
    /// When it does not become one artifact of the right bytes, or more travelled again than a
    /// part of each stream for each cut.
    pub async fn survive(self, first: FirstClient<'_>) -> Course {
        let mut server = TestServer::on(self.backend).await;
        let proxy = Proxy::start(server.address()).await;
        let (folder, path, sha256) = self.make_file();
        let url = proxy.through(&server.url());

        let uid = self.begin(first, &url, &path, &server).await;
        let before = proxy.sent_bytes();
        assert!(before < self.size, "there is something left");

        let (told, mut events) = watch::channel(0);
        let (found, sent) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let second = Client::connect(url).await.expect("connect");
        let progress = |now: UploadProgress| {
            assert_eq!(now.uid, uid, "it is the same upload");
            found.fetch_min(now.durable_bytes, Ordering::Relaxed);
            sent.store(now.sent_bytes, Ordering::Relaxed);
            let (past, so_far) = (told.send_replace(now.durable_bytes), self.size * 9 / 10);
            if past < so_far && now.durable_bytes >= so_far {
                proxy.cut();
            }
        };
        let uploading = second.upload_file_with(&path, Self::wanted(), self.options(), progress);
        let killing = async {
            let so_far = self.size * 6 / 10;
            events.wait_for(|durable| *durable >= so_far).await.expect("it goes on");
            server.kill();
            server.start_again_in_place().await;
        };
        let (saved, ()) = tokio::join!(uploading, killing);
        let saved = saved.expect("it is saved in the end");
        assert_eq!((saved.artifact.size_bytes, saved.artifact.sha256), (self.size, sha256));

        let (found, sent) = (found.into_inner(), sent.into_inner());
        assert!(found >= self.size * 3 / 10, "what was durable is");
        assert!(
            sent <= self.size - found,
            "{sent} bytes of parts after {found}: some came twice"
        );
        let uploads: Vec<_> = second.list_uploads().try_collect().await.expect("list uploads");
        let [upload] = uploads.as_slice() else {
            panic!("one upload, not {uploads:?}")
        };
        let course = Course {
            part_bytes: upload.part_bytes,
            streams: if self.in_order {
                1
            } else {
                self.options().streams as u64
            },
            lost_with_client: before.saturating_sub(found),
            again_after_two_cuts: (proxy.sent_bytes() - before).saturating_sub(self.size - found),
        };
        self.check(&course);
        self.assert_whole(&server, &folder, sha256).await;
        course
    }

    fn check(&self, course: &Course) {
        let a_cut = course.streams * course.part_bytes;
        let overhead = OVERHEAD * (1 + self.size / (1 << 30));
        assert!(course.lost_with_client <= a_cut + overhead, "{self:?}: {course:?}");
        assert!(
            course.again_after_two_cuts <= 2 * a_cut + overhead,
            "{self:?}: {course:?}"
        );
    }

    fn make_file(&self) -> (TempDir, PathBuf, Sha256) {
        let folder = tempfile::tempdir().expect("make a folder");
        let path = folder.path().join("long.bin");
        let (mut file, mut hasher) = (File::create(&path).expect("make a file"), Sha256Hasher::default());
        for (number, at) in (0..self.size).step_by(PIECE_BYTES as usize).enumerate() {
            let piece = content(self.seed + number as u64, PIECE_BYTES.min(self.size - at) as usize);
            hasher.update(&piece);
            file.write_all(&piece).expect("fill the file");
        }
        (folder, path, hasher.finish())
    }

    /// Uploads until 30 % are durable; answers the upload.
    async fn begin(&self, first: FirstClient<'_>, url: &str, path: &Path, server: &TestServer) -> String {
        let so_far = self.size * 3 / 10;
        match first {
            FirstClient::Dropped => {
                let (told, mut events) = watch::channel(None);
                let client = Client::connect(url).await.expect("connect");
                let progress = |now| drop(told.send_replace(Some(now)));
                let uploading = client.upload_file_with(path, Self::wanted(), self.options(), progress);
                let enough = |now: &Option<UploadProgress>| now.as_ref().is_some_and(|now| now.durable_bytes >= so_far);
                tokio::select! {
                    ended = uploading => panic!("the upload was faster than its end: {ended:?}"),
                    enough = events.wait_for(enough) => enough.expect("it goes on").as_ref().expect("it was told").uid.clone(),
                }
            }
            FirstClient::Killed(start) => {
                let watcher = server.client().await;
                let mut process = start(url, path, self);
                let uid = loop {
                    let uploads: Vec<_> = watcher.list_uploads().try_collect().await.expect("list uploads");
                    if let Some(upload) = uploads.first().filter(|upload| upload.durable_bytes >= so_far) {
                        break upload.uid.clone();
                    }
                    let ended = process.try_wait().expect("look after the client");
                    assert!(ended.is_none(), "the client ended early: {ended:?}");
                    tokio::time::sleep(POLL).await;
                };
                process.kill().expect("kill the client");
                process.wait().expect("wait for its end");
                uid
            }
        }
    }

    async fn assert_whole(&self, server: &TestServer, folder: &TempDir, sha256: Sha256) {
        let client = server.client().await;
        let copy = folder.path().join("copy.bin");
        client.download(Self::KEY, &copy).await.expect("download it");
        let mut hasher = Hashing(Sha256Hasher::default());
        io::copy(&mut File::open(&copy).expect("open the copy"), &mut hasher).expect("read the copy");
        assert_eq!(hasher.0.finish(), sha256);
        assert_eq!(
            client.versions(Self::KEY).await.expect("list versions").len(),
            1,
            "one artifact"
        );
        assert_eq!(server.staged(), [""; 0]);
        assert_eq!(server.stored_files_below("uploads"), 0);
        server.assert_clean();
    }
}

struct Hashing(Sha256Hasher);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
