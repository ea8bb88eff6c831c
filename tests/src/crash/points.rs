//! Which crash points there are, and which operation comes by which.

use std::{fs, path::Path};

use super::{Operation, folders};
use crate::{Backend, Database, Storage};

/// Names of the crash points, read from the server's source so that no list can
/// fall behind it.
pub fn crash_points() -> Vec<String> {
    let mut names = Vec::new();
    collect_points(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../server/src")),
        &mut names,
    );
    names.sort();
    names.dedup();
    assert!(!names.is_empty(), "the server has no crash points");
    names
}

fn collect_points(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("read the server's source").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_points(&path, names);
        } else {
            let text = fs::read_to_string(&path).expect("read a source file");
            names.extend(
                text.split("fault::point(\"")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
}

/// Whether a point can be met on a backend.
pub fn applies(point: &str, backend: Backend) -> bool {
    match point.split('.').next() {
        Some("local") => backend.storage == Storage::Local,
        Some("cloud") => backend.storage == Storage::S3,
        _ => true,
    }
}

/// Whether an operation comes by a point, where it is worth a try: what an operation does as
/// another one does it is left to that one. The long form tries all.
pub fn meets(point: &str, operation: Operation, backend: Backend) -> bool {
    use Operation::{
        AbortUpload, Annotate, Batch, BeginRun, Collect, CommitWork, Destroy, DestroyFolder, DestroyInPlace, Folder,
        Index, LargeFolder, Move, MoveFolder, NewVersion, Replace, Restore, SameContent, Save, SaveSmall, SetAlias,
        SharedContent, Trash, Update, Upload, UploadAtOnce,
    };
    if !applies(point, backend) {
        return false;
    }
    let (part, step) = point.split_once('.').expect("a point has a part and a step");
    match (part, step) {
        // What is small is written under its own name at once, what is larger staged.
        ("local", "created" | "written") => matches!(operation, SaveSmall | Batch),
        // A storage does not know which database there is.
        ("local", _) if backend.database == Database::Postgres => matches!(operation, Save | Folder),
        ("local", "mid_write") => matches!(operation, Save | SaveSmall | Replace | Batch | Folder),
        ("local", "staging_created" | "after_rename" | "after_folder_fsync") => {
            matches!(operation, Save | Replace | Folder | Upload)
        }
        ("local", _) => matches!(operation, Save | SaveSmall | Replace | Batch | Folder | Upload),
        ("cloud", "before_parts_complete") => operation == Upload,
        ("cloud", "after_complete" | "after_head") => matches!(operation, Save | SaveSmall | Replace | Upload),
        ("cloud", _) => matches!(operation, Save | Replace),
        ("save" | "write", _) if backend.storage == Storage::S3 => operation == Save,
        ("save", "in_transaction") => matches!(
            operation,
            Save | SaveSmall | NewVersion | SharedContent | Batch | Folder | Upload
        ),
        ("save", "chunk_received") => matches!(operation, Save | Replace | Folder),
        ("save", "content_received") => matches!(operation, Save | SaveSmall | Replace | Folder),
        ("save", _) => matches!(operation, Save | SaveSmall | NewVersion | SameContent | SharedContent),
        ("folder", _) if point == folders::ONLY_LARGE => operation == LargeFolder,
        ("folder", "page_in_transaction" | "page_committed") => matches!(operation, Folder | MoveFolder),
        ("folder", _) => operation == Folder,
        ("move", _) => matches!(operation, Move | MoveFolder),
        ("uploads", "removed_in_transaction" | "row_removed") => operation == AbortUpload,
        ("uploads", _) => matches!(operation, Upload | UploadAtOnce),
        ("delete", _) => matches!(operation, Trash | Restore | Destroy | DestroyFolder),
        ("gc", _) => operation == Collect,
        ("remove", _) => operation == DestroyInPlace,
        ("sweep", _) => operation == DestroyFolder,
        ("batch", _) => operation == Batch,
        ("replace", _) => operation == Replace,
        ("update", _) => operation == Update,
        ("annotate", _) => operation == Annotate,
        ("run", _) => operation == BeginRun,
        ("alias", _) => operation == SetAlias,
        ("search", _) => operation == Index,
        ("work", _) => operation == CommitWork,
        ("write", _) => !matches!(
            operation,
            Index | LargeFolder | UploadAtOnce | MoveFolder | DestroyInPlace
        ),
        _ => panic!("nobody says which operation comes by {point}"),
    }
}
