//! Filters in which something was changed: each still is one, or a fault with its place.
//!
//! `tests/soak/run filters 100000` tries so many.

use proptest::sample::{Index, select};

use super::*;

/// What filters are made of, and what they must not choke on.
const PIECES: [&str; 40] = [
    " AND ",
    " OR ",
    "NOT ",
    "-",
    "(",
    ")",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    ":",
    ":*",
    "*",
    "**",
    "\"",
    "'",
    "\\",
    "\\*",
    ".",
    ",",
    " ",
    "\t",
    "\0",
    "\u{e9}",
    "\u{202e}",
    "\u{1f9ec}",
    "t",
    "note",
    "n",
    "map.",
    "'map'",
    "input_of(",
    "colour = RED",
    "1e999",
    "-0.5",
    "9223372036854775808",
    "2026-02-30",
    "at > 2026-01-31T12:00:00Z",
];

/// Most letters that one edit takes away or repeats.
const SPAN_MAX: usize = 12;

/// What is done to a piece of a filter.
#[derive(Debug, Clone)]
enum Edit {
    Remove,
    Repeat,
    Insert(&'static str),
}

fn edits() -> impl Strategy<Value = Vec<(Index, Index, Edit)>> {
    let edit = prop_oneof![
        Just(Edit::Remove),
        Just(Edit::Repeat),
        select(&PIECES[..]).prop_map(Edit::Insert),
    ];
    prop::collection::vec((any::<Index>(), any::<Index>(), edit), 1..6)
}

fn edited(text: &str, edits: &[(Index, Index, Edit)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (from, length, edit) in edits {
        let from = from.index(letters.len() + 1);
        let to = from + length.index(SPAN_MAX.min(letters.len() - from) + 1);
        match edit {
            Edit::Remove => drop(letters.drain(from..to)),
            Edit::Repeat => {
                let again = letters[from..to].to_vec();
                letters.splice(to..to, again);
            }
            Edit::Insert(piece) => drop(letters.splice(from..from, piece.chars())),
        }
    }
    letters.into_iter().collect()
}

proptest! {
    #[test]
    fn an_edited_filter_is_one_or_a_fault_in_it(plain in plain(), edits in edits(), row in row()) {
        let text = edited(&plain.text(), &edits);
        match text.parse::<Filter>() {
            Ok(filter) => match filter.check(&Fields) {
                // Whether it holds can be said, unless it asks what rows here do not tell.
                Ok(predicate) => {
                    // Of nothing, and of what is nested as deep as it may be, there is none.
                    if let (true, Ok(opposite)) = (asks_rows_alone(&predicate), checked(&format!("NOT ({text})"))) {
                        prop_assert_ne!(predicate.matches(&row), opposite.matches(&row), "{}", text);
                    }
                }
                Err(fault) => is_within(&fault, &text)?,
            },
            Err(fault) => is_within(&fault, &text)?,
        }
    }
}

fn is_within(fault: &FilterFault, text: &str) -> Result<(), TestCaseError> {
    prop_assert!(
        (1..=text.chars().count() + 1).contains(&fault.character),
        "{fault} in {text}"
    );
    prop_assert!(fault.to_string().len() < 300, "{fault}");
    Ok(())
}

/// Whether all fields are those of [`Row`].
fn asks_rows_alone(predicate: &Predicate<Id>) -> bool {
    let is_known = |field: &Id| ["t", "note", "n", "m", "x", "words"].contains(field);
    match predicate {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().all(asks_rows_alone),
        Predicate::Is(test) | Predicate::IsNot(test) => match test {
            Test::Set(field) | Test::Compare(field, ..) | Test::Like(field, _) | Test::Unlike(field, _) => {
                is_known(&field.id)
            }
            Test::NotEmpty(_) | Test::Call(..) => false,
        },
    }
}
