//! The ways to name an artifact in a call.

use artifactd_domain::{ArtifactRef, Key, Stem, Uid};

use crate::{Artifact, Error, Result};

/// Something that names an artifact: a uid, a stem, a key, an artifact, or text.
pub trait IntoReference {
    /// The reference, or why the text is none.
    fn into_reference(self) -> Result<ArtifactRef>;
}

impl IntoReference for ArtifactRef {
    fn into_reference(self) -> Result<ArtifactRef> {
        Ok(self)
    }
}

impl IntoReference for Uid {
    fn into_reference(self) -> Result<ArtifactRef> {
        Ok(self.into())
    }
}

impl IntoReference for Stem {
    fn into_reference(self) -> Result<ArtifactRef> {
        Ok(self.into())
    }
}

impl IntoReference for Key {
    fn into_reference(self) -> Result<ArtifactRef> {
        Ok(self.into())
    }
}

impl IntoReference for &Artifact {
    fn into_reference(self) -> Result<ArtifactRef> {
        Ok(self.uid.into())
    }
}

impl IntoReference for &str {
    fn into_reference(self) -> Result<ArtifactRef> {
        self.parse()
            .map_err(|error| Error::Input(format!("`{self}` names no artifact: {error}")))
    }
}

impl IntoReference for &String {
    fn into_reference(self) -> Result<ArtifactRef> {
        self.as_str().into_reference()
    }
}
