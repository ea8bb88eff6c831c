//! What is known of values that were not read, and whether any of them can match.

use std::cmp::Ordering;

use artifactd_domain::filter::{Comparison, Pattern, Predicate, Test, Value};

use super::{Column, compare};

/// What is known of the values of one column in some rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// No value is smaller. Where a value may be NaN, nothing holds for that one.
    pub(crate) min: Option<Value>,
    /// No value is larger.
    pub(crate) max: Option<Value>,
    /// How many are null.
    pub(crate) nulls: Option<u64>,
    /// How many rows there are.
    pub(crate) rows: u64,
}

impl Bounds {
    fn all_null(&self) -> bool {
        self.nulls == Some(self.rows)
    }

    /// Whether a value can lie on a side of the wanted one, as far as one knows.
    fn can(&self, comparison: Comparison, wanted: &Value) -> bool {
        let min = self.min.as_ref().and_then(|min| compare(min, wanted));
        let max = self.max.as_ref().and_then(|max| compare(max, wanted));
        let below = |order: Option<Ordering>| order.is_none_or(|order| order == Ordering::Less);
        let not_above = |order: Option<Ordering>| order.is_none_or(|order| order != Ordering::Greater);
        let above = |order: Option<Ordering>| order.is_none_or(|order| order == Ordering::Greater);
        let not_below = |order: Option<Ordering>| order.is_none_or(|order| order != Ordering::Less);
        match comparison {
            Comparison::Equal => not_above(min) && not_below(max),
            // A NaN differs from everything, and no bound tells of it.
            Comparison::NotEqual => {
                matches!(wanted, Value::Float(_)) || min != Some(Ordering::Equal) || max != Some(Ordering::Equal)
            }
            Comparison::Less => below(min),
            Comparison::LessOrEqual => not_above(min),
            Comparison::Greater => above(max),
            Comparison::GreaterOrEqual => not_below(max),
        }
    }

    fn can_be_like(&self, pattern: &Pattern) -> bool {
        let prefix = pattern.prefix();
        let not_all_below = match &self.max {
            Some(Value::Text(max)) => max.as_str() >= prefix,
            _ => true,
        };
        let not_all_above = match &self.min {
            Some(Value::Text(min)) => min.as_str() < prefix || min.starts_with(prefix),
            _ => true,
        };
        not_all_below && not_all_above
    }
}

/// Whether a row can match of which only bounds are known: none where nothing is.
pub(crate) fn can_match(predicate: &Predicate<Column>, known: &impl Fn(&Column) -> Option<Bounds>) -> bool {
    match predicate {
        Predicate::All(parts) => parts.iter().all(|part| can_match(part, known)),
        Predicate::Any(parts) => parts.iter().any(|part| can_match(part, known)),
        Predicate::Is(test) => can_hold(test, known),
        Predicate::IsNot(test) => can_fail(test, known),
    }
}

fn can_hold(test: &Test<Column>, known: &impl Fn(&Column) -> Option<Bounds>) -> bool {
    let (field, asks): (_, &dyn Fn(&Bounds) -> bool) = match test {
        Test::Set(field) => (field, &|_| true),
        Test::Compare(field, comparison, wanted) => (field, &|bounds| bounds.can(*comparison, wanted)),
        Test::Like(field, pattern) => (field, &|bounds| bounds.can_be_like(pattern)),
        Test::Unlike(field, _) => (field, &|_| true),
        Test::NotEmpty(_) | Test::Call(..) => return true,
    };
    // Nothing is known of the values in lists.
    match known(&field.id).filter(|_| !field.repeated) {
        Some(bounds) => !bounds.all_null() && asks(&bounds),
        None => true,
    }
}

/// Whether a row can fail a test. Nulls do; where there is none, all values have to hold.
fn can_fail(test: &Test<Column>, known: &impl Fn(&Column) -> Option<Bounds>) -> bool {
    let (field, opposite) = match test {
        Test::Set(field) => (field, None),
        Test::Compare(field, comparison, wanted) => (field, Some((comparison, wanted))),
        Test::Like(..) | Test::Unlike(..) | Test::NotEmpty(_) | Test::Call(..) => return true,
    };
    let Some(bounds) = known(&field.id).filter(|bounds| bounds.nulls == Some(0) && !field.repeated) else {
        return true;
    };
    match opposite {
        None => false,
        // A NaN fails all of them but `!=`, and no bound tells of it.
        Some((_, Value::Float(_))) => true,
        Some((comparison, wanted)) => bounds.can(
            match comparison {
                Comparison::Equal => Comparison::NotEqual,
                Comparison::NotEqual => Comparison::Equal,
                Comparison::Less => Comparison::GreaterOrEqual,
                Comparison::LessOrEqual => Comparison::Greater,
                Comparison::Greater => Comparison::LessOrEqual,
                Comparison::GreaterOrEqual => Comparison::Less,
            },
            wanted,
        ),
    }
}
