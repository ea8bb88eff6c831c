//! Queries over aliases. Who changes them locks the family first.

use artifactd_domain::AliasName;
use sea_orm::{
    ConnectionTrait, FromQueryResult, Order,
    sea_query::{DeleteStatement, Expr, ExprTrait, InsertStatement, JoinType, Query, SelectStatement, UpdateStatement},
};
use serde::{Deserialize, Serialize};

use super::{
    Result,
    entities::{
        alias_changes::{self, Column as Change},
        aliases::{Column as Col, Entity},
        artifacts::{self, Column as Artifact},
    },
};

/// An alias and the version that it points to.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct AliasRow {
    pub(crate) name: String,
    pub(crate) artifact_id: i64,
    pub(crate) revision: i64,
    pub(crate) set_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
    pub(crate) uid: String,
    pub(crate) version_label: String,
    pub(crate) version_number: i32,
    pub(crate) visibility: i16,
}

/// One change of an alias.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct ChangeRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) from_uid: Option<String>,
    pub(crate) to_uid: Option<String>,
    pub(crate) changed_by: i64,
    pub(crate) changed_at_us: i64,
}

fn select(family_id: i64) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns(
            [
                Col::Name,
                Col::ArtifactId,
                Col::Revision,
                Col::SetBy,
                Col::CreatedAtUs,
                Col::UpdatedAtUs,
            ]
            .map(|column| (Entity, column)),
        )
        .columns(
            [
                Artifact::Uid,
                Artifact::VersionLabel,
                Artifact::VersionNumber,
                Artifact::Visibility,
            ]
            .map(|column| (artifacts::Entity, column)),
        )
        .from(Entity)
        .join(
            JoinType::InnerJoin,
            artifacts::Entity,
            Expr::col((Entity, Col::ArtifactId)).equals((artifacts::Entity, Artifact::Id)),
        )
        .and_where(Expr::col((Entity, Col::FamilyId)).eq(family_id));
    select
}

async fn all(conn: &impl ConnectionTrait, select: &SelectStatement) -> Result<Vec<AliasRow>> {
    let rows = conn.query_all(select).await?;
    rows.iter()
        .map(|row| Ok(AliasRow::from_query_result(row, "")?))
        .collect()
}

/// The alias of a family with this name.
pub(crate) async fn find(conn: &impl ConnectionTrait, family_id: i64, name: &AliasName) -> Result<Option<AliasRow>> {
    let mut select = select(family_id);
    select.and_where(Expr::col((Entity, Col::Name)).eq(name.as_str()));
    Ok(all(conn, &select).await?.pop())
}

/// The aliases of a family after a name, in the order of their names.
pub(crate) async fn page(
    conn: &impl ConnectionTrait,
    family_id: i64,
    after: Option<&str>,
    rows: u64,
) -> Result<Vec<AliasRow>> {
    let mut select = select(family_id);
    if let Some(after) = after {
        select.and_where(Expr::col((Entity, Col::Name)).gt(after));
    }
    select.order_by((Entity, Col::Name), Order::Asc).limit(rows);
    all(conn, &select).await
}

/// The aliases of a family that point to one of these versions.
pub(crate) async fn of_versions(
    conn: &impl ConnectionTrait,
    family_id: i64,
    artifact_ids: impl IntoIterator<Item = i64>,
) -> Result<Vec<AliasRow>> {
    let mut select = select(family_id);
    select.and_where(Expr::col((Entity, Col::ArtifactId)).is_in(artifact_ids));
    all(conn, &select).await
}

/// Inserts an alias.
pub(crate) fn insert(family_id: i64, row: &AliasRow) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(Entity)
        .columns([
            Col::FamilyId,
            Col::Name,
            Col::ArtifactId,
            Col::Revision,
            Col::SetBy,
            Col::CreatedAtUs,
            Col::UpdatedAtUs,
        ])
        .values_panic([
            family_id.into(),
            row.name.as_str().into(),
            row.artifact_id.into(),
            row.revision.into(),
            row.set_by.into(),
            row.created_at_us.into(),
            row.updated_at_us.into(),
        ]);
    insert
}

/// Writes where an alias points now.
pub(crate) fn update(family_id: i64, row: &AliasRow) -> UpdateStatement {
    let mut update = Query::update();
    update
        .table(Entity)
        .value(Col::ArtifactId, row.artifact_id)
        .value(Col::Revision, row.revision)
        .value(Col::SetBy, row.set_by)
        .value(Col::UpdatedAtUs, row.updated_at_us)
        .and_where(Expr::col(Col::FamilyId).eq(family_id))
        .and_where(Expr::col(Col::Name).eq(row.name.as_str()));
    update
}

/// Removes an alias.
pub(crate) fn delete(family_id: i64, name: &str) -> DeleteStatement {
    let mut delete = Query::delete();
    delete
        .from_table(Entity)
        .and_where(Expr::col(Col::FamilyId).eq(family_id))
        .and_where(Expr::col(Col::Name).eq(name));
    delete
}

/// Remembers what happened to an alias.
pub(crate) fn insert_change(
    family_id: i64,
    name: &str,
    (from_uid, to_uid): (Option<&str>, Option<&str>),
    changed_by: i64,
    now_us: i64,
) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(alias_changes::Entity)
        .columns([
            Change::FamilyId,
            Change::Name,
            Change::FromUid,
            Change::ToUid,
            Change::ChangedBy,
            Change::ChangedAtUs,
        ])
        .values_panic([
            family_id.into(),
            name.into(),
            from_uid.into(),
            to_uid.into(),
            changed_by.into(),
            now_us.into(),
        ]);
    insert
}

/// What happened to the aliases of a family before the change with this id, newest first.
pub(crate) async fn changes(
    conn: &impl ConnectionTrait,
    family_id: i64,
    name: Option<&AliasName>,
    before_id: Option<i64>,
    rows: u64,
) -> Result<Vec<ChangeRow>> {
    let mut select = Query::select();
    select
        .columns([
            Change::Id,
            Change::Name,
            Change::FromUid,
            Change::ToUid,
            Change::ChangedBy,
            Change::ChangedAtUs,
        ])
        .from(alias_changes::Entity)
        .and_where(Expr::col(Change::FamilyId).eq(family_id));
    if let Some(name) = name {
        select.and_where(Expr::col(Change::Name).eq(name.as_str()));
    }
    if let Some(before_id) = before_id {
        select.and_where(Expr::col(Change::Id).lt(before_id));
    }
    select.order_by(Change::Id, Order::Desc).limit(rows);
    let rows = conn.query_all(&select).await?;
    rows.iter()
        .map(|row| Ok(ChangeRow::from_query_result(row, "")?))
        .collect()
}
