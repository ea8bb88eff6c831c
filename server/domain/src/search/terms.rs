//! What an index holds of a text, and what a query looks up in it.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use super::{Query, Rank, Texts, folded, words};

/// Letters of a word that an index holds in one piece; longer words are found by their beginning.
const WORD_CHARS_MAX: usize = 40;

/// Letters of the beginning of a text that an index holds.
const BEGINNING_CHARS_MAX: usize = 40;

/// Letters that are looked for inside words.
const PIECE_CHARS: usize = 3;

/// What stands before a term says what it is a term of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The beginning of a text.
    Beginning,
    /// A word.
    Word,
    /// Letters inside a word.
    Piece,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Beginning => 'b',
            Self::Word => 'w',
            Self::Piece => 'p',
        }
    }
}

/// Whether a word is long enough to be found inside others.
pub(super) fn is_findable_inside(word: &str) -> bool {
    match word.chars().count() {
        0 | 1 => false,
        2 => is_of_script_without_spaces(word),
        _ => true,
    }
}

/// Whether all characters are of scripts whose words are not told apart by spaces.
fn is_of_script_without_spaces(word: &str) -> bool {
    word.chars().all(|c| {
        matches!(c,
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
    })
}

/// The pieces of a word by which it is found inside others.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = word
        .char_indices()
        .map(|(start, _)| start)
        .chain([word.len()])
        .collect();
    let long = starts.windows(PIECE_CHARS + 1).map(|ends| (ends[0], ends[PIECE_CHARS]));
    let short = starts.windows(3).map(|ends| (ends[0], ends[2]));
    let short = short.filter(|(start, end)| is_of_script_without_spaces(&word[*start..*end]));
    let found: Vec<(usize, usize)> = long.chain(short).collect();
    found.into_iter().map(|(start, end)| &word[start..end])
}

fn beginning(text: &str, chars: usize) -> &str {
    match text.char_indices().nth(chars) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A term as databases store it.
///
/// Tokenizers take texts apart at signs of ASCII, so these are moved to where no letters
/// of our texts are.
fn term(kind: Kind, text: &str) -> String {
    const MOVED: u32 = 0xf_0000;
    let moved = |c: char| match c {
        c if c.is_ascii_alphanumeric() || !c.is_ascii() => c,
        c => char::from_u32(MOVED + u32::from(c)).expect("it is for private use"),
    };
    std::iter::once(kind.letter()).chain(text.chars().map(moved)).collect()
}

/// What an index holds of an artifact, in the space that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms(BTreeSet<String>);

impl Terms {
    /// The terms of some texts.
    pub fn of(texts: Texts<'_>) -> Self {
        let mut terms = BTreeSet::new();
        for text in texts.all() {
            terms.insert(term(Kind::Beginning, beginning(&folded(text), BEGINNING_CHARS_MAX)));
        }
        for text in texts.whole() {
            for word in words(&folded(text)) {
                terms.insert(term(Kind::Word, beginning(word, WORD_CHARS_MAX)));
                terms.extend(pieces(word).map(|piece| term(Kind::Piece, piece)));
            }
        }
        Self(terms)
    }

    /// All of them with a space between, each after what tells one space from another.
    pub fn in_space(&self, space_id: i64) -> String {
        let mut all = String::new();
        for term in &self.0 {
            let gap = if all.is_empty() { "" } else { " " };
            write!(all, "{gap}{space_id}{term}").expect("strings take everything");
        }
        all
    }
}

/// What to look up in an index: artifacts that have all of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup(Vec<Needed>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Needed {
    Term(String),
    /// Any term that begins so.
    Beginning(String),
}

impl Query {
    /// Finds every artifact that has this rank, and some that do not.
    pub fn lookup(&self, rank: Rank) -> Lookup {
        let beginning_of_text = || {
            let text = beginning(&self.text, BEGINNING_CHARS_MAX);
            (term(Kind::Beginning, text), text.len() < self.text.len())
        };
        Lookup(match rank {
            Rank::Exact => vec![Needed::Term(beginning_of_text().0)],
            Rank::Prefix => match beginning_of_text() {
                (term, true) => vec![Needed::Term(term)],
                (term, false) => vec![Needed::Beginning(term)],
            },
            Rank::Words => {
                let words = self.words.iter().map(|word| beginning(word, WORD_CHARS_MAX));
                words.map(|word| Needed::Term(term(Kind::Word, word))).collect()
            }
            Rank::Parts => self.words.iter().flat_map(|word| parts(word)).collect(),
        })
    }
}

