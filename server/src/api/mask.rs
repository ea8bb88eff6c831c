//! Read masks: which fields of an artifact are answered.

use artifactd_proto::v1 as pb;
use prost_types::FieldMask;
use tonic::Status;

use super::{layer::CallId, status};

/// Which fields to answer.
#[derive(Debug, Clone)]
pub(super) struct ReadMask(Option<Vec<String>>);

/// The names of the fields of an artifact.
fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name)
}

/// How to forget a field.
type Clear = fn(&mut pb::Artifact);

macro_rules! fields {
    ($($name:ident),* $(,)?) => {
        const FIELDS: &[(&str, Clear)] = &[
            $((stringify!($name), |artifact| artifact.$name = Default::default()),)*
        ];

        /// Fails to compile when a field of the message is missing above.
        #[expect(dead_code, reason = "it is here to be compiled")]
        fn every_field_is_listed(artifact: pb::Artifact) {
            let pb::Artifact { uid: _, $($name: _),* } = artifact;
        }
    };
}

// All but `uid`, which is always answered.
fields! {
    stem, key, description, kind, suffix, file_name, media_type, size, hash, hash_type, version, version_number,
    is_latest, visibility, space, storage, key_is_virtual, path, created_by, created_at, updated_at, deleted_at, etag,
    content_etag, id, n_objects, accessor, n_observations, run_uid, transform_uid, previous_run_uids,
}

impl ReadMask {
    /// Takes the paths of a mask; no mask, an empty one and `*` mean all fields.
    pub(super) fn parse(mask: Option<FieldMask>, call_id: &CallId) -> Result<Self, Status> {
        const NAME_CHARS_MAX: usize = 40;
        let paths = mask.unwrap_or_default().paths;
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self(None));
        }
        let unknown = paths
            .iter()
            .find(|path| *path != "uid" && !names().any(|name| name == *path));
        if let Some(path) = unknown {
            let path: String = path.chars().take(NAME_CHARS_MAX).collect();
            let rule = format!("names `{path}`, which is no field of an artifact");
            return Err(status::field(call_id, "read_mask", rule));
        }
        Ok(Self(Some(paths)))
    }

    /// Leaves only what was asked for.
    pub(super) fn apply(&self, mut artifact: pb::Artifact) -> pb::Artifact {
        if let Some(paths) = &self.0 {
            let others = FIELDS.iter().filter(|(name, _)| !paths.iter().any(|path| path == name));
            others.for_each(|(_, clear)| clear(&mut artifact));
        }
        artifact
    }

    /// The same for many.
    pub(super) fn apply_all(&self, artifacts: Vec<pb::Artifact>) -> Vec<pb::Artifact> {
        match &self.0 {
            Some(_) => artifacts.into_iter().map(|artifact| self.apply(artifact)).collect(),
            None => artifacts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(paths: &[&str]) -> Result<pb::Artifact, Status> {
        let mask = FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let artifact = pb::Artifact {
            uid: "0123456789abcdef0000".to_owned(),
            key: Some("a.csv".to_owned()),
            size: 3,
            is_latest: true,
            ..Default::default()
        };
        Ok(ReadMask::parse(Some(mask), &CallId::new("call-1"))?.apply(artifact))
    }

    #[test]
    fn masks_leave_what_they_name() {
        let all = masked(&[]).unwrap();
        assert_eq!(masked(&["*", "key"]).unwrap(), all);
        let key = masked(&["key"]).unwrap();
        let expected = pb::Artifact {
            uid: all.uid.clone(),
            key: all.key.clone(),
            ..Default::default()
        };
        assert_eq!(key, expected);
        assert_eq!(masked(&["uid"]).unwrap().key, None);
        for unknown in ["", "keys", "key.x", "created_at.seconds", "KEY", "__class__"] {
            assert!(masked(&["key", unknown]).is_err(), "{unknown}");
        }
    }
}
