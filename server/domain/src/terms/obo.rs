//! Labels as terms of an ontology in OBO 1.2 or 1.4.

use super::{TERMS_MAX, Term, TermFault, Terms, TermsRefused, synonyms, text};

/// A term while it is read.
#[derive(Debug, Default)]
struct Stanza {
    line: usize,
    id: Option<String>,
    name: Option<String>,
    definition: Option<String>,
    synonyms: Vec<String>,
    parents: Vec<String>,
    is_obsolete: bool,
}

pub(super) fn read(file: &str) -> Result<Terms, TermsRefused> {
    let mut terms = Terms::default();
    let mut stanza: Option<Stanza> = None;
    for (number, line) in file.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            finish(stanza.take(), &mut terms)?;
            // Others describe relations and instances.
            stanza = (line == "[Term]").then(|| Stanza {
                line: number + 1,
                ..Stanza::default()
            });
        } else if let (Some(stanza), Some((tag, value))) = (&mut stanza, line.split_once(':')) {
            stanza.take(tag, value.trim());
        }
    }
    finish(stanza, &mut terms)?;
    Ok(terms)
}

impl Stanza {
    fn take(&mut self, tag: &str, value: &str) {
        match tag {
            "id" => self.id = Some(bare(value).to_owned()),
            "name" => self.name = Some(unescaped(without_comment(value))),
            "def" => self.definition = quoted(value),
            "synonym" | "exact_synonym" => self.synonyms.extend(quoted(value)),
            "is_a" => self.parents.push(bare(value).to_owned()),
            "is_obsolete" => self.is_obsolete = bare(value) == "true",
            _ => {}
        }
    }
}

fn finish(stanza: Option<Stanza>, terms: &mut Terms) -> Result<(), TermsRefused> {
    let Some(stanza) = stanza else { return Ok(()) };
    let line = stanza.line;
    let refused = |fault| TermsRefused { line, fault };
    if stanza.is_obsolete {
        terms.skipped += 1;
        return Ok(());
    }
    if terms.terms.len() == TERMS_MAX {
        return Err(refused(TermFault::TooMany));
    }
    let id = stanza.id.unwrap_or_default();
    // A term without a name is called by its identifier.
    let name = stanza
        .name
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| id.clone());
    if name.is_empty() {
        return Err(refused(TermFault::NoName));
    }
    let mut others = stanza.synonyms;
    others.retain(|synonym| !synonym.is_empty() && *synonym != name);
    others.truncate(100);
    terms.terms.push(Term {
        line,
        name: name.parse().map_err(|error| refused(TermFault::Name(error)))?,
        ontology_id: text("the identifier", &id, line)?,
        abbreviation: None,
        description: stanza.definition.filter(|text| !text.is_empty()),
        reference: None,
        synonyms: synonyms(&others, line)?,
        parents: stanza.parents,
    });
    Ok(())
}

/// A value without trailing comment and modifiers.
fn bare(value: &str) -> &str {
    let end = value.find(['!', '{']).unwrap_or(value.len());
    value[..end].trim()
}

/// A name may hold `!`, but not with a blank before it and after it.
fn without_comment(value: &str) -> &str {
    value.split(" ! ").next().unwrap_or_default().trim()
}

/// The text in quotes with which a value begins.
fn quoted(value: &str) -> Option<String> {
    let rest = value.strip_prefix('"')?;
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    let (end, _) = end?;
    Some(unescaped(&rest[..end]).trim().to_owned())
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('t' | 'W') => plain.push(' '),
                Some(other) => plain.push(other),
                None => {}
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"format-version: 1.2
ontology: cl

[Term]
id: CL:0000542
name: lymphocyte
def: "A lymphocyte is a \"leukocyte\"." [GOC:x]

[Term]
id: CL:0000084 ! T cell
name: T cell
synonym: "T-cell" EXACT []
synonym: "T lymphocyte" EXACT [MESH:D013601]
synonym: "T cell" EXACT []
is_a: CL:0000542 {is_inferred="true"} ! lymphocyte
xref: FMA:62870

[Term]
id: CL:0000001
name: old
is_obsolete: true

[Typedef]
id: part_of
name: part of
"#;

    #[test]
    fn terms_become_labels() {
        let Terms { terms, skipped } = read(FILE).unwrap();
        assert_eq!((terms.len(), skipped), (2, 1));
        assert_eq!(
            terms[0].description.as_deref(),
            Some("A lymphocyte is a \"leukocyte\".")
        );
        assert_eq!((terms[1].line, terms[1].name.as_str()), (9, "T cell"));
        assert_eq!(terms[1].ontology_id.as_ref().unwrap().as_str(), "CL:0000084");
        assert_eq!(terms[1].parents, ["CL:0000542"]);
        assert_eq!(terms[1].synonyms.len(), 2);
    }

    #[test]
    fn a_term_has_a_name_or_an_identifier() {
        let refused = read("[Term]\ncomment: nothing\n").unwrap_err();
        assert_eq!((refused.line, refused.fault), (1, TermFault::NoName));
        assert_eq!(read("[Term]\nid: A:1\n").unwrap().terms[0].name.as_str(), "A:1");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(file in "(\\[Term\\]|\n|id|name|def|synonym|is_a|: |\"|\\\\|x|!|\\{){0,40}") {
            let _ = read(&file);
        }
    }
}
