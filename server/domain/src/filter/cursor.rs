//! Reads words, quoted texts and signs from a text.

use super::{
    Comparator, FilterRefused, Literal,
    fault::{Fault, Span},
};

type Result<T> = std::result::Result<T, Fault>;

/// A place in a text that moves on.
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

/// Whether a word can hold a character. Names of fields hold no dots, values do.
fn is_in_word(c: char) -> bool {
    !is_space(c)
        && !matches!(
            c,
            '.' | '(' | ')' | ',' | '<' | '>' | '=' | '!' | ':' | '"' | '\'' | '\\' | '\0'
        )
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_space).len();
    }

    /// Moves on over a sign if it stands here.
    pub(super) fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// The word that begins here; empty when none does.
    pub(super) fn peek_word(&self) -> &'t str {
        let rest = self.rest();
        &rest[..rest.find(|c| !is_in_word(c)).unwrap_or(rest.len())]
    }

    pub(super) fn word(&mut self) -> Option<&'t str> {
        let word = self.peek_word();
        self.at += word.len();
        (!word.is_empty()).then_some(word)
    }

    pub(super) fn comparator(&mut self) -> Option<Comparator> {
        use Comparator as C;
        // The longer ones first.
        let all = [
            C::NotEqual,
            C::LessOrEqual,
            C::GreaterOrEqual,
            C::Equal,
            C::Less,
            C::Greater,
            C::Has,
        ];
        all.into_iter().find(|comparator| self.take(comparator.as_str()))
    }

    /// The quoted text that begins here, if one does.
    pub(super) fn quoted(&mut self) -> Result<Option<Literal>> {
        let begin = self.at;
        let Some(quote) = self.peek().filter(|c| matches!(c, '"' | '\'')) else {
            return Ok(None);
        };
        let (mut text, mut stars) = (String::new(), Vec::new());
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                '\0' => return Err(Fault::new(begin + offset, FilterRefused::Nul)),
                '\\' => match chars.next() {
                    Some((_, escaped)) => text.push(unescaped(escaped, begin + offset)?),
                    None => break,
                },
                '*' => {
                    stars.push(text.len());
                    text.push('*');
                }
                c if c == quote => {
                    self.at = begin + offset + 1;
                    let span = begin..self.at;
                    return Ok(Some(Literal {
                        text,
                        quoted: true,
                        stars,
                        span,
                    }));
                }
                c => text.push(c),
            }
        }
        Err(Fault::new(begin, FilterRefused::Unclosed))
    }

    /// The value that begins here, quoted or not.
    pub(super) fn value(&mut self) -> Result<Option<Literal>> {
        if let Some(quoted) = self.quoted()? {
            return Ok(Some(quoted));
        }
        let (begin, rest) = (self.at, self.rest());
        let is_time = begins_like_time(rest);
        let is_in_value = |c: char| is_in_word(c) || c == '.' || (is_time && c == ':');
        let text = &rest[..rest.find(|c| !is_in_value(c)).unwrap_or(rest.len())];
        self.at += text.len();
        Ok((!text.is_empty()).then(|| Literal {
            text: text.to_owned(),
            quoted: false,
            stars: text.match_indices('*').map(|(star, _)| star).collect(),
            span: begin..self.at,
        }))
    }

    /// A fault that what stands here is not what is wanted.
    pub(super) fn unexpected(&self, wanted: &'static str) -> Fault {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some('\0') => return Fault::new(self.at, FilterRefused::Nul),
            Some(c) if is_in_word(c) => format!("`{}`", shortened(self.peek_word())),
            Some(c) if c.is_control() => format!("`{}`", c.escape_debug()),
            Some(c) => format!("`{c}`"),
        };
        Fault::new(self.at, FilterRefused::Unexpected { wanted, found })
    }

    pub(super) fn span_from(&self, begin: usize) -> Span {
        begin..self.at
    }
}

/// Times hold colons, and nobody quotes them.
fn begins_like_time(text: &str) -> bool {
    let begin = text.as_bytes().get(..11);
    begin.is_some_and(|bytes| {
        bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b't'),
            _ => byte.is_ascii_digit(),
        })
    })
}

fn unescaped(escaped: char, at: usize) -> Result<char> {
    Ok(match escaped {
        '\\' | '"' | '\'' | '*' => escaped,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => return Err(Fault::new(at, FilterRefused::Escape(other))),
    })
}

/// What a caller sent, as far as it is worth repeating.
pub(super) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