fn parts(word: &str) -> Vec<Needed> {
    if !is_findable_inside(word) {
        return vec![Needed::Beginning(term(Kind::Word, word))];
    }
    let pieces: BTreeSet<&str> = pieces(word).collect();
    pieces
        .into_iter()
        .map(|piece| Needed::Term(term(Kind::Piece, piece)))
        .collect()
}

impl Lookup {
    /// In the language of SQLite's FTS5, in a space.
    pub fn fts5(&self, space_id: i64) -> String {
        self.joined(" AND ", |f, needed| match needed {
            Needed::Term(term) => write!(f, "\"{space_id}{term}\""),
            Needed::Beginning(term) => write!(f, "\"{space_id}{term}\" *"),
        })
    }

    /// In the language of PostgreSQL's `tsquery`, in a space.
    pub fn tsquery(&self, space_id: i64) -> String {
        self.joined(" & ", |f, needed| match needed {
            Needed::Term(term) => write!(f, "'{space_id}{term}'"),
            Needed::Beginning(term) => write!(f, "'{space_id}{term}':*"),
        })
    }

    fn joined(&self, and: &str, write: impl Fn(&mut String, &Needed) -> fmt::Result) -> String {
        let mut all = String::new();
        for needed in &self.0 {
            if !all.is_empty() {
                all.push_str(and);
            }
            write(&mut all, needed).expect("strings take everything");
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Lookup {
        fn finds(&self, Terms(terms): &Terms) -> bool {
            self.0.iter().all(|needed| match needed {
                Needed::Term(term) => terms.contains(term),
                Needed::Beginning(begin) => terms.iter().any(|term| term.starts_with(begin)),
            })
        }
    }

    #[test]
    fn terms_are_what_no_tokenizer_takes_apart() {
        let texts = Texts {
            key: Some("a/b-c.csv"),
            ..Texts::default()
        };
        let all = Terms::of(texts).in_space(7);
        let terms: Vec<&str> = all.split(' ').collect();
        assert!(
            terms.contains(&"7wcsv") && terms.contains(&"7pcsv") && terms.contains(&"7wa"),
            "{all}"
        );
        assert!(terms.contains(&"7ba\u{f002f}b\u{f002d}c\u{f002e}csv"), "{all}");
        assert!(
            all.chars()
                .all(|c| c == ' ' || c.is_ascii_alphanumeric() || !c.is_ascii())
        );
    }

    #[test]
    fn lookups_are_written_in_both_languages() {
        let query: Query = "h5 blood".parse().unwrap();
        let lookup = query.lookup(Rank::Parts);
        assert_eq!(lookup.fts5(3), "\"3pblo\" AND \"3ploo\" AND \"3pood\" AND \"3wh5\" *");
        assert_eq!(lookup.tsquery(3), "'3pblo' & '3ploo' & '3pood' & '3wh5':*");
        assert_eq!(query.lookup(Rank::Words).fts5(3), "\"3wblood\" AND \"3wh5\"");
        let prefix: Query = "a'\"b".parse().unwrap();
        assert_eq!(prefix.lookup(Rank::Prefix).tsquery(3), "'3ba\u{f0027}\u{f0022}b':*");
    }

    proptest! {
        #[test]
        fn whatever_ranks_is_found_by_the_lookup_of_its_rank(
            key in "[abAB]{1,3}([/. -][ab胞細é]{1,4}){0,4}|[ab]{30,60}([/. ][ab]{30,60}){0,2}",
            description in prop::option::of("[abAB細 ]{0,12}"),
            query in "[abAB]{1,3}([/. -][ab胞細é]{1,3}){0,2}|[ab細胞]{1,4}|[ab]{30,60}",
            at in 0usize..40,
            length in 1usize..60,
        ) {
            let part: String = key.chars().skip(at).take(length).collect();
            let texts = Texts { key: Some(&key), file_name: None, description: description.as_deref() };
            for query in [query, part] {
                let Ok(query) = query.parse::<Query>() else { continue };
                if let Some(rank) = query.rank(texts) {
                    prop_assert!(query.lookup(rank).finds(&Terms::of(texts)), "{:?} {:?} {}", query, rank, key);
                }
            }
        }

        #[test]
        fn any_text_is_a_query_or_a_clear_refusal(text in ".{0,60}", other in ".{0,60}") {
            if let Ok(query) = text.parse::<Query>() {
                let texts = Texts { key: Some(&other), file_name: Some(&text), description: None };
                prop_assert!(query.rank(texts).is_some());
                for rank in Rank::ALL {
                    let lookup = query.lookup(rank).tsquery(1);
                    prop_assert!(!lookup.is_empty() && lookup.matches('\'').count() % 2 == 0);
                }
            }
        }
    }
}
