//! Patterns for paths of members.
//!
//! `*` stands for any characters of one segment, `?` for one, `[a-z]` and `[!a-z]`
//! for one of some or of all others, and `**` as a segment of its own for any number
//! of segments: none in front and between (`**/x`, `a/**/x`), at least one at the
//! end (`a/**`). Upper and lower case differ, and a leading dot is nothing special.
//! A special character is written in brackets to mean itself: `[*]`.
//!
//! Matching goes back to the latest star at most, in a segment as among segments, so
//! it takes at most the product of both lengths and never explodes.

use std::{fmt, str::FromStr};

const GLOB_BYTES_MAX: usize = 1024;

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobRefused {
    /// It is empty or too long.
    #[error("must have 1 to {GLOB_BYTES_MAX} bytes, got {0}")]
    Length(usize),
    /// It has an empty segment, which no path has.
    #[error("must not have empty segments, nor begin or end with `/`")]
    Segments,
    /// `**` is part of a segment.
    #[error("`**` must be a segment of its own")]
    DoubleStar,
    /// A bracket is not closed in its segment, or has nothing in it.
    #[error("`[` must be closed by `]` in the same segment, with something between them")]
    Bracket,
    /// A range of characters ends before it begins.
    #[error("the range `{0}-{1}` ends before it begins")]
    Range(char, char),
}

