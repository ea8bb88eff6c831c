//! The columns of a table, held against what a schema expects of them.

use std::{collections::HashMap, fmt};

use crate::{Dtype, Item, Sha256};

/// A set of names in an artifact: the columns of its table.
pub const COLUMNS_SLOT: &str = "columns";

/// A column that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub holds: ColumnHolds,
}

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnHolds {
    /// Values of this dtype; labels are text here.
    Values(Dtype),
    /// Nothing but nulls, which fits every dtype.
    Nulls,
    /// Something that no dtype is, as its format calls it.
    Other(String),
}

/// A column that a schema expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedColumn {
    /// Its name.
    pub name: String,
    /// What its values must be.
    pub dtype: Dtype,
    /// Whether it must be there.
    pub is_required: bool,
}

/// How a column breaks a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnFault {
    /// It is required, and is not there.
    Missing(Dtype),
    /// Its values are something else.
    Differs {
        /// What they must be.
        expected: Dtype,
        /// What they are.
        found: ColumnHolds,
    },
    /// Several columns have its name.
    Repeated,
    /// The schema knows no such column, and takes no others.
    Unexpected,
}

impl fmt::Display for ColumnHolds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(dtype) => dtype.fmt(f),
            Self::Nulls => f.write_str("nulls"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ColumnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(dtype) => write!(f, "is required, of dtype {dtype}, and is not there"),
            Self::Differs { expected, found } => write!(f, "must hold {expected}, and holds {found}"),
            Self::Repeated => f.write_str("is the name of several columns"),
            Self::Unexpected => f.write_str("is no column that the schema knows, and it takes no others"),
        }
    }
}

impl ColumnHolds {
    /// Whether these can be values of a dtype: whole numbers are floats too, and a text may
    /// be an address or a label.
    pub fn fits(&self, dtype: &Dtype) -> bool {
        match self {
            Self::Nulls => true,
            Self::Other(_) => false,
            Self::Values(found) if found.is_list != dtype.is_list => false,
            Self::Values(found) => match (&dtype.item, &found.item) {
                (Item::Float, Item::Int) | (Item::Url | Item::Cat(_), Item::Str) => true,
                (expected, found) => expected == found,
            },
        }
    }
}

/// Everything in which columns break a schema: first what it expects, in its order, then what
/// it does not know, in theirs.
pub fn column_faults(
    expected: &[ExpectedColumn],
    is_closed: bool,
    found: &[FoundColumn],
) -> Vec<(String, ColumnFault)> {
    let mut by_name: HashMap<&str, Vec<&FoundColumn>> = HashMap::with_capacity(found.len());
    for column in found {
        by_name.entry(&column.name).or_default().push(column);
    }
    let mut faults = Vec::new();
    for column in expected {
        let fault = match by_name.remove(column.name.as_str()).as_deref() {
            None if column.is_required => Some(ColumnFault::Missing(column.dtype.clone())),
            None => None,
            Some([one]) if one.holds.fits(&column.dtype) => None,
            Some([one]) => Some(ColumnFault::Differs {
                expected: column.dtype.clone(),
                found: one.holds.clone(),
            }),
            Some(_) => Some(ColumnFault::Repeated),
        };
        faults.extend(fault.map(|fault| (column.name.clone(), fault)));
    }
    if is_closed {
        let unexpected = found
            .iter()
            .filter(|column| by_name.remove(column.name.as_str()).is_some());
        faults.extend(unexpected.map(|column| (column.name.clone(), ColumnFault::Unexpected)));
    }
    faults
}

/// What tells sets of features apart: a digest over their uids, whatever their order.
pub fn feature_set_hash<'u>(uids: impl IntoIterator<Item = &'u str>) -> Sha256 {
    let mut uids: Vec<&str> = uids.into_iter().collect();
    uids.sort_unstable();
    uids.dedup();
    Sha256::of(uids.join("\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(text: &str) -> Dtype {
        text.parse().unwrap()
    }

    fn found(name: &str, text: &str) -> FoundColumn {
        FoundColumn {
            name: name.to_owned(),
            holds: ColumnHolds::Values(dtype(text)),
        }
    }

    fn expected(name: &str, text: &str, is_required: bool) -> ExpectedColumn {
        ExpectedColumn {
            name: name.to_owned(),
            dtype: dtype(text),
            is_required,
        }
    }

    #[test]
    fn every_fault_is_told() {
        let schema = [
            expected("age", "int", true),
            expected("weight", "float", true),
            expected("note", "str", false),
            expected("born", "date", false),
            expected("seen", "date", false),
            expected("twice", "int", true),
        ];
        let columns = [
            found("weight", "str"),
            found("born", "date"),
            found("seen", "int"),
            found("twice", "int"),
            found("twice", "int"),
            found("other", "int"),
            found("other", "int"),
        ];
        let told = |is_closed| -> Vec<String> {
            let faults = column_faults(&schema, is_closed, &columns);
            faults.iter().map(|(name, fault)| format!("{name} {fault}")).collect()
        };
        let open = [
            "age is required, of dtype int, and is not there",
            "weight must hold float, and holds str",
            "seen must hold date, and holds int",
            "twice is the name of several columns",
        ];
        assert_eq!(told(false), open);
        assert_eq!(told(true)[..4], open);
        assert_eq!(
            told(true)[4..],
            ["other is no column that the schema knows, and it takes no others"]
        );
    }

    #[test]
    fn what_fits_is_taken() {
        for (wanted, holds, fits) in [
            ("int", "int", true),
            ("float", "int", true),
            ("int", "float", false),
            ("url", "str", true),
            ("cat[ULabel]", "str", true),
            ("str", "url", false),
            ("list[int]", "int", false),
            ("list[float]", "list[int]", true),
            ("datetime", "date", false),
        ] {
            assert_eq!(
                ColumnHolds::Values(dtype(holds)).fits(&dtype(wanted)),
                fits,
                "{wanted} of {holds}"
            );
        }
        assert!(ColumnHolds::Nulls.fits(&dtype("int")));
        assert!(!ColumnHolds::Other("Interval".to_owned()).fits(&dtype("str")));
    }

    #[test]
    fn a_set_has_no_order() {
        assert_eq!(feature_set_hash(["a", "b"]), feature_set_hash(["b", "a", "b"]));
        assert_ne!(feature_set_hash(["a", "b"]), feature_set_hash(["a"]));
        assert_ne!(feature_set_hash(["ab"]), feature_set_hash(["a", "b"]));
    }
}
