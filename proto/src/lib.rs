//! artifactd.
