//! Tests of the record around an artifact: values, labels, runs, collections, lineage.
//!
//! Each says in two ways which artifacts match. As a probe it is asked of one artifact
//! that a query looks at anyway, and is one look into an index. As a list it reads the
//! artifacts themselves from an index of what they have. A probe is always EXISTS or a
//! column, so no artifact matches twice. The LIMIT in it keeps PostgreSQL from making a
//! join of it, for which it would read all that there is.

use std::collections::BTreeSet;

use artifactd_domain::{
    ArtifactField, Held, Key, RecordField, Role,
    filter::{Comparison, Predicate, Test, Value},
    text_key,
};
use sea_orm::{
    ConnectionTrait, DbBackend,
    sea_query::{Alias, Condition, Expr, ExprTrait, Func, JoinType, Query, SelectStatement},
};

use super::{held::Timeline, index::On};
use crate::db::{
    Result,
    entities::artifacts::{Column as Col, Entity},
    filter::{bound, compare, like},
};

/// Texts up to here are compared with what an index holds of them, longer ones as they are.
const INDEXED_BYTES: usize = 800;

/// Labels that are looked up one by one where an artifact may have any of them.
const LABELS_LOOKED_UP: usize = 4;

/// In which way a test says what matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Probe,
    List,
}

/// That an artifact matches.
pub(super) fn holds(on: On, record: RecordField, test: &Test<ArtifactField>) -> Expr {
    match record {
        RecordField::Run => return made_by(on, test),
        RecordField::DerivedFrom => return derived(on.backend, test),
        _ => {}
    }
    let mut any = Condition::any();
    if record == RecordField::OutputOf {
        any = any.add(made_by(on, test));
    }
    for select in rows(on.backend, record, test, Way::Probe) {
        any = any.add(Expr::exists(select));
    }
    any.into()
}

