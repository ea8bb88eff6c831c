//! Places in an order of artifacts.

use std::cmp::Ordering;

use artifactd_domain::{Order, OrderBy};
use serde::{Deserialize, Serialize};

use crate::db::artifacts::ArtifactRow;

/// A place in an order: what its artifact is ordered by, and its uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place<Text = String> {
    pub(super) value: Ordered<Text>,
    pub(super) uid: Text,
}

/// What artifacts are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Ordered<Text = String> {
    Number(i64),
    Text(Text),
    /// Comes last in every order.
    Unset,
}

impl Place {
    /// The place of an artifact.
    pub(crate) fn of(row: &ArtifactRow, by: OrderBy) -> Self {
        let Place { value, uid } = Place::within(row, by);
        Self {
            value: match value {
                Ordered::Number(number) => Ordered::Number(number),
                Ordered::Text(text) => Ordered::Text(text.to_owned()),
                Ordered::Unset => Ordered::Unset,
            },
            uid: uid.to_owned(),
        }
    }

    /// The same without texts of its own.
    pub(super) fn borrowed(&self) -> Place<&str> {
        Place {
            value: match &self.value {
                Ordered::Number(number) => Ordered::Number(*number),
                Ordered::Text(text) => Ordered::Text(text),
                Ordered::Unset => Ordered::Unset,
            },
            uid: &self.uid,
        }
    }

    pub(super) fn bound_value(&self) -> sea_orm::Value {
        match &self.value {
            Ordered::Number(number) => (*number).into(),
            Ordered::Text(text) => text.as_str().into(),
            Ordered::Unset => None::<i64>.into(),
        }
    }
}

impl<'r> Place<&'r str> {
    /// The place of an artifact, without texts of its own.
    pub(super) fn within(row: &'r ArtifactRow, by: OrderBy) -> Self {
        let value = match by {
            OrderBy::CreatedAt => Ordered::Number(row.created_at_us),
            OrderBy::UpdatedAt => Ordered::Number(row.updated_at_us),
            OrderBy::Size => Ordered::Number(row.size_bytes),
            OrderBy::Key => row.key.as_deref().map_or(Ordered::Unset, Ordered::Text),
            OrderBy::NObservations => row.n_observations.map_or(Ordered::Unset, Ordered::Number),
        };
        Self { value, uid: &row.uid }
    }
}

impl<Text: Ord> Place<Text> {
    /// Which of two places comes first.
    pub(crate) fn compare(&self, other: &Self, order: Order) -> Ordering {
        let forward = || (&self.value, &self.uid).cmp(&(&other.value, &other.uid));
        let by_value = || match order.is_descending {
            true => forward().reverse(),
            false => forward(),
        };
        self.is_unset().cmp(&other.is_unset()).then_with(by_value)
    }
}

impl<Text> Place<Text> {
    /// Whether what orders its artifact is not set.
    pub(super) fn is_unset(&self) -> bool {
        matches!(self.value, Ordered::Unset)
    }
}
