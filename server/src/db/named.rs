//! What names mean of records that have versions as artifacts do: transforms, collections.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{Result, numbered::Sql, scope::Scope};

/// The tables of such records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versioned {
    pub(super) versions: &'static str,
    pub(super) families: &'static str,
}

/// What a stem or a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfFamily {
    AllVersions,
    LatestVersion,
}

/// Ids of what these names mean, each with its name; a uid means one version.
pub(super) async fn ids_of_names(
    conn: &impl ConnectionTrait,
    scope: Scope,
    Versioned { versions, families }: Versioned,
    of_family: OfFamily,
    names: &[&str],
) -> Result<Vec<(String, i64)>> {
    #[derive(FromQueryResult)]
    struct Named {
        name: String,
        id: i64,
    }
    let uid = format!("{versions}.uid");
    let mut found = Vec::new();
    for column in [&uid, &format!("{families}.stem"), &format!("{families}.\"key\"")] {
        let mut sql = Sql::new(&format!(
            "SELECT {column} AS name, {versions}.id AS id FROM {versions} \
             JOIN {families} ON {families}.id = {versions}.family_id WHERE {column} IN "
        ));
        sql.bind_list(names.iter().copied());
        if of_family == OfFamily::LatestVersion && *column != uid {
            sql.push(&format!(" AND {versions}.is_latest"));
        }
        sql.push(&format!(" AND {families}.space_id IN "));
        scope.bind(&mut sql);
        found.extend(sql.all::<Named>(conn).await?);
    }
    Ok(found.into_iter().map(|row| (row.name, row.id)).collect())
}