/// The artifacts that a part of a filter leaves, when it says so by itself and they are at most so many.
pub(super) async fn few(
    conn: &impl ConnectionTrait,
    part: &Predicate<ArtifactField>,
    most: u64,
) -> Result<Option<Vec<i64>>> {
    let tests = match part {
        Predicate::Is(_) => std::slice::from_ref(part),
        Predicate::Any(parts) => parts.as_slice(),
        _ => return Ok(None),
    };
    let mut selects = Vec::new();
    for test in tests {
        match test {
            Predicate::Is(test) => match test.id() {
                ArtifactField::Record(record) => selects.extend(lists(conn.get_database_backend(), *record, test)),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    let mut ids = BTreeSet::new();
    let mut read = 0;
    for mut select in selects {
        select.limit(most + 1 - read);
        for row in conn.query_all(&select).await? {
            ids.insert(row.try_get::<i64>("", "id")?);
            read += 1;
        }
        if read > most {
            return Ok(None);
        }
    }
    Ok(Some(ids.into_iter().collect()))
}

/// The rows of an index by which artifacts lie in the order of their creation, when a part
/// of a filter asks for one value or label, or for a range of values.
pub(super) fn timeline(backend: DbBackend, part: &Predicate<ArtifactField>) -> Option<Timeline> {
    let Predicate::Is(test) = part else { return None };
    let ArtifactField::Record(record) = *test.id() else {
        return None;
    };
    let (table, is_point) = match (record, test) {
        (RecordField::Value { .. }, Test::Compare(_, Comparison::Equal, _)) => ("feature_values", true),
        (RecordField::Value { .. }, Test::Compare(_, _, Value::Int(_) | Value::Float(_))) => ("feature_values", false),
        (
            RecordField::Category(_)
            | RecordField::CategoryWithin(_)
            | RecordField::Labels(_)
            | RecordField::LabelsWithin(_),
            Test::Call(_, ids),
        ) if ids.len() == 1 => ("artifact_labels", true),
        _ => return None,
    };
    let select = rows(backend, record, test, Way::List).pop()?;
    Some(Timeline {
        select,
        table,
        is_point,
    })
}

fn lists(backend: DbBackend, record: RecordField, test: &Test<ArtifactField>) -> Vec<SelectStatement> {
    let mut selects = rows(backend, record, test, Way::List);
    let of_artifacts = |condition: Expr| {
        let mut select = Query::select();
        select.column((Entity, Col::Id)).from(Entity).and_where(condition);
        select
    };
    match (record, test) {
        (RecordField::Run | RecordField::OutputOf, _) => {
            let run = Expr::col((Entity, Col::RunId));
            let made = match test {
                Test::Call(_, ids) => run.is_in(ids.iter().map(bound)),
                _ => run.is_not_null(),
            };
            selects.push(of_artifacts(made));
        }
        (RecordField::DerivedFrom, _) => selects.push(of_artifacts(derived(backend, test))),
        _ => {}
    }
    selects
}

/// Rows of other tables, each of which stands for an artifact that matches.
fn rows(backend: DbBackend, record: RecordField, test: &Test<ArtifactField>, way: Way) -> Vec<SelectStatement> {
    let rows = |table: &'static str| Rows::of(table, way);
    match record {
        RecordField::Value {
            feature_id,
            holds,
            in_list,
        } => vec![values(backend, feature_id, (holds, in_list), test, way)],
        RecordField::Category(feature_id) | RecordField::CategoryWithin(feature_id) => {
            let mut rows = rows("artifact_labels");
            rows.select
                .and_where(col("artifact_labels", "feature_id").eq(feature_id));
            if !matches!(test, Test::Set(_) | Test::Call(..)) {
                rows.join("labels", "artifact_labels", "label_id");
            }
            vec![rows.labels(backend, test)]
        }
        RecordField::Labels(registry_id) | RecordField::LabelsWithin(registry_id) => {
            let mut rows = rows("artifact_labels");
            if !matches!(test, Test::Call(..)) {
                rows.join("labels", "artifact_labels", "label_id");
                rows.select.and_where(col("labels", "registry_id").eq(registry_id));
            }
            vec![rows.labels(backend, test)]
        }
        RecordField::Labelled => vec![rows("artifact_labels").done()],
        RecordField::Annotated(role) => {
            let of = |table| {
                let mut rows = rows(table);
                rows.join("features", table, "feature_id");
                rows.select.and_where(col("features", "role").eq(Role::code(role)));
                rows.done()
            };
            vec![of("feature_values"), of("artifact_labels")]
        }
        RecordField::InputOf => vec![rows("run_inputs").among("run_id", test)],
        RecordField::OutputOf => vec![rows("artifact_runs").among("run_id", test)],
        RecordField::Transform => vec![transforms(test, way)],
        RecordField::Collection => members(test, way),
        RecordField::Run | RecordField::DerivedFrom => Vec::new(),
    }
}

fn values(
    backend: DbBackend,
    feature_id: i64,
    (holds, in_list): (Held, bool),
    test: &Test<ArtifactField>,
    way: Way,
) -> SelectStatement {
    const TABLE: &str = "feature_values";
    // An artifact has few values, however many a feature has and however many lie in a
    // range: unless one value is meant, only its own are looked at.
    let is_point = matches!(test, Test::Compare(_, Comparison::Equal, _));
    let of_range = |column: Expr, is_text| match way {
        Way::Probe if !is_point => not_indexed(backend, column, is_text),
        _ => column,
    };
    let mut rows = Rows::of(TABLE, way);
    let feature = of_range(col(TABLE, "feature_id"), false);
    rows.select.and_where(feature.eq(feature_id));
    if matches!(test, Test::Set(_)) {
        return rows.done();
    }
    if in_list {
        rows.select.and_where(col(TABLE, "is_item"));
    }
    let (column, is_text) = match holds {
        Held::Float => ("float_value", false),
        Held::Text | Held::Dict => ("text_value", true),
        Held::Int | Held::Bool | Held::Date | Held::Time => ("int_value", false),
    };
    let column = of_range(col(TABLE, column), is_text);
    // Only the beginning of a long text is in the index.
    let whole = || {
        let whole = Func::coalesce([col(TABLE, "document"), col(TABLE, "text_value")]);
        Expr::from(whole)
    };
    match test {
        Test::Compare(_, Comparison::Equal, value) => {
            let value = match value {
                Value::Text(text) => text_key(text).into(),
                Value::Bool(value) => i64::from(*value).into(),
                other => bound(other),
            };
            rows.select.and_where(column.eq(value));
            rows.is_at_its_time();
        }
        Test::Compare(_, comparison, Value::Text(text)) if text.len() > INDEXED_BYTES => {
            rows.select
                .and_where(compare(whole(), *comparison, text.as_str().into()));
        }
        Test::Compare(_, comparison, value) => {
            rows.select.and_where(compare(column, *comparison, bound(value)));
        }
        Test::Like(_, pattern) => {
            let prefix = pattern.prefix();
            let is_indexed = !prefix.is_empty() && prefix.len() <= INDEXED_BYTES;
            if is_indexed {
                rows.select.and_where(column.clone().gte(prefix));
                if let Some(end) = Key::prefix_end(prefix) {
                    rows.select.and_where(column.lt(end));
                }
            }
            if !(is_indexed && pattern.is_prefix()) {
                rows.select.cond_where(like(backend, &whole(), pattern));
            }
        }
        Test::Set(_) | Test::Unlike(..) | Test::NotEmpty(_) | Test::Call(..) => {}
    }
    rows.done()
}

fn transforms(test: &Test<ArtifactField>, way: Way) -> SelectStatement {
    let mut select = Query::select();
    let transform = col("runs", "transform_id");
    select.from(Alias::new("runs")).and_where(match test {
        Test::Call(_, ids) => transform.is_in(ids.iter().map(bound)),
        _ => transform.is_not_null(),
    });
    let is_its = Expr::col((Entity, Col::RunId)).eq(col("runs", "id"));
    match way {
        Way::Probe => probe(select.and_where(is_its)),
        Way::List => select
            .join(JoinType::InnerJoin, Entity, is_its)
            .expr_as(Expr::col((Entity, Col::Id)), Alias::new("id"))
            .to_owned(),
    }
}

/// Members are artifacts, or families of which the latest version is meant.
fn members(test: &Test<ArtifactField>, way: Way) -> Vec<SelectStatement> {
    const TABLE: &str = "collection_members";
    let among = |select: &mut SelectStatement| {
        if let Test::Call(_, ids) = test {
            select.and_where(col(TABLE, "collection_id").is_in(ids.iter().map(bound)));
        }
    };
    let mut pinned = Rows::of(TABLE, way);
    among(&mut pinned.select);
    pinned.select.and_where(col(TABLE, "artifact_id").is_not_null());
    let mut following = Query::select();
    following.from(Alias::new(TABLE));
    among(&mut following);
    let is_its = Expr::col((Entity, Col::FamilyId))
        .eq(col(TABLE, "family_id"))
        .and(Expr::col((Entity, Col::IsLatest)));
    let following = match way {
        Way::Probe => probe(following.and_where(is_its)),
        Way::List => following
            .join(JoinType::InnerJoin, Entity, is_its)
            .expr_as(Expr::col((Entity, Col::Id)), Alias::new("id"))
            .to_owned(),
    };
    vec![pinned.done(), following]
}

/// That a run, or one of some runs, has made an artifact.
fn made_by(on: On, test: &Test<ArtifactField>) -> Expr {
    let run = on.col(Col::RunId);
    match test {
        Test::Call(_, ids) => {
            let is_one = run.clone().is_in(ids.iter().map(bound));
            run.is_not_null().and(is_one)
        }
        _ => run.is_not_null(),
    }
}

/// That an artifact was made out of another, in any number of steps.
fn derived(backend: DbBackend, test: &Test<ArtifactField>) -> Expr {
    let (id, place) = match backend {
        DbBackend::Postgres => ("artifacts.id + 0", "$1"),
        _ => ("+artifacts.id", "?"),
    };
    let Test::Call(_, ids) = test else {
        return Expr::value(false);
    };
    let text = format!(
        "{id} IN (WITH RECURSIVE derived (id) AS (\
         SELECT made.id FROM run_inputs JOIN artifacts AS made ON made.run_id = run_inputs.run_id \
         WHERE run_inputs.artifact_id = {place} \
         UNION SELECT made.id FROM derived JOIN run_inputs ON run_inputs.artifact_id = derived.id \
         JOIN artifacts AS made ON made.run_id = run_inputs.run_id) SELECT id FROM derived)"
    );
    Expr::cust_with_values(text, ids.iter().take(1).map(bound))
}

/// Rows of a table with a column of artifacts.
struct Rows {
    select: SelectStatement,
    table: &'static str,
    way: Way,
}

impl Rows {
    fn of(table: &'static str, way: Way) -> Self {
        let mut select = Query::select();
        select.from(Alias::new(table));
        Self { select, table, way }
    }

    fn join(&mut self, other: &'static str, table: &'static str, column: &'static str) {
        let is_its = col(other, "id").eq(col(table, column));
        self.select.join(JoinType::InnerJoin, Alias::new(other), is_its);
    }

    /// A row carries the time of its artifact, which makes it one place of its index.
    fn is_at_its_time(&mut self) {
        if self.way == Way::Probe {
            let is_its = col(self.table, "artifact_at_us").eq(Expr::col((Entity, Col::CreatedAtUs)));
            self.select.and_where(is_its);
        }
    }

    /// Of labels: those with some ids, those whose names are as a test asks, or all.
    fn labels(mut self, backend: DbBackend, test: &Test<ArtifactField>) -> SelectStatement {
        let name = col("labels", "name");
        match test {
            Test::Call(_, ids) if self.way == Way::Probe && ids.len() > LABELS_LOOKED_UP => {
                // Those of the artifact are fewer.
                let label = not_indexed(backend, col(self.table, "label_id"), false);
                self.select.and_where(label.is_in(ids.iter().map(bound)));
            }
            Test::Call(_, ids) => {
                let label = col(self.table, "label_id");
                self.select.and_where(label.is_in(ids.iter().map(bound)));
                self.is_at_its_time();
            }
            Test::Compare(_, comparison, value) => {
                self.select.and_where(compare(name, *comparison, bound(value)));
            }
            Test::Like(_, pattern) => {
                self.select.cond_where(like(backend, &name, pattern));
            }
            Test::Set(_) | Test::Unlike(..) | Test::NotEmpty(_) => {}
        }
        self.done()
    }

    /// Those of some ids in a column.
    fn among(mut self, column: &'static str, test: &Test<ArtifactField>) -> SelectStatement {
        if let Test::Call(_, ids) = test {
            let of = col(self.table, column);
            self.select.and_where(of.is_in(ids.iter().map(bound)));
        }
        self.done()
    }

    fn done(mut self) -> SelectStatement {
        let artifact = col(self.table, "artifact_id");
        match self.way {
            Way::Probe => {
                let is_its = artifact.eq(Expr::col((Entity, Col::Id)));
                probe(self.select.and_where(is_its))
            }
            Way::List => self.select.expr_as(artifact, Alias::new("id")).to_owned(),
        }
    }
}

fn probe(select: &mut SelectStatement) -> SelectStatement {
    select.expr(Expr::Constant(1.into())).limit(1).offset(0).to_owned()
}

fn col(table: &'static str, name: &'static str) -> Expr {
    Expr::col((Alias::new(table), Alias::new(name)))
}

/// A column, written in a way which no index can use.
fn not_indexed(backend: DbBackend, column: Expr, is_text: bool) -> Expr {
    let written = match (backend, is_text) {
        (DbBackend::Postgres, true) => "$1 || ''",
        (DbBackend::Postgres, false) => "$1 + 0",
        _ => "+ ?",
    };
    Expr::cust_with_expr(written, column)
}
