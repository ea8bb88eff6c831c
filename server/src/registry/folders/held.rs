//! Pages that have their rows, and that no artifact has yet: a save holds them while its
//! lease runs. What a save leaves behind is swept, or found by another try.

use std::{collections::HashMap, sync::Arc, time::Duration};

use artifactd_domain::Sha256;

use super::{
    super::{Registry, RegistryError, Result, draw_uid, now_us},
    write::NewPages,
};
use crate::{db::folder_saves, fault};

/// How long pages stay that no artifact has, after the last sign of their save.
pub(super) const LEASE: Duration = Duration::from_secs(60 * 60);

/// Writes some pages, which a save holds from then on; a new one where there is none yet.
/// Answers its id, and those of the pages by their digests.
pub(super) async fn write_held(
    registry: &Registry,
    place: (i64, i64),
    save: Option<i64>,
    new: Arc<NewPages>,
) -> Result<(i64, HashMap<Sha256, i64>)> {
    let (uid, now) = (draw_uid(), now_us());
    let written = registry.db.write::<_, RegistryError, _>(move |txn| {
        let (new, uid) = (Arc::clone(&new), uid.clone());
        Box::pin(async move {
            let ids = new.write(txn).await?;
            let id = match save {
                None => folder_saves::begin(txn, &uid, place, lease_until(now), now).await?,
                Some(id) if folder_saves::renew(txn, id, lease_until(now)).await? => id,
                Some(_) => return Err(lease_ended()),
            };
            let pages: Vec<i64> = ids.values().copied().collect();
            folder_saves::hold(txn, id, &pages).await?;
            fault::point("folder.page_in_transaction");
            Ok((id, ids))
        })
    });
    let written = written.await?;
    fault::point("folder.page_committed");
    Ok(written)
}

/// Lengthens the lease of a save.
pub(super) async fn renew(registry: &Registry, id: i64, now: i64) -> Result<()> {
    let renewed = registry.db.write::<_, RegistryError, _>(move |txn| {
        Box::pin(async move { Ok(folder_saves::renew(txn, id, lease_until(now)).await?) })
    });
    match renewed.await? {
        true => Ok(()),
        false => Err(lease_ended()),
    }
}

fn lease_until(now_us: i64) -> i64 {
    now_us + LEASE.as_micros() as i64
}

fn lease_ended() -> RegistryError {
    RegistryError::FolderRefused("the save was silent for so long that its pages are gone; begin again".to_owned())
}
