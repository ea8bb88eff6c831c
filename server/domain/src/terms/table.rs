//! Labels as rows of a table. Fields may be quoted (RFC 4180), also between tabs.

use super::{TERMS_MAX, Term, TermFault, Terms, TermsRefused, synonyms, text};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    OntologyId,
    Abbreviation,
    Description,
    Reference,
    Synonyms,
    Parents,
}

const COLUMNS: [(&str, Column); 7] = [
    ("name", Column::Name),
    ("ontology_id", Column::OntologyId),
    ("abbreviation", Column::Abbreviation),
    ("description", Column::Description),
    ("reference", Column::Reference),
    ("synonyms", Column::Synonyms),
    ("parents", Column::Parents),
];

const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;

pub(super) fn read(file: &str, separator: char) -> Result<Terms, TermsRefused> {
    let mut rows = Rows {
        rest: file,
        line: 1,
        separator,
    };
    let (_, header) = rows
        .next()
        .transpose()?
        .ok_or_else(|| refused(1, TermFault::NoHeader))?;
    let columns = columns(&header)?;
    let mut terms = Vec::new();
    for row in rows {
        let (line, fields) = row?;
        // A blank line is no row.
        if fields.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        if fields.len() != columns.len() {
            let (expected, got) = (columns.len(), fields.len());
            return Err(refused(line, TermFault::Columns { expected, got }));
        }
        if terms.len() == TERMS_MAX {
            return Err(refused(line, TermFault::TooMany));
        }
        terms.push(term(line, &columns, &fields)?);
    }
    Ok(Terms { terms, skipped: 0 })
}

fn refused(line: usize, fault: TermFault) -> TermsRefused {
    TermsRefused { line, fault }
}

fn columns(header: &[String]) -> Result<Vec<Column>, TermsRefused> {
    let mut columns = Vec::new();
    for name in header {
        let name = name.trim();
        let known = COLUMNS.iter().find(|(known, _)| *known == name);
        let short: String = name.chars().take(64).collect();
        let (_, column) = known.ok_or_else(|| refused(1, TermFault::Column(short.clone())))?;
        if columns.contains(column) {
            return Err(refused(1, TermFault::ColumnTwice(short)));
        }
        columns.push(*column);
    }
    if columns.contains(&Column::Name) {
        Ok(columns)
    } else {
        Err(refused(1, TermFault::NoHeader))
    }
}

fn term(line: usize, columns: &[Column], fields: &[String]) -> Result<Term, TermsRefused> {
    let field = |wanted: Column| {
        let place = columns.iter().position(|column| *column == wanted);
        place.map_or("", |place| fields[place].trim())
    };
    let several = |wanted: Column| -> Vec<String> {
        let parts = field(wanted).split('|').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let name = field(Column::Name);
    if name.is_empty() {
        return Err(refused(line, TermFault::NoName));
    }
    let description = field(Column::Description);
    if description.len() > DESCRIPTION_BYTES_MAX {
        let (max, got) = (DESCRIPTION_BYTES_MAX, description.len());
        let too_long = crate::TextRefused::TooLong { max, got };
        return Err(refused(line, TermFault::Text("the description", too_long)));
    }
    Ok(Term {
        line,
        name: name.parse().map_err(|error| refused(line, TermFault::Name(error)))?,
        ontology_id: text("the identifier", field(Column::OntologyId), line)?,
        abbreviation: text("the abbreviation", field(Column::Abbreviation), line)?,
        description: (!description.is_empty()).then(|| description.replace('\0', " ")),
        reference: text("the reference", field(Column::Reference), line)?,
        synonyms: synonyms(&several(Column::Synonyms), line)?,
        parents: several(Column::Parents),
    })
}

/// The rows of a file, each with its line.
struct Rows<'f> {
    rest: &'f str,
    line: usize,
    separator: char,
}

