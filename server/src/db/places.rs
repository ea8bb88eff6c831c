//! Queries over the few rows that nearly every call needs: users, spaces, storages.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, OnConflict},
};

use super::{
    Result,
    entities::{principals, spaces, storages},
};

/// All users.
pub(crate) async fn principals(conn: &impl ConnectionTrait) -> Result<Vec<principals::Model>> {
    Ok(principals::Entity::find().all(conn).await?)
}

/// All spaces.
pub(crate) async fn spaces(conn: &impl ConnectionTrait) -> Result<Vec<spaces::Model>> {
    Ok(spaces::Entity::find().all(conn).await?)
}

/// All storages.
pub(crate) async fn storages(conn: &impl ConnectionTrait) -> Result<Vec<storages::Model>> {
    Ok(storages::Entity::find().all(conn).await?)
}

/// Makes sure that a user of this name exists.
pub(crate) async fn ensure_principal(conn: &impl ConnectionTrait, name: &str, uid: &str, now_us: i64) -> Result<()> {
    let row = principals::ActiveModel {
        id: NotSet,
        uid: Set(uid.to_owned()),
        name: Set(name.to_owned()),
        created_at_us: Set(now_us),
    };
    let once = OnConflict::column(principals::Column::Name).do_nothing().to_owned();
    principals::Entity::insert(row)
        .on_conflict(once)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Makes sure that a space of this name exists.
pub(crate) async fn ensure_space(conn: &impl ConnectionTrait, name: &str, uid: &str, now_us: i64) -> Result<()> {
    let row = spaces::ActiveModel {
        id: NotSet,
        uid: Set(uid.to_owned()),
        name: Set(name.to_owned()),
        default_storage_id: Set(None),
        created_at_us: Set(now_us),
    };
    let once = OnConflict::column(spaces::Column::Name).do_nothing().to_owned();
    spaces::Entity::insert(row)
        .on_conflict(once)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Makes sure that a managed storage of this name exists; its root is left alone if it does.
pub(crate) async fn ensure_storage(
    conn: &impl ConnectionTrait,
    space_id: i64,
    name: &str,
    uid: &str,
    root: &str,
    now_us: i64,
) -> Result<()> {
    let row = storages::ActiveModel {
        id: NotSet,
        uid: Set(uid.to_owned()),
        space_id: Set(space_id),
        name: Set(name.to_owned()),
        root: Set(root.to_owned()),
        managed: Set(true),
        read_only: Set(false),
        created_at_us: Set(now_us),
    };
    let once = OnConflict::column(storages::Column::Name).do_nothing().to_owned();
    storages::Entity::insert(row)
        .on_conflict(once)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Gives a space without a default storage one.
pub(crate) async fn ensure_default_storage(conn: &impl ConnectionTrait, space_id: i64, storage_id: i64) -> Result<()> {
    spaces::Entity::update_many()
        .col_expr(spaces::Column::DefaultStorageId, Expr::value(storage_id))
        .filter(spaces::Column::Id.eq(space_id))
        .filter(spaces::Column::DefaultStorageId.is_null())
        .exec(conn)
        .await?;
    Ok(())
}

/// Changes the root of a storage, which moved with the data folder.
pub(crate) async fn set_storage_root(conn: &impl ConnectionTrait, id: i64, root: &str) -> Result<()> {
    storages::Entity::update_many()
        .col_expr(storages::Column::Root, Expr::value(root))
        .filter(storages::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}
