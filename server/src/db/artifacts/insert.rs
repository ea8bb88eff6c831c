//! New artifacts.

use std::collections::HashMap;

use artifactd_domain::{Label, Sha256, Uid, VersionNumber};
use sea_orm::{ConnectionTrait, DbErr};

use super::{ArtifactRow, Col};
use crate::db::{
    DbError, Insert, Inserted, Result, Txn, blobs::blob_id_in, entities::artifacts, families::family_id_of,
    insert_all_returning,
};

/// What a new artifact needs besides defaults; family and blob are found by their natural keys.
#[derive(Debug, Clone)]
pub(crate) struct NewRow {
    pub(crate) uid: Uid,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) version_number: VersionNumber,
    pub(crate) version_label: Label,
    pub(crate) key: Option<String>,
    pub(crate) key_is_virtual: bool,
    pub(crate) description: Option<String>,
    pub(crate) kind: i16,
    pub(crate) suffix: String,
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: Sha256,
    pub(crate) hash_type: i16,
    /// Of a folder: its manifest, and how many files it has.
    pub(crate) manifest: Option<(i64, i64)>,
    /// What was found in it: how it is opened, and how many rows it has.
    pub(crate) accessor: Option<i16>,
    pub(crate) n_observations: Option<i64>,
    pub(crate) visibility: i16,
    pub(crate) created_by: i64,
    /// The run that makes it: its id, its uid, and the uid of its transform.
    pub(crate) run: Option<(i64, String, Option<String>)>,
    pub(crate) now_us: i64,
}

/// Inserts an artifact as the latest version of its family; answers it without where
/// its bytes lie in the object.
///
/// `Conflict` when it would name no bytes; once it does, a foreign key keeps them.
pub(crate) async fn insert(txn: &Txn, new: NewRow, object: Option<ObjectName>) -> Result<ArtifactRow> {
    let family = family_id_of(new.uid.stem());
    let blob = match new.manifest {
        None => blob_id_in(new.storage_id, &new.sha256, new.size_bytes),
        Some(_) => None::<i64>.into(),
    };
    let insert = insert_of(&new, family, blob).returning([Col::Id, Col::FamilyId, Col::BlobId]);
    let row = txn.query_one_raw(insert.statement(txn.get_database_backend())).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotInserted)?;
    let blob_id: Option<i64> = row.try_get("", "blob_id")?;
    if blob_id.is_none() && new.manifest.is_none() {
        return Err(content_went());
    }
    let ids = (row.try_get("", "id")?, row.try_get("", "family_id")?, blob_id);
    Ok(inserted(new, ids, object))
}

/// Inserts first versions of new families, with files as their content, many in a
/// statement; answers them as [`insert`] does.
///
/// Each comes with the id of its family and its blob, and the object of that.
pub(crate) async fn insert_all(txn: &Txn, new: Vec<(NewRow, i64, i64, ObjectName)>) -> Result<Vec<ArtifactRow>> {
    let rows = new.iter().map(|(row, family_id, blob_id, _)| {
        insert_of(row, (*family_id).into(), (*blob_id).into()).returning([Col::Id, Col::Uid])
    });
    let ids: Vec<(i64, String)> = insert_all_returning(txn, rows.collect()).await?;
    let ids: HashMap<String, i64> = ids.into_iter().map(|(id, uid)| (uid, id)).collect();
    let rows = new.into_iter().map(|(row, family_id, blob_id, object)| {
        let id = ids.get(row.uid.as_str()).ok_or(DbErr::RecordNotInserted)?;
        Ok(inserted(row, (*id, family_id, Some(blob_id)), Some(object)))
    });
    rows.collect()
}

