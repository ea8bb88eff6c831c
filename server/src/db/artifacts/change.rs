//! Changes of artifacts, and their end.

use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query, UpdateStatement};

use super::{ArtifactRow, Col, insert::content_went};
use crate::db::{
    Result, Txn,
    entities::artifacts,
    numbered::{any, run},
};

/// An update of one artifact; the caller adds what to set.
pub(crate) fn update(id: i64) -> UpdateStatement {
    let mut update = Query::update();
    update.table(artifacts::Entity).and_where(Expr::col(Col::Id).eq(id));
    update
}

/// A change that readers of the record should notice: the revision rises, and the
/// time of the change does not fall, whatever the clock of this server says.
pub(crate) fn touch(update: &mut UpdateStatement, now_us: i64) -> &mut UpdateStatement {
    let before = Expr::col(Col::UpdatedAtUs);
    let later = Expr::case(before.clone().gt(now_us), before).finally(now_us);
    update
        .value(Col::Revision, Expr::col(Col::Revision).add(1))
        .value(Col::UpdatedAtUs, later)
}

/// Writes what deleting and restoring may change in a record. `None` when nothing differs.
///
/// The family must be locked: then nobody else changes its records.
pub(crate) fn change(before: &ArtifactRow, after: &ArtifactRow) -> Option<UpdateStatement> {
    let (mut update, mut differs) = (self::update(after.id), false);
    let mut set = |column: Col, differs_here: bool, value: sea_orm::Value| {
        if differs_here {
            update.value(column, value);
            differs = true;
        }
    };
    set(
        Col::IsLatest,
        before.is_latest != after.is_latest,
        after.is_latest.into(),
    );
    set(Col::Key, before.key != after.key, after.key.clone().into());
    set(
        Col::Visibility,
        before.visibility != after.visibility,
        after.visibility.into(),
    );
    set(
        Col::VisibilityBeforeTrash,
        before.visibility_before_trash != after.visibility_before_trash,
        after.visibility_before_trash.into(),
    );
    set(
        Col::TrashBatch,
        before.trash_batch != after.trash_batch,
        after.trash_batch.clone().into(),
    );
    set(
        Col::TrashedAtUs,
        before.trashed_at_us != after.trashed_at_us,
        after.trashed_at_us.into(),
    );
    set(Col::Revision, before.revision != after.revision, after.revision.into());
    set(
        Col::UpdatedAtUs,
        before.updated_at_us != after.updated_at_us,
        after.updated_at_us.into(),
    );
    differs.then_some(update)
}

/// Takes the mark of the latest version from whichever version of a family has it.
pub(crate) fn clear_latest(family_id: i64) -> UpdateStatement {
    let mut update = Query::update();
    update.table(artifacts::Entity).value(Col::IsLatest, false).cond_where(
        Condition::all()
            .add(Expr::col(Col::FamilyId).eq(family_id))
            .add(Expr::col(Col::IsLatest)),
    );
    update
}

/// Lets all versions of a family, and the family itself, name a storage that holds their
/// contents; `folders` are the ids of versions with those of their manifests there. The
/// family must be locked.
///
/// `Conflict` when one of them would name no bytes.
pub(crate) async fn move_family(
    txn: &Txn,
    family_id: i64,
    storage_id: i64,
    folders: &[(i64, i64)],
    now_us: i64,
) -> Result<()> {
    const VERSIONS: &str = "UPDATE artifacts SET storage_id = $2, key_is_virtual = $4, revision = revision + 1, \
         updated_at_us = CASE WHEN updated_at_us > $3 THEN updated_at_us ELSE $3 END, \
         blob_id = CASE WHEN manifest_id IS NULL THEN (SELECT blobs.id FROM blobs WHERE blobs.storage_id = $2 \
         AND blobs.sha256 = artifacts.sha256 AND blobs.size_bytes = artifacts.size_bytes) END WHERE family_id = $1";
    let values = [family_id.into(), storage_id.into(), now_us.into(), true.into()];
    run(txn, VERSIONS, values).await?;
    const FOLDER: &str = "UPDATE artifacts SET manifest_id = $2 WHERE id = $1";
    for (id, manifest_id) in folders {
        run(txn, FOLDER, [(*id).into(), (*manifest_id).into()]).await?;
    }
    const NOWHERE: &str = "SELECT 1 FROM artifacts LEFT JOIN manifests ON manifests.id = artifacts.manifest_id \
         WHERE family_id = $1 AND blob_id IS NULL AND (manifests.id IS NULL OR manifests.storage_id <> $2) LIMIT 1";
    if any(txn, NOWHERE, [family_id.into(), storage_id.into()]).await? {
        return Err(content_went());
    }
    const FAMILY: &str = "UPDATE families SET storage_id = $2 WHERE id = $1";
    run(txn, FAMILY, [family_id.into(), storage_id.into()]).await?;
    Ok(())
}

/// Removes the row of an artifact.
pub(crate) fn delete(id: i64) -> sea_orm::sea_query::DeleteStatement {
    let mut delete = Query::delete();
    delete
        .from_table(artifacts::Entity)
        .and_where(Expr::col(Col::Id).eq(id));
    delete
}
