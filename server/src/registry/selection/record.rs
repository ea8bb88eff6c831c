//! Names of the record in a filter, looked up: features, labels, runs, transforms, collections.
//!
//! What a filter mentions is looked up in one query for each kind of name, whatever the
//! number of tests. A name that nothing has is a fault with its place, so that a slip of
//! the pen is no empty page.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use artifactd_domain::{
    ArtifactField, ArtifactRef, Dtype, Mentioned, RecordField, RecordFields, Role,
    filter::{Comparator, Comparison, Filter, Literal, Predicate, Resolved, Schema, Subject, Test, Value},
};
use sea_orm::ConnectionTrait;

use super::super::{Caller, Registry, RegistryError, Result, features::own_first};
use crate::db::{
    collections, features,
    labels::{self, LabelKey},
    runs,
    scope::Scope,
    transforms,
};

/// Most labels that lie below those which a filter asks for.
const LABELS_MAX: usize = 20_000;

/// Ids of what names mean.
type Ids = HashMap<(RecordField, String), BTreeSet<i64>>;

/// A name that a filter asks for.
struct Asked<'f> {
    record: RecordField,
    value: &'f Literal,
}

impl Registry {
    /// What a filter asks of artifacts, with ids in place of names of the record.
    pub(in crate::registry) async fn predicate(
        &self,
        caller: &Caller,
        filter: &Filter,
    ) -> Result<Predicate<ArtifactField>> {
        let fields = fields(self.db.reader(), caller.scope(), &Mentioned::of(filter)).await?;
        let fault = |fault| RegistryError::field("filter", fault);
        let predicate = filter.check(&fields).map_err(fault)?;
        let asked = asked(filter, &fields);
        let ids = self.ids(caller, &asked).await?;
        let lost = asked.iter().find(|asked| !ids.contains_key(&asked.key()));
        if let Some(lost) = lost {
            let (what, why) = lost.described();
            return Err(fault(filter.unnamed(lost.value, what, why)));
        }
        let labels: usize = ids.values().map(BTreeSet::len).sum();
        if labels > LABELS_MAX {
            let why = format!("asks for labels that have more than {LABELS_MAX} below them");
            return Err(RegistryError::other("filter", why));
        }
        Ok(predicate.map(&|test| with_ids(test, &ids)))
    }