impl Iterator for Rows<'_> {
    type Item = Result<(usize, Vec<String>), TermsRefused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let row = self.row();
        if row.is_err() {
            self.rest = "";
        }
        Some(row.map(|row| (line, row)))
    }
}

impl Rows<'_> {
    fn row(&mut self) -> Result<Vec<String>, TermsRefused> {
        let mut fields = Vec::new();
        loop {
            fields.push(if self.rest.starts_with('"') {
                self.quoted()?
            } else {
                self.plain()
            });
            let Some(next) = self.rest.chars().next() else {
                return Ok(fields);
            };
            self.rest = &self.rest[next.len_utf8()..];
            let ends = self.rest.strip_prefix('\n').or(self.rest.is_empty().then_some(""));
            if let (Some(rest), '\r') = (ends, next) {
                self.rest = rest;
                self.line += 1;
                return Ok(fields);
            }
            if next == '\n' {
                self.line += 1;
                return Ok(fields);
            }
            if next != self.separator {
                return Err(refused(self.line, TermFault::Quote));
            }
        }
    }

    fn plain(&mut self) -> String {
        let end = self.rest.find([self.separator, '\n']).unwrap_or(self.rest.len());
        let field = &self.rest[..end];
        // The mark of a line's end belongs to it.
        let field = match self.rest[end..].starts_with('\n') || end == self.rest.len() {
            true => field.strip_suffix('\r').unwrap_or(field),
            false => field,
        };
        self.rest = &self.rest[field.len()..];
        field.to_owned()
    }

    fn quoted(&mut self) -> Result<String, TermsRefused> {
        let begin = self.line;
        let mut field = String::new();
        self.rest = &self.rest[1..];
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err(refused(begin, TermFault::Quote));
            };
            field.push_str(&self.rest[..end]);
            self.line += self.rest[..end].matches('\n').count();
            self.rest = &self.rest[end + 1..];
            match self.rest.strip_prefix('"') {
                None => return Ok(field),
                Some(rest) => {
                    field.push('"');
                    self.rest = rest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_become_labels() {
        let file = "name,ontology_id,synonyms,parents,description\r\n\
             T cell,CL:0000084,T-cell|T lymphocyte,lymphocyte,\"a, \"\"b\"\"\nc\"\r\n\
             \r\nlymphocyte,,,,\n";
        let terms = read(file, ',').unwrap().terms;
        assert_eq!(terms.len(), 2);
        assert_eq!(terms[0].name.as_str(), "T cell");
        assert_eq!(terms[0].ontology_id.as_ref().unwrap().as_str(), "CL:0000084");
        assert_eq!(terms[0].synonyms.len(), 2);
        assert_eq!(terms[0].parents, ["lymphocyte"]);
        assert_eq!(terms[0].description.as_deref(), Some("a, \"b\"\nc"));
        assert_eq!((terms[1].line, terms[1].name.as_str()), (5, "lymphocyte"));
    }

    #[test]
    fn broken_tables_are_refused_with_their_line() {
        for (file, line, fault) in [
            ("", 1, "NoHeader"),
            ("ontology_id\nx\n", 1, "NoHeader"),
            ("name\tcolour\n", 1, "Column"),
            ("name\tname\n", 1, "ColumnTwice"),
            ("name\treference\nx\n", 2, "Columns"),
            ("name\treference\n\ty\n", 2, "NoName"),
            ("name\n\"x\n", 2, "Quote"),
            ("name\n\"x\"y\n", 2, "Quote"),
            ("name\tsynonyms\nx\ta\u{202e}\n", 2, "Synonyms"),
        ] {
            let refused = read(file, '\t').unwrap_err();
            assert_eq!(refused.line, line, "{file:?}: {refused}");
            assert!(
                format!("{:?}", refused.fault).starts_with(fault),
                "{file:?}: {refused:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(file in "(name|,|\"|\n|\r|\t|x|é){0,40}") {
            let _ = read(&file, ',');
            let _ = read(&file, '\t');
        }
    }
}
