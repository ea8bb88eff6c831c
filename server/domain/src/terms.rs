//! Labels that come in a file: OBO, or a table with tabs or commas.

mod obo;
mod table;

use std::collections::{HashMap, HashSet};

use crate::{Name, NameRefused, Note, Synonyms, SynonymsRefused, TextRefused};

/// Most labels of one file.
pub const TERMS_MAX: usize = 500_000;

/// One label of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Line of the file on which it begins.
    pub line: usize,
    /// Its name.
    pub name: Name,
    /// Its identifier.
    pub ontology_id: Option<Note>,
    /// A short form of the name.
    pub abbreviation: Option<Note>,
    /// Free text.
    pub description: Option<String>,
    /// Where it comes from.
    pub reference: Option<Note>,
    /// Other names.
    pub synonyms: Synonyms,
    /// Names or identifiers of the labels right above it.
    pub parents: Vec<String>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Labels, in the order of the file.
    pub terms: Vec<Term>,
    /// Entries that are no labels.
    pub skipped: usize,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermFormat {
    /// OBO.
    Obo,
    /// Columns with tabs between them.
    Tsv,
    /// Columns with commas between them.
    Csv,
}

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct TermsRefused {
    /// Where the fault is.
    pub line: usize,
    /// What it is.
    pub fault: TermFault,
}

/// What can be wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermFault {
    /// It is not UTF-8.
    #[error("the file is not UTF-8")]
    NotText,
    /// It has no header with a column `name`.
    #[error("the first line must name the columns, among them `name`")]
    NoHeader,
    /// It has a column that nobody knows.
    #[error("there is no column `{0}`")]
    Column(String),
    /// A column comes twice.
    #[error("the column `{0}` comes twice")]
    ColumnTwice(String),
    /// A row has another number of columns than the header.
    #[error("there are {got} columns, the header has {expected}")]
    Columns {
        /// Columns of the header.
        expected: usize,
        /// Columns of the row.
        got: usize,
    },
    /// A quoted field does not end.
    #[error("a quoted field does not end, or goes on after its quote")]
    Quote,
    /// A label has no name.
    #[error("the label has no name")]
    NoName,
    /// A name is refused.
    #[error("the name {0}")]
    Name(NameRefused),
    /// Another text is refused.
    #[error("{0} {1}")]
    Text(&'static str, TextRefused),
    /// Synonyms are refused.
    #[error("the list of synonyms {0}")]
    Synonyms(SynonymsRefused),
    /// A name comes twice.
    #[error("the name `{0}` comes twice")]
    NameTwice(String),
    /// An identifier comes twice.
    #[error("the identifier `{0}` comes twice")]
    IdTwice(String),
    /// There are too many.
    #[error("there are more than {TERMS_MAX} labels")]
    TooMany,
}

impl Terms {
    /// Reads a file.
    pub fn read(file: &[u8], format: TermFormat) -> Result<Self, TermsRefused> {
        let text = str::from_utf8(file).map_err(|error| TermsRefused {
            line: 1 + file[..error.valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            fault: TermFault::NotText,
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let terms = match format {
            TermFormat::Obo => obo::read(text)?,
            TermFormat::Tsv => table::read(text, '\t')?,
            TermFormat::Csv => table::read(text, ',')?,
        };
        terms.require_distinct()?;
        Ok(terms)
    }

    fn require_distinct(&self) -> Result<(), TermsRefused> {
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for Term {
            line,
            name,
            ontology_id,
            ..
        } in &self.terms
        {
            let refused = |fault| TermsRefused { line: *line, fault };
            if !names.insert(name.as_str()) {
                return Err(refused(TermFault::NameTwice(name.to_string())));
            }
            if let Some(id) = ontology_id
                && !ids.insert(id.as_str())
            {
                return Err(refused(TermFault::IdTwice(id.to_string())));
            }
        }
        Ok(())
    }
}

fn text(what: &'static str, text: &str, line: usize) -> Result<Option<Note>, TermsRefused> {
    if text.is_empty() {
        return Ok(None);
    }
    let refused = |refused| TermsRefused {
        line,
        fault: TermFault::Text(what, refused),
    };
    text.parse().map(Some).map_err(refused)
}

fn synonyms(texts: &[String], line: usize) -> Result<Synonyms, TermsRefused> {
    Synonyms::read(texts).map_err(|refused| TermsRefused {
        line,
        fault: TermFault::Synonyms(refused),
    })
}

/// A node of a hierarchy that would stand below itself, if there is one. `above` says
/// what stands right above each.
pub fn find_cycle(above: &HashMap<usize, Vec<usize>>) -> Option<usize> {
    /// Where the walk is with a node.
    enum State {
        /// On the way up from it.
        Open,
        /// All above it is known.
        Done,
    }
    let mut states: HashMap<usize, State> = HashMap::new();
    let mut starts: Vec<usize> = above.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        if states.contains_key(&start) {
            continue;
        }
        states.insert(start, State::Open);
        // Nodes on the way, and how many of those above each were seen.
        let mut way = vec![(start, 0)];
        while let Some((node, seen)) = way.last_mut() {
            let node = *node;
            let next = above.get(&node).and_then(|parents| parents.get(*seen)).copied();
            *seen += 1;
            match next {
                None => {
                    states.insert(node, State::Done);
                    way.pop();
                }
                Some(parent) => match states.get(&parent) {
                    Some(State::Open) => return Some(parent),
                    Some(State::Done) => {}
                    None => {
                        states.insert(parent, State::Open);
                        way.push((parent, 0));
                    }
                },
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(usize, usize)]) -> HashMap<usize, Vec<usize>> {
        let mut above: HashMap<usize, Vec<usize>> = HashMap::new();
        for (child, parent) in edges {
            above.entry(*child).or_default().push(*parent);
        }
        above
    }

    #[test]
    fn a_cycle_is_found_and_a_diamond_is_none() {
        assert_eq!(find_cycle(&graph(&[(1, 2), (1, 3), (2, 4), (3, 4)])), None);
        assert!(find_cycle(&graph(&[(1, 2), (2, 3), (3, 1)])).is_some());
        assert_eq!(find_cycle(&graph(&[(7, 7)])), Some(7));
        let long: Vec<_> = (0..100_000).map(|node| (node, node + 1)).collect();
        assert_eq!(find_cycle(&graph(&long)), None);
    }

    #[test]
    fn a_name_or_identifier_comes_once() {
        let twice = Terms::read(b"name\nx\ny\nx\n", TermFormat::Csv).unwrap_err();
        assert_eq!(twice.line, 4);
        assert!(matches!(twice.fault, TermFault::NameTwice(name) if name == "x"));
        let twice = Terms::read(b"name,ontology_id\nx,A:1\ny,A:1\n", TermFormat::Csv).unwrap_err();
        assert!(matches!(twice.fault, TermFault::IdTwice(_)));
    }

    #[test]
    fn a_file_is_text() {
        let refused = Terms::read(b"name\nx\n\xff\n", TermFormat::Tsv).unwrap_err();
        assert_eq!((refused.line, refused.fault), (3, TermFault::NotText));
    }
}
