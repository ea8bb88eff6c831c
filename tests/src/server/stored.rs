//! The bytes that it stores: whether `verify` finds them whole, and ways to damage them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::TestServer;

/// What `artifactd verify` found.
#[derive(Debug)]
pub struct Verified {
    /// Exit code: 0 clean, 2 data problem, 3 could not run.
    pub exit_code: Option<i32>,
    /// The report.
    pub report: serde_json::Value,
}

/// How much `verify` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Records against what the storage says of its objects.
    Quick,
    /// Every byte again.
    Deep,
}

impl TestServer {
    /// Compares records and bytes, re-reading every byte when `deep`.
    ///
    /// # Panics
    /// When there is no report.
    pub fn verify(&self, depth: Depth) -> Verified {
        let data_dir = self.data_dir();
        let mut arguments = vec![
            "verify",
            "--json",
            "--data-dir",
            data_dir.to_str().expect("a plain path"),
        ];
        if depth == Depth::Deep {
            arguments.push("--deep");
        }
        let output = self.run(&arguments);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
            panic!("verify gave no report ({error}), {}:\n{out}\n{err}", output.status)
        });
        Verified {
            exit_code: output.status.code(),
            report,
        }
    }

    /// Fails the test unless every record has its bytes, and the right ones.
    ///
    /// # Panics
    /// When `verify --deep` finds a problem.
    pub fn assert_clean(&self) {
        let verified = self.verify(Depth::Deep);
        assert_eq!(
            verified.exit_code,
            Some(0),
            "verify on {:?}: {:#}",
            self.setup.backend,
            verified.report
        );
    }

    /// Names of everything that the storage holds, staging left out.
    pub fn stored_objects(&self) -> Vec<String> {
        let all = match &self.bucket {
            Some(bucket) => bucket.list(),
            None => self
                .stored_files()
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        };
        all.into_iter()
            .filter(|name| name.contains("/objects/") || name.contains("/packs/"))
            .collect()
    }

    /// Names of what is on its way in or was left behind on it.
    pub fn staged(&self) -> Vec<String> {
        match &self.bucket {
            Some(bucket) => vec![".".to_owned(); bucket.unfinished_uploads()],
            None => {
                let files = self.stored_files().into_iter().map(|path| path.display().to_string());
                // The server probes its storage under a name of zeros.
                let is_probe = |name: &String| name.contains("/staging/00000000000000000000000000000000.");
                files
                    .filter(|name| name.contains("/staging/") && !is_probe(name))
                    .collect()
            }
        }
    }

    /// Number of files in a folder of the server's in a local storage.
    pub fn stored_files_below(&self, folder: &str) -> usize {
        let folder = format!("/.artifactd/{folder}/");
        let files = self.stored_files().into_iter().map(|path| path.display().to_string());
        files.filter(|path| path.contains(&folder)).count()
    }

    /// Every file below the storage's root.
    pub fn stored_files(&self) -> Vec<PathBuf> {
        let root = self.setup.storage_path.clone().unwrap_or_else(|| self.data_dir());
        let mut files = Vec::new();
        collect_files(&root, &mut files);
        files
    }

    /// Puts other bytes where the only stored object is.
    ///
    /// # Panics
    /// When the storage does not hold exactly one object.
    pub fn overwrite_only_object(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let objects = self.stored_objects();
        let [name] = objects.as_slice() else {
            panic!("expected one object, got {objects:?}")
        };
        let mut bytes = match &self.bucket {
            Some(bucket) => bucket.read(name),
            None => fs::read(name).expect("read an object"),
        };
        change(&mut bytes);
        match &self.bucket {
            Some(bucket) => bucket.overwrite(name, &bytes),
            None => overwrite_file(Path::new(name), &bytes),
        }
    }

    /// Removes the only stored object.
    ///
    /// # Panics
    /// When the storage does not hold exactly one object.
    pub fn remove_only_object(&self) {
        let objects = self.stored_objects();
        let [name] = objects.as_slice() else {
            panic!("expected one object, got {objects:?}")
        };
        match &self.bucket {
            Some(bucket) => bucket.remove(name),
            None => fs::remove_file(name).expect("remove an object"),
        }
    }
}

/// Writes over a file in place, also one that is marked read-only.
fn overwrite_file(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    fs::write(path, bytes).expect("overwrite an object");
}

pub(super) fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