/// A pattern for paths, such as `obs/**/[0-9]*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`
    Any,
    Like(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`
    Any,
    /// `?`
    One,
    Literal(char),
    OneOf {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::OneOf { negated, ranges } => ranges.iter().any(|(low, high)| (low..=high).contains(&&c)) != *negated,
        }
    }
}

impl Glob {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every path begins with that the pattern matches.
    ///
    /// With [`Key::prefix_end`](crate::Key::prefix_end) it bounds the range to look at.
    pub fn prefix(&self) -> &str {
        let end = self.text.find(['*', '?', '[']).unwrap_or(self.text.len());
        &self.text[..end]
    }

    /// Whether the pattern has nothing special in it, so that it matches its own text only.
    pub fn is_literal(&self) -> bool {
        self.prefix().len() == self.text.len()
    }

    /// Whether a path matches.
    pub fn matches(&self, path: &str) -> bool {
        path.starts_with(self.prefix()) && matches_segments(&self.segments, &path.split('/').collect::<Vec<_>>())
    }
}

fn matches_segments(pattern: &[Segment], path: &[&str]) -> bool {
    let matches = |segment: &Segment, name: &&str| match segment {
        Segment::Any => true,
        Segment::Like(tokens) => matches_name(tokens, name),
    };
    wildcard(pattern, path, |segment| *segment == Segment::Any, matches)
}

fn matches_name(pattern: &[Token], name: &str) -> bool {
    let chars: Vec<char> = name.chars().collect();
    wildcard(
        pattern,
        &chars,
        |token| *token == Token::Any,
        |token, c| token.matches(*c),
    )
}

/// Matches items against a pattern, in which some items stand for any number of others.
///
/// When the items after a star do not fit, the latest star takes one item more. An
/// earlier one never has to: what it could leave to the latest one, that can take.
fn wildcard<P, T>(pattern: &[P], text: &[T], is_any: impl Fn(&P) -> bool, matches: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut latest_star = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(item) if is_any(item) => {
                at += 1;
                latest_star = Some((at, seen));
            }
            Some(item) if matches(item, &text[seen]) => {
                at += 1;
                seen += 1;
            }
            _ => match &mut latest_star {
                None => return false,
                Some((after, taken)) => {
                    *taken += 1;
                    (at, seen) = (*after, *taken);
                }
            },
        }
    }
    pattern[at..].iter().all(is_any)
}

impl FromStr for Glob {
    type Err = GlobRefused;
    fn from_str(text: &str) -> Result<Self, GlobRefused> {
        if text.is_empty() || text.len() > GLOB_BYTES_MAX {
            return Err(GlobRefused::Length(text.len()));
        }
        let mut segments = text.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        if segments.last() == Some(&Segment::Any) {
            // At the end it stands for one segment at least: `a/**` is what is below `a`.
            segments.insert(segments.len() - 1, Segment::Like(vec![Token::Any]));
        }
        let text = text.to_owned();
        Ok(Self { text, segments })
    }
}

fn parse_segment(text: &str) -> Result<Segment, GlobRefused> {
    match text {
        "" => return Err(GlobRefused::Segments),
        "**" => return Ok(Segment::Any),
        _ => {}
    }
    let mut tokens = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Any) => return Err(GlobRefused::DoubleStar),
            '*' => Token::Any,
            '?' => Token::One,
            '[' => parse_bracket(&mut rest)?,
            literal => Token::Literal(literal),
        });
    }
    Ok(Segment::Like(tokens))
}

/// Parses what follows `[`. A `]` that comes first, and a `-` at an end, mean themselves.
fn parse_bracket(rest: &mut std::str::Chars<'_>) -> Result<Token, GlobRefused> {
    let negated = rest.as_str().starts_with('!');
    if negated {
        rest.next();
    }
    let text = rest.as_str();
    let mut ends = text.char_indices().skip(1).filter(|(_, c)| *c == ']');
    let (end, _) = ends.next().ok_or(GlobRefused::Bracket)?;
    *rest = text[end + 1..].chars();
    let mut chars: &[char] = &text[..end].chars().collect::<Vec<_>>();
    let mut ranges = Vec::new();
    loop {
        (ranges, chars) = match chars {
            [] => return Ok(Token::OneOf { negated, ranges }),
            [low, '-', high, ..] if low > high => return Err(GlobRefused::Range(*low, *high)),
            [low, '-', high, more @ ..] => (with(ranges, (*low, *high)), more),
            [one, more @ ..] => (with(ranges, (*one, *one)), more),
        };
    }
}

fn with<T>(mut items: Vec<T>, item: T) -> Vec<T> {
    items.push(item);
    items
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a pattern means, written down plainly; it takes as long as it takes.
    fn means(pattern: &[Segment], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            ([Segment::Any, rest @ ..], _) => (0..=path.len()).any(|taken| means(rest, &path[taken..])),
            ([Segment::Like(tokens), rest @ ..], [name, names @ ..]) => {
                let chars: Vec<char> = name.chars().collect();
                name_means(tokens, &chars) && means(rest, names)
            }
            _ => false,
        }
    }

    fn name_means(pattern: &[Token], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([Token::Any, rest @ ..], _) => (0..=name.len()).any(|taken| name_means(rest, &name[taken..])),
            ([token, rest @ ..], [c, chars @ ..]) => token.matches(*c) && name_means(rest, chars),
            _ => false,
        }
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, matching, other) in [
            ("a/b.csv", &["a/b.csv"][..], &["a/b_csv", "a/b.csv/c", "b.csv"][..]),
            ("*.csv", &["x.csv", ".csv"], &["a/x.csv", "x.csv.gz"]),
            ("**/*.csv", &["x.csv", "a/b/x.csv"], &["x.csv/y"]),
            ("**", &["a", "a/b/c"], &[]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab", "ab/c"]),
            ("?/**", &["a/b", "a/b/c"], &["a", "ab/c"]),
            ("**/a/**", &["a/b", "x/a/b/c"], &["a", "x/a", "x/b"]),
            ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["a/zz", "az", "a/z/b"]),
            ("**/a/**/b/*", &["a/b/c", "x/a/y/b/c", "a/a/b/b/c"], &["a/b", "b/a/c"]),
            (
                "c/[0-9].[!0]",
                &["c/0.1", "c/9.x"],
                &["c/0.0", "c/a.1", "c/10.1", "c/0.12"],
            ),
            ("?é?", &["日é本"], &["é", "aéé/", "/é/"]),
            ("[]-]x[*]", &["]x*", "-x*"], &["ax*", "]xy"]),
            ("[a-cx-]", &["b", "x", "-"], &["d", "y"]),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!(glob.to_string(), pattern);
            for path in matching {
                assert!(glob.matches(path), "{pattern} {path}");
            }
            for path in other {
                assert!(!glob.matches(path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn texts_that_are_no_patterns_are_refused() {
        let long = "a".repeat(1025);
        for (text, why) in [
            ("", GlobRefused::Length(0)),
            (&long, GlobRefused::Length(1025)),
            ("/a", GlobRefused::Segments),
            ("a/", GlobRefused::Segments),
            ("a//b", GlobRefused::Segments),
            ("a**", GlobRefused::DoubleStar),
            ("**a", GlobRefused::DoubleStar),
            ("***", GlobRefused::DoubleStar),
            ("[a", GlobRefused::Bracket),
            ("[]", GlobRefused::Bracket),
            ("[!]", GlobRefused::Bracket),
            ("[", GlobRefused::Bracket),
            ("[a/b]", GlobRefused::Bracket),
            ("[z-a]", GlobRefused::Range('z', 'a')),
        ] {
            assert_eq!(text.parse::<Glob>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn the_prefix_ends_where_the_pattern_begins() {
        for (pattern, prefix, is_literal) in [
            ("a/b", "a/b", true),
            ("a/b*", "a/b", false),
            ("**/b", "", false),
            ("a/[b]", "a/", false),
            ("a?/b", "a", false),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!((glob.prefix(), glob.is_literal()), (prefix, is_literal));
        }
    }

    #[test]
    fn patterns_made_to_go_back_do_not_take_long() {
        let begun = std::time::Instant::now();
        let name: Glob = format!("{}b", "*a".repeat(500)).parse().unwrap();
        assert!(!name.matches(&"a".repeat(1024)));
        let segments: Glob = format!("{}b", "**/a/".repeat(200)).parse().unwrap();
        assert!(!segments.matches(&["a"; 511].join("/")));
        let both: Glob = format!("{}b", "**/*a*/".repeat(140)).parse().unwrap();
        assert!(!both.matches(&["aaa"; 256].join("/")));
        assert!(begun.elapsed().as_secs() < 2);
    }

    proptest! {
        #[test]
        fn matching_is_what_the_pattern_means(pattern in "[ab*?/]{1,10}|(\\*\\*/|[ab]/|\\*[ab]){1,5}[*ab]", path in "[ab]{1,3}(/[ab]{1,3}){0,4}") {
            if let Ok(glob) = pattern.parse::<Glob>() {
                let names: Vec<&str> = path.split('/').collect();
                prop_assert_eq!(glob.matches(&path), means(&glob.segments, &names), "{} {}", pattern, path);
                prop_assert!(!glob.matches(&path) || path.starts_with(glob.prefix()));
            }
        }
    }
}
