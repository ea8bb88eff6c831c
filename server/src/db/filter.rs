//! From predicates to conditions, the same on both databases.
//!
//! A test that fails because its column is NULL is unknown to SQL. Under AND and OR,
//! which is all that stands above a test, that is as good as false; only a negated test
//! has to say that it holds then. Every value is bound.

use artifactd_domain::{
    Key,
    filter::{Comparison, Field, Pattern, Predicate, Test, Value},
};
use sea_orm::{
    DbBackend,
    sea_query::{Condition, Expr, ExprTrait, Func},
};

/// Where the fields of a predicate are found.
pub(crate) trait Columns<Id> {
    /// The column of a field, or an expression that stands for one.
    fn column(&self, id: &Id) -> Expr;

    /// Whether a field has a column.
    fn has(&self, _id: &Id) -> bool {
        true
    }

    /// The condition for a test that no column answers; true or false, never unknown.
    fn other(&self, _test: &Test<Id>) -> Option<Expr> {
        None
    }
}

/// The condition under which a row matches.
pub(crate) fn condition<Id: PartialEq>(
    backend: DbBackend,
    predicate: &Predicate<Id>,
    columns: &impl Columns<Id>,
) -> Condition {
    let joined = |all: Condition, parts: &[Predicate<Id>]| {
        let parts = parts.iter().map(|part| condition(backend, part, columns));
        parts.fold(all, Condition::add)
    };
    match predicate {
        // An empty condition would be left out.
        Predicate::All(parts) | Predicate::Any(parts) if parts.is_empty() => {
            Condition::all().add(Expr::Constant(predicate.is_always().into()))
        }
        Predicate::All(parts) => joined(Condition::all(), parts),
        Predicate::Any(parts) => match one_of(parts) {
            Some((field, values)) if columns.has(&field.id) => {
                let column = columns.column(&field.id);
                Condition::all().add(column.is_in(values.into_iter().map(bound)))
            }
            _ => joined(Condition::any(), parts),
        },
        Predicate::Is(test) => Condition::all().add(holds(backend, test, columns)),
        Predicate::IsNot(test) => fails(backend, test, columns),
    }
}

/// The field and the values when all that is asked is that it is one of them.
pub(crate) fn one_of<Id: PartialEq>(parts: &[Predicate<Id>]) -> Option<(&Field<Id>, Vec<&Value>)> {
    let equals = |part| match part {
        &Predicate::Is(Test::Compare(ref field, Comparison::Equal, ref value)) => Some((field, value)),
        _ => None,
    };
    let (first, _) = parts.first().and_then(equals)?;
    let values = parts.iter().map(|part| {
        let (field, value) = equals(part)?;
        (field.id == first.id).then_some(value)
    });
    values.collect::<Option<Vec<_>>>().map(|values| (first, values))
}

fn holds<Id>(backend: DbBackend, test: &Test<Id>, columns: &impl Columns<Id>) -> Expr {
    if let Some(other) = columns.other(test) {
        return other;
    }
    match test {
        Test::Set(field) => columns.column(&field.id).is_not_null(),
        Test::Compare(field, comparison, value) => compare(columns.column(&field.id), *comparison, bound(value)),
        Test::Like(field, pattern) => like(backend, &columns.column(&field.id), pattern).into(),
        Test::Unlike(field, pattern) => {
            let column = columns.column(&field.id);
            // NULL is unlike nothing here, also when all of the pattern is its length.
            let unlike = like(backend, &column, pattern).not();
            Condition::all().add(column.is_not_null()).add(unlike).into()
        }
        Test::NotEmpty(_) | Test::Call(..) => unreachable!("schemas with maps and functions say what they mean"),
    }
}

fn fails<Id>(backend: DbBackend, test: &Test<Id>, columns: &impl Columns<Id>) -> Condition {
    let holds = holds(backend, test, columns);
    let field = match test {
        Test::Compare(field, ..) | Test::Like(field, _) | Test::Unlike(field, _)
            if field.nullable && columns.has(&field.id) =>
        {
            field
        }
        _ => return Condition::all().add(holds.not()),
    };
    Condition::any()
        .add(columns.column(&field.id).is_null())
        .add(holds.not())
}

/// A value as it travels to the database.
pub(crate) fn bound(value: &Value) -> sea_orm::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Int(number) => i64::try_from(*number).expect("columns hold 64 bits").into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(value) => (*value).into(),
        Value::Bytes(bytes) => bytes.as_slice().into(),
    }
}

/// A comparison of a column with a value.
pub(crate) fn compare(column: Expr, comparison: Comparison, value: sea_orm::Value) -> Expr {
    match comparison {
        Comparison::Equal => column.eq(value),
        Comparison::NotEqual => column.ne(value),
        Comparison::Less => column.lt(value),
        Comparison::LessOrEqual => column.lte(value),
        Comparison::Greater => column.gt(value),
        Comparison::GreaterOrEqual => column.gte(value),
    }
}

/// That a text fits a pattern. Never LIKE, which folds case on one database and asks the locale on the other.
pub(crate) fn like(backend: DbBackend, column: &Expr, pattern: &Pattern) -> Condition {
    let (prefix, infix, suffix) = (pattern.prefix(), pattern.infix(), pattern.suffix());
    let chars = |text: &str| i32::try_from(text.chars().count()).expect("texts are short");
    let mut all = Condition::all();
    if !prefix.is_empty() {
        all = all.add(column.clone().gte(prefix));
        if let Some(end) = Key::prefix_end(prefix) {
            all = all.add(column.clone().lt(end));
        }
    }
    if !suffix.is_empty() {
        let end = match backend {
            DbBackend::Postgres => Func::cust("right").arg(column.clone()).arg(chars(suffix)),
            _ => Func::cust("substr").arg(column.clone()).arg(-chars(suffix)),
        };
        all = all.add(Expr::from(end).eq(suffix));
    }
    let outside = chars(prefix) + chars(suffix);
    if !prefix.is_empty() && (!suffix.is_empty() || !infix.is_empty()) {
        // Beginning and end must not share characters.
        let length = Func::cust("length").arg(column.clone());
        all = all.add(Expr::from(length).gte(outside));
    }
    if !infix.is_empty() {
        let length = Expr::from(Func::cust("length").arg(column.clone()));
        let (greatest, found) = match backend {
            DbBackend::Postgres => (Func::cust("greatest"), Func::cust("strpos")),
            _ => (Func::cust("max"), Func::cust("instr")),
        };
        let middle = match outside {
            0 => column.clone(),
            _ => Func::cust("substr")
                .arg(column.clone())
                .arg(chars(prefix) + 1)
                .arg(greatest.arg(length.sub(outside)).arg(0i32))
                .into(),
        };
        all = all.add(Expr::from(found.arg(middle).arg(infix)).gt(0i32));
    }
    all
}
