//! Holds a filter against a schema.

use super::{
    Comparator, Comparison, Expression, Field, Filter, FilterFault, FilterRefused, Literal, Name, Pattern, Predicate,
    Resolved, Restriction, Schema, Subject, Test, Type, Unresolved,
    cursor::shortened,
    fault::Fault,
    literal::{argument, compared, comparison, set},
};

type Result<T> = std::result::Result<T, Fault>;

impl Filter {
    /// What the filter asks of the fields of a schema.
    pub fn check<S: Schema>(&self, schema: &S) -> std::result::Result<Predicate<S::Id>, FilterFault> {
        let Some(root) = &self.root else {
            return Ok(Predicate::always());
        };
        expression(root, schema, false).map_err(|fault| fault.in_text(&self.text))
    }
}

fn expression<S: Schema>(expression: &Expression, schema: &S, negated: bool) -> Result<Predicate<S::Id>> {
    let checked = |parts: &[Expression]| -> Result<Vec<_>> {
        parts
            .iter()
            .map(|part| self::expression(part, schema, negated))
            .collect()
    };
    match expression {
        Expression::And(parts) if negated => Ok(Predicate::any(checked(parts)?)),
        Expression::And(parts) => Ok(Predicate::all(checked(parts)?)),
        Expression::Or(parts) if negated => Ok(Predicate::all(checked(parts)?)),
        Expression::Or(parts) => Ok(Predicate::any(checked(parts)?)),
        Expression::Not(part) => self::expression(part, schema, !negated),
        Expression::Restriction(restriction) => {
            let predicate = self::restriction(restriction, schema)?;
            Ok(if negated { predicate.negated() } else { predicate })
        }
    }
}

fn restriction<S: Schema>(restriction: &Restriction, schema: &S) -> Result<Predicate<S::Id>> {
    match (&restriction.subject, &restriction.against) {
        (Subject::Function { name, .. }, Some(_)) => {
            let refused = FilterRefused::FunctionCompared(shown(name));
            Err(Fault::new(restriction.comparator_at, refused))
        }
        (Subject::Function { name, arguments }, None) => function(name, arguments, schema),
        (Subject::Field(name), Some((comparator, literal))) => match resolved(name, schema)? {
            Resolved::Map(map) => entry(name, map, *comparator, literal, schema, restriction.comparator_at),
            Resolved::Field(field) => test(name, &field, *comparator, literal, restriction.comparator_at),
        },
        (Subject::Field(name), None) => Err(Fault::new(name.span.start, FilterRefused::BareWord(shown(name)))),
    }
}

fn resolved<S: Schema>(name: &Name, schema: &S) -> Result<Resolved<S::Id>> {
    schema.field(&name.path()).map_err(|unresolved| {
        let refused = match unresolved {
            Unresolved::Unknown => FilterRefused::UnknownField {
                name: shown(name),
                nearest: nearest(&name.to_string(), schema.names()),
            },
            Unresolved::Because(why) => FilterRefused::Field { name: shown(name), why },
        };
        Fault::new(name.span.start, refused)
    })
}

fn function<S: Schema>(name: &Name, arguments: &[Literal], schema: &S) -> Result<Predicate<S::Id>> {
    let refused = |refused| Fault::new(name.span.start, refused);
    let function = schema.function(&name.path());
    let function = function.ok_or_else(|| refused(FilterRefused::UnknownFunction(shown(name))))?;
    if function.arguments.len() != arguments.len() {
        return Err(refused(FilterRefused::Arguments {
            name: shown(name),
            wanted: function.arguments.len(),
            got: arguments.len(),
        }));
    }
    let values = function.arguments.iter().zip(arguments).map(|(r#type, literal)| {
        require_no_star(literal)?;
        argument(r#type, &name.to_string(), literal).map_err(|refused| Fault::new(literal.span.start, refused))
    });
    Ok(Predicate::Is(Test::Call(function.id, values.collect::<Result<_>>()?)))
}

/// `map:name` and `map:*`.
fn entry<S: Schema>(
    name: &Name,
    map: S::Id,
    comparator: Comparator,
    literal: &Literal,
    schema: &S,
    comparator_at: usize,
) -> Result<Predicate<S::Id>> {
    if comparator != Comparator::Has {
        return Err(Fault::new(comparator_at, FilterRefused::Map(shown(name))));
    }
    if literal.is_anything() {
        return Ok(Predicate::Is(Test::NotEmpty(map)));
    }
    require_no_star(literal)?;
    let mut segments = name.segments.clone();
    segments.push(literal.text.clone());
    let span = literal.span.clone();
    match resolved(&Name { segments, span }, schema)? {
        Resolved::Field(field) => Ok(set(&field)),
        Resolved::Map(map) => Ok(Predicate::Is(Test::NotEmpty(map))),
    }
}

fn test<Id: Clone>(
    name: &Name,
    field: &Field<Id>,
    comparator: Comparator,
    literal: &Literal,
    comparator_at: usize,
) -> Result<Predicate<Id>> {
    let at_value = |refused| Fault::new(literal.span.start, refused);
    let does_not_go = || {
        let refused = FilterRefused::Comparator {
            comparator,
            name: shown(name),
            type_name: field.r#type.name(),
        };
        Fault::new(comparator_at, refused)
    };
    let (comparison, field) = match comparison(comparator) {
        Some(comparison) => (comparison, field.clone()),
        None if literal.is_anything() => return Ok(set(field)),
        None if field.repeated => {
            let id = field.has.as_ref().unwrap_or(&field.id).clone();
            (Comparison::Equal, Field { id, ..field.clone() })
        }
        None => return Err(does_not_go()),
    };
    let field = &field;
    let by_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if !by_equality && !field.r#type.is_ordered() {
        return Err(does_not_go());
    }
    if !literal.quoted && literal.text.eq_ignore_ascii_case("null") {
        return Err(at_value(FilterRefused::Null(shown(name))));
    }
    if by_equality
        && field.r#type == Type::Text
        && let Some(pattern) = Pattern::of(literal)?
    {
        return Ok(like(field, comparison, pattern));
    }
    require_no_star(literal)?;
    compared(field, &name.to_string(), comparison, literal).map_err(at_value)
}

fn like<Id: Clone>(field: &Field<Id>, comparison: Comparison, pattern: Pattern) -> Predicate<Id> {
    match (comparison, pattern.is_anything()) {
        (Comparison::NotEqual, true) => Predicate::never(),
        (_, true) => set(field),
        (Comparison::NotEqual, false) => Predicate::Is(Test::Unlike(field.clone(), pattern)),
        (_, false) => Predicate::Is(Test::Like(field.clone(), pattern)),
    }
}

fn require_no_star(literal: &Literal) -> Result<()> {
    if literal.stars.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(literal.span.start, FilterRefused::Star))
    }
}

fn shown(name: &Name) -> String {
    shortened(&name.to_string())
}

/// The name that a mistyped one is most like, if it is like any.
fn nearest(name: &str, names: Vec<String>) -> Option<String> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let close = names.into_iter().filter(|known| known.len() <= LONGEST);
    let close = close.map(|known| (distance(name, &known), known));
    let best = close.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may differ.
    (best.0 * 3 <= best.1.len()).then_some(best.1)
}

/// How many letters have to be put in, taken out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, c) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for column in 0..other.len() {
            let changed = diagonal + usize::from(other[column] != c);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
