//! From text to tree.
//!
//! ```text
//! filter      : [ and ]
//! and         : or { [ "AND" ] or }
//! or          : not { "OR" not }
//! not         : [ "NOT" | "-" ] ( "(" and ")" | restriction )
//! restriction : name "(" [ value { "," value } ] ")"  |  name comparator value
//! name        : word { "." word }
//! ```

use std::str::FromStr;

use super::{
    Expression, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TESTS_MAX, Filter, FilterFault, FilterRefused, Literal,
    Name, Restriction, Subject,
    cursor::{Cursor, shortened},
    fault::Fault,
};

type Result<T> = std::result::Result<T, Fault>;

const KEYWORDS: [&str; 3] = ["AND", "OR", "NOT"];

impl FromStr for Filter {
    type Err = FilterFault;
    fn from_str(text: &str) -> std::result::Result<Self, FilterFault> {
        let read = if text.len() > FILTER_BYTES_MAX {
            Err(Fault::new(0, FilterRefused::Length(text.len())))
        } else {
            Parser::new(text).filter()
        };
        let root = read.map_err(|fault| fault.in_text(text))?;
        let text = text.to_owned();
        Ok(Self { text, root })
    }
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    depth: usize,
    tests: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let cursor = Cursor::new(text);
        Self {
            cursor,
            depth: 0,
            tests: 0,
        }
    }

    fn filter(mut self) -> Result<Option<Expression>> {
        self.cursor.skip_space();
        if self.cursor.peek().is_none() {
            return Ok(None);
        }
        let root = self.and()?;
        match self.cursor.peek() {
            None => Ok(Some(root)),
            Some(_) => Err(self.cursor.unexpected("`AND`, `OR` or the end")),
        }
    }

    fn and(&mut self) -> Result<Expression> {
        let mut parts = vec![self.or()?];
        loop {
            self.cursor.skip_space();
            let joined = self.keyword("AND");
            if !joined && !self.at_a_test() {
                break;
            }
            parts.push(self.or()?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn or(&mut self) -> Result<Expression> {
        let mut parts = vec![self.not()?];
        loop {
            self.cursor.skip_space();
            if !self.keyword("OR") {
                break;
            }
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn not(&mut self) -> Result<Expression> {
        self.cursor.skip_space();
        let negated = self.cursor.take("-") || self.keyword("NOT");
        let inner = self.simple()?;
        Ok(if negated {
            Expression::Not(Box::new(inner))
        } else {
            inner
        })
    }

    fn simple(&mut self) -> Result<Expression> {
        self.cursor.skip_space();
        let begin = self.cursor.at();
        if !self.cursor.take("(") {
            return Ok(Expression::Restriction(self.restriction()?));
        }
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return Err(Fault::new(begin, FilterRefused::Depth));
        }
        let inner = self.and()?;
        if !self.cursor.take(")") {
            return Err(self.cursor.unexpected("`AND`, `OR` or `)`"));
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn restriction(&mut self) -> Result<Restriction> {
        let begin = self.cursor.at();
        self.tests += 1;
        if self.tests > FILTER_TESTS_MAX {
            return Err(Fault::new(begin, FilterRefused::Tests));
        }
        let (name, quoted) = self.name()?;
        let subject = if !quoted && self.cursor.take("(") {
            let arguments = self.arguments()?;
            Subject::Function { name, arguments }
        } else {
            Subject::Field(name)
        };
        self.cursor.skip_space();
        let comparator_at = self.cursor.at();
        let against = match self.cursor.comparator() {
            None if self.cursor.peek() == Some('!') => return Err(self.cursor.unexpected("`!=`")),
            None => None,
            Some(comparator) => {
                self.cursor.skip_space();
                Some((comparator, self.compared()?))
            }
        };
        match (&subject, &against) {
            (Subject::Field(name), None) => Err(self.bare(name)),
            _ => Ok(Restriction {
                subject,
                against,
                comparator_at,
            }),
        }
    }

    /// The name that begins here, and whether its first word is quoted.
    fn name(&mut self) -> Result<(Name, bool)> {
        let begin = self.cursor.at();
        if self.at_keyword() {
            return Err(self.cursor.unexpected("a field"));
        }
        let quoted = matches!(self.cursor.peek(), Some('"' | '\''));
        let mut segments = vec![self.segment("a field")?];
        while self.cursor.take(".") {
            segments.push(self.segment("the rest of the name of a field")?);
        }
        let span = self.cursor.span_from(begin);
        Ok((Name { segments, span }, quoted))
    }

    fn segment(&mut self, wanted: &'static str) -> Result<String> {
        if let Some(quoted) = self.cursor.quoted()? {
            return Ok(quoted.text);
        }
        let word = self.cursor.word().map(str::to_owned);
        word.ok_or_else(|| self.cursor.unexpected(wanted))
    }

    fn arguments(&mut self) -> Result<Vec<Literal>> {
        let mut arguments = Vec::new();
        self.cursor.skip_space();
        if self.cursor.take(")") {
            return Ok(arguments);
        }
        loop {
            self.cursor.skip_space();
            let value = self.cursor.value()?;
            arguments.push(value.ok_or_else(|| self.cursor.unexpected("a value"))?);
            self.cursor.skip_space();
            if self.cursor.take(")") {
                return Ok(arguments);
            }
            if !self.cursor.take(",") {
                return Err(self.cursor.unexpected("`,` or `)`"));
            }
        }
    }

    /// The value on the right of a comparison.
    fn compared(&mut self) -> Result<Literal> {
        let value = self.cursor.value()?;
        let value = value.ok_or_else(|| self.cursor.unexpected("a value"))?;
        match self.cursor.peek() {
            // What goes on without a space was meant to be one value.
            Some(c) if !matches!(c, ' ' | '\t' | '\r' | '\n' | ')') => {
                Err(self.cursor.unexpected("a space; values that hold this are quoted"))
            }
            _ => Ok(value),
        }
    }

    /// A word alone: what was meant?
    fn bare(&self, name: &Name) -> Fault {
        let word = shortened(&name.to_string());
        let keyword = KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(&word));
        let refused = match keyword {
            Some(keyword) => FilterRefused::SmallKeyword(keyword),
            None => FilterRefused::BareWord(word),
        };
        Fault::new(name.span.start, refused)
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        self.cursor.peek_word() == keyword && self.cursor.take(keyword)
    }

    fn at_keyword(&self) -> bool {
        KEYWORDS.contains(&self.cursor.peek_word())
    }

    /// Whether another test begins here, joined without a word.
    fn at_a_test(&self) -> bool {
        match self.cursor.peek() {
            Some('(' | '"' | '\'') => true,
            _ => !matches!(self.cursor.peek_word(), "" | "OR"),
        }
    }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}