/// What was inserted with these ids, of the artifact, its family and its blob.
fn inserted(new: NewRow, (id, family_id, blob_id): (i64, i64, Option<i64>), object: Option<ObjectName>) -> ArtifactRow {
    let (run_id, run_uid, transform_uid) = match new.run {
        Some((id, uid, transform)) => (Some(id), Some(uid), transform),
        None => (None, None, None),
    };
    let (object_name, object_is_pack) = object.map(|object| (object.name, object.is_pack)).unzip();
    ArtifactRow {
        id,
        family_id,
        blob_id,
        manifest_id: new.manifest.map(|(id, _)| id),
        n_objects: new.manifest.map(|(_, objects)| objects),
        uid: new.uid.to_string(),
        space_id: new.space_id,
        storage_id: new.storage_id,
        version_number: number(new.version_number),
        version_label: new.version_label.to_string(),
        is_latest: true,
        key: new.key,
        key_is_virtual: new.key_is_virtual,
        description: new.description,
        kind: new.kind,
        suffix: new.suffix,
        file_name: new.file_name,
        media_type: new.media_type,
        size_bytes: new.size_bytes,
        sha256: new.sha256.as_bytes().to_vec(),
        hash_type: new.hash_type,
        visibility: new.visibility,
        visibility_before_trash: None,
        trash_batch: None,
        trashed_at_us: None,
        revision: 1,
        created_by: new.created_by,
        created_at_us: new.now_us,
        updated_at_us: new.now_us,
        run_id,
        has_previous_runs: false,
        run_uid,
        transform_uid,
        previous_runs: Vec::new(),
        accessor: new.accessor,
        n_observations: new.n_observations,
        object_name,
        object_id: None,
        object_is_pack,
        offset_bytes: None,
        crc32c: None,
    }
}

/// The object that holds the bytes of an artifact.
#[derive(Debug, Clone)]
pub(crate) struct ObjectName {
    pub(crate) name: String,
    pub(crate) is_pack: bool,
}

/// The blob was found by content, and a deletion came between finding and naming it.
pub(super) fn content_went() -> DbError {
    DbError::Conflict(DbErr::Custom("the content went in between".to_owned()))
}

fn number(number: VersionNumber) -> i32 {
    i32::try_from(number.get()).expect("version numbers fit")
}

fn insert_of(row: &NewRow, family: Inserted, blob: Inserted) -> Insert {
    Insert::into(artifacts::Entity)
        .columns([
            Col::Uid,
            Col::FamilyId,
            Col::SpaceId,
            Col::StorageId,
            Col::VersionNumber,
            Col::VersionLabel,
            Col::IsLatest,
            Col::Key,
            Col::KeyIsVirtual,
            Col::Description,
            Col::Kind,
            Col::Suffix,
            Col::FileName,
            Col::MediaType,
            Col::SizeBytes,
            Col::Sha256,
            Col::HashType,
            Col::NObjects,
            Col::BlobId,
            Col::ManifestId,
            Col::Visibility,
            Col::Revision,
            Col::CreatedBy,
            Col::CreatedAtUs,
            Col::UpdatedAtUs,
            Col::RunId,
            Col::Accessor,
            Col::NObservations,
        ])
        .values([
            row.uid.as_str().into(),
            family,
            row.space_id.into(),
            row.storage_id.into(),
            number(row.version_number).into(),
            row.version_label.as_str().into(),
            true.into(),
            row.key.clone().into(),
            row.key_is_virtual.into(),
            row.description.clone().into(),
            row.kind.into(),
            row.suffix.as_str().into(),
            row.file_name.clone().into(),
            row.media_type.as_str().into(),
            row.size_bytes.into(),
            row.sha256.as_bytes().to_vec().into(),
            row.hash_type.into(),
            row.manifest.map(|(_, objects)| objects).into(),
            blob,
            row.manifest.map(|(id, _)| id).into(),
            row.visibility.into(),
            1i64.into(),
            row.created_by.into(),
            row.now_us.into(),
            row.now_us.into(),
            row.run.as_ref().map(|(id, ..)| *id).into(),
            row.accessor.into(),
            row.n_observations.into(),
        ])
}
