//! From what a call says to changed rows.

use std::collections::BTreeSet;

use artifactd_domain::{Json, Plain};

use super::resolve::{Kept, Resolution, Resolved};
use crate::{
    db::{
        Txn,
        annotations::{self, LabelLink, ValueRow},
        artifacts::ArtifactRow,
    },
    registry::Result,
};

/// What changed at one artifact.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::registry) struct Change {
    pub(in crate::registry) added: u64,
    pub(in crate::registry) removed: u64,
}

/// Changes the annotations of some artifacts; answers what changed at each.
pub(in crate::registry) async fn apply(
    txn: &Txn,
    rows: &[ArtifactRow],
    resolution: &Resolution,
    clear: bool,
) -> Result<Vec<Change>> {
    let replaces = clear || resolution.removes();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let values = if replaces {
        annotations::values(txn, &ids, None).await?
    } else {
        Vec::new()
    };
    let links = if replaces || resolution.has_labels() {
        annotations::labels(txn, &ids).await?
    } else {
        Vec::new()
    };
    let mut changes = Vec::with_capacity(rows.len());
    let mut new = New::default();
    let mut seen = BTreeSet::new();
    for row in rows {
        // One that is named twice changes once.
        if !seen.insert(row.id) {
            changes.push(Change::default());
            continue;
        }
        let before = Before {
            values: values.iter().filter(|value| value.artifact_id == row.id).collect(),
            links: links.iter().filter(|link| link.artifact_id == row.id).collect(),
        };
        let mut change = if replaces {
            replace(txn, row, resolution, clear, &before, &mut new).await?
        } else {
            add_values(txn, row, resolution.added()).await?
        };
        let wanted = wanted_links(row, resolution, clear, &before);
        let labels = change_links(txn, &before, &wanted, &mut new).await?;
        change.added += labels.added;
        change.removed += labels.removed;
        changes.push(change);
    }
    annotations::add_values(txn, &new.values).await?;
    annotations::add_labels(txn, &new.links).await?;
    Ok(changes)
}

/// What an artifact had.
struct Before<'r> {
    values: Vec<&'r ValueRow>,
    links: Vec<&'r LabelLink>,
}

/// What is written for all artifacts together.
#[derive(Default)]
struct New {
    values: Vec<ValueRow>,
    links: Vec<LabelLink>,
}

async fn add_values(txn: &Txn, row: &ArtifactRow, added: &[Resolved]) -> Result<Change> {
    let values: Vec<ValueRow> = added.iter().flat_map(|resolved| rows_of(row, resolved)).collect();
    let added = annotations::add_values(txn, &values).await?;
    Ok(Change { added, removed: 0 })
}

fn rows_of(row: &ArtifactRow, resolved: &Resolved) -> Vec<ValueRow> {
    let Some(feature_id) = resolved.feature_id else {
        return Vec::new();
    };
    let values = resolved.values.iter();
    values
        .flat_map(|kept| kept.rows(row.id, row.created_at_us, feature_id))
        .collect()
}

/// Where something goes or takes the place of something: the values as they will be are
/// compared with those that are there.
async fn replace(
    txn: &Txn,
    row: &ArtifactRow,
    resolution: &Resolution,
    clear: bool,
    before: &Before<'_>,
    new: &mut New,
) -> Result<Change> {
    let mut after: Vec<ValueRow> = match clear {
        true => Vec::new(),
        false => before.values.iter().map(|value| (*value).clone()).collect(),
    };
    let [removed, set, added] = &resolution.parts;
    for resolved in removed.iter().filter(|resolved| !resolved.is_categorical) {
        let gone = rows_of(row, resolved);
        let all = resolved.values.is_empty();
        after.retain(|value| {
            Some(value.feature_id) != resolved.feature_id || !(all || gone.iter().any(|gone| gone.is_like(value)))
        });
    }
    for resolved in set.iter().filter(|resolved| !resolved.is_categorical) {
        after.retain(|value| Some(value.feature_id) != resolved.feature_id);
    }
    for resolved in set.iter().chain(added) {
        for value in rows_of(row, resolved).into_iter().filter(|value| !value.is_item) {
            if !after.iter().any(|other| other.is_like(&value)) {
                after.push(value);
            }
        }
    }
    let mut change = Change::default();
    let mut lists = BTreeSet::new();
    for value in &before.values {
        if !after.iter().any(|other| other.is_like(value)) {
            change.removed += annotations::remove_value(txn, value).await?;
            lists.insert(value.feature_id);
        }
    }
    for value in after {
        let is_new = !before.values.iter().any(|other| other.is_like(&value));
        // Items of lists that stay go with those of a list that goes.
        let items = items_of(&value);
        if is_new {
            change.added += 1;
        }
        if is_new || lists.contains(&value.feature_id) {
            new.values.extend(items);
        }
        if is_new {
            new.values.push(value);
        }
    }
    for feature_id in lists {
        annotations::remove_items(txn, row.id, feature_id).await?;
    }
    Ok(change)
}

/// The items of a list, from its document.
fn items_of(value: &ValueRow) -> Vec<ValueRow> {
    let document = value.document.as_deref().map(Json::read);
    let Some(Ok(Json::List(items))) = document else {
        return Vec::new();
    };
    let items: Option<Vec<Plain>> = items.into_iter().map(Plain::from_json).collect();
    let list = Kept::List(items.unwrap_or_default());
    let rows = list.rows(value.artifact_id, value.artifact_at_us, value.feature_id);
    rows.into_iter().filter(|row| row.is_item).collect()
}

/// The labels of an artifact as they will be.
fn wanted_links(row: &ArtifactRow, resolution: &Resolution, clear: bool, before: &Before<'_>) -> Vec<LabelLink> {
    let mut after: Vec<LabelLink> = match clear {
        true => Vec::new(),
        false => before.links.iter().map(|link| **link).collect(),
    };
    let [removed, set, added] = &resolution.parts;
    let labels = |resolved: &&Resolved| resolved.is_categorical;
    for resolved in removed.iter().filter(labels) {
        let all = resolved.values.is_empty();
        after.retain(|link| {
            link.feature_id != resolved.feature_id || !(all || resolved.values.contains(&Kept::Label(link.label_id)))
        });
    }
    for resolved in set.iter().filter(labels) {
        after.retain(|link| link.feature_id != resolved.feature_id);
    }
    for resolved in set.iter().chain(added).filter(labels) {
        for kept in &resolved.values {
            let Some(link) = kept.link(row.id, row.created_at_us, resolved.feature_id) else {
                continue;
            };
            let same = |other: &LabelLink| other.label_id == link.label_id;
            match link.feature_id {
                // What a feature says need not be said without one.
                Some(_) => after.retain(|other| !same(other) || other.feature_id.is_some()),
                None if after.iter().any(same) => continue,
                None => {}
            }
            if !after.contains(&link) {
                after.push(link);
            }
        }
    }
    after
}

async fn change_links(txn: &Txn, before: &Before<'_>, after: &[LabelLink], new: &mut New) -> Result<Change> {
    let mut change = Change::default();
    for link in &before.links {
        if !after.contains(link) {
            change.removed += annotations::remove_label(txn, link).await?;
        }
    }
    for link in after {
        if !before.links.contains(&link) {
            change.added += 1;
            new.links.push(*link);
        }
    }
    Ok(change)
}
