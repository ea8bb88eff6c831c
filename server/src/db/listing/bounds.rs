//! Which parts of a filter say where in an index its rows lie.

use artifactd_domain::{
    ArtifactField, Key,
    filter::{Comparison, Field, Predicate, Test, Type, Value},
};

use super::index::Index;
use crate::db::filter::one_of;

type Part = Predicate<ArtifactField>;

/// A filter, with what its parts say of indexes.
#[derive(Debug)]
pub(super) struct Bounds {
    parts: Vec<(Part, Option<Bound>)>,
}

/// A part of a filter that bounds an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) index: Index,
    pub(super) side: Side,
}

/// What a bound leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// All but one point.
    Point,
    /// All but some points.
    Points,
    /// What lies below.
    Lower,
    /// What lies above.
    Upper,
}

impl Bounds {
    pub(super) fn of(filter: &Part) -> Self {
        let parts = filter.conjuncts().iter().flat_map(split);
        let parts = parts.map(|part| {
            let bound = bound(&part);
            (part, bound)
        });
        Self { parts: parts.collect() }
    }

    /// Adds that an artifact has one of these ids.
    pub(super) fn add_ids(&mut self, ids: &[i64]) {
        let is = |id: &i64| {
            let field = ArtifactField::Id.field();
            Predicate::Is(Test::Compare(field, Comparison::Equal, Value::Int((*id).into())))
        };
        let part = Predicate::any(ids.iter().map(is).collect());
        let bound = bound(&part);
        self.parts.push((part, bound));
    }

    /// Every part.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Part, Option<Bound>)> {
        self.parts.iter().map(|(part, bound)| (part, *bound))
    }

    /// Whether some part bounds an index in this way.
    pub(super) fn has(&self, index: Index, side: Side) -> bool {
        self.parts().any(|(_, bound)| bound == Some(Bound { index, side }))
    }

    /// Whether some part bounds an index.
    pub(super) fn bound(&self, index: Index) -> bool {
        self.parts()
            .any(|(_, bound)| bound.is_some_and(|bound| bound.index == index))
    }

    /// Whether the filter leaves only a handful of rows of an index, whatever the table holds.
    pub(super) fn leave_few(&self, index: Index) -> bool {
        let is_unique = matches!(index, Index::Id | Index::Uid);
        is_unique && (self.has(index, Side::Point) || self.has(index, Side::Points))
    }

    /// Whether every part bounds this index, so that all of its rows between the bounds match.
    pub(super) fn are_all_of(&self, index: Index) -> bool {
        self.parts()
            .all(|(_, bound)| bound.is_some_and(|bound| bound.index == index))
    }
}

/// A prefix is two bounds, and what else a pattern asks.
fn split(part: &Part) -> Vec<Part> {
    let (field, prefix) = match part {
        Predicate::Is(Test::Like(field, pattern)) => (field, pattern.prefix()),
        // A stem is what its uids begin with.
        Predicate::Is(Test::Compare(field, Comparison::Equal, Value::Text(stem)))
            if field.id == ArtifactField::Stem && stem.len() == STEM_BYTES =>
        {
            (field, stem.as_str())
        }
        _ => return vec![part.clone()],
    };
    let field = match field.id {
        _ if prefix.is_empty() => return vec![part.clone()],
        ArtifactField::Key | ArtifactField::Uid => field.clone(),
        ArtifactField::Stem if prefix.len() <= STEM_BYTES => Field::new(ArtifactField::Uid, Type::Text),
        _ => return vec![part.clone()],
    };
    let compare = |comparison, text: String| {
        let value = Value::Text(text);
        Predicate::Is(Test::Compare(field.clone(), comparison, value))
    };
    let mut parts = vec![compare(Comparison::GreaterOrEqual, prefix.to_owned())];
    if let Some(end) = Key::prefix_end(prefix) {
        parts.push(compare(Comparison::Less, end));
    }
    let is_prefix = |part: &Part| !matches!(part, Predicate::Is(Test::Like(_, pattern)) if !pattern.is_prefix());
    if !is_prefix(part) {
        parts.push(part.clone());
    }
    parts
}

const STEM_BYTES: usize = 16;

fn bound(part: &Part) -> Option<Bound> {
    let (field, side) = match part {
        Predicate::Is(Test::Compare(field, comparison, _)) => (field, side(*comparison)?),
        Predicate::Any(parts) => (one_of(parts)?.0, Side::Points),
        _ => return None,
    };
    let index = Index::ALL.into_iter().find(|index| index.field() == field.id)?;
    Some(Bound { index, side })
}

fn side(comparison: Comparison) -> Option<Side> {
    match comparison {
        Comparison::Equal => Some(Side::Point),
        Comparison::Greater | Comparison::GreaterOrEqual => Some(Side::Lower),
        Comparison::Less | Comparison::LessOrEqual => Some(Side::Upper),
        Comparison::NotEqual => None,
    }
}
