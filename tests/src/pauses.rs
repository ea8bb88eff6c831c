//! Points at which a server waits until a test lets it go on.
//!
//! They are the crash points; see the server's `fault.rs`.

use std::{fs, path::PathBuf, time::Duration};

const POLL: Duration = Duration::from_millis(2);

/// The points at which a server waits. It goes on when this is dropped.
#[derive(Debug)]
pub struct Pauses {
    folder: PathBuf,
    points: Vec<String>,
}

impl Pauses {
    /// Those that files in a folder name.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        let points = Vec::new();
        Self { folder, points }
    }

    /// Has the next one who comes by a point wait there.
    ///
    /// # Panics
    /// When the server was set up without pauses.
    pub fn arm(&mut self, point: &str) {
        fs::write(self.folder.join(point), "").expect("the server has pauses");
        self.points.push(point.to_owned());
    }

    /// Whether somebody waits at a point.
    pub fn is_met(&self, point: &str) -> bool {
        self.folder.join(format!("{point}.met")).exists()
    }

    /// Waits until somebody waits at a point; false when `or` completes first.
    pub async fn met(&self, point: &str, or: impl Future<Output = ()>) -> bool {
        let met = async {
            while !self.is_met(point) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            biased;
            () = met => true,
            () = or => self.is_met(point),
        }
    }

    /// Lets everybody go on.
    pub fn release(&mut self) {
        for point in self.points.drain(..) {
            // One that nobody met, or that was let go already, has no such file.
            let _ = fs::remove_file(self.folder.join(&point));
            let _ = fs::remove_file(self.folder.join(format!("{point}.met")));
        }
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        self.release();
    }
}
