//! Which rows of a table: ascending ranges that neither overlap nor touch.

use std::ops::Range;

/// Rows of a table, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows(Vec<Range<u64>>);

impl Rows {
    /// All of a table with as many.
    pub fn all(rows: u64) -> Self {
        Self::of_ranges(std::iter::once(0..rows))
    }

    /// The rows of some ranges, in whatever order they come.
    pub fn of_ranges(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|range| range.start < range.end).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut rows: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match rows.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => rows.push(range),
            }
        }
        Self(rows)
    }

    /// The ranges.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many rows there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The end of the last one.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// Those of them that lie in a range.
    #[must_use]
    pub fn within(&self, range: &Range<u64>) -> Self {
        let first = self.0.partition_point(|rows| rows.end <= range.start);
        let overlapping = self.0[first..].iter().take_while(|rows| rows.start < range.end);
        let cut = overlapping.map(|rows| rows.start.max(range.start)..rows.end.min(range.end));
        Self(cut.collect())
    }

    /// Those of them that are in `other` too.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().flat_map(|range| other.within(range).0).collect())
    }

    /// The first of them, as many as `count`.
    #[must_use]
    pub fn first(&self, mut count: u64) -> Self {
        let mut rows = Vec::new();
        for range in &self.0 {
            if count == 0 {
                break;
            }
            let end = range.end.min(range.start.saturating_add(count));
            count -= end - range.start;
            rows.push(range.start..end);
        }
        Self(rows)
    }

    /// The same numbers counted from another row, which none of them lies before.
    #[must_use]
    pub fn counted_from(&self, row: u64) -> Self {
        Self(self.0.iter().map(|range| range.start - row..range.end - row).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(rows: &Rows) -> Vec<u64> {
        rows.ranges().iter().cloned().flatten().collect()
    }

    fn any_rows() -> impl Strategy<Value = Rows> {
        proptest::collection::vec((0..60_u64, 0..20_u64), 0..6)
            .prop_map(|ranges| Rows::of_ranges(ranges.into_iter().map(|(start, len)| start..start + len)))
    }

    proptest! {
        #[test]
        fn ranges_stand_in_order_and_apart(rows in any_rows()) {
            prop_assert!(rows.ranges().iter().all(|range| !range.is_empty()));
            prop_assert!(rows.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(rows.count(), numbers(&rows).len() as u64);
        }

        #[test]
        fn parts_are_those_of_the_numbers(one in any_rows(), other in any_rows(), start in 0..80_u64, len in 0..30_u64) {
            let both: Vec<u64> = numbers(&one).into_iter().filter(|row| numbers(&other).contains(row)).collect();
            prop_assert_eq!(numbers(&one.and(&other)), both);
            let range = start..start + len;
            let within: Vec<u64> = numbers(&one).into_iter().filter(|row| range.contains(row)).collect();
            prop_assert_eq!(numbers(&one.within(&range)), within);
            let first: Vec<u64> = numbers(&one).into_iter().take(len as usize).collect();
            prop_assert_eq!(numbers(&one.first(len)), first);
        }
    }
}