    async fn ids(&self, caller: &Caller, asked: &[Asked<'_>]) -> Result<Ids> {
        let (conn, scope) = (self.db.reader(), caller.scope());
        let mut ids = label_ids(conn, scope, asked).await?;
        let names = |of: &[RecordField]| -> Vec<&str> {
            let asked = asked.iter().filter(|asked| of.contains(&asked.record));
            let names: BTreeSet<&str> = asked.map(|asked| asked.value.text.as_str()).collect();
            names.into_iter().collect()
        };
        let mut found = |of: &[RecordField], named: Vec<(String, i64)>| {
            for (name, id) in named {
                for record in of {
                    ids.entry((*record, name.clone())).or_default().insert(id);
                }
            }
        };
        let of_runs = [RecordField::Run, RecordField::InputOf, RecordField::OutputOf];
        let names_of_runs = names(&of_runs);
        if !names_of_runs.is_empty() {
            found(&of_runs, runs::ids_of_uids(conn, scope.own, &names_of_runs).await?);
        }
        let of_transforms = names(&[RecordField::Transform]);
        if !of_transforms.is_empty() {
            let named = transforms::ids_of_names(conn, scope, &of_transforms).await?;
            found(&[RecordField::Transform], named);
        }
        let of_collections = names(&[RecordField::Collection]);
        if !of_collections.is_empty() {
            let named = collections::ids_of_names(conn, scope, &of_collections).await?;
            found(&[RecordField::Collection], named);
        }
        for name in names(&[RecordField::DerivedFrom]) {
            let Ok(reference) = name.parse::<ArtifactRef>() else {
                continue;
            };
            match self.find(conn, caller, &reference, true).await {
                Ok(row) => found(&[RecordField::DerivedFrom], vec![(name.to_owned(), row.id)]),
                Err(RegistryError::NotFound(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(ids)
    }
}

impl Asked<'_> {
    fn key(&self) -> (RecordField, String) {
        (self.record, self.value.text.clone())
    }

    fn described(&self) -> (&'static str, &'static str) {
        match self.record {
            RecordField::Run | RecordField::InputOf | RecordField::OutputOf => ("run", ""),
            RecordField::Transform => ("transform", ""),
            RecordField::Collection => ("collection", ""),
            RecordField::DerivedFrom => ("artifact", ""),
            RecordField::Category(_) | RecordField::CategoryWithin(_) => {
                ("label", " in the registries of this feature")
            }
            _ => ("label", " in this registry"),
        }
    }
}

/// The fields of artifacts, with what a filter mentions. Of two of one name the caller's own counts.
async fn fields(conn: &impl ConnectionTrait, scope: Scope, mentioned: &Mentioned) -> Result<RecordFields> {
    let mut fields = RecordFields::default();
    for (role, names, known) in [
        (Role::Feature, &mentioned.features, &mut fields.features),
        (Role::Param, &mentioned.params, &mut fields.params),
    ] {
        if names.is_empty() {
            continue;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut rows = features::by_names(conn, scope, role.code(), &names).await?;
        rows.sort_by_key(|row| row.space_id == scope.own);
        for row in rows {
            let dtype: Dtype = row
                .dtype
                .parse()
                .map_err(|_| super::super::runs::impossible("features.dtype"))?;
            known.insert(row.name, (row.id, dtype));
        }
    }
    if !mentioned.registries.is_empty() {
        let names: Vec<&str> = mentioned.registries.iter().map(String::as_str).collect();
        let rows = labels::registries_by_names(conn, scope, &names).await?;
        for name in names {
            let named = rows.iter().filter(|row| row.name == name).cloned().collect();
            let found = own_first(named, scope, |row: &labels::RegistryRow| row.space_id);
            fields.registries.extend(found.map(|row| (row.name, row.id)));
        }
    }
    Ok(fields)
}

/// Every name that a filter asks for.
fn asked<'f>(filter: &'f Filter, fields: &RecordFields) -> Vec<Asked<'f>> {
    let asked = filter.restrictions().into_iter().filter_map(|restriction| {
        let (id, value) = match (&restriction.subject, &restriction.against) {
            (Subject::Function { name, arguments }, _) => (fields.function(&name.path())?.id, arguments.first()?),
            (Subject::Field(name), Some((comparator, value))) if !value.is_pattern() => {
                let Ok(Resolved::Field(field)) = fields.field(&name.path()) else {
                    return None;
                };
                let id = match comparator {
                    Comparator::Equal | Comparator::NotEqual => field.id,
                    Comparator::Has => field.has.unwrap_or(field.id),
                    _ => return None,
                };
                (id, value)
            }
            _ => return None,
        };
        match id {
            ArtifactField::Record(RecordField::Value { .. }) => None,
            ArtifactField::Record(record) => Some(Asked { record, value }),
            _ => None,
        }
    });
    asked.collect()
}

/// Labels by their names or identifiers in an ontology, with those below them where these count too.
async fn label_ids(conn: &impl ConnectionTrait, scope: Scope, asked: &[Asked<'_>]) -> Result<Ids> {
    let registries = registries(conn, asked).await?;
    let asked: Vec<&Asked<'_>> = asked
        .iter()
        .filter(|asked| registries.contains_key(&asked.record))
        .collect();
    let mut ids = Ids::new();
    if asked.is_empty() {
        return Ok(ids);
    }
    let every: BTreeSet<i64> = registries.values().flatten().copied().collect();
    let every: Vec<i64> = every.into_iter().collect();
    let names: BTreeSet<&str> = asked.iter().map(|asked| asked.value.text.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    for key in [LabelKey::Name, LabelKey::OntologyId] {
        for row in labels::by_keys(conn, scope, &every, key, &names).await? {
            let name = match key {
                LabelKey::OntologyId => row.ontology_id.as_ref(),
                _ => Some(&row.name),
            };
            let is_it = |asked: &&&Asked<'_>| {
                Some(&asked.value.text) == name && registries[&asked.record].contains(&row.registry_id)
            };
            for asked in asked.iter().filter(is_it) {
                ids.entry(asked.key()).or_default().insert(row.id);
            }
        }
    }
    let is_within =
        |record: &RecordField| matches!(record, RecordField::CategoryWithin(_) | RecordField::LabelsWithin(_));
    let tops: BTreeSet<i64> = ids
        .iter()
        .filter(|((record, _), _)| is_within(record))
        .flat_map(|(_, ids)| ids.clone())
        .collect();
    if tops.is_empty() {
        return Ok(ids);
    }
    let tops: Vec<i64> = tops.into_iter().collect();
    let mut below: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (top, id) in labels::below(conn, &tops, LABELS_MAX + 1).await? {
        below.entry(top).or_default().push(id);
    }
    for ((record, _), ids) in &mut ids {
        if is_within(record) {
            let all = ids.iter().flat_map(|id| below.get(id).into_iter().flatten());
            *ids = all.copied().collect();
        }
    }
    Ok(ids)
}

/// The registries in which the labels of each field are.
async fn registries(conn: &impl ConnectionTrait, asked: &[Asked<'_>]) -> Result<HashMap<RecordField, BTreeSet<i64>>> {
    let mut registries: HashMap<RecordField, BTreeSet<i64>> = HashMap::new();
    let mut of_features: BTreeMap<i64, Vec<RecordField>> = BTreeMap::new();
    for asked in asked {
        match asked.record {
            RecordField::Labels(registry) | RecordField::LabelsWithin(registry) => {
                registries.entry(asked.record).or_default().insert(registry);
            }
            RecordField::Category(feature) | RecordField::CategoryWithin(feature) => {
                of_features.entry(feature).or_default().push(asked.record);
            }
            _ => {}
        }
    }
    if !of_features.is_empty() {
        let features: Vec<i64> = of_features.keys().copied().collect();
        for (feature, registry) in labels::registries_of_features(conn, &features).await? {
            for record in &of_features[&feature] {
                registries.entry(*record).or_default().insert(registry);
            }
        }
    }
    Ok(registries)
}

/// A test with ids in place of a name, and without `!=`.
fn with_ids(test: Test<ArtifactField>, ids: &Ids) -> Predicate<ArtifactField> {
    let of = |id: &ArtifactField, name: &str| match id {
        ArtifactField::Record(record) => ids.get(&(*record, name.to_owned())),
        _ => None,
    };
    let numbers = |ids: &BTreeSet<i64>| ids.iter().map(|id| Value::Int((*id).into())).collect();
    let is_record = matches!(test.id(), ArtifactField::Record(_));
    match test {
        Test::Compare(field, Comparison::NotEqual, value) if is_record => {
            let equal = Test::Compare(field.clone(), Comparison::Equal, value);
            Predicate::all(vec![Predicate::Is(Test::Set(field)), with_ids(equal, ids).negated()])
        }
        Test::Unlike(field, pattern) if is_record => Predicate::all(vec![
            Predicate::Is(Test::Set(field.clone())),
            Predicate::IsNot(Test::Like(field, pattern)),
        ]),
        Test::Compare(field, Comparison::Equal, Value::Text(name)) => match of(&field.id, &name) {
            Some(ids) => Predicate::Is(Test::Call(field.id, numbers(ids))),
            None => Predicate::Is(Test::Compare(field, Comparison::Equal, Value::Text(name))),
        },
        Test::Call(id, arguments) => {
            let found = match arguments.as_slice() {
                [Value::Text(name)] => of(&id, name).map(numbers),
                _ => None,
            };
            Predicate::Is(Test::Call(id, found.unwrap_or(arguments)))
        }
        other => Predicate::Is(other),
    }
}
